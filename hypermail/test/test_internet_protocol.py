"""
Tests of L{hypermail.internet.protocol}, L{hypermail.internet.callbacks} and L{hypermail.internet.address}.
"""

from __future__ import annotations

from socket import if_indextoname
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hypermail.errors import MessageRejected, Reason, RemoteAddressRefused, SessionRejected
from hypermail.events import StreamOptions
from hypermail.internet.address import (
    HypermailAddress,
    SocketAddress,
    addressOf,
    asReceived,
    isAddress,
    isLoopback,
    refuseRemote,
)
from hypermail.internet.callbacks import MAX_TEXT, pending, verdict
from hypermail.internet.protocol import SessionFactory, SessionProtocol

ADDRESS = HypermailAddress("127.0.0.1", 1)


class FactoryTests(SynchronousTestCase):
    """
    L{SessionFactory} and L{SessionProtocol}
    """

    def test_forProtocol(self) -> None:
        """A factory for a class, whose protocols know it; arguments are the factory's own."""

        class Named(SessionFactory):
            def __init__(self, name: str) -> None:
                self.name = name

        factory = Named.forProtocol(SessionProtocol, "x")
        assert isinstance(factory, Named)
        protocol: Any = factory.buildProtocol(ADDRESS)
        self.assertIsInstance(protocol, SessionProtocol)
        self.assertEqual((protocol.factory, factory.name), (factory, "x"))

    def test_noProtocol(self) -> None:
        """A factory without protocol says how to give it one."""
        error = self.assertRaises(TypeError, SessionFactory().buildProtocol, ADDRESS)
        self.assertIn("forProtocol", str(error))

    def test_startAndStop(self) -> None:
        """C{startFactory} with the first port, C{stopFactory} with the last."""
        told: list[str] = []

        class Told(SessionFactory):
            def startFactory(self) -> None:
                told.append("start")

            def stopFactory(self) -> None:
                told.append("stop")

        factory = Told()
        factory.doStart()
        factory.doStart()
        factory.doStop()
        self.assertEqual(told, ["start"])
        factory.doStop()
        factory.doStop()
        self.assertEqual((told, factory.numPorts), (["start", "stop"], 0))

    def test_defaults(self) -> None:
        """What is not overridden refuses what asks for an answer, and ignores the rest."""
        protocol = SessionProtocol()
        self.assertRaises(MessageRejected, protocol.messageReceived, b"x")
        for answer in (
            protocol.sessionOpened(),
            protocol.datagramReceived(b"x"),
            protocol.streamOpened(b"x", StreamOptions()),
            protocol.sessionLost(Failure(SessionRejected())),
            SessionFactory().sessionRequested(None),  # type: ignore[arg-type]
        ):
            self.assertIsNone(answer)
        factory = SessionFactory()
        factory.startFactory()
        factory.stopFactory()


class CallbackTests(SynchronousTestCase):
    """
    L{pending} and L{verdict}
    """

    def test_there(self) -> None:
        """Answers that are there are not waited for."""

        async def done() -> int:
            return 5

        for answer in (None, 5, "text", succeed(None), done()):
            self.assertIsNone(pending(answer))

    def test_pending(self) -> None:
        """Deferreds that haven't fired, coroutines that wait for one, failures, and chained Deferreds are."""
        inner: Deferred[int] = Deferred()
        paused: Deferred[None] = succeed(None)
        paused.pause()
        chained = succeed(None).addCallback(lambda _: inner)

        async def waits() -> None:
            await inner

        async def fails() -> None:
            raise ValueError()

        for answer in (inner, waits(), paused, chained):
            self.assertIsInstance(pending(answer), Deferred)
        for answer in (fail(ValueError()), fails()):
            deferred = pending(answer)
            assert deferred is not None
            self.failureResultOf(deferred, ValueError)

    def test_verdict(self) -> None:
        """Hypermail's errors speak for themselves; of others the peer learns the class."""
        self.assertEqual(verdict(Failure(MessageRejected("no", 9)), 1, "x"), (9, "no"))
        code, text = verdict(Failure(KeyError("secret")), Reason.APPLICATION, "this message")
        self.assertEqual((code, text), (Reason.APPLICATION, "the application failed on this message (KeyError)"))
        self.assertEqual(len(verdict(Failure(MessageRejected("x" * 1_000)), 1, "x")[1]), MAX_TEXT)


class AddressTests(SynchronousTestCase):
    """
    L{hypermail.internet.address}
    """

    def test_interface(self) -> None:
        """Addresses are Twisted's, compare by value, and can't be changed."""
        verifyObject(IAddress, ADDRESS)
        self.assertEqual(addressOf(("127.0.0.1", 1)), ADDRESS)
        self.assertEqual(len({ADDRESS, HypermailAddress("127.0.0.1", 1)}), 1)
        self.assertRaises(AttributeError, setattr, ADDRESS, "port", 2)

    def test_text(self) -> None:
        """People read them as they write them."""
        self.assertEqual((str(ADDRESS), str(SocketAddress("::1", 2))), ("127.0.0.1:1", "[::1]:2"))
        self.assertEqual(SocketAddress("::1", 2), ("::1", 2))

    def test_kinds(self) -> None:
        """Which are addresses, and which of them are this machine's."""
        for host in ("127.0.0.1", "127.255.0.9", "::1"):
            self.assertTrue(isAddress(host) and isLoopback(host))
            refuseRemote(host, "connect to")
        for host in ("0.0.0.0", "::", "192.0.2.1", "fe80::1", "::ffff:127.0.0.1", "128.0.0.1"):
            self.assertTrue(isAddress(host) and not isLoopback(host))
            error = self.assertRaises(RemoteAddressRefused, refuseRemote, host, "connect to")
            self.assertIn(host, error.text)
        for host in ("localhost", "", "127.1", "127.0.0.1.example.org"):
            self.assertFalse(isAddress(host))

    def test_asReceived(self) -> None:
        """One address has one text, as sockets write it."""
        for host, text in (
            ("127.0.0.1", "127.0.0.1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("2001:DB8::0:1", "2001:db8::1"),
            ("::FFFF:192.0.2.1", "::ffff:192.0.2.1"),
            ("fe80:0::1%7", "fe80::1%7"),
            (f"fe80::1%{if_indextoname(1)}", "fe80::1%1"),
            ("fe80::1%no such zone", "fe80::1%no such zone"),
            ("localhost", "localhost"),
        ):
            self.assertEqual(asReceived(host), text)
