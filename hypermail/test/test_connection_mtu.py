"""
Tests for path MTU discovery as a whole: when probes leave and what they cost, black holes, and peers that lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.events import SessionOpened, SessionRequested
from hypermail.link.allowance import INITIAL_WINDOW
from hypermail.link.discovery import LEISURE, MAX_PROBES, PAUSE
from hypermail.link.recovery import PROBES
from hypermail.link.train import Train
from hypermail.options import KIB, Options, Role
from hypermail.test.wired import GENEROUS, Puppet, Wire
from hypermail.testing import Blackhole, Conditions, Pair, Side
from hypermail.wire import packets as p

#: 100 ms there and back, over Ethernet.
ETHERNET = Conditions(delay=0.05)


def mtu(side: Side) -> int:
    """What a side has found."""
    found: int = side.connection.statistics()["mtu"]
    return found


def opened(conditions: Conditions = ETHERNET, **options: Any) -> Pair:
    """A session that was just opened."""
    pair = Pair(1, conditions, **options)
    pair.open()
    return pair


class DiscoveryTests(SynchronousTestCase):
    """What is found, and how soon."""

    def test_ethernet(self) -> None:
        """1,472 bytes are in use a moment and two round trips after the opening, though nothing else is sent."""
        pair = opened()
        pair.run_for(LEISURE)
        self.assertEqual((mtu(pair.starter), mtu(pair.listener)), (1_200, 1_200))
        pair.run_for(2 * (0.1 + 0.1 / 8) + 0.01)
        self.assertEqual((mtu(pair.starter), mtu(pair.listener)), (1_472, 1_472))

    def test_short(self) -> None:
        """A session that says little and is soon over has no probes."""
        pair = opened(Conditions(delay=0.001))
        pair.starter.application.send_all([(0, b"little")])
        pair.run(lambda: pair.starter.outgoing[0].settled)
        pair.close()
        for side in (pair.starter, pair.listener):
            self.assertEqual(side.connection.statistics()["mtu_probes"], 0)

    def test_soon(self) -> None:
        """One that has more to say than fits a datagram finds out at once what the path carries."""
        pair = opened(Conditions(delay=0.001))
        began = pair.now
        pair.starter.send_message(bytes(10_000))
        pair.run(lambda: mtu(pair.starter) == 1_472)
        self.assertLess(pair.now, began + LEISURE / 2)
        self.assertEqual(mtu(pair.listener), 1_200)
        pair.close()

    def test_path(self) -> None:
        """It is found to 8 bytes what the path carries, by each side for its own direction."""
        pair = opened(to_listener=replace(ETHERNET, mtu=1_400), to_starter=replace(ETHERNET, mtu=9_000))
        pair.run_for(10.0)
        self.assertTrue(1_364 < mtu(pair.starter) <= 1_372, mtu(pair.starter))
        self.assertEqual(mtu(pair.listener), 8_972)

    def test_used(self) -> None:
        """Data travels in datagrams of the size that was found, which congestion control and pacing know of."""
        pair = opened(replace(ETHERNET, mtu=9_000, bandwidth=10e6))
        pair.run_for(3.0)
        forth = pair.network.direction(pair.starter.node.address[0], pair.listener.node.address[0]).counters
        before = forth.sent
        stream = pair.starter.open_stream(b"", bytes(256 * KIB))
        pair.run(lambda: pair.listener.application.streams[stream.id].finished if forth.sent > before + 20 else False)
        self.assertLess(forth.sent - before, 60)
        self.assertGreaterEqual(pair.starter.connection.statistics()["window"], 2 * 8_972)

    def test_grown_window(self) -> None:
        """The window is bytes: larger datagrams make it no larger, as long as it holds two of them."""
        pair = opened()
        pair.run_for(5.0)
        statistics = pair.starter.connection.statistics()
        self.assertEqual((statistics["mtu"], statistics["window"]), (1_472, 12_000))
        link = pair.starter.connection._link
        self.assertEqual(link.allowance.control, 12_000 + INITIAL_WINDOW * 1_200)

    def test_controller(self) -> None:
        """Congestion controller and pacer count in datagrams of the size that is in use."""
        sizes: list[int] = []
        pair = opened()
        link = pair.starter.connection._link
        self.patch(type(link.route.congestion), "resized", lambda self, datagram: sizes.append(datagram))
        pair.run(lambda: link.path.mtu == 1_472)
        self.assertEqual(sizes[-1], 1_472)
        self.assertEqual(link.allowance._pacer.datagram, 1_472)

    def test_large(self) -> None:
        """Where nothing limits them, datagrams of 65,507 bytes are found as soon as the window has room for one."""
        pair = opened(Conditions(delay=0.0005, mtu=None))
        pair.run_for(1.0)
        self.assertEqual(mtu(pair.starter), 8_972)
        stream = pair.starter.open_stream(b"", bytes(2_048 * KIB))
        streams = pair.listener.application.streams
        pair.run(lambda: stream.id in streams and streams[stream.id].finished)
        self.assertEqual(mtu(pair.starter), 65_507)
        pair.close()

    def test_told_to_trace(self) -> None:
        """Each size that is found is traced."""
        events: list[tuple[str, Any]] = []
        pair = Pair(1, ETHERNET)
        trace = pair.starter.connection._link.inbound._trace
        self.patch(type(trace), "event", lambda self, now, name, **data: events.append((name, data.get("new"))))
        pair.open()
        pair.run_for(5.0)
        sizes = [new for name, new in events if name == "connectivity:mtu_updated"]
        self.assertEqual(sorted(sizes), [1_452, 1_452, 1_472, 1_472])


class OptionTests(SynchronousTestCase):
    """Who wants smaller ones."""

    def sizes(self, **options: Any) -> tuple[int, int]:
        """The largest datagrams that both sides have sent, the starter's first, where the network takes any."""
        pair = opened(Conditions(delay=0.01, mtu=None), **options)
        largest = {pair.starter.node.address: 0, pair.listener.node.address: 0}
        send = pair.network.send

        def spy(source: Any, destination: Any, datagrams: Any, ecn: int = 0) -> None:
            largest[source] = max(largest[source], *map(len, datagrams))
            send(source, destination, datagrams, ecn)

        self.patch(pair.network, "send", spy)
        for side in (pair.starter, pair.listener):
            side.open_stream(b"", bytes(512 * KIB))
        pair.run_for(10.0)
        return largest[pair.starter.node.address], largest[pair.listener.node.address]

    def test_own(self) -> None:
        """C{max_datagram} bounds what is tried, and is told to the peer, which keeps to it."""
        self.assertEqual(self.sizes(starter_options=Options(max_datagram=1_300)), (1_300, 1_300))
        self.assertEqual(self.sizes(listener_options=Options(max_datagram=5_000)), (5_000, 5_000))

    def test_off(self) -> None:
        """Without C{discover_mtu} nothing is tried; the peer may."""
        self.assertEqual(self.sizes(starter_options=Options(discover_mtu=False)), (1_200, 65_507))

    def test_small_buffer(self) -> None:
        """Four datagrams fit the peer's buffer, so that it is never filled by one of them."""
        self.assertEqual(self.sizes(starter_options=Options(receive_buffer=16 * KIB))[1], 4 * KIB)


class ProbeTests(SynchronousTestCase):
    """How probes travel."""

    def trains(self, wire: Wire) -> list[Train]:
        """All trains that the starter makes from now on."""
        made: list[Train] = []
        send = wire._send

        def spy(role: Role, trains: list[Train]) -> None:
            if role is Role.STARTER:
                made.extend(trains)
            send(role, trains)

        self.patch(wire, "_send", spy)
        return made

    def test_alone(self) -> None:
        """A probe is a train of its own, with a ping and padding, also in the middle of a transfer."""
        wire = Wire(discovers=True)
        made = self.trains(wire)
        wire.open()
        wire.starter.send_message(bytes(300_000), now=wire.now)
        wire.run(1.0)
        largest = 1_200
        for train in made:
            if len(train.datagrams[0]) > largest:
                largest = len(train.datagrams[0])
                self.assertEqual(len(train.datagrams), 1)
        self.assertEqual(largest, 65_507)
        wire.close()

    def test_contents(self) -> None:
        """It holds a ping that elicits an acknowledgement, and padding up to its size; nothing that could be missed."""
        wire = Wire(discovers=True)
        made = self.trains(wire)
        wire.open()
        wire.run(2 * LEISURE)
        datagram = next(train.datagrams[0] for train in made if len(train.datagrams[0]) > 1_200)
        self.assertEqual(len(datagram), 1_452)
        view = memoryview(datagram)[13:-4]
        self.assertEqual((view[0], view[9]), (21, 38))  # HealthPing, Padding
        self.assertEqual(bytes(view[10:]), bytes(len(view) - 10))

    def test_after_opening(self) -> None:
        """None leaves before the session is open, nor once it is being closed."""
        wire = Wire(discovers=True)
        wire.there.accepts = None
        wire.run(2.0)
        self.assertTrue(wire.there.of(SessionRequested))
        self.assertFalse(wire.here.of(SessionOpened))
        for side in (wire.starter, wire.listener):
            self.assertEqual(side.statistics()["mtu_probes"], 0)
        wire.listener.accept(now=wire.now)
        wire.run(1.0)
        for side in (wire.starter, wire.listener):
            self.assertEqual(side.statistics()["mtu"], 8_972)

    def test_no_loss(self) -> None:
        """A probe that gets lost is no loss: nothing is counted or sent again, window and timers stay as they are."""
        pair = opened(replace(ETHERNET, mtu=1_300))
        pair.run_for(10.0)
        statistics = pair.starter.connection.statistics()
        self.assertTrue(1_264 < statistics["mtu"] <= 1_272)
        self.assertGreaterEqual(statistics["mtu_probes"], 3 * MAX_PROBES)
        for name in ("datagrams_lost", "bytes_lost", "probe_timeouts", "in_flight", "black_holes"):
            self.assertEqual(statistics[name], 0, name)
        self.assertEqual(statistics["window"], 12_000)
        self.assertTrue(pair.is_quiescent())

    def test_end(self) -> None:
        """A session closes while a probe is in flight; nothing is left of it."""
        pair = opened()
        pair.run(lambda: pair.starter.connection._link.route.discovery.numbers)
        pair.close()
        pair.assert_clean()

    def test_window(self) -> None:
        """No probe leaves while a full datagram has no room in the window, nor one that is larger than all of it."""
        pair = opened()
        link = pair.starter.connection._link
        pair.run_for(LEISURE + 0.3)
        self.assertEqual(mtu(pair.starter), 1_472)
        pair.run(lambda: link.route.discovery.deadline is not None)
        link.route.discovery.timeout(link.route.discovery.deadline or 0.0)
        now = pair.now + 1.0
        flight = link.route.congestion.window - link.path.mtu
        for left_over, leaves in ((1, False), (0, True)):
            link.recovery._flying.size = flight + left_over
            self.assertEqual(link.outbound.probe(now) is not None, leaves)
        link.route.discovery.timeout(now + 1.0)
        link.recovery._flying.size = 0
        for window, leaves in ((8_951, False), (8_952, True)):
            link.route.congestion.window = window
            self.assertEqual(link.outbound.probe(now + 1.0) is not None, leaves)

    def test_silence(self) -> None:
        """None leaves while the path is silent: what is lost then says nothing of its size."""
        pair = opened()
        link = pair.starter.connection._link
        self.assertIsNotNone(link.route.discovery.deadline)
        link.route.discovery.timeout(link.route.discovery.deadline or 0.0)
        for attribute in ("probes", "timeouts"):
            setattr(link.recovery, attribute, 1)
            self.assertIsNone(link.outbound.probe(pair.now + 1.0))
            setattr(link.recovery, attribute, 0)
        link.path.validated = False
        self.assertIsNone(link.outbound.probe(pair.now + 1.0))
        link.path.validated = True
        keys: Any = link.outbound.keys
        left, keys.left = keys.left, 0
        self.assertIsNone(link.outbound.probe(pair.now + 1.0))  # nothing may be sealed any more
        keys.left = left
        self.assertIsNotNone(link.outbound.probe(pair.now + 1.0))


class HoleTests(SynchronousTestCase):
    """Paths that change."""

    def test_found(self) -> None:
        """A path that carries less now is left to the base within a few probe timeouts; the window survives it."""
        pair = opened(replace(ETHERNET, bandwidth=50e6))
        stream = pair.starter.open_stream(b"", bytes(4_096 * KIB))
        streams = pair.listener.application.streams
        pair.run(lambda: stream.id in streams and len(streams[stream.id].data) > 512 * KIB)
        window = pair.starter.connection.statistics()["window"]
        pair.network.set_conditions(replace(ETHERNET, bandwidth=50e6, mtu=1_280))
        at = pair.now
        pair.run(lambda: mtu(pair.starter) == 1_200, limit=2.0)
        self.assertLess(pair.now - at, 1.0)
        statistics = pair.starter.connection.statistics()
        self.assertEqual(statistics["black_holes"], 1)
        self.assertGreaterEqual(statistics["window"], window // 4)  # lost in two round trips, and no collapse
        self.assertLessEqual(statistics["probe_timeouts"], 3)
        pair.run(lambda: mtu(pair.starter) > 1_244, limit=PAUSE + 10)
        pair.run(lambda: streams[stream.id].finished)
        self.assertEqual(pair.starter.connection.statistics()["black_holes"], 1)
        pair.close()

    def test_at_once(self) -> None:
        """It is left with the acknowledgement, or the timer, that shows it; what is at the base already stays."""
        ack = p.Ack(0, ((0, 1),))
        moments: list[Callable[[Any, float], object]] = [
            lambda link, now: link.take(ack, now, False),
            lambda link, now: link.timeout(now),
        ]
        for notice in moments:
            pair = opened()
            pair.run_for(5.0)
            link = pair.starter.connection._link
            for _ in range(2):
                link.recovery.black_holes.found = True
                notice(link, pair.now)
                self.assertEqual((link.path.mtu, link.route.discovery.black_holes), (1_200, 1))
                self.assertFalse(link.recovery.black_holes.found)

    def test_messages(self) -> None:
        """Messages that went whole before, lost in a black hole, arrive in fragments; small ones don't wait for it."""
        pair = opened()
        pair.run_for(5.0)
        pair.network.set_conditions(replace(ETHERNET, mtu=1_280))
        pair.starter.application.send_all((lane, bytes(1_440)) for lane in (1, 2, 3))
        for number in range(20):
            pair.starter.application.send_all([(0, b"%d" % number)])
            pair.run_for(0.05)
        pair.run(lambda: all(message.settled for message in pair.starter.outgoing), limit=3.0)
        self.assertEqual(pair.starter.connection.statistics()["black_holes"], 1)
        pair.close()
        pair.assert_delivered()

    def test_lonely(self) -> None:
        """A single message that is too large for the path now gets through as well."""
        pair = opened()
        pair.run_for(5.0)
        pair.network.set_conditions(replace(ETHERNET, mtu=1_280))
        pair.starter.application.send_all([(0, bytes(1_440))])
        pair.run(lambda: pair.starter.outgoing and pair.starter.outgoing[0].settled, limit=3.0)
        self.assertEqual(mtu(pair.starter), 1_200)
        pair.close()

    def test_directs(self) -> None:
        """Direct messages that no longer fit are dropped and counted; they hold up nothing."""
        pair = opened()
        pair.run_for(5.0)
        side = pair.starter
        side.connection.send_direct(bytes(1_440))
        side.connection._link.path.mtu = 1_200
        side.connection.send_direct(b"small")
        side.touch()
        side.send_message(b"after it")
        pair.run_for(1.0)
        self.assertEqual(side.connection.statistics()["directs_dropped"], 1)
        self.assertEqual(pair.listener.application.directs, [b"small"])
        pair.close()

    def test_blackout(self) -> None:
        """A path that is gone for two seconds and comes back as it was is no black hole."""
        hole = Blackhole(1.0, 3.0)
        pair = opened(replace(ETHERNET, bandwidth=10e6, blackholes=(hole,)))
        stream = pair.starter.open_stream(b"", bytes(2_048 * KIB))
        streams = pair.listener.application.streams
        pair.run(lambda: stream.id in streams and streams[stream.id].finished)
        self.assertGreater(pair.now, 3.0)
        self.assertGreater(pair.starter.connection.statistics()["probe_timeouts"], 2)
        self.assertEqual(pair.starter.connection.statistics()["black_holes"], 0)
        self.assertEqual(mtu(pair.starter), 1_472)
        pair.close()

    def test_small_probe(self) -> None:
        """From the second probe timeout in a row on, one of the two datagrams is no larger than the base."""
        wire = Wire(Options(delivery_timeout=60.0), discovers=True)
        wire.open()
        wire.run(1.0)
        wire.lose = lambda role, datagram: True
        before = len(wire.sent)
        wire.starter.send_message(bytes(50_000), now=wire.now)
        wire.run(0.01)
        flight = len(wire.sent)
        self.assertEqual({len(datagram) for _, datagram in wire.sent[before:flight]}, {8_972})
        wire.run(1.0)
        sizes = [len(datagram) for role, datagram in wire.sent[flight:] if role is Role.STARTER]
        self.assertEqual(sizes[: 3 * PROBES], [8_972, 8_972, 8_972, 1_200, 8_972, 1_200])

    def test_small_probe_after_less(self) -> None:
        """It is no larger, either, when messages that go whole leave room in the datagram before it."""
        wire = Wire(Options(delivery_timeout=60.0), discovers=True)
        wire.open()
        wire.run(1.0)
        wire.lose = lambda role, datagram: True
        for _ in range(20):
            wire.starter.send_message(bytes(3_000), now=wire.now)
        wire.run(0.01)
        flight = len(wire.sent)
        wire.run(1.0)
        sizes = [len(datagram) for role, datagram in wire.sent[flight:] if role is Role.STARTER]
        timeouts = wire.starter.statistics()["probe_timeouts"]
        self.assertGreater(timeouts, 2)
        self.assertEqual(sum(size <= 1_200 for size in sizes), timeouts - 1, sizes)


class MoveTests(SynchronousTestCase):
    """Other paths."""

    def test_explore(self) -> None:
        """On a new path datagrams have the base's size until it is known what it carries."""
        pair = opened()
        pair.run_for(5.0)
        link = pair.starter.connection._link
        link.path.mtu = link.path.base  # what a new path begins with
        link.route.explore(pair.now)
        self.assertEqual((mtu(pair.starter), link.outbound.room), (1_200, 1_200 - 13 - 4))
        self.assertEqual(link.allowance._pacer.datagram, 1_200)
        pair.starter.touch()
        pair.run_for(LEISURE + 0.3)
        self.assertEqual(mtu(pair.starter), 1_472)
        pair.close()


class LieTests(SynchronousTestCase):
    """Peers that say what isn't so."""

    def limits(self, **parameters: Any) -> Puppet:
        """A peer that says this of itself, and acknowledges whatever it gets."""
        puppet = Puppet(Role.LISTENER, parameters=GENEROUS._replace(**parameters), discovers=True)
        puppet.victim.send_message(bytes(1_000_000), now=puppet.now)
        for _ in range(20):
            puppet.listen()
            puppet.wait(0.5)
        return puppet

    def test_tiny(self) -> None:
        """A peer that claims to read less than the base is sent the base, and nothing is tried."""
        for size in (0, 1, 1_199, 1_200):
            statistics = self.limits(max_datagram=size).victim.statistics()
            self.assertEqual((statistics["mtu"], statistics["mtu_probes"]), (1_200, 0))

    def test_huge(self) -> None:
        """One that claims to read more than any datagram can have gets no more than that."""
        statistics = self.limits(max_datagram=1 << 60).victim.statistics()
        self.assertEqual(statistics["mtu"], 65_507)

    def test_tiny_buffer(self) -> None:
        """Nor does one with hardly a buffer stop everything."""
        for size in (0, 1, 4_000):
            puppet = self.limits(receive_buffer=size)
            self.assertEqual(puppet.victim.statistics()["mtu"], 1_200)
            self.assertIsNone(puppet.application.error)

    def test_unsent(self) -> None:
        """An acknowledgement of a probe that was not sent yet ends the session."""
        puppet = Puppet(Role.STARTER, discovers=True)
        puppet.wait(LEISURE)
        self.assertGreater(puppet.victim.statistics()["mtu_probes"], 0)
        number = puppet.victim._link.recovery.next_number
        error = puppet.said(p.Ack(0, ((number, number + 1),)))
        assert error is not None
        self.assertIn("never sent", error.text)

    def test_believed(self) -> None:
        """Who acknowledges probes that cannot have arrived harms itself alone: what it misses is sent smaller."""
        pair = opened()
        pair.run_for(5.0)
        link = pair.starter.connection._link
        link.path.mtu = 9_000  # the peer says that it has had a probe of this size
        link.route.resized(pair.now)
        pair.starter.send_message(bytes(100_000))
        pair.run(lambda: pair.starter.outgoing[0].settled, limit=5.0)
        self.assertEqual(pair.starter.connection.statistics()["black_holes"], 1)
        pair.close()
        pair.assert_delivered()
