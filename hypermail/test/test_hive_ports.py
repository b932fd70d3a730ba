"""
Tests for L{hypermail.hive.ports}, in virtual time.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail import Identity, ListenerTLS, StarterTLS
from hypermail.hive.cell.queens import Queen
from hypermail.hive.ports import listen_hypermail
from hypermail.testing import Blackhole, Conditions, SimulatedNetwork

WHERE = "10.0.0.2"


class Remembering(Protocol):
    """What comes, and whether the connection was lost."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        self.lost = True


class SilenceTests(SynchronousTestCase):
    """A cell, over hypermail, of which nothing is heard any more."""

    def connected(self, blackhole: Blackhole) -> tuple[SimulatedNetwork, Any, Remembering]:
        """@return: the network, the cell's end of a leash, and the queen's."""
        identity = Identity.self_signed("queen", now=datetime.now(UTC))
        network = SimulatedNetwork(seed=1, conditions=Conditions(delay=0.01, blackholes=(blackhole,)))
        here, there = network.reactor("10.0.0.1"), network.reactor(WHERE)
        found: list[Remembering] = []

        def build() -> Remembering:
            found.append(Remembering())
            return found[-1]

        entrance: Any = Factory.forProtocol(build)
        listen_hypermail(there, entrance, ListenerTLS(identity), 4700, WHERE)
        queen = Queen.overHypermail(WHERE, 4700, security=StarterTLS(pin=identity.pin))
        cell: Any = network.run_until(queen.leash(here).connect(Factory.forProtocol(Remembering)))
        cell.transport.write(b"one ")
        network.advance(1)
        self.assertEqual(b"one ", found[0].received)
        return network, cell, found[0]

    def test_gone(self) -> None:
        """A cell that is gone for good is lost before clients have waited for half a minute."""
        network, _, queens = self.connected(Blackhole(2.0, math.inf))
        network.advance(20)
        self.assertFalse(queens.lost)
        network.advance(7)
        self.assertTrue(queens.lost)

    def test_back(self) -> None:
        """One that is back after 17 s has lost nothing; also when nothing is said, it is heard of often enough."""
        network, cell, queens = self.connected(Blackhole(2.0, 19.0))
        network.advance(10)
        cell.transport.write(b"two ")
        network.advance(60)
        cell.transport.write(b"three")
        network.advance(1)
        self.assertEqual((b"one two three", False, False), (queens.received, queens.lost, cell.lost))
