"""
Tests for L{hypermail.services.pipes}: both ends in every order of events.
"""

from __future__ import annotations

from itertools import product
from typing import Any
from unittest.mock import patch

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer

from hypermail.services.pipes import PipeEnd


@implementer(IHalfCloseableDescriptor)
class Half(StringTransport):
    """
    A transport that may be closed one way.

    @ivar ends: what was done to end it, in order.
    @ivar options: those of TCP that were set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []
        self.options: set[str] = set()

    def loseWriteConnection(self) -> None:
        self.ends.append("write")

    def loseConnection(self) -> None:
        self.ends.append("lose")

    def abortConnection(self) -> None:
        self.ends.append("abort")

    def unregisterProducer(self) -> None:
        """As of TCP: harmless when there is none."""
        self.producer = None

    def readConnectionLost(self, reason: Failure) -> None:
        """See L{IHalfCloseableDescriptor}."""

    def writeConnectionLost(self, reason: Failure) -> None:
        """See L{IHalfCloseableDescriptor}."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See L{ITCPTransport}."""
        self.options.add("nodelay")

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See L{ITCPTransport}."""
        self.options.add("keepalive")


class PipeTests(SynchronousTestCase):
    """Two ends."""

    def pair(self, joined: bool = True) -> tuple[Any, Any]:
        """Two ends, connected."""
        one, other = PipeEnd(), PipeEnd()
        for end in (one, other):
            end.makeConnection(Half())
        if joined:
            one.join(other)
        return one, other

    def test_waits(self) -> None:
        """An end reads nothing before it is joined; then each is held up by the other."""
        one, other = self.pair(joined=False)
        self.assertEqual((one.transport.producerState, other.transport.producerState), ("paused", "paused"))
        one.join(other)
        self.assertEqual((one.transport.producerState, other.transport.producerState), ("producing", "producing"))
        self.assertEqual((one.transport.producer, other.transport.producer), (other.transport, one.transport))
        self.assertTrue(one.transport.streaming)
        one.dataReceived(b"abc")
        self.assertEqual((one.transport.value(), other.transport.value()), (b"", b"abc"))

    def test_tcp(self) -> None:
        """What was written apart is not held back to be joined, and who has gone without a word is noticed."""
        for kind, options in ((ITCPTransport, {"nodelay", "keepalive"}), (IHalfCloseableDescriptor, set())):
            end, transport = PipeEnd(), Half()
            directlyProvides(transport, kind)
            end.makeConnection(transport)
            self.assertEqual(transport.options, options)
        gone, transport = PipeEnd(), Half()
        directlyProvides(transport, ITCPTransport)
        with patch.object(transport, "setTcpNoDelay", side_effect=OSError):
            gone.makeConnection(transport)

    def test_orders(self) -> None:
        """Whatever happens at both ends, before or after they are joined, both are ended, and nothing is raised."""
        happenings: list[tuple[str, int]] = list(product(("read", "done", "lost"), (0, 1)))
        for joinAt, kinds in product(range(4), product(happenings, repeat=3)):
            ends = self.pair(joined=False)
            gone: set[int] = set()
            for at in range(len(kinds) + 1):
                if at == joinAt:
                    ends[0].join(ends[1])
                if at == len(kinds):
                    break
                kind, which = kinds[at]
                if which in gone or (kind == "read" and (ends[which]._readAll or at < joinAt)):
                    continue  # it reads nothing before
                if kind == "read":
                    ends[which].readConnectionLost()
                else:
                    gone.add(which)
                    error = ConnectionDone() if kind == "done" else ConnectionLost()
                    ends[which].connectionLost(Failure(error))
            for which in (0, 1):
                if which not in gone and (gone or all(end._readAll for end in ends)):
                    self.assertTrue({"lose", "abort"} & set(ends[which].transport.ends), (joinAt, kinds))

    def test_halves(self) -> None:
        """One side's last word is passed on, the other goes on; when both have said it, both are done."""
        one, other = self.pair()
        one.readConnectionLost()
        self.assertEqual((one.transport.ends, other.transport.ends), ([], ["write"]))
        other.dataReceived(b"answer")
        self.assertEqual(one.transport.value(), b"answer")
        other.readConnectionLost()
        self.assertEqual((one.transport.ends, other.transport.ends), (["lose"], ["write", "lose"]))

    def test_noHalves(self) -> None:
        """Where there are no halves the whole is closed."""
        one, other = self.pair()
        other.transport = StringTransport()
        other.transport.registerProducer(one.transport, True)
        one.readConnectionLost()
        self.assertTrue(other.transport.disconnecting)

    def test_unclean(self) -> None:
        """An end that is not clean is none on the other side, either."""
        for error, end in ((ConnectionDone(), "lose"), (ConnectionLost(), "abort")):
            one, other = self.pair()
            one.connectionLost(Failure(error))
            self.assertEqual(other.transport.ends, [end])
