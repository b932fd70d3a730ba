"""
Tests for L{hypermail.hive.garden}.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.errors import RequestRefused
from hypermail.hive.garden import Garden


class GardenTests(SynchronousTestCase):
    """Bands are numbers here."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.needed: list[int] = []
        self.garden: Garden[int] = Garden(self.clock, self.needed.append, age=60.0, wait=10.0, most=3, most_waiting=4)

    def tearDown(self) -> None:
        """Nothing is left."""
        self.garden.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def refused(self, waiting: Deferred[int]) -> int:
        """With which status somebody was refused."""
        error = self.failureResultOf(waiting, RequestRefused).value
        assert isinstance(error, RequestRefused)
        return error.status

    def test_idle(self) -> None:
        """An idle band is lent at once, the one that was used last."""
        for band in (1, 2):
            self.assertTrue(self.garden.add(band))
        self.assertEqual([self.successResultOf(self.garden.lend()) for _ in range(2)], [2, 1])
        self.garden.give_back(2)
        self.garden.give_back(1)
        self.assertEqual(self.successResultOf(self.garden.lend()), 1)
        self.assertEqual((self.needed, self.garden.bands, self.garden.outstanding), ([], 2, 1))

    def test_waiting(self) -> None:
        """Who finds none waits; the cell is asked for one each, and who came first gets the first."""
        first, second = self.garden.lend(), self.garden.lend()
        self.assertEqual((self.needed, self.garden.outstanding), ([1, 1], 2))
        self.garden.add(1)
        self.assertEqual(self.successResultOf(first), 1)
        self.assertNoResult(second)
        self.garden.give_back(1)
        self.assertEqual(self.successResultOf(second), 1)
        self.garden.add(2)
        self.assertEqual(self.successResultOf(self.garden.lend()), 2)

    def test_late(self) -> None:
        """Nobody waits for ever; what does not come is asked for once more at half of the time."""
        waiting = [self.garden.lend() for _ in range(3)]
        self.clock.advance(4.9)
        self.assertEqual(self.needed, [1] * 3)
        self.clock.advance(0.1)
        self.assertEqual(self.needed, [1] * 6)
        self.clock.advance(4.9)
        self.assertNoResult(waiting[0])
        self.clock.advance(0.1)
        self.assertEqual([self.refused(one) for one in waiting], [503] * 3)
        self.assertEqual(self.needed, [1] * 6)
        for _ in range(3):
            self.garden.lend().addErrback(lambda _: None)
        self.assertEqual(self.needed, [1] * 9)

    def test_again(self) -> None:
        """A band that was lost on its way is asked for again, so that who waits for it gets one in time."""
        first = self.garden.lend()
        self.clock.advance(3)
        second = self.garden.lend()
        self.clock.advance(1)
        self.garden.add(1)
        self.assertEqual(self.successResultOf(first), 1)
        self.clock.advance(4)
        self.assertEqual(self.needed, [1, 1, 1])
        self.garden.add(2)
        self.assertEqual(self.successResultOf(second), 2)

    def test_limits(self) -> None:
        """A cell is asked for no more bands than it may have, and has no more; so many requests wait."""
        waiting = [self.garden.lend() for _ in range(4)]
        self.assertEqual(self.needed, [1] * 3)
        self.assertEqual(self.refused(self.garden.lend()), 503)
        self.assertEqual([self.garden.add(band) for band in range(4)], [True, True, True, False])
        self.assertNoResult(waiting[3])
        self.garden.remove(0)
        self.assertEqual(self.needed, [1] * 4, "there may be another one now")
        self.assertTrue(self.garden.add(4))
        self.assertEqual(self.successResultOf(waiting[3]), 4)

    def test_on_its_way(self) -> None:
        """Who came by a returned band has left the new one to the next, until that is too late to come."""
        self.garden.add(1)
        self.garden.lend()
        second = self.garden.lend()
        self.garden.give_back(1)
        self.successResultOf(second)
        third = self.garden.lend()
        self.assertEqual(self.needed, [1])
        self.clock.advance(5)
        self.assertEqual(self.needed, [1, 1])
        self.clock.advance(5)
        self.assertEqual(self.refused(third), 503)
        fourth = self.garden.lend()
        self.assertEqual(self.needed, [1, 1, 1])
        self.garden.add(2)
        self.assertEqual(self.successResultOf(fourth), 2)

    def test_removed(self) -> None:
        """A band that is closed is lent no more, whether it was idle or not."""
        for band in (1, 2):
            self.garden.add(band)
        self.successResultOf(self.garden.lend())
        for band in (1, 2, 3):
            self.garden.remove(band)
        self.assertEqual((self.garden.bands, self.garden.outstanding), (0, 0))
        self.assertNoResult(self.garden.lend().addErrback(lambda _: None))

    def test_cancelled(self) -> None:
        """Who gives up waits no more."""
        first, second = self.garden.lend(), self.garden.lend()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.garden.add(1)
        self.assertEqual(self.successResultOf(second), 1)

    def test_closed(self) -> None:
        """When the cell is lost who waits learns it, and nothing is lent any more."""
        waiting = self.garden.lend()
        for band in (1, 2, 3):
            self.garden.add(band)
        self.successResultOf(waiting)
        waiting = self.garden.lend()
        self.garden.lend()
        last = self.garden.lend()
        self.assertEqual(sorted(self.garden.close()), [1, 2, 3])
        self.assertEqual((self.refused(last), self.refused(self.garden.lend()), self.garden.add(5)), (502, 502, False))
        self.assertEqual((self.garden.bands, self.garden.outstanding), (0, 0))
        self.garden.give_back(1)
        self.assertEqual(self.garden.bands, 0)

    def test_closed_within(self) -> None:
        """Who learns of the loss may ask again, and one who waits may give up for another."""
        first, second = self.garden.lend(), self.garden.lend()
        again: list[Deferred[int]] = []

        def ask(_: Failure) -> None:
            again.append(self.garden.lend())
            second.cancel()

        first.addErrback(ask)
        self.garden.close()
        self.assertEqual(self.refused(again[0]), 502)
        self.failureResultOf(second, CancelledError)

    def test_prune(self) -> None:
        """Idle bands grow old, busy ones don't, and what was used begins anew."""
        for band in (1, 2, 3):
            self.garden.add(band)
        self.garden.lend()
        self.clock.advance(30)
        self.garden.give_back(self.successResultOf(self.garden.lend()))
        self.clock.advance(29.9)
        self.assertEqual(self.garden.prune(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.garden.prune(), [1])
        self.clock.advance(30)
        self.assertEqual((self.garden.prune(), self.garden.bands), ([2], 1))


class Anything(RuleBasedStateMachine):
    """Requests, bands, time and cancelling."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.garden: Garden[int] = Garden(self.clock, lambda _: None, age=5.0, wait=3.0, most=4, most_waiting=3)
        self.lent: list[int] = []
        self.waiting: list[Deferred[int]] = []
        self.next = 0

    def got(self, band: int) -> None:
        """A request has a band."""
        assert band not in self.lent
        self.lent.append(band)

    @rule()
    def lend(self) -> None:
        """A request comes."""
        waiting = self.garden.lend()
        self.waiting.append(waiting)
        waiting.addCallbacks(self.got, self.failed)

    def failed(self, failure: Failure) -> None:
        """Late, too many, or cancelled."""
        failure.trap(RequestRefused, CancelledError)

    @rule()
    def add(self) -> None:
        """The cell opens a band."""
        self.next += 1
        self.garden.add(self.next)

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), back=st.booleans())
    def end(self, data: st.DataObject, back: bool) -> None:
        """A request is through, and its band may go on."""
        band = data.draw(st.sampled_from(self.lent))
        self.lent.remove(band)
        (self.garden.give_back if back else self.garden.remove)(band)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A client goes."""
        data.draw(st.sampled_from(self.waiting)).cancel()

    @rule(seconds=st.sampled_from((0.5, 4.0)))
    def time(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.garden.prune()

    @invariant()
    def sound(self) -> None:
        """What is always true."""
        waiting = self.garden.outstanding - len(self.lent)
        idle = self.garden.bands - len(self.lent)
        assert waiting >= 0 <= idle and not (waiting and idle)
        assert self.garden.bands <= 4 and waiting <= 3
        assert len(self.clock.getDelayedCalls()) == waiting


class AnythingTests(SynchronousTestCase):
    """Whatever happens, in any order."""

    def test_anything(self) -> None:
        """Nobody waits while there is an idle band, and no band is lent twice."""
        run_state_machine_as_test(Anything, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
