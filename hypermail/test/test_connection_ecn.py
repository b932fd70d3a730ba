"""
Explicit congestion notification between two sides: over paths that carry marks and such that don't, and with peers that
tell of them what isn't so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.congestion.cubic import BETA, LEAST_BYTES
from hypermail.link.ecn import CE, ECT0, NOT_ECT
from hypermail.link.train import Train
from hypermail.options import Options, Role
from hypermail.test.paths import CLEAN, counted, transfer
from hypermail.test.wired import Puppet, inside
from hypermail.testing import Conditions, Pair
from hypermail.wire import header
from hypermail.wire import packets as p

#: Clears marks, sets CE on everything that is marked, drops what is marked, makes another mark of it.
MANGLERS: tuple[tuple[Any, Any, Any, Any], ...] = ((0, 0, 0, 0), (0, 3, 3, 3), (0, None, None, None), (0, 2, 1, 3))


def states(pair: Pair) -> list[str]:
    """What the starter and the listener know of their paths."""
    return [side.connection.statistics()["ecn"] for side in pair.sides]


class PathTests(SynchronousTestCase):
    """Two honest sides."""

    def watched(self, pair: Pair) -> list[tuple[int, bytes]]:
        """What is sent, in order, with its codepoint."""
        sent: list[tuple[int, bytes]] = []
        send = pair.network.send

        def watch(source: Any, destination: Any, datagrams: Sequence[bytes], ecn: int = 0) -> None:
            sent.extend((ecn, bytes(datagram)) for datagram in datagrams)
            send(source, destination, datagrams, ecn)

        self.patch(pair.network, "send", watch)
        return sent

    def test_capable(self) -> None:
        """On a path that carries marks both sides find out so with their first datagrams."""
        pair = Pair(1, CLEAN)
        pair.open()
        pair.starter.send_message(b"hello")
        pair.listener.send_message(b"hello")
        pair.run_to_quiescence()
        self.assertEqual(states(pair), ["capable", "capable"])
        pair.close()

    def test_whatIsMarked(self) -> None:
        """Long datagrams aren't marked, nor what will not be acknowledged; all others are."""
        pair = Pair(1, CLEAN, options=Options(discover_mtu=False))
        sent = self.watched(pair)
        pair.open()
        pair.starter.open_stream(b"s", bytes(100_000))
        pair.run_to_quiescence()
        long = [ecn for ecn, datagram in sent if datagram[0] & 0xF0 == header.Kind.LONG]
        large = [ecn for ecn, datagram in sent if datagram[0] & 0xF0 != header.Kind.LONG and len(datagram) > 1_000]
        self.assertTrue(long)
        self.assertEqual(set(long), {NOT_ECT})
        self.assertEqual((len(large) > 50, set(large)), (True, {ECT0}))
        del sent[:]
        pair.starter.send_message(b"x")
        while not sent or sent[-1][0]:
            pair.step()
        self.assertEqual([ecn for ecn, _ in sent][-1], NOT_ECT)  # the last word acknowledges, and asks for nothing
        pair.close()

    def test_unwanted(self) -> None:
        """Who doesn't want it marks nothing, and yet tells the other what has arrived."""
        pair = Pair(1, CLEAN, starter_options=Options(ecn=False))
        sent = self.watched(pair)
        pair.open()
        pair.starter.open_stream(b"s", bytes(20_000))
        pair.listener.open_stream(b"s", bytes(20_000))
        pair.run_to_quiescence()
        self.assertEqual(states(pair), ["off", "capable"])
        tag = pair.listener.connection.local_tag.to_bytes(8, "big")
        self.assertEqual({ecn for ecn, datagram in sent if datagram[1:9] == tag}, {NOT_ECT})
        pair.close()

    def test_mangled(self) -> None:
        """On paths that clear marks, set them, change them or drop what bears them all goes on, without marks."""
        for codepoints in MANGLERS:
            pair = Pair(1, replace(CLEAN, codepoints=codepoints))
            transfer(pair, 200_000)
            self.assertEqual(states(pair), ["failed", "failed"], codepoints)

    def test_mangledLater(self) -> None:
        """The same when a path begins so in the midst of it."""
        for codepoints in (MANGLERS[0], MANGLERS[2], MANGLERS[3]):
            pair = Pair(1, CLEAN)
            later = replace(CLEAN, codepoints=codepoints)
            pair.network.call_at(0.3, partial(pair.network.set_conditions, later))
            transfer(pair, 500_000)
            self.assertEqual(states(pair)[0], "failed", codepoints)

    def test_everythingCongested(self) -> None:
        """A path that begins to set CE on everything can't be told from a congested one: it is slow, and goes on."""
        pair = Pair(1, Conditions(delay=0.015))
        pair.open()
        stream = pair.starter.open_stream(b"s", bytes(300_000))
        pair.network.set_conditions(Conditions(delay=0.015, codepoints=(0, 3, 3, 3)))
        pair.run(lambda: getattr(pair.listener.application.streams.get(stream.id), "finished", False))
        told = pair.starter.connection.statistics()
        self.assertEqual((told["ecn"], told["window"], told["bytes_lost"]), ("capable", LEAST_BYTES, 0))
        pair.close()

    def test_reaction(self) -> None:
        """A bottleneck that marks is obeyed before it has to drop; the same without marks drops."""
        marking = replace(CLEAN, queue_datagrams=100, mark_bytes=30 * 1_250)
        for options, marks in ((Options(), True), (Options(ecn=False), False)):
            pair = Pair(1, marking, options=options)
            transfer(pair, 6_000_000)
            there, _ = counted(pair, pair.starter)
            self.assertEqual((there.marked > 0, there.overflowed == 0), (marks, marks))
            if marks:
                self.assertEqual(pair.starter.connection.statistics()["ecn_marked"], there.marked)


class LyingTests(SynchronousTestCase):
    """
    A peer whose counts are made up.

    @ivar marked: datagrams that the real side has marked.
    """

    def setUp(self) -> None:
        self.puppet = Puppet(Role.LISTENER, opens=False)
        self.puppet.acks = False
        self.marked = 0
        trains = self.puppet.victim.trains

        def count(*, now: float) -> list[Train]:
            made = trains(now=now)
            self.marked += sum(len(train.datagrams) for train in made if train.ecn)
            return made

        self.patch(self.puppet.victim, "trains", count)
        self.puppet.open()

    def speak(self, count: int) -> None:
        """Have the real side send so many datagrams, and hear them."""
        for _ in range(count):
            self.puppet.victim.send_message(b"x", now=self.puppet.now)
            self.puppet.listen()
            self.puppet.now += 0.001

    def ack(self, marks: p.Marks | None, long: bool = False) -> None:
        """Acknowledge all that was heard, with these counts."""
        ack = self.puppet.ack()._replace(marks=marks)
        self.puppet.hear(self.puppet.long(ack) if long else self.puppet.short(ack))

    def told(self) -> tuple[str, int, int]:
        told = self.puppet.victim.statistics()
        return told["ecn"], told["ecn_marked"], told["ecn_impossible"]

    def test_honest(self) -> None:
        """What can be is believed."""
        self.speak(3)
        self.ack((self.marked - 1, 0, 1))
        self.assertEqual(self.told(), ("capable", 1, 0))

    def test_backwards(self) -> None:
        """Counts that go back end the marks, not the session."""
        self.speak(3)
        self.ack((self.marked, 0, 0))
        self.speak(1)
        self.ack((1, 0, 0))
        self.assertEqual(self.told(), ("failed", 0, 1))
        self.assertIsNone(self.puppet.application.error)

    def test_tooMany(self) -> None:
        """So do counts of more than was sent."""
        for marks in ((1_000, 0, 0), (0, 0, 1_000), (0, 1_000, 0), (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)):
            self.setUp()
            self.speak(3)
            self.ack(marks)
            self.assertEqual(self.told(), ("failed", 0, 1))
            self.assertIsNone(self.puppet.application.error)

    def test_never(self) -> None:
        """A peer that tells no counts gets no marks."""
        self.speak(3)
        self.ack(None)
        self.assertEqual(self.told(), ("failed", 0, 0))

    def test_long(self) -> None:
        """Counts in a long datagram, which anybody can make, are read and mean nothing."""
        self.speak(3)
        for marks in ((0, 0, 3), (1_000, 5, 3)):
            self.ack(marks, long=True)
            self.assertEqual(self.told(), ("testing", 0, 0))
        self.ack((self.marked, 0, 0))
        self.assertEqual(self.told()[0], "capable")

    def test_longOfLong(self) -> None:
        """The same when they come with what the opening has yet to hear."""
        self.puppet = Puppet(Role.LISTENER, opens=False)
        self.puppet.acks = False
        self.puppet.listen()
        self.puppet.hear(self.puppet.long(p.Ack(0, ((0, 1),), (0, 0, 7)), p.Handshake(0, b"")))
        self.assertEqual(self.told(), ("testing", 0, 0))

    def test_roundTrips(self) -> None:
        """The newest datagram that an acknowledgement tells of decides whether its CE is of a new round trip."""
        self.speak(1)
        self.ack((self.marked, 0, 0))
        clean = self.marked
        window = self.puppet.victim.statistics()["window"]
        self.speak(1)
        first = self.puppet.ack()
        self.speak(1)
        self.puppet.hear(self.puppet.short(first._replace(marks=(clean, 0, 1))))
        self.assertEqual(self.puppet.victim.statistics()["window"], int(window * BETA))
        self.ack((clean, 0, 2))
        self.assertEqual(self.puppet.victim.statistics()["window"], int(window * BETA))
        self.puppet.now += 0.01
        self.speak(1)
        self.ack((clean, 0, 3))
        self.assertEqual(self.puppet.victim.statistics()["window"], int(window * BETA * BETA))

    def test_newestDecides(self) -> None:
        """... though an older one is told of beside it."""
        self.speak(1)
        self.ack((self.marked, 0, 0))
        clean = self.marked
        window = self.puppet.victim.statistics()["window"]
        self.speak(1)
        first = self.puppet.ack()
        self.speak(1)
        self.puppet.hear(self.puppet.short(first._replace(marks=(clean, 0, 1))))
        self.puppet.now += 0.01
        self.speak(1)
        self.ack((clean, 0, 3))
        self.assertEqual(self.puppet.victim.statistics()["window"], int(window * BETA * BETA))

    def test_flood(self) -> None:
        """A peer that says CE of everything holds the window at its least, and nothing worse; it slows but itself."""
        self.speak(1)
        self.ack((self.marked, 0, 0))
        clean = self.marked
        for _ in range(100):
            self.speak(1)
            self.puppet.now += 0.01
            self.ack((clean, 0, self.marked - clean))
        self.assertEqual(self.told(), ("capable", 100, 0))
        self.assertEqual(self.puppet.victim.statistics()["window"], LEAST_BYTES)
        self.assertIsNone(self.puppet.application.error)

    def test_truncated(self) -> None:
        """An acknowledgement whose counts are cut short ends the session, as every packet does that is cut short."""
        whole = self.puppet.ack()._replace(marks=(1, 2, 3)).encode()
        self.assertIsNotNone(self.puppet.said(whole[:-1]))

    def test_counted(self) -> None:
        """What a peer marks is told to it: nothing before, each datagram once, and none that was not opened."""
        heard: list[p.Ack] = []
        puppet = self.puppet
        connection = puppet.victim

        def hear(datagram: bytes, ecn: int) -> None:
            connection.receive([memoryview(datagram)], connection.address, now=puppet.now, ecn=ecn)
            for train in connection.trains(now=puppet.now):
                for each in train.datagrams:
                    heard.extend(packet for packet in inside(each) if isinstance(packet, p.Ack))

        hear(puppet.short(p.HealthPing(1)), NOT_ECT)
        marked = puppet.short(p.HealthPing(2))
        hear(marked, ECT0)
        hear(marked, ECT0)
        hear(puppet.short(p.HealthPing(3))[:-1], CE)
        hear(puppet.short(p.HealthPing(4)), CE)
        hear(puppet.short(p.HealthPing(5)), ECT0)
        self.assertIsNone(heard[0].marks)
        self.assertEqual(heard[-1].marks, (2, 0, 1))
