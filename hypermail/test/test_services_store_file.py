"""
Tests for L{hypermail.services.store_file}: what a store keeps, and for how long.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import StoreFailed
from hypermail.messages.lanes import LaneProperties
from hypermail.options import Delivery, Role
from hypermail.services.store_file import SWEEP_INTERVAL, StoreFile
from hypermail.session.journal import (
    Change,
    Heard,
    LaneUsed,
    Over,
    Queued,
    QueuedMessage,
    Settled,
    StoredReceiving,
    StoredSending,
    Suspended,
    Taken,
    Withdrawn,
)
from hypermail.test.stores import NOW, OWNER, Chance, FileTestCase, identity, queued, session_id, state
from hypermail.testing.store import MemoryStore
from hypermail.wire.packets import Verdict

ID = session_id(1)
PROPERTIES = LaneProperties(ordered=False, delivery=Delivery.ACKED, priority=5, redundancy=2, durable=True)


class KeepingTests(FileTestCase):
    """What is found again."""

    def setUp(self) -> None:
        super().setUp()
        self.write(identity(), LaneUsed(ID, 3, PROPERTIES))

    def sending(self, lane: int = 3) -> StoredSending:
        """The sending half of a lane, which is the same after a restart."""
        before = self.file.find(ID)
        self.reopen()
        after = self.file.find(ID)
        self.assertEqual(before, after)
        assert after is not None
        return after.sending[lane]

    def receiving(self, lane: int = 3) -> StoredReceiving:
        """Likewise the receiving half."""
        self.sending()
        after = self.file.find(ID)
        assert after is not None
        return after.receiving[lane]

    def withdrawn(self) -> set[int]:
        """The numbers that are remembered as such."""
        self.sending()
        kept = self.file._load(ID)
        assert kept is not None
        return kept.sending[3].withdrawn

    def numbers(self, first: int = 0, most: int = 1 << 30) -> list[int]:
        """Those of the messages that are read."""
        return [number for number, _ in self.file.messages(ID, 3, first, most)]

    def test_identity(self) -> None:
        """A session is found by its id; the next identity replaces the one before, and its lanes stay."""
        self.assertIsNone(self.file.find(session_id(2)))
        newer = identity(generation=(1 << 64) - 1, peer_incarnation=9, parameters=b"other")
        self.write(newer)
        self.assertEqual(self.sending(), StoredSending(properties=PROPERTIES, settled=0, next=0))
        found = self.file.find(ID)
        assert found is not None
        self.assertEqual(found.identity, newer)

    def test_queued(self) -> None:
        """Messages come back with their numbers, expiry and note, whatever groups they were written in."""
        messages = [QueuedMessage(b"one", NOW + 9, b"note"), QueuedMessage(b"", None, b""), *queued(b"three" * 1000)]
        self.write(Queued(ID, 3, 0, messages[:1]), Queued(ID, 3, 1, messages[1:2]))
        self.write(Queued(ID, 3, 2, messages[2:]), Queued(ID, 3, 3, []))
        for _ in range(2):
            self.assertEqual(self.file.messages(ID, 3, 0, 1 << 20), list(enumerate(messages)))
            self.assertEqual(self.sending().next, 3)

    def test_rows(self) -> None:
        """Messages of one group share a row, up to 1 MiB of them; those of a larger group are many rows."""
        self.write(*(Queued(ID, 3, number, queued(b"x")) for number in range(1000)))
        self.assertEqual(self.rows("messages"), 1)
        self.write(Queued(ID, 3, 1000, queued(*(bytes(200_000) for _ in range(60)))))
        self.assertEqual(self.rows("messages"), 1 + 12)
        self.assertEqual(self.numbers(), list(range(1060)))

    def test_manyRows(self) -> None:
        """A group of more rows than a statement may have is one transaction all the same."""
        self.file.apply([[identity(number), Taken(session_id(number), 0, number, ())] for number in range(2, 300)])
        self.assertEqual(self.rows("lanes"), 299)
        with self.assertRaises(OverflowError):
            self.file.apply(
                [[Taken(session_id(number), 0, 500, ())] for number in range(2, 300)]
                + [[LaneUsed(ID, number, PROPERTIES)] for number in (1, 1 << 70)]
            )
        for number in (2, 299):
            found = self.file.find(session_id(number))
            assert found is not None
            self.assertEqual(found.receiving[0].taken, number)
        self.write(Taken(session_id(2), 0, 501, ()))

    def test_most(self) -> None:
        """Reading stops before there are more bytes than were asked for, but not before the first message."""
        self.write(Queued(ID, 3, 0, queued(b"12345", b"", b"6789", b"0")))
        self.write(Queued(ID, 3, 4, queued(b"abc")))
        for first, most, expected in (
            (0, 0, [0]),
            (0, 4, [0]),
            (0, 5, [0, 1]),
            (0, 8, [0, 1]),
            (0, 9, [0, 1, 2]),
            (0, 10, [0, 1, 2, 3]),
            (0, 13, [0, 1, 2, 3, 4]),
            (1, 0, [1]),
            (2, 1, [2]),
            (3, 4, [3, 4]),
            (4, 0, [4]),
            (5, 99, []),
            (99, 99, []),
        ):
            self.assertEqual(self.numbers(first, most), expected, (first, most))

    def test_mostEmpty(self) -> None:
        """Messages without a byte are read 65,536 at a time."""
        self.write(Queued(ID, 3, 0, queued(b"") * 70_000))
        self.assertEqual(self.numbers(0, 5), list(range(65_536)))
        self.assertEqual(self.numbers(65_536, 5), list(range(65_536, 70_000)))

    def test_nothing(self) -> None:
        """There are no messages of sessions and lanes that are not there."""
        self.assertEqual(self.file.messages(session_id(2), 3, 0, 9), [])
        self.assertEqual(self.file.messages(ID, 4, 0, 9), [])
        self.assertEqual(self.file.messages(ID, 3, 0, 9), [])

    def test_settled(self) -> None:
        """Settled messages are not read any more; a row of which none is left is removed, others stay."""
        for first in (0, 4, 8):
            self.write(Queued(ID, 3, first, queued(b"a", b"b", b"c", b"d")))
        for below, rows in ((3, 3), (4, 2), (2, 2), (9, 1), (12, 0)):
            self.write(Settled(ID, 3, below))
            self.assertEqual(self.rows("messages"), rows)
            self.assertEqual(self.numbers(), list(range(max(below, 4) if below == 2 else below, 12)))
        self.assertEqual(self.sending(), StoredSending(properties=PROPERTIES, settled=12, next=12))
        self.write(Queued(ID, 3, 12, queued(b"x")))
        self.assertEqual(self.numbers(), [12])

    def test_settledAtOnce(self) -> None:
        """What is settled in the group in which it was queued is not written, and the numbers go on."""
        self.write(Queued(ID, 3, 0, queued(b"a", b"b")), Settled(ID, 3, 1), Settled(ID, 3, 2))
        self.assertEqual(self.rows("messages"), 0)
        self.assertEqual(self.sending().next, 2)
        self.write(LaneUsed(ID, 4, PROPERTIES), Queued(ID, 4, 0, queued(b"a", b"b")), Settled(ID, 4, 2))
        self.assertEqual(self.rows("messages"), 0)
        self.assertEqual(self.sending(4), StoredSending(properties=PROPERTIES, settled=2, next=2))
        self.write(Queued(ID, 3, 2, queued(b"c")), Settled(ID, 3, 9))
        self.assertEqual(self.sending(), StoredSending(properties=PROPERTIES, settled=9, next=9))

    def test_withdrawn(self) -> None:
        """Withdrawn messages are left out, and forgotten once they are settled."""
        self.write(Queued(ID, 3, 0, queued(*(b"x" for _ in range(10)))))
        self.write(*(Withdrawn(ID, 3, number) for number in (1, 2, 3, 7, 10)))
        self.write(Withdrawn(ID, 3, 9), Withdrawn(ID, 3, 11))
        self.assertEqual(self.withdrawn(), {1, 2, 3, 7, 9})
        self.assertEqual(self.numbers(), [0, 4, 5, 6, 8])
        self.write(Settled(ID, 3, 3), Withdrawn(ID, 3, 0))
        self.assertEqual(self.withdrawn(), {3, 7, 9})
        self.assertEqual(self.numbers(0, 2), [4, 5])

    def test_withdrawnAll(self) -> None:
        """When all that is left was withdrawn there is none to be read."""
        self.write(Queued(ID, 3, 0, queued(b"x", b"y")), Withdrawn(ID, 3, 0), Withdrawn(ID, 3, 1))
        self.assertEqual(self.numbers(), [])

    def test_taken(self) -> None:
        """The watermark of what came, and the verdicts that the peer may not know, in their order."""
        verdicts = [Verdict(number, number % 2 > 0, number, "näh\udc80") for number in (5, 3, 8)]
        self.write(Taken(ID, 3, 6, tuple(verdicts[:2])))
        self.assertEqual(self.receiving(), StoredReceiving(taken=6, verdicts=tuple(verdicts[:2])))
        self.write(Taken(ID, 3, 7, ()), Taken(ID, 3, 9, (verdicts[2],)), Taken(ID, 3, 8, ()))
        self.assertEqual(self.receiving(), StoredReceiving(taken=9, verdicts=tuple(verdicts)))
        self.write(Heard(ID, 3, (3, 4)), Heard(ID, 9, (5,)))
        self.assertEqual(self.receiving(), StoredReceiving(taken=9, verdicts=(verdicts[0], verdicts[2])))
        self.write(Taken(ID, 200, 1 << 63, ()))
        self.assertEqual(self.receiving(200).taken, 1 << 63)

    def test_properties(self) -> None:
        """A lane that is used again, with other properties, goes on."""
        self.write(Queued(ID, 3, 0, queued(b"a", b"b")), Settled(ID, 3, 1))
        self.write(LaneUsed(ID, 3, LaneProperties(durable=True)))
        self.assertEqual(self.sending(), StoredSending(properties=LaneProperties(durable=True), settled=1, next=2))

    def test_over(self) -> None:
        """Nothing is left of a session that is over, nor of what was in the same group; others stay."""
        other = session_id(2)
        self.write(identity(2), LaneUsed(other, 3, PROPERTIES), Queued(other, 3, 0, queued(b"other")))
        self.write(Queued(ID, 3, 0, queued(b"a")), Taken(ID, 3, 1, ()))
        self.write(Queued(ID, 3, 1, queued(b"b")), Taken(ID, 3, 2, ()), identity(), Over(ID))
        self.assertEqual(self.file._used, {other})
        for _ in range(2):
            self.assertIsNone(self.file.find(ID))
            self.assertEqual(self.numbers(), [])
            self.assertEqual([self.rows(table) for table in ("sessions", "lanes", "messages")], [1, 1, 1])
            self.assertEqual(self.file.messages(other, 3, 0, 9), [(0, *queued(b"other"))])
            self.reopen()

    def test_overAndAnew(self) -> None:
        """A session of the same id that begins in the group in which one was over has nothing of it."""
        self.write(Queued(ID, 3, 0, queued(b"a")))
        self.write(Over(ID), identity(), LaneUsed(ID, 3, PROPERTIES), Queued(ID, 3, 0, queued(b"new")))
        self.assertEqual(self.file.messages(ID, 3, 0, 99), [(0, *queued(b"new"))])
        self.assertEqual(self.sending().next, 1)
        self.write(Queued(ID, 3, 1, queued(b"b")), Taken(ID, 3, 1, ()), Over(ID), identity())
        self.assertEqual([self.rows(table) for table in ("sessions", "lanes", "messages")], [1, 0, 0])

    def test_lateWords(self) -> None:
        """Changes of a session that is over are nothing, as long as they promise nothing."""
        self.write(Over(ID))
        self.write(Suspended(ID), Settled(ID, 3, 1), Withdrawn(ID, 3, 0), Taken(ID, 3, 1, ()), Heard(ID, 3, (1,)))
        self.write(Over(ID), Over(session_id(77)))
        self.assertEqual([self.rows(table) for table in ("sessions", "lanes", "messages")], [0, 0, 0])

    def test_refused(self) -> None:
        """A write that does not fit is refused whole; those beside it in the group are not."""
        for misfit in (
            Queued(ID, 3, 1, queued(b"gap")),
            Queued(ID, 4, 0, queued(b"no lane")),
            Queued(session_id(9), 3, 0, queued(b"no session")),
            LaneUsed(session_id(9), 3, PROPERTIES),
        ):
            writes: list[list[Change]] = [
                [Taken(ID, 0, 1, ())],
                [Taken(ID, 1, 1, ()), misfit, Taken(ID, 2, 1, ())],
                [Taken(ID, 5, 1, ())],
                [misfit],
            ]
            first, second, third, fourth = self.file.apply(writes)
            self.assertEqual((first, third), (None, None))
            assert second is not None and fourth is not None
            self.assertIn(self.path, second.text)
            found = self.file.find(ID)
            assert found is not None
            self.assertEqual(sorted(found.receiving), [0, 5])
            self.assertEqual(found.sending[3].next, 0)

    def test_nonsense(self) -> None:
        """What is no change at all leaves nothing of its group, on the disk or in memory."""
        nonsense: Any = "nonsense"
        for misfit in (nonsense, LaneUsed(ID, 1 << 70, PROPERTIES)):
            writes: list[list[Change]] = [[Taken(ID, 0, 5, ())], [misfit]]
            with self.assertRaises((KeyError, OverflowError)):
                self.file.apply(writes)
            found = self.file.find(ID)
            assert found is not None
            self.assertEqual(found.receiving, {})

    def test_refusedSequel(self) -> None:
        """What follows refused messages is refused, too: no number is left out."""
        refusals = self.file.apply(
            [[Queued(ID, 3, at, queued(b"x"))] for at in (0, 2, 3, 1)]  # the last one fits again
        )
        self.assertEqual([refusal is None for refusal in refusals], [True, False, False, True])
        self.assertEqual(self.numbers(), [0, 1])

    def test_repeated(self) -> None:
        """Numbers that are there are refused: another message must not take the place of one that was promised."""
        self.write(Queued(ID, 3, 0, queued(b"a", b"b")))
        [refusal] = self.file.apply([[Queued(ID, 3, 1, queued(b"other"))]])
        self.assertIsInstance(refusal, StoreFailed)
        self.assertEqual(self.file.messages(ID, 3, 1, 9), [(1, *queued(b"b"))])


class NameTests(FileTestCase):
    """Starters' sessions."""

    def test_named(self) -> None:
        """A starter's session is found by its name, too, a listener's by its id only; no name is no name."""
        self.write(identity(1, "näme\udc80"), identity(2), identity(3))
        for _ in range(2):
            found = self.file.named("näme\udc80")
            assert found is not None
            self.assertEqual(found.identity, identity(1, "näme\udc80"))
            self.assertEqual(self.file.find(ID), found)
            self.assertIsNone(self.file.named(""))
            self.assertIsNone(self.file.named("other"))
            self.assertIsNotNone(self.file.find(session_id(2)))
            self.reopen()

    def test_taken(self) -> None:
        """A second session of a name is refused while there is the first, in the same group or later."""
        first, second, third = self.file.apply([[identity(1, "a")], [identity(2, "a")], [identity(3, "b")]])
        self.assertEqual((first, third), (None, None))
        assert second is not None
        self.assertIn("there is another session of the name 'a'", second.text)
        [refusal] = self.file.apply([[identity(2, "b")]])
        self.assertIsNotNone(refusal)
        self.write(identity(1, "a", generation=5))
        found = self.file.named("a")
        assert found is not None
        self.assertEqual(found.identity, identity(1, "a", generation=5))

    def test_listener(self) -> None:
        """A listener's session takes no name from anybody, whatever it is called."""
        self.write(*(identity(number, "a", role=Role.LISTENER) for number in (1, 2)), identity(3, "a"))
        found = self.file.named("a")
        assert found is not None
        self.assertEqual(found.identity.id, session_id(3))
        self.assertIsNotNone(self.file.find(ID))
        self.reopen()

    def test_otherSide(self) -> None:
        """The two sides of one session have no room in one store."""
        self.write(identity(1, "a"))
        [refusal] = self.file.apply([[identity(1, role=Role.LISTENER)]])
        assert refusal is not None
        self.assertIn("give each a store of its own", refusal.text)
        found = self.file.named("a")
        assert found is not None
        self.assertEqual(found.identity, identity(1, "a"))

    def test_free(self) -> None:
        """A name is free once its session is over: before, in the same write, or because its time is over."""
        self.write(identity(1, "a"))
        self.write(Over(ID), identity(2, "a"))
        self.write(Over(session_id(2)))
        self.write(identity(3, "a"), LaneUsed(session_id(3), 1, PROPERTIES), Suspended(session_id(3)))
        self.time += 1001
        self.assertIsNone(self.file.named("a"))
        self.write(identity(4, "a"))
        found = self.file.named("a")
        assert found is not None
        self.assertEqual(found.identity.id, session_id(4))
        self.assertEqual((self.rows("sessions"), self.rows("lanes")), (1, 0))


class TimeTests(FileTestCase):
    """For how long."""

    def test_suspended(self) -> None:
        """A suspended session is found for its timeout, and not longer; its rows go at the next opening."""
        self.write(identity(), LaneUsed(ID, 0, PROPERTIES), Queued(ID, 0, 0, queued(b"x")), Suspended(ID))
        self.time += 600
        self.write(Suspended(ID))  # already
        self.time += 400
        self.assertIsNotNone(self.file.find(ID))
        self.time += 1
        self.assertIsNone(self.file.find(ID))
        self.assertEqual(self.file.messages(ID, 0, 0, 9), [])
        self.assertEqual(self.rows("sessions"), 1)
        self.reopen()
        self.assertEqual([self.rows(table) for table in ("sessions", "lanes", "messages")], [0, 0, 0])

    def test_claimed(self) -> None:
        """A session that was claimed again is not suspended any more, whatever time passes."""
        self.write(identity(), Suspended(ID))
        self.time += 900
        self.write(identity(generation=1))
        self.time += 100_000
        self.assertIsNotNone(self.file.find(ID))

    def test_tooLate(self) -> None:
        """A session of an id whose time was over has nothing of the one before."""
        self.write(identity(), LaneUsed(ID, 0, PROPERTIES), Queued(ID, 0, 0, queued(b"x")), Suspended(ID))
        self.time += 1001
        self.write(identity())
        found = self.file.find(ID)
        assert found is not None
        self.assertEqual(found.sending, {})
        self.assertEqual(self.rows("messages"), 0)

    def test_killed(self) -> None:
        """A session that had a link when its process died is suspended from the opening on."""
        self.write(identity())
        self.time += 5000
        self.reopen()
        self.time += 1000
        self.reopen()
        self.assertIsNotNone(self.file.find(ID))
        self.time += 1
        self.assertIsNone(self.file.find(ID))

    def test_sweep(self) -> None:
        """Rows of sessions whose time is over go now and then; those of this process only by its own word."""
        self.write(identity(1), Suspended(ID))
        self.reopen()
        self.write(identity(2), Suspended(session_id(2)), identity(3))
        self.time += SWEEP_INTERVAL - 1
        self.write(identity(3))
        self.assertEqual(self.rows("sessions"), 3)
        self.assertEqual(self.file.count(), 3)
        self.time += 1
        self.write(identity(3))
        self.assertEqual(self.rows("sessions"), 2)
        self.assertEqual(self.file.count(), 2)
        self.assertIsNone(self.file.find(session_id(2)))
        self.assertIsNotNone(self.file.find(session_id(3)))

    def test_sweepFails(self) -> None:
        """A sweep that finds a damage harms no write that went before it."""
        self.write(identity(1), Suspended(ID))
        self.reopen()
        self.file._database.execute("UPDATE sessions SET body = x'00'")
        self.time += SWEEP_INTERVAL
        self.write(identity(2))
        self.assertIsNotNone(self.file.find(session_id(2)))
        self.assertEqual(self.rows("sessions"), 2)
        with self.assertRaisesRegex(StoreFailed, "is damaged"):
            self.file.sweep()

    def test_setBack(self) -> None:
        """A clock that is set back makes nothing be forgotten: the store's time stands still meanwhile."""
        self.write(identity(1), Suspended(ID))
        self.time += 500
        self.write(identity(2), Suspended(session_id(2)))
        self.time = 0.0  # no clock at all, before it was set
        self.reopen()
        self.write(identity(3), Suspended(session_id(3)))
        self.reopen()
        self.time = NOW + 600
        self.reopen()
        for number in (1, 2, 3):
            self.assertIsNotNone(self.file.find(session_id(number)))
        self.time = NOW + 1001
        self.assertIsNone(self.file.find(ID))
        self.assertIsNotNone(self.file.find(session_id(3)))
        self.time = NOW + 1501
        self.assertIsNone(self.file.find(session_id(3)))

    def test_setBackAfterKill(self) -> None:
        """... also when the process was killed: the time is written down with each look for sessions that are over."""
        self.time += SWEEP_INTERVAL
        self.write(identity(1), Suspended(ID))
        self.opened.remove(self.file)
        self.file._database.close()
        seen, self.time = self.time, 0.0
        self.assertEqual(self.open().time(), seen)

    def test_forEver(self) -> None:
        """A session without a timeout is kept."""
        self.write(identity(timeout=float("inf")), Suspended(ID))
        self.time += 1e12
        self.reopen()
        self.assertIsNotNone(self.file.find(ID))


class Machine(RuleBasedStateMachine):
    """A store beside the model of it, and beside the one in memory that tests of sessions are run with."""

    directory = ""

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed: int) -> None:
        """An empty one."""
        self.path = str(Path(self.directory) / f"{seed}.db")
        self.chance = Chance(seed, largest=20_000)
        self.groups = self.chance.groups()
        self.file = StoreFile(self.path, OWNER, lambda: NOW)
        self.memory = MemoryStore()

    def remember(self, writes: list[list[Change]]) -> None:
        """The same in memory."""
        for changes in writes:
            self.memory.apply(changes)

    @rule(groups=st.integers(1, 8))
    def write(self, groups: int) -> None:
        """What fits."""
        for _ in range(groups):
            writes = next(self.groups)
            self.remember(writes)
            if self.file.apply(writes) != [None] * len(writes):
                raise AssertionError("refused")

    @rule()
    def reopen(self) -> None:
        """As the next process does."""
        self.file.close()
        self.file = StoreFile(self.path, OWNER, lambda: NOW)

    @rule()
    def misfit(self) -> None:
        """A write that does not fit, beside one that does."""
        wrong: list[Change] = [Queued(session_id(1 << 40), 0, 0, queued(b"x"))]
        if self.chance.model.identities:
            id = min(self.chance.model.identities)
            wrong = [Over(id), Queued(id, 0, 0, queued(b"x"))]
        writes = next(self.groups)
        self.remember(writes)
        if [refusal is None for refusal in self.file.apply([wrong, *writes])] != [False] + [True] * len(writes):
            raise AssertionError("not what was to be refused")

    @rule(most=st.sampled_from((0, 100, 1 << 20)))
    def compare(self, most: int) -> None:
        """All of it."""
        if state(self.file, most) != self.chance.model.state():
            raise AssertionError("another state")
        if len(self.memory) != self.file.count():
            raise AssertionError("another number of sessions")
        for id, (stored, lanes) in self.chance.model.state().items():
            same = self.memory.find(id) == self.file.find(id) == stored
            if stored.identity.name:
                same = same and self.memory.named(stored.identity.name) == stored
            if not same or any(self.memory.messages(id, lane, 0, 1 << 30) != lanes[lane] for lane in lanes):
                raise AssertionError("another session in memory")

    def teardown(self) -> None:
        """Compare a last time."""
        if hasattr(self, "file"):
            self.compare(1000)
            self.file.close()
            os.unlink(self.path)


class MachineTests(SynchronousTestCase):
    """Any order of writing, reading and opening."""

    def test_machine(self) -> None:
        """The store holds what its model holds."""
        directory = self.mktemp()
        os.mkdir(directory)

        class Here(Machine):
            pass

        Here.directory = directory
        run_state_machine_as_test(Here, settings=settings(max_examples=40, stateful_step_count=20, deadline=None))
