"""
Tests that the examples of the guide's C{session.rst}, C{durable.rst}, C{endpoints.rst} and C{dialects.rst} run as they
stand there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hypermail import (
    Batch,
    Reason,
    SessionClientEndpoint,
    SessionFactory,
    SessionRejected,
    SessionServerEndpoint,
    StarterTLS,
)
from hypermail.internet.credentials import readIdentity
from hypermail.internet.security import ListenerTLS
from hypermail.services import kept
from hypermail.test.securing import STARTER, STRANGER
from hypermail.test.services import ImmediateWorkers
from hypermail.test.sessions import RecordingFactory, RecordingProtocol, RecordingStream, identityOf
from hypermail.test.test_testing_docs import GUIDE, blocks
from hypermail.testing import Conditions, SimulatedNetwork


class GuideTestCase(SynchronousTestCase):
    """
    The code blocks of one page of the guide, in one namespace; its C{reactor} is a simulated one.
    """

    def setUp(self) -> None:
        self.state = os.path.abspath(self.mktemp())
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": self.state})
        self.network = SimulatedNetwork(0, Conditions(delay=0.01))
        self.reactor = self.network.reactor("127.0.0.1")
        self.printed = StringIO()
        self.names: dict[str, Any] = {"__name__": "guide", "reactor": self.reactor}

    def blocks(self, page: str) -> Iterator[str]:
        """Run a page's blocks; each is given when it has run, and time has passed."""
        path = GUIDE.with_name(page)
        if not path.exists():
            raise SkipTest("the documentation is not installed")
        for block in blocks(path.read_text("utf-8")):
            with redirect_stdout(self.printed):
                exec(compile(block, str(path), "exec"), self.names)
                self.network.advance(1)
            yield block

    def connect(self, port: int, identity: Any, pin: str) -> Any:
        """A Deferred of a session with one of the page's listeners."""
        security = StarterTLS(pin=pin, identity=identity)
        return SessionClientEndpoint(self.reactor, "127.0.0.1", port, security=security).connect(RecordingFactory())


class SessionTests(GuideTestCase):
    """C{session.rst}"""

    def test_blocks(self) -> None:
        """Both Greeters are told of their session; what one says comes back. The Adder adds."""
        self.assertEqual(len(list(self.blocks("session.rst"))), 3)
        with_listener, with_starter = sorted(self.printed.getvalue().splitlines()[:2], key=len)
        self.assertEqual(with_listener, "with 127.0.0.1:4700")
        self.assertRegex(with_starter, r"^with 127\.0\.0\.1:\d{5}$")
        with redirect_stdout(self.printed):
            protocol = self.network.run_until(self.connect(4700, None, self.names["pin"]))
            self.network.run_until(protocol.session.sendMessage(b"hello"))
            self.network.advance(1)
        self.assertEqual(protocol.messages[:1], [b"you said hello"])
        self.assertEqual(self.printed.getvalue().splitlines()[2:4], ["sum: b'108'", "refused: numbers, please"])


class DurableTests(GuideTestCase):
    """C{durable.rst}"""

    def test_blocks(self) -> None:
        """What is sold arrives once, when the listener is away, and when both are restarted."""
        self.patch(kept, "Workers", ImmediateWorkers)  # a simulated reactor has no threads
        booked: dict[tuple[bytes, int, int], bytes] = {}

        async def book(session: bytes, lane: int, number: int, data: bytes) -> None:
            self.assertNotIn((session, lane, number), booked)
            booked[session, lane, number] = data

        async def taken(session: bytes) -> dict[int, int]:
            return {1: len(booked)}

        self.names |= {"identity": identityOf("127.0.0.1"), "book": book, "booked": taken}
        self.assertEqual(len(list(self.blocks("durable.rst"))), 4)
        os.makedirs(self.state)
        with redirect_stdout(self.printed):
            listener, till = self.begin("listen"), self.begin("start")
            self.sell(till, b"tea")
            self.end(listener)
            self.sell(till, b"milk")
            self.end(till)
            self.begin("listen")
            till = self.begin("start")
            self.sell(till, b"bread")
            self.network.run_until(till[0].session.close())
            self.network.advance(1)
        self.assertEqual([*booked.values()], [b"tea", b"milk", b"bread"])
        self.assertEqual(
            self.printed.getvalue().splitlines(),
            [
                "on disk: b'tea'",
                "taken: b'tea'",
                "waiting: the peer does not know this session any more; was it restarted?",
                "on disk: b'milk'",
                "session lost, delivered: unknown (this side is shutting down; the session is kept)",
                "over: this side is shutting down; the session is kept",
                "waiting: the peer has lost the link",
                "going on",
                "taken after a restart: b'milk' b'receipt 4711'",
                "on disk: b'bread'",
                "taken: b'bread'",
                "over: the session was closed",
            ],
        )

    def begin(self, name: str) -> Any:
        """Start one of the programs. @return: its port or protocol, and its store."""
        path = os.path.join(self.state, name)
        begun = self.network.run_until(Deferred.fromCoroutine(self.names[name](path)))
        self.network.advance(1)
        return begun

    def end(self, program: Any) -> None:
        """Stop it."""
        what, store = program
        if hasattr(what, "stopListening"):
            self.network.run_until(what.stopListening())
        else:
            what.session.park("this side is shutting down; the session is kept")
        self.network.advance(1)
        self.network.run_until(store.close())

    def sell(self, till: Any, what: bytes) -> None:
        """Have a till sell something, and give it time."""
        till[0].sell(what)
        self.network.advance(1)


class DialectsTests(GuideTestCase):
    """C{dialects.rst}"""

    def test_blocks(self) -> None:
        """One class serves devices of both kinds."""
        running = self.blocks("dialects.rst")
        self.assertIn("Meter", next(running))
        self.assertIn("Device", next(running))
        self.assertEqual(list(running), [])
        with redirect_stdout(self.printed):
            self.network.run_until(Deferred.fromCoroutine(self.names["measuring"]))
            self.network.advance(1)
        self.assertEqual(
            sorted(self.printed.getvalue().splitlines()),
            [
                "a meter is there: 00112233445566778899aabbccddeeff",
                "closed",
                "direct b'battery low'",
                "it knows",
                "reading b'21.5'",
                "told b'thank you'",
            ],
        )
        self.printed.truncate(0)
        self.printed.seek(0)
        calling = SessionClientEndpoint(self.reactor, "127.0.0.1", 4710, dialect=Batch())
        with redirect_stdout(self.printed):
            device: Any = self.network.run_until(calling.connect(RecordingFactory()))
            self.network.run_until(device.session.sendMessage(b"21.5"))
            self.network.advance(1)
        self.assertEqual(device.messages, [b"thank you"])
        self.assertEqual(self.printed.getvalue().splitlines()[1:], ["reading b'21.5'", "it knows"])


class Streams(Factory):
    """
    Keeps the streams that it makes.
    """

    noisy = False

    def __init__(self) -> None:
        self.built: list[RecordingStream] = []

    def buildProtocol(self, addr: object) -> RecordingStream:
        self.built.append(RecordingStream())
        return self.built[-1]


class EndpointsTests(GuideTestCase):
    """C{endpoints.rst}"""

    def test_blocks(self) -> None:
        """The pages' listeners listen, and take whom they say."""
        serving, asking = Streams(), Streams()
        self.network.run_until(serverFromString(self.reactor, "hypermail:4700").listen(serving))
        identity = readIdentity(os.path.join(self.state, "hypermail", "identity.pem"))
        self.names |= {"factory": asking, "serving": serving, "pin": identity.pin, "members": {STARTER.pin}}
        running = self.blocks("endpoints.rst")
        self.assertIn("clientFromString", next(running))
        self.assertEqual([stream.calls for stream in asking.built], [["connectionMade"]])
        self.assertIn("identityIn", next(running))
        self.assertEqual([stream.calls for stream in asking.built], [["connectionMade"]] * 2)
        self.assertIn(identity.pin, self.printed.getvalue())
        self.assertIn("Club", next(running))
        self.club(self.names["Club"].forProtocol(RecordingProtocol), identity)
        self.assertIn("Portal", next(running))
        self.member(identity)
        before = len(serving.built)
        self.assertIn("NamedStreams", next(running))
        self.assertEqual(len(serving.built), before + 1)
        found = self.failureResultOf(self.names["early"], error.ConnectionRefusedError).value
        self.assertIn("no stream is called b'web' here", str(found))
        self.assertEqual(list(running), [])

    def club(self, factory: SessionFactory, identity: Any) -> None:
        """Only members are let in."""
        listening = SessionServerEndpoint(self.reactor, 4703, security=ListenerTLS(identity))
        factory.noisy = False
        self.network.run_until(listening.listen(factory))
        self.network.run_until(self.connect(4703, STARTER, identity.pin))
        for other in (STRANGER, None):
            asking = self.connect(4703, other, identity.pin)
            self.network.advance(1)
            self.assertEqual(self.failureResultOf(asking, SessionRejected).value.code, Reason.NOT_ALLOWED)

    def member(self, identity: Any) -> None:
        """Alice has this very identity; nobody else is known."""
        alice = self.network.run_until(self.connect(4702, identity, identity.pin))
        self.network.run_until(alice.session.sendMessage(b"is anybody there?"))
        self.network.advance(1)
        self.assertEqual(alice.messages, [b"hello, alice"])
        stranger = self.connect(4702, STRANGER, identity.pin)
        self.network.advance(1)
        self.failureResultOf(stranger, SessionRejected)
        with redirect_stdout(self.printed):
            self.network.run_until(alice.session.close())
            self.network.advance(1)
        self.assertTrue(self.printed.getvalue().endswith("b'alice' has left\n"))
