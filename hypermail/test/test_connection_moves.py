"""
Tests of moves: what becomes of a session whose starter is at another address than before.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.options import Role
from hypermail.test.linking import START
from hypermail.test.test_link_link import contents, opened_pair, short
from hypermail.testing import Conditions, Pair, Side
from hypermail.trace import Trace
from hypermail.wire import packets as p

#: s, one way.
DELAY = 0.05
HOME, OTHER_PORT, OTHER_HOST = ("10.2.0.1", 50_000), ("10.2.0.1", 50_001), ("10.2.0.2", 50_000)


class MoveCase(SynchronousTestCase):
    """A session whose listener has data for its starter."""

    def setUp(self) -> None:
        self.pair = Pair(1, Conditions(delay=DELAY, bandwidth=10e6))
        self.rebind(HOME)
        self.pair.open()
        self.pair.run_for(1)

    def rebind(self, address: tuple[str, int], keep_old: bool = False) -> None:
        """A NAT gives the starter another address."""
        self.pair.network.rebind(self.pair.starter.node.address, address, keep_old=keep_old)

    def settled(self) -> bool:
        """Whether all messages are delivered."""
        return all(message.settled for side in self.pair.sides for message in side.outgoing)

    def figures(self, side: Side | None = None) -> dict[str, Any]:
        """Statistics, by default the listener's."""
        return (side or self.pair.listener).connection.statistics()

    def grow(self) -> None:
        """Have both sides learn of the path; the sizes of the listener's datagrams, too."""
        for side in self.pair.sides:
            side.send_message(bytes(300_000))
        self.pair.run(self.settled)
        self.pair.run_for(1)

    def finish(self) -> None:
        """All that was sent arrives, once, and nothing is left."""
        self.pair.run(self.settled)
        self.pair.close()
        self.pair.assert_delivered()


class ListenerTests(MoveCase):
    """The listener follows."""

    def test_port(self) -> None:
        """Another port of the same host is the same path: what is known of it is kept (RFC 9000 §9.4)."""
        self.grow()
        before = self.figures()
        self.rebind(OTHER_PORT)
        self.pair.starter.send_message(b"x")
        self.pair.run_for(3 * DELAY + 0.01)
        after = self.figures()
        self.assertEqual((before["moves"], after["moves"]), (0, 1))
        self.assertEqual(self.pair.listener.connection.address, OTHER_PORT)
        for name in ("rtt", "window", "mtu"):
            self.assertEqual(before[name], after[name], name)
        self.finish()

    def test_host(self) -> None:
        """Another host is another path: all starts afresh, with the round trip of the challenge (RFC 9000 §9.4)."""
        self.grow()
        self.assertGreater(self.figures()["window"], 12_000)
        self.pair.network.set_conditions(Conditions(delay=2 * DELAY))
        self.rebind(OTHER_HOST)
        self.pair.starter.send_message(b"x")
        self.pair.run(lambda: self.pair.listener.connection.address == OTHER_HOST, limit=6 * DELAY + 0.001)
        after = self.figures()
        self.assertEqual((after["moves"], after["rtt"], after["window"], after["mtu"]), (1, None, 12_000, 1_200))
        link = self.pair.listener.connection._link
        self.assertAlmostEqual(link.rtt.smoothed, 4 * DELAY)
        for room in (link.recovery, link.allowance):
            self.assertIs(room._congestion, link.route.congestion)
        self.finish()

    def test_inFlight(self) -> None:
        """What was in flight is sent again at once, and is no loss for the controller."""
        for address in (OTHER_PORT, OTHER_HOST):
            self.setUp()
            self.pair.listener.send_message(bytes(10_000))
            self.pair.run_for(0.8 * DELAY)
            self.rebind(address)
            self.pair.starter.send_message(b"x")
            self.pair.starter.pump()
            self.assertGreater(self.figures()["in_flight"], 5_000)
            self.pair.run(lambda address=address: self.pair.listener.connection.address == address)  # type: ignore[misc]
            self.pair.run(lambda: self.pair.starter.application.received.get(0), limit=DELAY + 0.07)
            self.assertEqual((self.figures()["datagrams_lost"], self.figures()["window"]), (0, 12_000))
            self.finish()

    def test_dataWait(self) -> None:
        """Before the answer has come all data go to the old address, for the new one may be anybody's."""
        self.rebind(OTHER_PORT)
        self.pair.starter.send_message(b"x")
        self.pair.run_for(DELAY + 0.01)
        self.pair.listener.send_message(bytes(5_000))
        trains = self.pair.listener.connection.trains(now=self.pair.now)
        self.assertEqual({train.address for train in trains}, {HOME})

    def test_oldArrives(self) -> None:
        """When the old address still works for a while, what arrives and is acknowledged twice does no harm."""
        for address in (OTHER_PORT, OTHER_HOST):
            self.setUp()
            self.rebind(address, keep_old=True)
            for _ in range(10):
                for side in self.pair.sides:
                    side.send_message(bytes(20_000))
                self.pair.run_for(0.03)
            self.assertEqual(self.pair.listener.connection.address, address)
            self.finish()

    def test_back(self) -> None:
        """Moves follow each other, and lead back."""
        for number, address in enumerate((OTHER_HOST, HOME, OTHER_PORT, HOME)):
            self.rebind(address)
            self.pair.starter.send_message(b"x")
            self.pair.run_for(1)
            self.assertEqual((self.pair.listener.connection.address, self.figures()["moves"]), (address, number + 1))
        self.finish()

    def test_lostChallenges(self) -> None:
        """Challenges and answers that are lost are repeated."""
        self.pair.network.set_conditions(Conditions(delay=DELAY, loss=0.4))
        for number in range(10):
            address = ("10.2.1.1", 50_000 + number)
            self.rebind(address)
            self.pair.starter.send_message(bytes(20_000))
            self.pair.run(lambda address=address: self.pair.listener.connection.address == address)  # type: ignore[misc]
        self.finish()

    def test_pace(self) -> None:
        """The first flight on another path waits for no pace."""
        link = self.pair.listener.connection._link
        link.allowance.resume_at = 5.0
        before = link.allowance._pacer
        link.allowance.restart(link.route.congestion, self.pair.now)
        self.assertIsNone(link.allowance.resume_at)
        self.assertIsNot(link.allowance._pacer, before)

    def test_notVerified(self) -> None:
        """A session that is still opening, and what is said in long datagrams, moves nowhere (RFC 9000 §9)."""
        _, _, listener = opened_pair()
        link = listener.link
        for verified in (False, True):
            link.outbound.speaks = verified
            number = link.acks.largest + 1
            self.assertIsNotNone(link.open(memoryview(short([p.HealthPing(1)], number)), START, "elsewhere"))
            self.assertEqual(link.route.moving is not None, verified)

    def test_trace(self) -> None:
        """A trace tells of it, and statistics count it, on both sides."""
        lines: list[str] = []
        self.pair.listener.connection._link.route._trace = Trace(lines.append, "", "server", self.pair.now)
        self.rebind(OTHER_PORT)
        self.pair.starter.send_message(b"x")
        self.pair.run(self.settled)
        (told,) = [line for line in lines if "path_updated" in line]
        self.assertIn(str(HOME), told)
        self.assertIn(str(OTHER_PORT), told)


class CandidateTests(SynchronousTestCase):
    """A listener's link, datagram by datagram."""

    def setUp(self) -> None:
        _, _, side = opened_pair()
        self.link = side.link
        self.number = self.link.acks.largest + 1

    def hear(self, *packets: p.Packet, skip: int = 0, elsewhere: object = None, now: float = START) -> int:
        """A datagram arrives, and its packets are taken. @return: its size."""
        datagram = short(list(packets), self.number + skip)
        opened = self.link.open(memoryview(datagram), now, elsewhere)
        assert opened is not None
        for packet in packets:
            self.link.take(packet, now, False)
        self.link.received(opened, True, now)
        return len(datagram)

    def asked(self) -> list[tuple[object, p.Packet]]:
        """What the link asks now, and where."""
        return [
            (train.address, contents(train.datagrams[0])[0]) for train in self.link.outbound.answer_challenges(START)
        ]

    def candidate(self) -> object:
        """The address that is doubted."""
        moving = self.link.route.moving
        return None if moving is None or moving.candidate is None else moving.candidate.address

    def test_newestFromHome(self) -> None:
        """What comes from the path's address ends the doubt, if it is newer than what has caused it."""
        self.hear(p.HealthPing(1), skip=2, elsewhere="elsewhere")
        self.hear(p.HealthPing(1), skip=1)
        self.assertEqual(self.candidate(), "elsewhere")
        self.hear(p.HealthPing(1), skip=3)
        self.assertIsNone(self.candidate())

    def test_sameRead(self) -> None:
        """What has come in one read with the answer, from the same address, comes from the path's then."""
        self.hear(p.HealthPing(1), elsewhere="elsewhere")
        challenge = dict(self.asked())["elsewhere"]
        assert isinstance(challenge, p.PathChallenge)
        self.hear(p.PathResponse(challenge.data), skip=1, elsewhere="elsewhere")
        self.assertEqual((self.link.path.address, self.candidate()), ("elsewhere", None))
        self.hear(p.HealthPing(1), skip=2, elsewhere="elsewhere")
        self.assertIsNone(self.candidate())
        self.assertEqual(self.asked(), [])

    def test_answerOfAnother(self) -> None:
        """The answer of an address that is no candidate any more moves nothing."""
        self.hear(p.HealthPing(1), elsewhere="elsewhere")
        challenge = dict(self.asked())["elsewhere"]
        assert isinstance(challenge, p.PathChallenge)
        self.hear(p.PathResponse(challenge.data), skip=1, elsewhere="farther")
        self.assertEqual(
            (self.link.path.address, self.candidate(), self.link.route.responses_forged), ("peer", "farther", 0)
        )

    def test_amplification(self) -> None:
        """All tries together, and answers, are thrice what came from there at most; then it is given up."""
        received = self.hear(p.HealthPing(1), p.PathChallenge(bytes(8)), p.Padding(400), elsewhere="elsewhere")
        sent, tries, now = 0, 0, START
        while self.candidate() is not None:
            for train in self.link.outbound.answer_challenges(now):
                if train.address == "elsewhere":
                    sent += sum(map(len, train.datagrams))
                    tries += 1
            now = self.link.next_timeout()
            self.assertLess(now, START + 8)
            self.link.timeout(now)
        self.assertLessEqual(sent, 3 * received)
        self.assertGreater(tries, 4)

    def test_response(self) -> None:
        """An answer is as large as its question, and no larger than what every path carries."""
        for size in (1_472, 100):
            asked = self.hear(p.PathChallenge(bytes(8)), p.Padding(size), elsewhere="elsewhere")
            self.number += 1
            (train, *_) = self.link.outbound.answer_challenges(START)
            self.assertEqual(train.address, "elsewhere")
            self.assertEqual(len(train.datagrams[0]), min(asked, 1_200))

    def test_silentBefore(self) -> None:
        """Nobody is answered before it is known who that is."""
        self.link.outbound.speaks = False
        self.hear(p.PathChallenge(bytes(8)))
        self.assertEqual(self.link.outbound.answer_challenges(START), [])


class StarterTests(MoveCase):
    """The starter moves."""

    def test_idle(self) -> None:
        """It speaks at once, so that the listener can follow within one and a half round trips."""
        self.grow()
        self.pair.starter.node.move(OTHER_HOST)
        self.pair.run_for(3 * DELAY + 0.001)
        self.assertEqual(self.pair.listener.connection.address, OTHER_HOST)
        self.finish()

    def test_afresh(self) -> None:
        """What it knew of the path is forgotten, and what was in flight is sent again."""
        self.grow()
        starter = self.pair.starter
        starter.send_message(bytes(10_000))
        self.pair.run_for(0.8 * DELAY)
        before = self.figures(starter)
        starter.connection.moved(now=self.pair.now)
        after = self.figures(starter)
        self.assertGreater(before["in_flight"], 9_000)
        self.assertEqual((after["in_flight"], after["rtt"], after["window"]), (0, None, 12_000))
        self.assertEqual((after["mtu"], after["moves"], after["datagrams_lost"]), (1_200, 1, before["datagrams_lost"]))
        self.assertEqual((before["ecn"], after["ecn"]), ("capable", "testing"))
        starter.pump()
        self.assertGreater(self.figures(starter)["bytes_sent"] - before["bytes_sent"], 9_000)
        self.pair.run_for(3)
        self.assertGreater(before["mtu"], 1_200)
        self.assertEqual(self.figures(starter)["mtu"], before["mtu"])  # it was searched for again
        self.finish()

    def test_repeated(self) -> None:
        """It goes on until the listener has answered, though everything is lost at first."""
        self.pair.network.set_conditions(Conditions(loss=1.0))
        self.pair.starter.node.move(OTHER_HOST)
        self.pair.run_for(2)
        self.assertTrue(self.pair.starter.connection.unanswered)
        self.pair.network.set_conditions(Conditions(delay=DELAY))
        self.pair.run_for(0.25 + 5 * DELAY)
        self.assertEqual(self.pair.listener.connection.address, OTHER_HOST)
        self.assertFalse(self.pair.starter.connection.unanswered)
        self.finish()

    def test_strangeListener(self) -> None:
        """What comes from a strange address is taken when it is authentic, but does not move a starter."""
        node = self.pair.listener_node
        there = self.pair.starter.connection.address
        self.pair.network.rebind(node.address, ("10.9.9.9", 9), keep_old=True)
        self.pair.listener.send_message(b"from elsewhere")
        self.pair.run(self.settled)
        self.assertEqual((self.pair.starter.connection.address, self.figures(self.pair.starter)["moves"]), (there, 0))
        self.finish()

    def test_answersItsPath(self) -> None:
        """A starter answers challenges to its path only."""
        _, starter, _ = opened_pair()
        link = starter.link
        number = link.acks.largest + 1
        opened = link.open(memoryview(short([p.PathChallenge(bytes(8))], number, link.local_tag)), START, "elsewhere")
        assert opened is not None
        link.take(p.PathChallenge(bytes(8)), START, False)
        (train,) = link.outbound.answer_challenges(START)
        self.assertEqual(train.address, "peer")
        self.assertEqual(contents(train.datagrams[0])[0], p.PathResponse(bytes(8)))

    def test_noMove(self) -> None:
        """A listener does not move, nor does a starter that has no keys yet, or has ended."""
        self.pair.listener.connection.moved(now=self.pair.now)
        self.assertEqual(self.figures()["moves"], 0)
        starter = self.pair.starter.connection
        self.finish()
        starter.moved(now=self.pair.now)
        self.assertEqual(starter.statistics()["moves"], 0)
        fresh = Pair(2).starter.connection
        self.assertIs(fresh.role, Role.STARTER)
        fresh.moved(now=0)
        self.assertEqual(fresh.statistics()["moves"], 0)
