"""
Dialect C{batch} against L{the foreign program<hypermail.test.foreign_batch>}, in virtual time, in both roles.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.batch.dialect import Batch
from hypermail.errors import SessionClosed
from hypermail.session.states import State
from hypermail.test.dialect_cores import DialectCore
from hypermail.test.dialects import Application
from hypermail.test.foreign_batch import ForeignBatchCore
from hypermail.test.foreign_batch_connection import ForeignBatchConnection, ForeignBatchOptions, ForeignBatchState
from hypermail.test.foreign_batch_packets import CONNECT, CONNECT_ACK
from hypermail.test.foreign_link import ForeignFaults, ForeignWorld

OURS, THEIRS = ("10.0.0.1", 4700), ("10.0.0.2", 4800)

AS_ORIGINAL = ForeignBatchOptions()
DEFAULTS = Batch()

STEADY = ForeignBatchOptions(ping_packet_count=12)
"""One that three lost Pings don't make close when all else is said: a Ping and its ack are lost at every third try."""

HARM = ("too early to acknowledge", "other flags", "reused batch numbers")
"""What a foreign connection counts when it was not treated with care."""


def handshake(data: bytes) -> bool:
    """
    Whether a datagram is Connect or its ack.

    When a Connect is duplicated on the way, the foreign program has two connections with one id of ours. Of the second
    one we may never hear, and then its Close, 25 s later, is to us that of the first.
    """
    return data[0] in (CONNECT, CONNECT_ACK)


def messages(seed: int, count: int, most: int) -> list[bytes]:
    """Messages of many sizes, no two of them alike, and one that is empty."""
    chance = random.Random(seed)
    return [b""] + [b"%d " % number + chance.randbytes(chance.randrange(most)) for number in range(1, count)]


class BatchForeignTests(SynchronousTestCase):
    """A socket of ours and the foreign program."""

    def world(
        self, faults: ForeignFaults, *, listening: bool, options: ForeignBatchOptions, dialect: Batch, jitter: float
    ) -> None:
        """Make both ends."""
        self.net = ForeignWorld(faults, jitter=jitter)
        self.ours = DialectCore(OURS, dialect, listening=listening)
        self.theirs = ForeignBatchCore(THEIRS[1], options)
        self.net.add(OURS, self.ours)
        self.net.add(THEIRS, self.theirs)

    def opened(
        self,
        faults: ForeignFaults | None = None,
        *,
        listening: bool,
        options: ForeignBatchOptions = AS_ORIGINAL,
        dialect: Batch = DEFAULTS,
        jitter: float = 0.02,
    ) -> tuple[Application, ForeignBatchConnection]:
        """A session, as its two ends have it, whoever of them has asked for it."""
        self.world(faults or ForeignFaults(), listening=listening, options=options, dialect=dialect, jitter=jitter)
        return self.asked_by_them() if listening else self.asked_by_us()

    def asked_by_us(self) -> tuple[Application, ForeignBatchConnection]:
        """We ask, and after each time in vain once more, until the session is open."""
        session = self.ours.start(self.net.now, THEIRS)
        while session.connection.state is not State.OPEN:
            self.net.pass_time(0.5)
            if session.ended is not None:
                session = self.ours.start(self.net.now, THEIRS)
        [connection] = [one for one in self.theirs.accepted if one.id == session.connection.peer_id]
        return session, connection

    def asked_by_them(self) -> tuple[Application, ForeignBatchConnection]:
        """They ask, and after each time in vain once more, until they say something that opens our session."""
        connection = self.theirs.connect(self.net.now, OURS)
        while connection.state is not ForeignBatchState.OPEN:
            self.net.pass_time(0.5)
            if connection.state is ForeignBatchState.FAILED:
                connection = self.theirs.connect(self.net.now, OURS)
        connection.send(self.net.now, b"first")
        self.net.run(lambda: any(b"first" in one.messages for one in self.ours.sessions), 60)
        [session] = [one for one in self.ours.sessions if b"first" in one.messages]
        return session, connection

    def exchange(self, session: Application, connection: ForeignBatchConnection, count: int, most: int) -> None:
        """Exchange so many messages each way, and see that none is lost, none comes twice, and nothing does harm."""
        early = len(session.messages)
        mine, yours = messages(1, count, most), messages(2, count, most)
        sent = self.ours.say(self.net.now, session, mine)
        for one in yours:
            connection.send(self.net.now, one)
        self.net.run(lambda: self._over(session, connection, len(sent), connection.sent), 36_000)
        self.assertEqual(sorted(connection.delivered), sorted(mine))
        self.assertEqual(sorted(session.messages[early:]), sorted(yours))
        self.assertEqual([message.error for message in session.settled if message.error is not None], [])
        self.unharmed(connection)

    def _over(self, session: Application, connection: ForeignBatchConnection, ours: int, theirs: int) -> bool:
        self.assertIsNone(session.ended)
        return len(session.settled) == ours and connection.acknowledged == theirs

    def unharmed(self, connection: ForeignBatchConnection) -> None:
        """Nothing was sent that the foreign program bears badly, or to where it does not receive."""
        self.assertEqual({name: connection.counts[name] for name in HARM}, dict.fromkeys(HARM, 0))
        self.assertEqual((self.theirs.counts["overflow"], self.net.stray), (0, []))

    def test_clean(self) -> None:
        """On a good link all comes, in both roles, and we repeat nothing."""
        for listening in (False, True):
            session, connection = self.opened(listening=listening, jitter=0.0)
            self.exchange(session, connection, 300, 3_000)
            self.assertEqual(connection.counts["duplicates"], 0)

    def test_lossy(self) -> None:
        """500 messages each way under 20 % loss, 20 % duplication, and reordering: none lost, none twice."""
        for listening in (False, True):
            for seed in range(3):
                faults = ForeignFaults(loss=0.2, duplication=0.2, spared=handshake, seed=seed)
                session, connection = self.opened(faults, listening=listening, jitter=0.05)
                self.exchange(session, connection, 500, 3_000)

    def test_many(self) -> None:
        """10,000 messages each way under 20 % loss and duplication, so that batch numbers wrap 39 times."""
        for listening in (False, True):
            faults = ForeignFaults(loss=0.2, duplication=0.2, spared=handshake, seed=9)
            session, connection = self.opened(faults, listening=listening, options=STEADY)
            self.exchange(session, connection, 10_000, 1_200)

    def test_repeat_requests(self) -> None:
        """With peers that know all of the seed, both sides ask for what is missing, and all comes."""
        options = ForeignBatchOptions(repeats=True)
        for listening in (False, True):
            faults = ForeignFaults(loss=0.2, duplication=0.2, spared=handshake, seed=4)
            session, connection = self.opened(
                faults, listening=listening, options=options, dialect=Batch(repeat_requests=True)
            )
            self.exchange(session, connection, 300, 3_000)
            self.assertTrue(connection.counts["asked to repeat"])

    def test_opening(self) -> None:
        """Sessions open although Connect and its ack are lost, duplicated and reordered, in both roles."""
        for listening in (False, True):
            for seed in range(20):
                session, connection = self.opened(
                    ForeignFaults(loss=0.2, duplication=0.2, seed=seed), listening=listening, jitter=0.05
                )
                self.assertEqual((session.ended, connection.state), (None, ForeignBatchState.OPEN))

    def test_idle(self) -> None:
        """When nothing is said for minutes, both sides stay."""
        for listening in (False, True):
            session, connection = self.opened(listening=listening)
            self.net.pass_time(300)
            self.assertEqual((session.ended, connection.state), (None, ForeignBatchState.OPEN))

    def test_closed_by_us(self) -> None:
        """We close when everything is delivered."""
        for listening in (False, True):
            session, connection = self.opened(ForeignFaults(loss=0.2, seed=2), listening=listening, jitter=0.0)
            self.ours.say(self.net.now, session, messages(1, 50, 3_000))
            self.ours.close(self.net.now, session)
            self.net.pass_time(60)
            self.assertIsInstance(session.ended, SessionClosed)
            self.assertEqual(sorted(connection.delivered), sorted(messages(1, 50, 3_000)))
            self.assertEqual([message.error for message in session.settled], [None] * 50)

    def test_closed_by_them(self) -> None:
        """When they close, our session ends at once; what they send again is acknowledged all the same."""
        for listening in (False, True):
            session, connection = self.opened(listening=listening)
            for one in messages(2, 5, 500):
                connection.send(self.net.now, one)
            connection.close()
            self.net.pass_time(0.1)
            self.assertIsInstance(session.ended, SessionClosed)
            self.net.pass_time(12)
            self.assertEqual(connection.acknowledged, connection.sent)

    def test_directs(self) -> None:
        """Direct messages go both ways, empty ones and the largest, too."""
        for listening in (False, True):
            session, connection = self.opened(listening=listening, jitter=0.0)
            said = [b"", b"x", bytes(971)]
            for one in said:
                connection.direct(one)
                session.connection.send_direct(one)
            self.ours.say(self.net.now, session, [])
            self.net.pass_time(1)
            self.assertEqual((session.directs, connection.directs), (said, said))
