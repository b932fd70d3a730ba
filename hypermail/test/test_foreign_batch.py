"""
Tests for L{hypermail.test.foreign_batch}: it has the original's habits, and understands its like.
"""

from __future__ import annotations

import random
import struct
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.foreign_batch import ForeignBatchCore, ForeignBatchListener, ForeignBatchStarter
from hypermail.test.foreign_batch_connection import ForeignBatchConnection, ForeignBatchOptions, ForeignBatchState
from hypermail.test.foreign_batch_packets import (
    CLOSE,
    CONNECT,
    CONNECT_ACK,
    DATA,
    DATA_ACK,
    DATA_PAYLOAD,
    DIRECT,
    FIRST,
    LAST,
    PING,
    PING_ACK,
    RECEIVE_BUFFER,
    REPEAT,
    read,
    write,
)
from hypermail.test.foreign_link import ForeignCrash, ForeignDatagram, ForeignFaults, ForeignWorld

HERE = ("10.0.0.1", 4700)
THERE = ("10.0.0.2", 4800)
OTHER = ("10.0.0.2", 50_123)
"""A port of the other end from which it only sends."""

UNSCATHED = ForeignBatchOptions(straddling=False)
"""How two of them understand each other."""


def handshake(data: bytes) -> bool:
    """Whether a datagram is a Connect. Each copy starts a connection of its own, whose end is the end of the other."""
    return data[0] == CONNECT


def messages(seed: int, count: int, most: int = 3_000) -> list[bytes]:
    """Messages of many sizes, no two of them alike, and one that is empty."""
    chance = random.Random(seed)
    return [b""] + [b"%d " % number + chance.randbytes(chance.randrange(most)) for number in range(1, count)]


class HabitsTests(SynchronousTestCase):
    """One of them alone, which hears what the test says."""

    def setUp(self) -> None:
        """It listens, and somebody has connected; what it has said so far is taken."""
        self.core = ForeignBatchCore(HERE[1])
        self.now = 100.0
        self.hear(write(CONNECT, THERE[1], 77, 1, RECEIVE_BUFFER), at=THERE)
        [self.connection] = self.core.accepted
        self.greeting = self.core.take()

    def hear(self, data: bytes, at: tuple[str, int] = OTHER) -> None:
        """Let it receive a datagram."""
        self.core.receive(self.now, data, at)

    def said(self) -> list[bytes]:
        """What it says, without where."""
        return [datagram.data for datagram in self.core.take()]

    def passing(self, seconds: float) -> list[bytes]:
        """What it says while time passes."""
        end = self.now + seconds
        said: list[bytes] = []
        while (due := self.core.due) is not None and due <= end:
            self.now = due
            self.core.wake(self.now)
            said += self.said()
        self.now = end
        return said

    def test_greeting(self) -> None:
        """A Connect is answered to the port in it, from a port of the connection's own."""
        self.assertEqual(self.greeting, [ForeignDatagram(write(CONNECT_ACK, 77, 1, RECEIVE_BUFFER), THERE, 1)])

    def test_connect_again(self) -> None:
        """The same Connect makes another connection."""
        self.hear(write(CONNECT, THERE[1], 77, 1, RECEIVE_BUFFER), at=THERE)
        self.assertEqual(self.said(), [write(CONNECT_ACK, 77, 2, RECEIVE_BUFFER)])
        self.assertEqual([one.id for one in self.core.accepted], [1, 2])

    def test_settling(self) -> None:
        """Within 20 ms after its Connect ack, data is delivered and not acknowledged; later it is."""
        self.now += 0.019
        self.hear(write(DATA, 1, 1, 1, 3, payload=b"early"))
        self.now += 0.001
        self.hear(write(DATA, 1, 2, 2, 3, payload=b"late"))
        self.hear(write(DATA, 1, 1, 1, 3, payload=b"early"))
        self.assertEqual(self.connection.delivered, [b"early", b"late"])
        self.assertEqual(self.said(), [write(DATA_ACK, 77, 2), write(DATA_ACK, 77, 1)])
        self.assertEqual(self.connection.counts, {"too early to acknowledge": 1, "duplicates": 1})

    def test_strangers(self) -> None:
        """Packets are for the connection with their id and of the IP address that they come from, or for nobody."""
        self.now += 1
        self.hear(write(DATA, 1, 1, 1, 3), at=("10.0.0.3", THERE[1]))
        self.hear(write(DATA, 2, 1, 1, 3))
        self.hear(b"\x04\0\0\0\x01")
        self.assertEqual((self.said(), self.connection.delivered), ([], []))
        self.assertEqual(self.core.counts, {"type 5 for nobody": 2, "type 4 for nobody": 1})

    def test_completion(self) -> None:
        """Messages are delivered as they become complete."""
        self.now += 1
        self.hear(write(DATA, 1, 1, 1, FIRST, payload=b"slow "))
        self.hear(write(DATA, 1, 3, 2, 3, payload=b"fast"))
        self.hear(write(DATA, 1, 2, 1, LAST, payload=b"one"))
        self.assertEqual(self.connection.delivered, [b"fast", b"slow one"])

    def test_flags(self) -> None:
        """Data with other flags is dropped and not acknowledged."""
        self.now += 1
        self.hear(write(DATA, 1, 1, 1, 7))
        self.assertEqual((self.said(), self.connection.delivered), ([], []))

    def test_reused(self) -> None:
        """A packet that comes again while a newer batch has its number is counted as a hazard."""
        self.now += 1
        for number, flags in ((1, FIRST), (2, LAST), (300, FIRST), (1, FIRST)):
            self.hear(write(DATA, 1, number, 1, flags))
        self.assertEqual(self.connection.counts["reused batch numbers"], 1)

    def test_window_packets(self) -> None:
        """Fewer than ten packets are in flight when one is sent; each ack lets one follow."""
        for _ in range(15):
            self.connection.send(self.now, b"x")
        self.assertEqual(self.said(), [write(DATA, 77, number, number, 3, payload=b"x") for number in range(1, 11)])
        self.hear(write(DATA_ACK, 1, 4))
        self.assertEqual(self.said(), [write(DATA, 77, 11, 11, 3, payload=b"x")])
        self.assertEqual((self.connection.sent, self.connection.acknowledged), (15, 1))

    def test_window_bytes(self) -> None:
        """Fewer than 8,196 bytes are in flight when a packet is sent."""
        self.connection.send(self.now, bytes(20 * DATA_PAYLOAD))
        said = self.said()
        self.assertEqual(([len(one) for one in said], said[0][10], said[8][10]), ([983] * 9, FIRST, 0))

    def test_empty(self) -> None:
        """An empty message is a packet with an empty payload."""
        self.connection.send(self.now, b"")
        self.assertEqual(self.said(), [write(DATA, 77, 1, 1, 3)])

    def numbers(self, options: ForeignBatchOptions, sizes: list[int]) -> list[tuple[int, int]]:
        """The packet and batch numbers of messages of so many packets."""
        self.core = ForeignBatchCore(HERE[1], options)
        self.hear(write(CONNECT, THERE[1], 77, 1, RECEIVE_BUFFER), at=THERE)
        self.said()
        for size in sizes:
            self.core.accepted[0].send(self.now, bytes(size * DATA_PAYLOAD))
        return [read(data).fields[1:3] for data in self.said()]  # type: ignore[misc]

    def test_wrapping(self) -> None:
        """0 follows packet number 2^32 - 1 and batch number 255."""
        options = ForeignBatchOptions(first_packet=(1 << 32) - 1, first_batch=254)
        self.assertEqual(self.numbers(options, [1] * 4), [((1 << 32) - 1, 254), (0, 255), (1, 0), (2, 1)])

    def test_straddling(self) -> None:
        """The original lets batches straddle the numbers at which they are mangled; one that knows skips numbers."""
        for first, second, skipped in ((127, 128, 128), ((1 << 32) - 1, 0, 0)):
            options = ForeignBatchOptions(first_packet=first)
            self.assertEqual(self.numbers(options, [2]), [(first, 1), (second, 1)])
            options = replace(options, straddling=False)
            self.assertEqual(self.numbers(options, [2]), [(skipped, 1), (skipped + 1, 1)])
            self.assertEqual(self.numbers(options, [1]), [(first, 1)])

    def test_scan(self) -> None:
        """What is not acknowledged is sent again every 5.0 to 5.5 s, with the same numbers."""
        self.connection.send(self.now, b"x")
        packet = write(DATA, 77, 1, 1, 3, payload=b"x")
        self.assertEqual(self.said(), [packet])
        self.assertEqual(self.passing(4.99), [])
        data = [one for one in self.passing(50) if one[0] == DATA]
        self.assertIn(len(data), (9, 10))
        self.assertEqual(set(data), {packet})

    def test_countdown(self) -> None:
        """The first idle tick is free; then come three Pings, and Close, after which nothing is accepted."""
        self.assertEqual(self.passing(9.99), [])
        counting = [write(PING, 77, count) for count in (3, 2, 1)]
        self.assertEqual(self.passing(14), counting)
        self.assertEqual(self.passing(5), [write(CLOSE, 77)])
        self.assertEqual((self.connection.state, self.connection.why), (ForeignBatchState.CLOSED, "pings"))
        self.hear(write(DATA, 1, 1, 1, 3))
        self.assertEqual((self.passing(60), self.connection.delivered), ([], []))

    def test_other_traffic(self) -> None:
        """Traffic skips a tick, but does not begin the countdown anew."""
        self.assertEqual(self.passing(11), [write(PING, 77, 3)])
        self.hear(write(DIRECT, 1, payload=b"x"))
        self.assertEqual(self.passing(5), [])
        self.assertEqual(self.passing(5), [write(PING, 77, 2)])

    def test_ping_ack(self) -> None:
        """A Ping ack begins the countdown anew."""
        self.assertEqual(self.passing(16), [write(PING, 77, count) for count in (3, 2)])
        self.hear(write(PING_ACK, 1, 2))
        self.assertEqual(self.passing(10), [])
        self.assertEqual(self.passing(5), [write(PING, 77, 3)])

    def test_ping(self) -> None:
        """A Ping is answered with its count."""
        self.hear(write(PING, 1, 200))
        self.assertEqual(self.said(), [write(PING_ACK, 77, 200)])

    def test_direct(self) -> None:
        """Direct messages come and go; an empty one too."""
        self.hear(write(DIRECT, 1, payload=b"one"))
        self.hear(write(DIRECT, 1))
        self.connection.direct(b"two")
        self.assertEqual((self.connection.directs, self.said()), ([b"one", b""], [write(DIRECT, 77, payload=b"two")]))
        self.assertRaises(ValueError, self.connection.direct, bytes(972))

    def test_resends_after_close(self) -> None:
        """After a Close, what was in flight is sent until it is acknowledged, and nothing else is."""
        for _ in range(11):
            self.connection.send(self.now, b"x")
        self.hear(write(CLOSE, 1))
        flight = self.said()
        self.assertEqual(self.passing(5.5), flight)
        for number in range(1, 11):
            self.hear(write(DATA_ACK, 1, number))
        self.assertEqual(self.passing(60), [])
        self.assertEqual((self.connection.acknowledged, self.connection.why), (10, "there"))

    def test_close(self) -> None:
        """It closes with Close, whatever is still to be sent."""
        self.connection.send(self.now, b"x")
        self.connection.close()
        self.assertEqual(self.said(), [write(DATA, 77, 1, 1, 3, payload=b"x"), write(CLOSE, 77)])

    def test_connect(self) -> None:
        """It says Connect once, from the port that listens, and gives up after 10 s."""
        started = self.core.connect(self.now, THERE)
        packet = write(CONNECT, HERE[1], 2, 1, RECEIVE_BUFFER)
        self.assertEqual(self.core.take(), [ForeignDatagram(packet, THERE)])
        self.assertEqual(self.passing(9.9), [])
        self.assertIs(started.state, ForeignBatchState.CONNECTING)
        self.passing(0.2)
        self.assertIs(started.state, ForeignBatchState.FAILED)
        self.hear(write(CONNECT_ACK, 2, 9, RECEIVE_BUFFER))
        self.assertIs(started.state, ForeignBatchState.FAILED)

    def test_connected(self) -> None:
        """What was given before goes out when the Connect ack comes; a second one with another id is counted."""
        started = self.core.connect(self.now, THERE)
        started.send(self.now, b"x")
        self.said()
        self.hear(write(CONNECT_ACK, 2, 9, RECEIVE_BUFFER))
        self.hear(write(CONNECT_ACK, 2, 10, RECEIVE_BUFFER))
        self.assertEqual(self.core.take(), [ForeignDatagram(write(DATA, 9, 1, 1, 3, payload=b"x"), THERE, 2)])
        self.assertEqual(started.counts["other Connect acks"], 1)

    def test_overflow(self) -> None:
        """Of more than ten full packets within 1 ms, it receives ten."""
        self.now += 1
        for number in range(1, 13):
            self.hear(write(DATA, 1, number, number, 3, payload=bytes(DATA_PAYLOAD)))
        self.assertEqual((len(self.connection.delivered), self.core.counts["overflow"]), (10, 2))
        self.now += 0.0011
        self.hear(write(DATA, 1, 11, 11, 3, payload=bytes(DATA_PAYLOAD)))
        self.assertEqual(len(self.connection.delivered), 11)

    def test_repeat(self) -> None:
        """A request to repeat with numbers in it crashes the original, but not one that knows the seed."""
        self.assertRaises(ForeignCrash, self.hear, write(REPEAT, 1, payload=struct.pack(">I", 1)))
        self.core = ForeignBatchCore(HERE[1], ForeignBatchOptions(repeats=True))
        self.hear(write(CONNECT, THERE[1], 77, 1, RECEIVE_BUFFER), at=THERE)
        self.now += 1
        self.core.accepted[0].send(self.now, b"x")
        packet = self.said()[-1]
        self.hear(write(REPEAT, 1, payload=struct.pack(">2I", 1, 5)))
        self.assertEqual(self.said(), [packet])
        self.hear(write(DATA, 1, 3, 3, 3))
        self.hear(write(DATA, 1, 2, 2, 3))
        asked = write(REPEAT, 77, payload=struct.pack(">2I", 1, 2))
        self.assertEqual(self.said(), [write(DATA_ACK, 77, 3), asked, write(DATA_ACK, 77, 2)])


class VirtualTests(SynchronousTestCase):
    """Two of them in virtual time."""

    def pair(self, world: ForeignWorld, options: ForeignBatchOptions) -> tuple[ForeignBatchConnection, ...]:
        """A connection, as its two ends have it, the starter's first."""
        starter, self.listener = ForeignBatchCore(HERE[1], options), ForeignBatchCore(THERE[1], options)
        world.add(HERE, starter)
        world.add(THERE, self.listener)
        started = starter.connect(world.now, THERE)
        while started.state is not ForeignBatchState.OPEN:
            world.pass_time(10.1)
            if started.state is ForeignBatchState.FAILED:
                started = starter.connect(world.now, THERE)
        return started, self.listener.accepted[-1]

    def exchange(self, world: ForeignWorld, options: ForeignBatchOptions, count: int, seed: int) -> None:
        """Exchange so many messages each way, and see that none is lost, and none comes twice."""
        ends = self.pair(world, options)
        sent = [messages(seed, count), messages(seed + 1, count)]
        for end, those in zip(ends, sent):
            for one in those:
                end.send(world.now, one)
        world.run(lambda: all(end.acknowledged == count for end in ends), 36_000)
        for end, those in zip(ends, reversed(sent)):
            self.assertEqual(sorted(end.delivered), sorted(those))
            self.assertIs(end.state, ForeignBatchState.OPEN)
        self.assertEqual(world.stray, [])

    def test_clean(self) -> None:
        """On a good link, all comes; nothing is sent to where nobody receives."""
        world = ForeignWorld()
        self.exchange(world, UNSCATHED, 50, 1)

    def test_lossy(self) -> None:
        """500 messages each way under 20 % loss, 20 % duplication, and reordering: none lost, none twice."""
        for seed in range(3):
            faults = ForeignFaults(loss=0.2, duplication=0.2, spared=handshake, seed=seed)
            self.exchange(ForeignWorld(faults, jitter=0.05), UNSCATHED, 500, seed)

    def test_repeats(self) -> None:
        """The same with requests to repeat, as the seed has them."""
        faults = ForeignFaults(loss=0.2, duplication=0.2, spared=handshake)
        options = ForeignBatchOptions(straddling=False, repeats=True)
        self.exchange(ForeignWorld(faults), options, 500, 1)
        self.assertTrue(self.listener.accepted[-1].counts["asked to repeat"])

    def test_wrapping(self) -> None:
        """Packet numbers go on with 0 after 2^32 - 1, and batch numbers after 255."""
        faults = ForeignFaults(loss=0.2, duplication=0.2, spared=handshake)
        options = ForeignBatchOptions(straddling=False, first_packet=(1 << 32) - 100, first_batch=200)
        self.exchange(ForeignWorld(faults), options, 300, 1)

    def test_straddling(self) -> None:
        """The original mangles what the original sends across packet number 128."""
        world = ForeignWorld()
        started, _ = self.pair(world, ForeignBatchOptions(first_packet=127))
        started.send(world.now, bytes(1_000))
        self.assertRaises(ForeignCrash, world.run, lambda: False, 60)

    def test_connect_lost(self) -> None:
        """Where a Connect or its answer may be lost, the application tries until a connection stands."""
        world = ForeignWorld(ForeignFaults(loss=0.6, seed=3))
        started, _ = self.pair(world, UNSCATHED)
        self.assertIs(started.state, ForeignBatchState.OPEN)
        self.assertGreater(started.id, 1)

    def test_idle(self) -> None:
        """Two of them that are idle stay together; when one is gone, the other one notices."""
        world = ForeignWorld()
        started, accepted = self.pair(world, UNSCATHED)
        world.pass_time(300)
        self.assertEqual([end.state for end in (started, accepted)], [ForeignBatchState.OPEN] * 2)
        world.add(THERE, ForeignBatchCore(THERE[1]))
        world.run(lambda: started.state is ForeignBatchState.CLOSED, 31)
        self.assertEqual(started.why, "pings")


class RealTests(SynchronousTestCase):
    """Two of them on real sockets, in threads; their scans come a hundred times as often."""

    # Ticks that are as short would take a thread that waits for its turn for a peer that is gone.
    options = replace(ForeignBatchOptions(straddling=False).at_scale(0.01), ping_interval=1.0)

    def test_lossy(self) -> None:
        """500 messages each way under 20 % loss and duplication each way: none lost, none twice."""
        bad = [ForeignFaults(loss=0.2, duplication=0.2, spared=handshake, seed=seed) for seed in range(2)]
        with (
            ForeignBatchListener(self.options) as listener,
            ForeignBatchStarter(self.options, outgoing=bad[0], incoming=bad[1]) as starter,
        ):
            started = starter.connected(listener.address, tries=20)
            accepted = listener.accepted()
            sent = [messages(1, 500, 1_500), messages(2, 500, 1_500)]
            starter.send(started, sent[0])
            listener.send(accepted, sent[1])
            starter.wait(lambda core: started.acknowledged == 500)
            listener.wait(lambda core: accepted.acknowledged == 500)
            self.assertEqual(sorted(accepted.delivered), sorted(sent[0]))
            self.assertEqual(sorted(started.delivered), sorted(sent[1]))
            self.assertEqual(starter.stray() + listener.stray(), [])

    def test_crash(self) -> None:
        """What crashes one of them is raised to the test."""
        with ForeignBatchStarter(self.options) as starter:
            listener = ForeignBatchListener(self.options)
            starter.connected(listener.address)
            accepted = listener.accepted()
            listener.call(lambda core, now: accepted.out.append(ForeignDatagram(b"", listener.address)))
            self.assertRaises(ForeignCrash, listener.wait, lambda core: False)
            self.assertRaises(ForeignCrash, listener.close)
