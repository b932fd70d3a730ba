"""
Hostile input: whatever a peer or a stranger sends, a session ends with a reason that both sides can read, the
listener goes on, and memory stays bounded.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.demux import MOST_REPLIES, Demux
from hypermail.errors import Reason, SessionAborted, SessionKilled, SessionLost
from hypermail.messages.asks import ASKS, REPLIES
from hypermail.options import KIB, ListenerOptions, Options, Role, Way
from hypermail.security.handshake import PlainHandshake
from hypermail.security.seal import PlainSeal
from hypermail.test.test_demux import hello
from hypermail.test.wired import GENEROUS, Application, Puppet, Wire
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.heads import Head

#: One packet of every kind, with every field in use.
EVERY: tuple[p.Packet, ...] = (
    p.SessionOpen(Way.TWO_WAY, GENEROUS._replace(reset_token=bytes(16))),
    p.SessionOpenAck(GENEROUS),
    p.SessionOpenAck(None, 5, "why"),
    p.SessionReopen(bytes(16), 1, bytes(32), 7, GENEROUS),
    p.SessionReopenAck(bytes(32), GENEROUS),
    p.SessionReopenAck(bytes(32), incarnation=7),
    p.SessionReopenAck(b"", code=5, text="why"),
    p.SessionClose(),
    p.SessionCloseAck(),
    p.SessionDeath(5, "why"),
    p.StreamBlock(0, 0, 0, 100, 0, b"data"),
    p.StreamBlockAck(0, 0, ((2, 3), (5, 9)), (p.Verdict(2, False, 1, "why"), p.Verdict(5, True, 1, ""))),
    p.StreamOpen(2, b"name", {"key": b"value"}, 7),
    p.StreamOpenAck(1, 5_000),
    p.StreamOpenAck(1, None, 5, "why"),
    p.StreamReopen(0, 1, 2),
    p.StreamReopenAck(0, 1, 2),
    p.StreamChunk(0, 0, b"data"),
    p.StreamChunkAck(0, 0),
    p.StreamFlush(0, 4),
    p.StreamFlushAck(0),
    p.StreamLack(0, ((0, 1), (3, 5))),
    p.StreamLater(0),
    p.StreamGo(0, 50_000),
    p.StreamClear(0, 5, "why"),
    p.MessageClear(0, 0, 5),
    p.HealthPing(1),
    p.HealthPong(1),
    p.Ack(5, ((8, 10), (3, 5), (0, 1))),
    p.Ack(5, ((3, 5), (0, 1)), (3, 0, 1)),
    p.Handshake(0, b"data"),
    p.PathChallenge(bytes(8)),
    p.PathResponse(bytes(8)),
    p.Direct(b"data"),
    p.StreamBlocks(0, 0, 0, [b"a", b"", b"ccc"]),
    p.StreamBlocks(ASKS, 1, 0, [b"an ask", b""]),
    p.StreamBlocks(REPLIES, 1, 0, [bytes(8) + b"a reply"]),
    p.Padding(5),
)


class HostileCase(SynchronousTestCase):
    """What has to be so after every attack."""

    def assertServes(self, demux: Demux, now: float) -> None:
        """A listener still serves: another session opens, carries a message both ways, and closes."""
        random = Random(99)
        starter = Connection.starter(
            "L", options=Options(), now=now, random_bytes=random.randbytes, handshake=PlainHandshake
        )
        here, there = Application(), Application()
        there.reply = lambda event: None
        message = None
        others = set(demux.connections)
        for _ in range(200):
            now += 0.01
            starter.handle_timeout(now=now)
            here.pump(starter, now)
            if message is None:
                message = starter.send_message(b"are you there?", now=now)
                starter.close(now=now) if not starter.opening else None
            elif message.settled and not starter.opening:
                starter.close(now=now)
            for train in starter.trains(now=now):
                for connection in demux.receive([memoryview(d) for d in train.datagrams], "S", now=now):
                    if connection in others:
                        continue
                    there.pump(connection, now)
            for connection in demux.connections:
                if connection in others:
                    continue
                connection.handle_timeout(now=now)
                there.pump(connection, now)
                for train in connection.trains(now=now):
                    starter.receive([memoryview(d) for d in train.datagrams], "L", now=now)
                if connection.ended:
                    demux.forget(connection)
            if starter.ended and here.error is not None:
                break
        self.assertEqual(there.messages, {0: [b"are you there?"]})
        assert message is not None
        self.assertIsNone(message.error)
        self.assertEqual(here.error.code if here.error else None, Reason.NONE)

    def assertReadable(self, puppet: Puppet) -> None:
        """The session goes on, or has ended with a reason that both sides can read; the victim has not broken."""
        error = puppet.application.error
        if error is None:
            puppet.say(p.HealthPing(99))
            self.assertIn(p.HealthPong(99), puppet.heard, "the session neither goes on nor has ended")
            return
        self.assertIsInstance(error, SessionLost)
        if isinstance(error, SessionAborted):
            (death,) = puppet.of(p.SessionDeath)
            self.assertEqual(death.code, error.code)
            self.assertTrue(death.text)
            self.assertIn(death.text, error.text)
        self.assertEqual(puppet.victim.statistics()["streams"], 0)


class PacketTests(HostileCase):
    """Authentic datagrams with nonsense inside."""

    def test_everyTruncation(self) -> None:
        """Every packet, cut off at every byte, behind a good one or alone, harms nobody but its own session."""
        for role in Role:
            for packet in EVERY:
                whole = packet.encode()
                for size in range(1, len(whole) + 1):
                    puppet = Puppet(role)
                    puppet.say(p.HealthPing(1), whole[:size])
                    self.assertReadable(puppet)
        self.assertServes(Puppet().demux, 2_000.0)

    def test_truncationsHaveReasons(self) -> None:
        """A packet that is cut short ends the session as a violation."""
        for packet in EVERY:
            if isinstance(packet, p.Padding | p.SessionClose | p.SessionCloseAck):
                continue
            puppet = Puppet()
            error = puppet.said(packet.encode()[:-1])
            self.assertEqual(error.code if error else None, Reason.PROTOCOL_VIOLATION, packet)

    def test_everyHead(self) -> None:
        """Every first byte, known or not, with nothing and with something behind it."""
        for head in range(256):
            for rest in (b"", b"\0" * 40, b"\xff" * 40):
                puppet = Puppet()
                puppet.say(bytes((head,)) + rest)
                self.assertReadable(puppet)
                if head not in Head._value2member_map_:
                    self.assertEqual(puppet.of(p.SessionDeath)[0].text, f"unknown head {head}")

    def test_everyPacketAnytime(self) -> None:
        """Every good packet at every moment of a session: while it opens, is decided, closes, and is over."""
        for packet in EVERY:
            for role in Role:
                opening = Puppet(role, opens=False)
                opening.listen()
                if role is Role.STARTER:
                    opening.hear(opening.long(p.Handshake(0, b"")))
                else:
                    opening.hear(opening.long(p.Ack(0, ((0, 1),)), p.Handshake(0, b"")))
                opening.say(packet)
                opening.wait(0.5)
                closing = Puppet(role)
                closing.victim.send_message(b"x", now=closing.now)
                closing.victim.close(now=closing.now)
                closing.listen()
                closing.say(packet)
                closing.say(packet)
                over = Puppet(role)
                over.acks = False
                over.victim.abort(5, "gone", now=over.now)
                over.say(packet)
                over.say(packet)
                over.wait(10)
                self.assertTrue(over.victim.ended)
            deciding = Puppet(accepts=None)
            deciding.say(packet)
            if deciding.application.error is None:
                deciding.victim.accept(now=deciding.now)
                deciding.listen()
            self.assertReadable(deciding)

    def test_behindTheEnd(self) -> None:
        """What stands behind the end of the session in the same datagram has no effect on its streams."""
        for packet in EVERY:
            puppet = Puppet()
            puppet.say(p.SessionDeath(5, "over"), p.StreamOpen(0, b"", {}, None), packet)
            self.assertEqual(puppet.victim.statistics()["streams"], 0)
            self.assertEqual(puppet.application.streams, [])
            self.assertEqual(puppet.application.error.code if puppet.application.error else None, 5)
            self.assertTrue(puppet.victim.ended)

    def test_empty(self) -> None:
        """An authentic datagram without a packet breaks the protocol."""
        puppet = Puppet()
        self.assertIsInstance(puppet.said(b""), SessionAborted)

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=200), st.sampled_from(Role))
    def test_randomInside(self, data: bytes, role: Role) -> None:
        """Random bytes inside an authentic datagram end the session readably, or mean something."""
        puppet = Puppet(role)
        puppet.say(data)
        self.assertReadable(puppet)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(EVERY), st.integers(0, 60), st.integers(0, 255)), max_size=12))
    def test_alteredInside(self, packets: list[tuple[p.Packet, int, int]]) -> None:
        """So do good packets with altered bytes, in any order."""
        puppet = Puppet()
        for packet, index, value in packets:
            data = bytearray(packet.encode())
            data[index % len(data)] = value
            puppet.say(bytes(data))
        self.assertReadable(puppet)

    def test_rules(self) -> None:
        """Each of the classic lies ends the session with its reason, and the listener serves on."""
        limit, broken = Reason.LIMIT_EXCEEDED, Reason.PROTOCOL_VIOLATION
        cases: Iterable[tuple[list[p.Packet], Reason]] = (
            ([p.Ack(0, ((1_000_000, 1_000_001),))], broken),
            ([p.Ack(0, ((2**62 - 1, 2**62),))], broken),
            ([p.StreamBlock(0, 0, 0, 2**32 - 1, 2**32 - 2, b"x")], limit),
            ([p.StreamBlock(0, 0, 0, 10, 0, b"abc"), p.StreamBlock(0, 0, 0, 12, 1, b"XYZ")], broken),
            ([p.StreamOpen(0, b"", {}, None), p.StreamFlush(0, 5), p.StreamChunk(0, 5, b"x")], broken),
            ([p.StreamOpen(0, b"", {}, None), p.StreamFlush(0, 5), p.StreamFlush(0, 6)], broken),
            ([p.StreamChunk(0, 2**64 - 2, b"x")], limit),
            ([p.StreamFlush(0, 2**64 - 1)], limit),
            ([p.StreamOpen(2 * 4_096, b"", {}, None)], limit),
            ([p.StreamOpen(1, b"", {}, None)], broken),
            ([p.StreamBlocks(0, 0, 2**64 - 2, [b"x", b"y"])], limit),
            ([p.MessageClear(0, 0, 2**64 - 1)], limit),
            ([p.StreamBlockAck(0, 2**64 - 1, (), ())], broken),
            ([p.SessionCloseAck()], broken),
        )
        for packets, reason in cases:
            puppet = Puppet()
            error = puppet.said(*packets)
            self.assertEqual(error.code if error else None, reason, packets)
            self.assertReadable(puppet)
            puppet.demux.forget(puppet.victim)
            self.assertServes(puppet.demux, 2_000.0)

    def test_overlapsThatDisagree(self) -> None:
        """Where fragments of the right length disagree in their bytes the first that came counts; nothing breaks."""
        puppet = Puppet()
        puppet.say(p.StreamBlock(0, 0, 0, 10, 2, b"first"))
        puppet.say(p.StreamBlock(0, 0, 0, 10, 0, b"0123456789"))
        self.assertEqual(puppet.application.messages, {0: [b"01first789"]})


class DatagramTests(HostileCase):
    """Datagrams that are not what they seem."""

    def _recorded(self, seed: int = 1) -> Wire:
        """A session with traffic of every kind, still open."""
        wire = Wire(seed=seed).open()
        for side in (wire.starter, wire.listener):
            for number in range(20):
                side.send_message(bytes([number]) * (number * 300), now=wire.now)
            stream = side.open_stream(b"name", now=wire.now)
            stream.write(bytes(range(256)) * 200)
            stream.finish()
        wire.until(lambda: all(len(application.ends) == 2 for application in (wire.here, wire.there)))
        wire.until(lambda: len(wire.here.settled) == 20 and len(wire.there.settled) == 20)
        wire.run(1)
        return wire

    def assertUnharmed(self, wire: Wire) -> None:
        """Nothing was delivered twice, nothing has ended, and the session still works."""
        for application in (wire.here, wire.there):
            self.assertIsNone(application.error)
            self.assertEqual(len(application.messages[0]), 20)
            self.assertEqual([len(data) for data in application.data.values()], [51_200])
        message = wire.starter.send_message(b"still there?", now=wire.now)
        wire.until(lambda: message.settled)
        wire.close()

    def test_replayed(self) -> None:
        """Recorded traffic that is replayed, in order or shuffled, changes nothing."""
        wire = self._recorded()
        recorded = list(wire.sent)
        for role, datagram in recorded:
            wire.inject(role, datagram)
        wire.run(1)
        wire.random.shuffle(recorded)
        before = len(wire.sent)
        for role, datagram in recorded * 2:
            wire.inject(role, datagram)
        wire.run(1)
        self.assertLess(len(wire.sent) - before, 20, "replays are answered")
        self.assertUnharmed(wire)

    def test_reflected(self) -> None:
        """Traffic that is sent back to its sender changes nothing."""
        wire = self._recorded()
        for role, datagram in list(wire.sent):
            wire.inject(Role(1 - role), datagram)
        wire.run(1)
        self.assertUnharmed(wire)

    def test_swapped(self) -> None:
        """Traffic of one session that is given to the sides of another changes nothing there."""
        one, other = self._recorded(1), self._recorded(2)
        for role, datagram in list(one.sent):
            other.inject(role, datagram)
        other.run(1)
        for connection in list(other.demux.connections):
            if connection is not other._accepted:
                other.demux.forget(connection)
        other.run(1)
        for application in (other.here, other.there):
            self.assertEqual(len(application.messages[0]), 20)
        self.assertIsNone(other.here.error)

    def test_everyBit(self) -> None:
        """A datagram with any bit of its header, or of its seal, flipped is dropped and counted."""
        puppet = Puppet()
        for make in (puppet.short, puppet.long):
            whole = make(p.HealthPing(5))
            for bit in [*range(8 * 40), *range(8 * len(whole) - 32, 8 * len(whole))]:
                if bit >= 8 * len(whole):
                    continue
                altered = bytearray(whole)
                altered[bit // 8] ^= 1 << bit % 8
                before = puppet.victim.statistics()["datagrams_received"]
                puppet.hear_quietly(bytes(altered))
                self.assertEqual(puppet.victim.statistics()["datagrams_received"], before, bit)
        self.assertReadable(puppet)
        self.assertEqual(puppet.application.error, None)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=100), max_size=10), st.sampled_from([b"", b"\x40", b"\xc0", b"\xd1", b"\xd2"]))
    def test_random(self, datagrams: list[bytes], kind: bytes) -> None:
        """Random datagrams, with and without a good first byte and tag, are dropped."""
        puppet = Puppet()
        tag = puppet.their_tag.to_bytes(8, "big")
        puppet.hear(*[kind + (tag if kind else b"") + datagram for datagram in datagrams])
        self.assertEqual((len(puppet.demux), puppet.application.error), (1, None))

    def test_truncated(self) -> None:
        """A datagram that is cut off anywhere is dropped."""
        puppet = Puppet()
        whole = puppet.short(p.HealthPing(5))
        for size in range(len(whole)):
            self.assertNotIn(p.HealthPong(5), puppet.hear(whole[:size]))
        self.assertIn(p.HealthPong(5), puppet.hear(whole))

    def test_longAfterwards(self) -> None:
        """Once both sides have the keys a long datagram, though authentic, is dropped."""
        puppet = Puppet()
        self.assertEqual(puppet.hear(puppet.long(p.HealthPing(5))), [])


class FloodTests(HostileCase):
    """Too much of something."""

    def bounded(self, most: int, attack: Callable[[], object]) -> None:
        """Run an attack that may take so many bytes of memory at most."""
        tracemalloc.start()
        try:
            attack()
            self.assertLess(tracemalloc.get_traced_memory()[1], most)
        finally:
            tracemalloc.stop()

    def test_ackRanges(self) -> None:
        """A million ranges of acknowledgement, all of numbers that were sent, cost time but no memory."""
        puppet = Puppet(options=Options(allowance_bytes=1 << 26))
        puppet.acks = False
        for _ in range(300):
            puppet.say(p.HealthPing(1))
        sent = puppet.victim.statistics()["datagrams_sent"]
        self.assertGreater(sent, 200)
        ranges = tuple((number, number + 1) for number in range(sent - 1, sent - 127, -2))
        self.assertEqual(len(ranges), 63)
        ack = p.Ack(0, ranges)
        datagram = [ack, ack]

        def attack() -> None:
            for _ in range(1_000_000 // (2 * 63 * 10)):
                puppet.hear(*[puppet.short(*datagram) for _ in range(10)])

        self.bounded(1 << 20, attack)
        self.assertIsNone(puppet.application.error)
        self.assertReadable(puppet)
        self.assertIsInstance(Puppet().said(_ack_of(65)), SessionAborted)

    def test_gaps(self) -> None:
        """Datagrams that leave a gap before each other are remembered as a bounded number of ranges."""
        puppet = Puppet()
        puppet.acks = False

        def attack() -> None:
            for _ in range(500):
                datagrams = []
                for _ in range(10):
                    puppet.number += 1
                    datagrams.append(puppet.short(p.Padding(1)))
                puppet.hear(*datagrams)

        self.bounded(1 << 20, attack)
        self.assertReadable(puppet)

    def test_opensNeverFinished(self) -> None:
        """A hundred thousand hellos without a sequel hold a bounded number of connections, for a bounded time."""
        puppet = Puppet(opens=False)
        most = ListenerOptions().max_unproved_per_prefix
        seal = PlainSeal()
        template = hello(0)
        demux = puppet.demux

        def attack() -> None:
            for start in range(0, 100_000, 50):
                datagrams = []
                for tag in range(start, start + 50):
                    head = template[:1] + tag.to_bytes(8, "big") + template[9:27]
                    datagrams.append(memoryview(seal.seal(head, [template[27:-4]], 0)))
                for connection in demux.receive(datagrams, "stranger", now=1_000.0):
                    connection.trains(now=1_000.0)
                self.assertLessEqual(len(demux.replies()), MOST_REPLIES)

        self.bounded(3 << 20, attack)
        self.assertEqual(len(demux), most)
        self.assertEqual(demux.statistics()["retries"], 100_000 - most)
        for connection in demux.connections:
            connection.handle_timeout(now=1_011.0)
            self.assertEqual(connection.trains(now=1_011.0), [])
            self.assertTrue(connection.ended)
            demux.forget(connection)
        self.assertServes(demux, 1_012.0)

    def test_pings(self) -> None:
        """A flood of pings and challenges in one read is answered with a handful."""
        puppet = Puppet()
        words: list[p.Packet] = [p.HealthPing(5), p.PathChallenge(bytes(8))]
        answers = puppet.hear(*[puppet.short(*words * 50) for _ in range(100)])
        self.assertLessEqual(len(answers), 4)
        self.assertReadable(puppet)

    def test_unacknowledged(self) -> None:
        """A peer that makes us speak and never acknowledges anything is ended, with a reason, at a bound."""
        for accepts in (True, False):
            puppet = Puppet()
            puppet.acks = False
            puppet.application.accepts_streams = accepts
            stream = 0
            while puppet.application.error is None:
                puppet.say(*[p.StreamOpen(number, b"", {}, None) for number in range(stream, stream + 100, 2)])
                puppet.say(*[p.StreamClear(number, 1, "") for number in range(stream, stream + 100, 2)])
                stream += 100
                self.assertLess(stream, 100_000)
            self.assertEqual(puppet.application.error.code, Reason.LIMIT_EXCEEDED)
            self.assertIn("unacknowledged", puppet.application.error.text)

    def test_laterAndGo(self) -> None:
        """Later without end, and limits without end, cost nothing."""
        puppet = Puppet()
        puppet.say(p.StreamOpen(0, b"", {}, None))
        words: list[p.Packet] = [p.StreamLater(0), p.StreamGo(0, 5)]
        flood = [puppet.short(*words * 40) for _ in range(1_000)]
        self.bounded(1 << 20, lambda: puppet.hear(*flood))
        self.assertReadable(puppet)

    def test_streamsFilled(self) -> None:
        """Whatever a peer sends on all its streams, memory stays within windows and pool."""
        count = 64
        options = Options(max_streams=count, stream_pool=256 * KIB, stream_pool_max=256 * KIB)
        puppet = Puppet(options=options)
        puppet.acks = False
        puppet.application.reply = lambda event: event.stream.pause() if hasattr(event, "stream") else None
        for id in range(0, 2 * count, 2):
            puppet.say(p.StreamOpen(id, b"", {}, None))
        limits = {ack.id: ack.limit for ack in puppet.of(p.StreamOpenAck) if ack.limit is not None}
        self.assertLessEqual(sum(limits.values()), count * 16 * KIB + 256 * KIB)

        def attack() -> None:
            for id, limit in limits.items():
                for offset in range(limit - KIB, KIB, -KIB):
                    puppet.say(p.StreamChunk(id, offset, bytes(KIB)))

        self.bounded(2 * (count * 16 * KIB + 256 * KIB) + (1 << 20), attack)
        self.assertReadable(puppet)

    def test_messagesDeclared(self) -> None:
        """Messages that are only declared take no memory for what they declare."""
        puppet = Puppet()

        def attack() -> None:
            self.assertIsNone(puppet.said(p.StreamBlock(0, 0, 0, 1 << 24, 0, b"x")))
            self.assertIsNone(puppet.said(p.StreamBlock(0, 0, 1, 1 << 24, (1 << 24) - 1, b"x")))

        self.bounded(1 << 20, attack)
        self.assertEqual(puppet.victim.statistics()["messages_held"], 2)
        error = puppet.said(p.StreamBlock(0, 0, 2, 1, 0, b"x"))
        self.assertEqual(error.code if error else None, Reason.LIMIT_EXCEEDED)

    def test_holdFilled(self) -> None:
        """While the application decides no more is held than was agreed, whatever is sent."""
        puppet = Puppet(accepts=None)
        puppet.acks = False

        def attack() -> None:
            for number in range(5_000):
                puppet.say(p.StreamBlocks(0, 0, number, [bytes(1_000)]))

        self.bounded(1 << 20, attack)
        self.assertLess(puppet.victim.statistics()["datagrams_dropped"], 10)
        puppet.victim.accept(now=puppet.now)
        puppet.listen()
        delivered = puppet.application.messages[0]
        self.assertLessEqual(len(delivered) * 1_000, 64 * KIB)
        self.assertReadable(puppet)

    def test_holdFilledWithNothing(self) -> None:
        """Packets of a byte each don't take more memory than large ones do."""
        puppet = Puppet(accepts=None)
        puppet.acks = False
        flood = [puppet.short(*[p.SessionCloseAck()] * 1_000) for _ in range(80)]
        self.bounded(256 * KIB, lambda: puppet.hear(*flood))
        self.assertReadable(puppet)

    def test_resetOracle(self) -> None:
        """Guessing tags gives a bounded number of small answers, and tells nothing of tags that are in use."""
        puppet = Puppet()
        random = Random(3)
        for _ in range(100):
            datagrams = [memoryview(header.encode_short(random.getrandbits(64), 1) + bytes(100)) for _ in range(50)]
            puppet.demux.receive(datagrams, "guesser", now=puppet.now)
            replies = puppet.demux.replies()
            size = sum(len(datagram) for train in replies for datagram in train.datagrams)
            self.assertLessEqual(size, 16 * header.RESET.size)
        guess = header.encode_short(puppet.their_tag, 1_000) + bytes(100)
        puppet.demux.receive([memoryview(guess)], "guesser", now=puppet.now)
        self.assertEqual(puppet.demux.replies(), [])
        self.assertReadable(puppet)


class BothSidesTests(HostileCase):
    """The reason reaches a real peer, too."""

    def test_read(self) -> None:
        """When one real side is made to break the rules both applications read the same reason."""
        for role in Role:
            wire = Wire().open()
            sides = (wire.starter, wire.listener)
            number = sides[role].statistics()["datagrams_sent"]
            head = header.encode_short(sides[1 - role].local_tag, number)
            wire.inject(role, PlainSeal().seal(head, [p.StreamGo(4 + (1 - role), 1).encode()], number))
            wire.until(lambda wire=wire: wire.here.error and wire.there.error)  # type: ignore[misc]
            errors = (wire.here.error, wire.there.error)
            self.assertEqual([type(errors[role]), type(errors[1 - role])], [SessionKilled, SessionAborted])
            for error in errors:
                self.assertIn("which was never opened", error.text if error else "")
                self.assertEqual(error.code if error else None, Reason.PROTOCOL_VIOLATION)
            self.assertServes(wire.demux, wire.now)


def _ack_of(count: int) -> bytes:
    """An acknowledgement of so many ranges, which may be more than allowed."""
    numbers = b"".join((1).to_bytes(4, "big") for _ in range(2 * (count - 1)))
    return p.ACK.pack(Head.ACK, 200, 0, count - 1, 1) + numbers
