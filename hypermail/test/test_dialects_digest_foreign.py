"""
Dialect C{digest} against L{the foreign client and server<hypermail.test.foreign_digest>}, in virtual time, in both
roles.
"""

from __future__ import annotations

import random
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.dialect import Digest
from hypermail.session.states import State
from hypermail.test.dialect_cores import DialectCore
from hypermail.test.dialects import Application
from hypermail.test.foreign_digest_ends import ForeignDigestClientCore, ForeignDigestServerCore, ForeignDigestState
from hypermail.test.foreign_digest_mail import ForeignDigestMail, ForeignDigestOptions
from hypermail.test.foreign_link import ForeignFaults, ForeignWorld

OURS, THEIRS = ("10.0.0.1", 4700), ("10.0.0.2", 4800)
OUR_UUID, THEIR_UUID = (UUID(f"00000000-0000-4000-8000-00000000000{number}") for number in (1, 2))
SECRETS = {OUR_UUID.bytes: b"ours"}
WALL = 1_000_000.0
"""What our calendar says when it is 0, in seconds since 1970."""

PATIENT = ForeignDigestOptions(strict=False)


def messages(seed: int, count: int, most: int) -> list[bytes]:
    """Messages of many sizes, no two of them alike."""
    chance = random.Random(seed)
    return [b"%d " % number + chance.randbytes(chance.randrange(most)) for number in range(count)]


class DigestForeignTests(SynchronousTestCase):
    """A socket of ours and a foreign client or server."""

    theirs: ForeignDigestClientCore | ForeignDigestServerCore

    def opened(
        self, faults: ForeignFaults, options: ForeignDigestOptions, *, listening: bool, jitter: float = 0.02
    ) -> tuple[Application, ForeignDigestMail]:
        """A session, as its two ends have it, whoever of them has asked for it."""
        steps = options.ping_steps
        secrets = {str(THEIR_UUID): b"theirs"}
        dialect = Digest(uuid=str(OUR_UUID), secret=b"ours", secrets=secrets, ping_steps=steps)
        self.net = ForeignWorld(faults, jitter=jitter)
        self.ours = DialectCore(OURS, dialect, listening=listening)
        self.net.add(OURS, self.ours)
        return self.asked_by_them(options) if listening else self.asked_by_us(options)

    def asked_by_us(self, options: ForeignDigestOptions) -> tuple[Application, ForeignDigestMail]:
        """A client of ours, and a foreign server."""
        server = self.theirs = ForeignDigestServerCore(THEIR_UUID.bytes, b"theirs", SECRETS, options, WALL)
        self.net.add(THEIRS, server)
        session = self.ours.start(self.net.now, THEIRS)
        self.net.run(lambda: session.connection.state is State.OPEN, 10)
        return session, server.sessions[-1].mail

    def asked_by_them(self, options: ForeignDigestOptions) -> tuple[Application, ForeignDigestMail]:
        """A server of ours, and a foreign client."""
        client = self.theirs = ForeignDigestClientCore(THEIR_UUID.bytes, b"theirs", SECRETS, options, WALL)
        self.net.add(THEIRS, client)
        client.greet(self.net.now, OURS)
        self.net.run(lambda: client.state is ForeignDigestState.ESTABLISHED, 30)
        self.net.run(lambda: self.ours.sessions[-1].connection.state is State.OPEN, 10)
        return self.ours.sessions[-1], client.mail

    def exchange(self, session: Application, mail: ForeignDigestMail, count: int, most: int) -> None:
        """Exchange so many messages each way, and see that none is lost, and none comes twice."""
        mine, yours = messages(1, count, most), messages(2, count, most)
        self.ours.say(self.net.now, session, mine)
        for one in yours:
            mail.send(self.net.now, one)

        def over() -> bool:
            self.assertIsNone(session.ended)
            return len(session.settled) == count and mail.acknowledged == count

        self.net.run(over, 36_000)
        self.assertEqual(sorted(mail.messages), sorted(mine))
        self.assertEqual(sorted(bytes(one) for one in session.messages), sorted(yours))
        self.assertEqual([message.error for message in session.settled if message.error is not None], [])
        self.assertEqual(self.net.stray, [])

    def test_clean(self) -> None:
        """On a good link all comes, in both roles, with both ways to ping, and nothing is repeated."""
        for listening in (False, True):
            for steps in (2, 3):
                options = ForeignDigestOptions(ping_steps=steps)
                session, mail = self.opened(ForeignFaults(), options, listening=listening, jitter=0.0)
                self.exchange(session, mail, 300, 3_000)
                self.net.pass_time(60)
                self.assertIsNone(session.ended)
                for name in ("duplicates", "repeated", "wrong digest", "answers to nothing"):
                    self.assertEqual(self.theirs.counts[name], 0, name)

    def test_lossy(self) -> None:
        """500 messages each way under 20 % loss, 20 % duplication, and reordering: none lost, none twice."""
        for listening in (False, True):
            for seed in range(3):
                faults = ForeignFaults(loss=0.2, duplication=0.2, seed=seed)
                session, mail = self.opened(faults, PATIENT, listening=listening, jitter=0.05)
                self.exchange(session, mail, 500, 3_000)

    def test_corrupting(self) -> None:
        """
        The same where bits are changed, with a client of ours; BAD_ACK is understood and said. A server of ours takes
        a client for a stranger when a bit of its UUID is changed, and says REJECT, which ends what that client has.
        """
        for seed in range(3):
            faults = ForeignFaults(loss=0.1, corruption=0.2, seed=seed)
            session, mail = self.opened(faults, PATIENT, listening=False)
            self.exchange(session, mail, 500, 1_000)
            self.assertTrue(self.theirs.counts["told to repeat"])

    def test_many(self) -> None:
        """10,000 messages each way under 20 % loss and duplication."""
        for listening in (False, True):
            faults = ForeignFaults(loss=0.2, duplication=0.2, seed=9)
            session, mail = self.opened(faults, PATIENT, listening=listening)
            self.exchange(session, mail, 10_000, 500)
