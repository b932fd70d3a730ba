"""
Attacks on where a session is: by those who send on what others have sent, who guess answers, who flood with challenges,
who have others challenged.
"""

from __future__ import annotations

from hypermail.link.answers import MOST_ANSWERS
from hypermail.options import Mode, Role
from hypermail.test.attacks import MODES, AttackCase
from hypermail.test.sealed import inside, short
from hypermail.test.wired import STARTER, Wire
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.header import Kind

#: Where the attacker is, or whom he wants to harm.
ELSEWHERE = ("203.0.113.66", 666)
CHALLENGING = {p.PathChallenge, p.Padding}


class HijackTests(AttackCase):
    """A session that somebody would like to have at his own address."""

    def setUp(self) -> None:
        self.injected = 0

    def assertStays(self, wire: Wire) -> None:
        """Only challenges were sent elsewhere, thrice as much as came from there at most; the path is where it was."""
        self.assertWorks(wire)
        self.assertEqual(wire.listener.address, STARTER)
        self.assertEqual(wire.listener.statistics()["moves"], 0)
        for address, datagram in wire.strays:
            self.assertEqual(address, ELSEWHERE)
            self.assertLessEqual({type(packet) for packet in inside(wire.listener, datagram)}, CHALLENGING)
        self.assertLessEqual(sum(len(datagram) for _, datagram in wire.strays), 3 * self.injected)

    def inject(self, wire: Wire, role: Role, datagram: bytes) -> None:
        """Send a datagram on, from the attacker's address."""
        if role is Role.STARTER:
            self.injected += len(datagram)
        wire.inject(role, datagram, ELSEWHERE)

    def overtake(self, wire: Wire) -> None:
        """Have all that the sides say arrive first from the attacker's address."""

        def alter(role: Role, datagram: bytes) -> bytes:
            self.inject(wire, role, datagram)
            return datagram

        wire.alter = alter

    def test_replays(self) -> None:
        """Authentic datagrams that come again from elsewhere do not move it."""
        for mode in MODES:
            wire = self.wire(mode).open()
            wire.starter.send_message(b"x" * 5_000, now=wire.now)
            wire.run(1)
            for role, datagram in list(wire.sent):
                self.inject(wire, role, datagram)
            wire.run(1)
            self.assertStays(wire)
            self.assertEqual(wire.strays, [])

    def test_overtaken(self) -> None:
        """Nor do those that somebody on the way sends on faster than the network does, from his own address."""
        for mode in MODES:
            wire = self.wire(mode).open()
            self.overtake(wire)
            for _ in range(20):
                wire.starter.send_message(b"x" * 5_000, now=wire.now)
                wire.listener.send_message(b"x" * 5_000, now=wire.now)
                wire.run(0.05)
            self.assertEqual((len(wire.there.messages[0]), len(wire.here.messages[0])), (20, 20))
            self.assertGreater(len(wire.strays), 0)
            self.assertLess(len(wire.strays), 20)
            self.assertStays(wire)

    def test_opening(self) -> None:
        """Nor while it opens: what comes from elsewhere is listened to, and answered where the hello came from."""
        for mode in MODES:
            wire = self.wire(mode)
            wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
            self.overtake(wire)
            self.assertStays(wire.open())

    def test_unvalidated(self) -> None:
        """What comes from elsewhere proves nothing of the address that the hello came from."""
        wire = self.wire()
        wire.lose = lambda role, datagram: role is Role.STARTER and bool(len(wire.demux))
        wire.until(lambda: wire.starter.session_id)
        (connection,) = wire.demux.connections
        for _ in range(5):
            wire.inject(Role.STARTER, short(wire.starter, p.HealthPing(1)), ELSEWHERE)
        wire.run(0.1)
        self.assertFalse(connection._link.path.validated)
        wire.inject(Role.STARTER, short(wire.starter, p.HealthPing(1)))
        wire.run(0)
        self.assertTrue(connection._link.path.validated)

    def test_forged(self) -> None:
        """Nor does anything forged, from elsewhere or as if from the peer."""
        wire = self.wire().open()
        for number in range(100):
            for kind in (Kind.SHORT, Kind.SHORT + 1):
                head = header.SHORT.pack(kind, wire.listener.local_tag, 100 + number)
                wire.inject(Role.STARTER, head + bytes(50), ELSEWHERE)
        wire.run(1)
        self.assertStays(wire)

    def test_relayed(self) -> None:
        """
        Who sends on the challenges, too, is on the way of everything; as soon as he is not fast enough, the session is
        back where its starter is.
        """
        wire = self.wire().open()
        self.overtake(wire)
        taken = 0
        while wire.listener.address == STARTER:
            wire.starter.send_message(b"x", now=wire.now)
            wire.run(0.05)
            for _, datagram in wire.strays[taken:]:
                wire.inject(Role.LISTENER, datagram)
            taken = len(wire.strays)
        self.assertEqual(wire.listener.address, ELSEWHERE)
        wire.alter = lambda role, datagram: datagram
        wire.until(lambda: wire.listener.address == STARTER, 10)
        self.assertWorks(wire)

    def test_guessed(self) -> None:
        """A response that answers nothing, or what the path that is left was asked, proves nothing, and is counted."""
        wire = self.wire(Mode.SECRET).open()
        for number in range(50):
            said = short(wire.starter, p.PathResponse(bytes((number,)) * 8))
            self.inject(wire, Role.STARTER, said)
            wire.run(0)
        wire.run(1)
        self.assertEqual(wire.listener.statistics()["path_responses_forged"], 50)
        self.assertStays(wire)

    def test_answeredAtHome(self) -> None:
        """What the old address was challenged with, and what it answers, proves nothing of the new one."""
        wire = self.wire().open()
        said = short(wire.starter, p.HealthPing(1))
        self.inject(wire, Role.STARTER, said)
        wire.run(1)
        self.assertGreater(len(wire.strays), 0)
        self.assertEqual(wire.listener.statistics()["path_responses_forged"], 0)
        self.assertStays(wire)

    def test_manyAddresses(self) -> None:
        """However many addresses authentic datagrams come from, a few challenges leave in a round trip."""
        wire = self.wire().open()
        for number in range(1_000):
            datagram = short(wire.starter, p.HealthPing(number))
            wire.inject(Role.STARTER, datagram, ("203.0.113.66", number))
            wire.run(0.001)
        self.assertLessEqual(len(wire.strays), 10)
        wire.run(1)
        self.assertWorks(wire)

    def test_challengesFlood(self) -> None:
        """A flood of challenges in one turn is answered with a trickle."""
        wire = self.wire().open()
        data = [number.to_bytes(8, "big") for number in range(100)]
        before = len(wire.sent)
        wire.inject(Role.STARTER, short(wire.starter, *[p.PathChallenge(each) for each in data]))
        wire.run(0)
        answers = [
            packet
            for _, datagram in wire.sent[before:]
            for packet in inside(wire.listener, datagram)
            if isinstance(packet, p.PathResponse)
        ]
        self.assertEqual([answer.data for answer in answers], data[:MOST_ANSWERS])
        self.assertWorks(wire)

    def test_reflected(self) -> None:
        """Answers to challenges and challenges together are thrice as much as came from an unproved address at most."""
        for size in (1, 100, 1_000):
            self.injected = 0
            wire = self.wire().open()
            for number in range(20):
                words: list[p.Packet] = [p.PathChallenge(number.to_bytes(8, "big")), p.Padding(size)]
                self.inject(wire, Role.STARTER, short(wire.starter, *words))
                wire.run(0.01)
                sent = sum(len(datagram) for _, datagram in wire.strays)
                self.assertLessEqual(sent, 3 * self.injected)
            wire.run(10)
            self.assertGreater(len(wire.strays), 20)
            self.assertLessEqual(sum(len(datagram) for _, datagram in wire.strays), 3 * self.injected)
            self.assertWorks(wire)
