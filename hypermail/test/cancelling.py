"""
What the tests of cancelling share: a Deferred is cancelled after each single event of the simulated network, until it
has fired by itself. It fires once, nothing is left, and nothing is logged as an error.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.sessions import Hosts
from hypermail.testing import Conditions

#: Loss, so that things happen that don't happen in a perfect network, too.
LOSSY = Conditions(delay=0.01, loss=0.2)
DELAYED = Conditions(delay=0.01)

Begin = Callable[[Hosts], Deferred[Any]]


class CancellingCase(SynchronousTestCase):
    """Cancelled after 0, 1, 2 … events."""

    def everywhere(
        self,
        prepare: Callable[[Hosts], object],
        begin: Begin,
        least: int,
        conditions: Conditions = DELAYED,
        errors: tuple[type[Exception], ...] = (CancelledError,),
    ) -> None:
        """
        @param prepare: makes what is needed before.
        @param begin: hands out the Deferred.
        @param least: how many points there must be at least.
        @param errors: what it fails with when it is cancelled in time; none when that makes it fire sooner.
        """
        events = 0
        while not self._once(prepare, begin, conditions, errors, events):
            events += 1
        self.assertGreaterEqual(events, least)

    def _once(
        self,
        prepare: Callable[[Hosts], object],
        begin: Begin,
        conditions: Conditions,
        errors: tuple[type[Exception], ...],
        events: int,
    ) -> bool:
        hosts = Hosts(conditions, seed=1)
        prepare(hosts)
        results: list[Any] = []
        deferred = begin(hosts)
        deferred.addBoth(results.append)
        for _ in range(events):
            if not results:
                self.assertTrue(hosts.network.step())
        done = bool(results)
        deferred.cancel()
        hosts.settle(30)
        self.assertEqual(len(results), 1, f"after {events} events")
        (result,) = results
        if not done and errors:
            self.assertIsInstance(result, Failure)
            self.assertIsNotNone(result.check(*errors), result)
        self._end(hosts, result)
        return done

    def tearDown(self) -> None:
        """Nothing was logged as an error, also not of Deferreds that nobody looks at any more."""
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def _end(self, hosts: Hosts, result: Any) -> None:
        """Take down what is there besides; then nothing may be left."""
        if hasattr(result, "session"):
            result.session.abort()
        elif hasattr(result, "transport"):
            result.transport.abortConnection()
        elif IListeningPort.providedBy(result):
            hosts.run(maybeDeferred(result.stopListening))
        for protocol in [*hosts.starting.built, *hosts.listening.built]:
            if hasattr(protocol, "session"):
                protocol.session.abort()
                self.assertEqual(protocol.calls.count("sessionOpened"), 1)
        hosts.settle(1)
        hosts.end()
        for protocol in [*hosts.starting.built, *hosts.listening.built]:
            self.assertEqual((protocol.calls or ["sessionLost"]).count("sessionLost"), 1)
