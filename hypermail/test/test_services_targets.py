"""
Tests for L{hypermail.services.targets}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.services import targets
from hypermail.services.addresses import Destination
from hypermail.services.targets import Address, Target


class TargetTests(SynchronousTestCase):
    """A name that is looked up when we say so."""

    def setUp(self) -> None:
        self.looking: list[Deferred[list[Address]]] = []

        def resolve(reactor: object, host: str, port: int) -> Deferred[list[Address]]:
            self.looking.append(Deferred())
            return self.looking[-1]

        self.patch(targets, "resolve", resolve)
        self.clock = Clock()
        self.target = Target(self.clock, Destination("example.org", 53))
        self.told: list[tuple[int, Any]] = []

    def ask(self, number: int) -> Deferred[Address]:
        """Ask where it is."""
        asking = self.target.address()
        asking.addBoth(lambda found: self.told.append((number, found)))
        return asking

    def test_order(self) -> None:
        """One look for all; they learn it in the order in which they have asked, as datagrams are to stay in theirs."""
        for number in range(5):
            self.ask(number)
        self.assertEqual(len(self.looking), 1)
        self.looking[0].callback([("192.0.2.1", 53), ("192.0.2.2", 53)])
        self.assertEqual(self.told, [(number, ("192.0.2.1", 53)) for number in range(5)])

    def test_remembered(self) -> None:
        """For a while it is taken to be right."""
        self.ask(0)
        self.looking[0].callback([("192.0.2.1", 53)])
        self.clock.advance(targets.RESOLVED - 0.1)
        self.ask(1)
        self.assertEqual((len(self.looking), len(self.told)), (1, 2))
        self.clock.advance(0.1)
        self.ask(2)
        self.assertEqual((len(self.looking), len(self.told)), (2, 2))

    def test_notFound(self) -> None:
        """A name that is not found is looked up again soon, not at once."""
        self.ask(0)
        self.looking[0].errback(Failure(DNSLookupError("no such host")))
        self.ask(1)
        self.assertEqual((len(self.looking), len(self.told)), (1, 2))
        self.clock.advance(targets.UNRESOLVED)
        self.ask(2)
        self.assertEqual(len(self.looking), 2)

    def test_cancelled(self) -> None:
        """Who gives up, also where another one learns it, is told nothing else, and harms nobody."""
        asking = [self.ask(number) for number in range(3)]
        asking[0].cancel()
        asking[1].addCallback(lambda _: asking[2].cancel())
        self.ask(3)
        self.looking[0].callback([("192.0.2.1", 53)])
        self.assertEqual([number for number, _ in self.told], [0, 1, 2, 3])
        for number in (0, 2):
            failure = self.told[number][1]
            failure.trap(CancelledError)

    def test_address(self) -> None:
        """What is an address is not looked up."""
        self.target = Target(self.clock, Destination("2001:DB8:0::1", 53))
        self.ask(0)
        self.assertEqual((self.told, self.looking), ([(0, ("2001:db8::1", 53))], []))
