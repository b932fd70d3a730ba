"""
Tests for L{hypermail.link.link}: links that talk to each other, and what a link does with anything else.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import ProtocolViolation
from hypermail.link.acks import DELAY_SHARE, MANY_RANGES
from hypermail.link.allowance import INITIAL_WINDOW, Allowance
from hypermail.link.answers import MOST_ANSWERS, OWN_PINGS
from hypermail.link.heartbeat import Beat
from hypermail.link.link import Link
from hypermail.link.payload import Payload, Sent
from hypermail.options import Options, Role
from hypermail.security.handshake import PlainHandshake
from hypermail.security.seal import PlainSeal
from hypermail.test.linking import FIRST_TAG, LISTENER_TAG, START, STARTER_TAG, Ledger, Pair, Side, ack
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.codec import decode

SEAL = PlainSeal()


def short(packets: list[p.Packet], number: int, tag: int = LISTENER_TAG) -> bytes:
    """A short datagram that opens."""
    return SEAL.seal(header.encode_short(tag, number), [packet.encode() for packet in packets], number)


def long(packets: list[p.Packet], number: int, destination: int = FIRST_TAG, size: int = 0) -> bytes:
    """A long datagram of a starter that opens, padded to a size."""
    head = header.encode_long(header.Long(0, header.VERSION, destination, STARTER_TAG, number, b"", 0))
    content = b"".join(packet.encode() for packet in packets)
    rest = size - len(head) - len(content) - SEAL.overhead
    return SEAL.seal(head, [content, p.Padding(rest).encode() if rest > 0 else b""], number)


def contents(datagram: bytes) -> list[p.Packet]:
    """The packets of a datagram, whichever kind it is of."""
    view = memoryview(datagram)
    if datagram[0] & 0xF0 == header.Kind.LONG:
        head = header.decode_long(view)
        assert head is not None
        length = head.length
    else:
        length = header.SHORT.size
    opened = SEAL.open(view, length, 0)
    assert opened is not None
    return decode(opened)


def kinds(datagram: bytes) -> list[type]:
    """The types of a datagram's packets."""
    return [type(packet) for packet in contents(datagram)]


def opened_pair(starter: Options | None = None, listener: Options | None = None) -> tuple[Pair, Side, Side]:
    """Two links that are open and quiet."""
    pair = Pair(starter, listener)
    pair.starter.control.put("hello", p.StreamLater(1))
    other = pair.settle()
    pair.starter.taken.clear()
    other.taken.clear()
    return pair, pair.starter, other


class OpeningTests(SynchronousTestCase):
    """From nothing to an open link."""

    def test_step_by_step(self) -> None:
        """One round trip, then the starter speaks in short datagrams, and the first of them opens the listener."""
        pair = Pair()
        starter = pair.starter
        self.assertEqual((starter.link.keyed, starter.link.verified), (False, False))
        (hello,) = starter.send(pair.now)
        self.assertEqual(len(hello), 1_200)  # RFC 9000 §14.1
        self.assertEqual(kinds(hello), [p.Handshake, p.Padding])
        self.assertEqual(int.from_bytes(hello[1:9], "big"), FIRST_TAG)
        listener = pair.to_listener([hello])
        self.assertEqual((listener.link.keyed, listener.link.verified, listener.link.path.validated), (False,) * 3)
        (answer,) = listener.send(pair.now)
        self.assertEqual(kinds(answer), [p.Ack, p.Handshake])
        starter.receive([answer], pair.now + 0.02)
        self.assertEqual(starter.link.remote_tag, LISTENER_TAG)
        self.assertEqual((starter.link.keyed, starter.link.verified), (True, False))
        self.assertAlmostEqual(starter.link.rtt.smoothed, 0.02)
        starter.control.put("a", p.StreamGo(1, 2))
        datagrams = starter.send(pair.now + 0.02)
        self.assertEqual([kinds(one) for one in datagrams], [[p.StreamGo]])
        self.assertEqual(datagrams[0][0], header.Kind.SHORT)
        listener.receive(datagrams, pair.now + 0.03)
        self.assertEqual(listener.taken, [p.StreamGo(1, 2)])
        self.assertEqual((listener.link.keyed, listener.link.verified, listener.link.path.validated), (True,) * 3)
        answers = listener.send(pair.now + 0.03)
        self.assertEqual([kinds(one) for one in answers], [[p.Ack]])
        self.assertEqual(answers[0][0], header.Kind.SHORT)
        starter.receive(answers, pair.now + 0.04)
        self.assertTrue(starter.link.verified)
        self.assertEqual(len(starter.control), 0)

    def test_first_sample(self) -> None:
        """The datagram that opens the listener can only follow its answer: that is its first sample."""
        _, _, listener = opened_pair()
        self.assertTrue(listener.link.rtt.measured)
        self.assertAlmostEqual(listener.link.rtt.least, 0.02)

    def test_tag_is_settled(self) -> None:
        """The first answer names the listener; one that names another does not (RFC 9000 §7.2)."""
        pair = Pair()
        starter = pair.starter
        listener = pair.to_listener(starter.send(pair.now))
        starter.receive(listener.send(pair.now), pair.now + 0.02)
        listener.link.local_tag = 77
        listener.link.recovery.probes = 1
        starter.receive(listener.send(pair.now), pair.now + 0.03)
        self.assertEqual(starter.link.inbound.dropped, 1)
        self.assertEqual(starter.link.remote_tag, LISTENER_TAG)

    def test_acknowledged_acknowledgement(self) -> None:
        """What the peer has heard of is not told again once it has acknowledged hearing it."""
        pair, starter, listener = opened_pair()
        for lost in (False, True, False):
            starter.control.put("a", p.StreamGo(1, 2))
            datagrams = starter.send(pair.now)
            if not lost:
                listener.receive(datagrams, pair.now)
        listener.control.put("b", p.StreamGo(3, 4))  # elicits an answer to the acknowledgement beside it
        told = listener.send(pair.now)
        self.assertEqual([len(packet.ranges) for packet in contents(told[0]) if isinstance(packet, p.Ack)], [2])
        starter.receive(told, pair.now)
        starter.link.acks.force()
        starter.control.put("c", p.StreamGo(5, 6))
        listener.receive(starter.send(pair.now), pair.now)
        listener.link.acks.force()
        told = listener.send(pair.now)
        self.assertEqual([len(packet.ranges) for packet in contents(told[0]) if isinstance(packet, p.Ack)], [1])

    def test_both_open(self) -> None:
        """Both come to rest open, nothing in flight, nothing unacknowledged."""
        _, starter, listener = opened_pair()
        for side in (starter, listener):
            self.assertTrue(side.link.keyed and side.link.verified)
            self.assertEqual((side.link.recovery.in_flight, len(side.control), side.link.inbound.dropped), (0, 0, 0))
            self.assertIsNone(side.link.recovery.deadline())

    def test_lost_hello(self) -> None:
        """A hello that is lost is said again after 200 ms, under a number of its own."""
        pair = Pair()
        pair.starter.send(pair.now)
        deadline = pair.starter.link.next_timeout()
        self.assertAlmostEqual(deadline, START + 0.2)
        pair.starter.link.timeout(deadline)
        (again,) = pair.starter.send(deadline)
        head = header.decode_long(memoryview(again))
        assert head is not None
        self.assertEqual(head.low, 1)
        self.assertEqual(kinds(again), [p.Handshake, p.Padding])

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.booleans(), max_size=24))
    def test_through_loss(self, lost: list[bool]) -> None:
        """Whichever of the first datagrams are lost, the link opens and what was put arrives; no timer spins."""
        pair = Pair()
        starter = pair.starter
        starter.control.put("a", p.StreamGo(1, 2))
        fates = iter(lost)
        for _ in range(200):
            there = [one for one in starter.send(pair.now) if not next(fates, False)]
            if there:
                pair.to_listener(there)
            listener = pair.listener
            back = [one for one in listener.send(pair.now) if not next(fates, False)] if listener is not None else []
            if back:
                starter.receive(back, pair.now)
            if listener is not None and listener.link.verified and not len(starter.control):
                break
            if there or back:
                continue  # who has received something may have something to say
            sides = [side for side in (starter, listener) if side is not None]
            pair.now = max(pair.now, min(side.link.next_timeout() for side in sides))
            for side in sides:
                self.assertIsNot(side.link.timeout(pair.now), Beat.DEAD)
        assert listener is not None
        self.assertIn(p.StreamGo(1, 2), listener.taken)
        self.assertLess(pair.now - START, 0.5 * len(lost) + 1)

    def test_hello_twice(self) -> None:
        """A hello that comes twice is taken once and answered once."""
        pair = Pair()
        hello = pair.starter.send(pair.now)
        listener = pair.to_listener(hello * 2)
        self.assertEqual(listener.link.inbound.dropped, 1)
        self.assertEqual(len(listener.send(pair.now)), 1)

    def test_listener_validates_by_tag(self) -> None:
        """A long datagram that bears the listener's own tag proves the address; one with the first tag does not."""
        pair = Pair()
        listener = pair.to_listener(pair.starter.send(pair.now))
        listener.receive([long([p.HealthPing(1)], 1)], pair.now)
        self.assertFalse(listener.link.path.validated)
        listener.receive([long([p.HealthPing(1)], 2, destination=LISTENER_TAG)], pair.now)
        self.assertTrue(listener.link.path.validated)
        self.assertFalse(listener.link.verified or listener.link.keyed)

    def test_long_after_open(self) -> None:
        """Once the peer has shown session keys nothing long opens any more."""
        pair, _, listener = opened_pair()
        number = listener.link.acks.largest + 1
        listener.receive([long([p.HealthPing(1)], number)], pair.now)
        self.assertEqual((listener.link.inbound.dropped, listener.link.acks.largest), (1, number - 1))
        self.assertEqual(listener.link.long_datagrams(pair.now), [])

    def test_ended(self) -> None:
        """A link that was ended sends nothing more, and may be ended again."""
        pair = Pair()
        pair.starter.link.end()
        self.assertEqual(pair.starter.send(pair.now), [])
        pair.starter.link.end()
        pair, starter, _ = opened_pair()
        starter.control.put("a", p.StreamGo(1, 2))
        starter.link.end()
        self.assertEqual(starter.send(pair.now), [])

    def test_handshake_after_the_end(self) -> None:
        """A handshake that goes on after the end derives no keys."""
        link = Pair().starter.link
        link.end()
        self.assertIsNone(link.take(p.Handshake(0, b""), START, True))
        self.assertFalse(link.keyed)


class AmplificationTests(SynchronousTestCase):
    """Before its address is proved the starter gets at most thrice what it sent: RFC 9000 §8.1."""

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.integers(0, 1_200), max_size=5), st.integers(1, 40))
    def test_bound(self, sizes: list[int], timeouts: int) -> None:
        """Whatever comes after the hello, and however long the starter is silent, the bound holds at every moment."""
        pair = Pair()
        (hello,) = pair.starter.send(pair.now)
        listener = pair.to_listener([hello])
        received = len(hello)
        sent = sum(map(len, listener.send(pair.now)))
        for number, size in enumerate(sizes, 1):
            datagram = long([p.HealthPing(number)], number, size=size)
            listener.receive([datagram], pair.now)
            received += len(datagram)
            sent += sum(map(len, listener.send(pair.now)))
            self.assertLessEqual(sent, 3 * received)
        for _ in range(timeouts):
            deadline = listener.link.next_timeout()
            self.assertGreater(deadline, pair.now)
            pair.now = deadline
            listener.link.timeout(pair.now)
            sent += sum(map(len, listener.send(pair.now)))
            self.assertLessEqual(sent, 3 * received)
        self.assertFalse(listener.link.path.validated)

    def test_used_up(self) -> None:
        """With a single hello the listener falls silent at the bound, and speaks again when more comes."""
        pair = Pair()
        listener = pair.to_listener(pair.starter.send(pair.now))
        # A listener whose handshake has much to say, as it would in mode TLS.
        opening = listener.link._opening
        assert opening is not None
        opening.flight.send(bytes(10_000))
        answers = listener.send(pair.now)
        self.assertEqual([len(answer) for answer in answers], [1_200] * 3)
        listener.receive([long([p.HealthPing(9)], 1, size=1_200)], pair.now)
        self.assertEqual([len(answer) for answer in listener.send(pair.now)], [1_200] * 3)
        listener.receive([long([p.HealthPing(9)], 2, destination=LISTENER_TAG)], pair.now)
        self.assertGreater(len(listener.send(pair.now)), 1)
        self.assertFalse(opening.flight.waiting)

    def test_altered_counts(self) -> None:
        """What came from an address counts even when it does not open: the network carried it."""
        pair = Pair()
        listener = pair.to_listener(pair.starter.send(pair.now))
        before = listener.link.path.credit
        listener.receive([b"\xc0" + bytes(99)], pair.now)
        self.assertEqual(listener.link.path.credit, before + 300)


class BadDatagramTests(SynchronousTestCase):
    """What does not open changes nothing, and is counted."""

    def assertDropped(self, side: Side, datagram: bytes, now: float) -> None:
        """Assert that a datagram leaves no trace but in the count."""
        link = side.link
        before = (link.inbound.datagrams, link.acks.largest, link.heartbeat._heard, link.remote_tag, link._state)
        dropped = link.inbound.dropped
        self.assertIsNone(link.open(memoryview(datagram), now))
        after = (link.inbound.datagrams, link.acks.largest, link.heartbeat._heard, link.remote_tag, link._state)
        self.assertEqual((after, link.inbound.dropped), (before, dropped + 1))

    def test_every_bit_of_short(self) -> None:
        """With any bit of a short datagram flipped, header, content or checksum, it is dropped; unharmed it opens."""
        pair, starter, listener = opened_pair()
        starter.control.put("a", p.StreamGo(1, 2))
        (datagram,) = starter.send(pair.now)
        for bit in range(8 * len(datagram)):
            altered = bytearray(datagram)
            altered[bit >> 3] ^= 1 << (bit & 7)
            self.assertDropped(listener, bytes(altered), pair.now)
        self.assertIsNotNone(listener.link.open(memoryview(datagram), pair.now))

    def test_every_bit_of_long(self) -> None:
        """With any bit of a long header flipped it is dropped; unharmed it opens."""
        pair = Pair()
        (hello,) = pair.starter.send(pair.now)
        listener = Side(Role.LISTENER, Options(), pair.now, STARTER_TAG)
        for bit in range(8 * header.LONG.size):
            altered = bytearray(hello)
            altered[bit >> 3] ^= 1 << (bit & 7)
            self.assertDropped(listener, bytes(altered), pair.now)
        self.assertIsNotNone(listener.link.open(memoryview(hello), pair.now))

    def test_truncated(self) -> None:
        """A datagram cut short anywhere is dropped."""
        pair, starter, listener = opened_pair()
        starter.control.put("a", p.StreamGo(1, 2))
        (datagram,) = starter.send(pair.now)
        for length in range(1, len(datagram)):
            self.assertDropped(listener, datagram[:length], pair.now)
        (hello,) = Pair().starter.send(pair.now)
        fresh = Side(Role.LISTENER, Options(), pair.now, STARTER_TAG)
        for length in range(1, len(hello), 7):
            self.assertDropped(fresh, hello[:length], pair.now)

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=100))
    def test_random(self, datagram: bytes) -> None:
        """Random bytes raise nothing and change nothing, whatever state the link is in."""
        pair, starter, listener = opened_pair()
        for side in (starter, listener, Pair().starter, Side(Role.LISTENER, Options(), START, STARTER_TAG)):
            self.assertDropped(side, datagram, pair.now)

    def test_short_before_keys(self) -> None:
        """A short datagram that comes before there are keys is dropped."""
        listener = Side(Role.LISTENER, Options(), START, STARTER_TAG)
        self.assertDropped(listener, short([p.HealthPing(1)], 5), START)

    def test_replay(self) -> None:
        """What was taken once is dropped ever after, also when it comes later than others."""
        pair, starter, listener = opened_pair()
        recorded = []
        for key in range(3):
            starter.control.put(key, p.StreamGo(key, 1))
            recorded += starter.send(pair.now)
        listener.receive(recorded[1:], pair.now)
        listener.receive(recorded, pair.now)
        listener.receive(recorded[::-1], pair.now)
        self.assertEqual(listener.taken, [p.StreamGo(1, 1), p.StreamGo(2, 1), p.StreamGo(0, 1)])
        self.assertEqual(listener.link.inbound.dropped, 5)

    def test_ack_of_unsent(self) -> None:
        """An authentic ack of a number that was never sent breaks the protocol."""
        _, starter, _ = opened_pair()
        self.assertRaises(ProtocolViolation, starter.link.take, ack(1_000), START, False)

    def test_leaping_numbers(self) -> None:
        """Numbers that leap half the space ahead expand to what the sender meant."""
        pair, _, listener = opened_pair()
        listener.receive([short([p.StreamGo(1, 1)], (1 << 31) - 5)], pair.now)
        listener.receive([short([p.StreamGo(2, 1)], (1 << 32) - 9)], pair.now)
        listener.receive([short([p.StreamGo(3, 1)], (1 << 32) + 3)], pair.now)
        self.assertEqual(listener.link.acks.largest, (1 << 32) + 3)
        self.assertEqual(len(listener.taken), 3)


class OwnPacketsTests(SynchronousTestCase):
    """The link's own packets."""

    def test_ping_and_challenge(self) -> None:
        """A ping is answered by its pong, once; a challenge by its bytes, in a datagram that is not larger than its."""
        pair, _, listener = opened_pair()
        number = listener.link.acks.largest
        question = short([p.HealthPing(7), p.PathChallenge(b"12345678"), p.Padding(300)], number + 1)
        listener.receive([question], pair.now)
        (response, datagram) = listener.send(pair.now)
        self.assertIn(p.HealthPong(7), contents(datagram))
        self.assertEqual(contents(response)[0], p.PathResponse(b"12345678"))
        self.assertEqual(len(response), len(question))
        listener.receive([short([p.StreamGo(1, 2)], number + 2)], pair.now)
        for datagram in listener.send(pair.now + 1):
            self.assertNotIn(p.HealthPong, kinds(datagram))

    def test_flood(self) -> None:
        """A flood of pings in one turn is answered with a trickle; the next turn is answered again."""
        pair, _, listener = opened_pair()
        number = listener.link.acks.largest
        for turn in (1, 2):
            datagrams = [short([p.HealthPing(n) for n in range(100)], number + 10 * turn + i) for i in range(5)]
            listener.receive(datagrams, pair.now)
            answers = listener.send(pair.now)
            pongs = sum(kind is p.HealthPong for datagram in answers for kind in kinds(datagram))
            self.assertEqual(pongs, MOST_ANSWERS)
            self.assertLess(sum(map(len, answers)), sum(map(len, datagrams)))

    def test_pong_returned(self) -> None:
        """A pong is handed up, for it may answer the application; all else stays here."""
        _, starter, _ = opened_pair()
        self.assertEqual(starter.link.take(p.HealthPong(3), START, False), p.HealthPong(3))
        for packet in (p.HealthPing(3), p.PathChallenge(bytes(8)), p.PathResponse(bytes(8)), p.Handshake(0, b"")):
            self.assertIsNone(starter.link.take(packet, START, False))

    def test_heartbeat(self) -> None:
        """A quiet starter pings after the interval, the answer revives it; unanswered pings end it."""
        options = Options(ping_interval=5.0, ping_packet_count=2)
        pair, starter, listener = opened_pair(options, options)
        self.assertEqual(starter.send(pair.now), [])
        heard = starter.link.heartbeat._heard
        while not (datagrams := starter.send(pair.now)):
            pair.now = starter.link.next_timeout()
            self.assertIsNot(starter.link.timeout(pair.now), Beat.DEAD)
        self.assertEqual(pair.now, heard + 5.0)
        (ping,) = contents(datagrams[0])
        assert isinstance(ping, p.HealthPing)
        self.assertTrue(ping.id & OWN_PINGS)
        listener.receive(datagrams, pair.now)
        answers = listener.send(pair.now)
        starter.receive(answers, pair.now)
        self.assertEqual(starter.link.recovery.in_flight, 0)
        heard = pair.now
        while True:
            pair.now = starter.link.next_timeout()
            beat = starter.link.timeout(pair.now)
            if beat is Beat.DEAD:
                break
            starter.send(pair.now)
        self.assertEqual(pair.now, heard + 15.0)

    def test_listener_forgets(self) -> None:
        """A listener that hears nothing says nothing, and gives the link up."""
        pair, _, listener = opened_pair()
        heard = listener.link.heartbeat._heard
        beat = Beat.NOTHING
        while beat is not Beat.DEAD:
            pair.now = listener.link.next_timeout()
            beat = listener.link.timeout(pair.now)
            self.assertEqual(listener.send(pair.now), [])
        self.assertEqual(pair.now, heard + 30.0)


class SendingTests(SynchronousTestCase):
    """What leaves, and when."""

    def finish(self, side: Side, payload: Payload, now: float) -> bytes:
        """Seal what must have something to say."""
        size = side.link.outbound.finish(payload, now)
        (datagram,) = side.link.outbound.depart(now)
        self.assertEqual(len(datagram), size)
        return datagram

    def test_nothing_to_say(self) -> None:
        """Without anything to say no datagram is made and no number used."""
        pair, starter, _ = opened_pair()
        before = starter.link.recovery._next
        self.assertEqual(starter.link.outbound.finish(starter.link.outbound.begin(pair.now, True), pair.now), 0)
        self.assertEqual(starter.link.recovery._next, before)

    def test_without_keys(self) -> None:
        """Without keys nothing short is made."""
        pair = Pair()
        payload = pair.starter.link.outbound.begin(pair.now, False)
        payload.add(p.StreamGo(1, 2).encode())
        self.assertEqual(pair.starter.link.outbound.finish(payload, pair.now), 0)
        self.assertEqual(pair.starter.link.outbound.room, 1_200 - header.SHORT.size)

    def test_room(self) -> None:
        """A payload that uses all its room makes a datagram of exactly the path's size, overhead at most 29 bytes."""
        pair, starter, _ = opened_pair()
        payload = starter.link.outbound.begin(pair.now, False)
        self.assertLessEqual(1_200 - payload.room, 29)
        payload.add(bytes(payload.room))
        payload.contents.append((Ledger(), 0, 1))
        self.assertEqual(len(self.finish(starter, payload, pair.now)), 1_200)

    def test_padded(self) -> None:
        """A datagram that is nearly full, with more to follow, is padded to equal size, so that trains form."""
        pair, starter, _ = opened_pair()
        for left, full, expected in ((300, True, 1_200), (301, True, 899), (0, True, 1_200), (300, False, 900)):
            payload = starter.link.outbound.begin(pair.now, False)
            payload.add(p.Direct(bytes(payload.room - left - 3)).encode())
            payload.full = full
            self.assertEqual(len(self.finish(starter, payload, pair.now)), expected)

    def test_padded_large(self) -> None:
        """Padding never costs more than 300 bytes, however large datagrams may be."""
        pair, starter, _ = opened_pair()
        starter.link.path.mtu = 65_507
        for left, expected in ((300, 65_507), (301, 65_206), (16_000, 49_507)):
            payload = starter.link.outbound.begin(pair.now, False)
            payload.add(p.Direct(bytes(payload.room - left - 3)).encode())
            payload.full = True
            self.assertEqual(len(self.finish(starter, payload, pair.now)), expected)

    def test_ack_rides_along(self) -> None:
        """An ack that is not due rides along when something leaves anyway, and does not leave for itself."""
        pair, starter, listener = opened_pair()
        listener.control.put("a", p.StreamGo(1, 2))
        starter.receive(listener.send(pair.now), pair.now)
        self.assertFalse(starter.link.acks.due)
        self.assertEqual(starter.send(pair.now), [])
        starter.control.put("b", p.StreamGo(2, 3))
        (datagram,) = starter.send(pair.now)
        self.assertEqual(kinds(datagram), [p.Ack, p.StreamGo])
        self.assertEqual(starter.send(pair.now), [])
        self.assertEqual((starter.link.acks.pending, starter.link.acks.deadline), (False, None))

    def test_many_ranges(self) -> None:
        """An acknowledgement of many ranges asks for one itself, once in a round trip: then they aren't told again."""
        pair, starter, listener = opened_pair()
        link = listener.link
        first = link.acks.largest + 1
        for number in range(first + 1, first + 2 * MANY_RANGES, 2):  # every other one has arrived
            link.acks.received(number, pair.now, True)
        for expected in (True, False):
            link.acks.force()
            (datagram,) = listener.send(pair.now)
            opened = starter.link.open(memoryview(datagram), pair.now)
            assert opened is not None
            packets = decode(opened.payload)
            self.assertEqual([type(packet) for packet in packets], [p.Ack] + [p.HealthPing] * expected)
        pair.now += link.rtt.smoothed
        link.acks.force()
        (datagram,) = listener.send(pair.now)
        self.assertEqual(link.recovery.in_flight, 2 * len(datagram))

    def test_ack_after_delay(self) -> None:
        """With nothing else to say the ack leaves after a share of the round trip, and is not acknowledged itself."""
        pair, starter, listener = opened_pair()
        listener.control.put("a", p.StreamGo(1, 2))
        starter.receive(listener.send(pair.now), pair.now)
        deadline = starter.link.next_timeout()
        self.assertAlmostEqual(deadline - pair.now, starter.link.rtt.smoothed * DELAY_SHARE)
        starter.link.timeout(deadline)
        (datagram,) = starter.send(deadline)
        self.assertEqual(kinds(datagram), [p.Ack])
        self.assertEqual(starter.link.recovery.in_flight, 0)
        listener.receive([datagram], deadline)
        self.assertEqual(len(listener.control), 0)
        self.assertFalse(listener.link.acks.pending)

    def test_ack_at_once(self) -> None:
        """As long as the round trip is not known nothing is gained by waiting: every turn is acknowledged."""
        pair = Pair()
        listener = pair.to_listener(pair.starter.send(pair.now))
        pair.starter.receive(listener.send(pair.now), pair.now)
        pair.starter.control.put("a", p.StreamGo(1, 2))
        listener.receive(pair.starter.send(pair.now), pair.now)
        self.assertTrue(listener.link.acks.due)

    def test_lost_content(self) -> None:
        """Content whose datagram was lost is sent again under a new number, and arrives."""
        pair, starter, listener = opened_pair()
        starter.control.put("a", p.StreamGo(1, 2))
        starter.send(pair.now)
        for _ in range(20):
            pair.now = starter.link.next_timeout()
            starter.link.timeout(pair.now)
            datagrams = starter.send(pair.now)
            if datagrams:
                break
        listener.receive(datagrams, pair.now)
        self.assertEqual(listener.taken, [p.StreamGo(1, 2)])

    def test_probe_pings(self) -> None:
        """A probe that has nothing to say again says a ping: it must be answered."""
        pair, starter, _ = opened_pair()
        starter.link.recovery.probes = 1
        (datagram,) = starter.send(pair.now)
        self.assertEqual(kinds(datagram), [p.HealthPing])
        self.assertEqual(starter.link.recovery.in_flight, len(datagram))
        self.assertEqual(starter.link.recovery.probes, 0)

    def test_ping_uses_probe(self) -> None:
        """When a probe is on its way anyway, the heartbeat's ping does not add one."""
        _, starter, _ = opened_pair()
        starter.link.recovery.probes = 2
        self.assertIs(starter.link.timeout(starter.link.heartbeat.deadline), Beat.PING)
        self.assertEqual(starter.link.recovery.probes, 2)

    def test_lost_pings(self) -> None:
        """A ping that was lost is not missed, and one that arrived is no news."""
        pair, starter, _ = opened_pair()
        starter.link.recovery.probes = 1
        starter.send(pair.now)
        (number,) = (sent.number for sent in starter.link.recovery._flying)
        starter.link.recovery.detect(pair.now + 100)
        self.assertEqual(starter.send(pair.now + 100), [])
        starter.link.recovery.probes = 1
        starter.send(pair.now + 100)
        starter.link.take(ack(number + 1), pair.now + 101, False)
        self.assertEqual(starter.link.recovery.in_flight, 0)

    def test_numbers_grow(self) -> None:
        """Numbers only grow, one sequence through long and short datagrams."""
        pair = Pair()
        numbers = []
        for turn in range(6):
            pair.starter.control.put(turn, p.StreamGo(turn, 1))
            for datagram in pair.starter.send(pair.now):
                head = header.decode_long(memoryview(datagram)) if datagram[0] == header.Kind.LONG else None
                numbers.append(head.low if head is not None else header.SHORT.unpack_from(datagram)[2])
                pair.to_listener([datagram])
            assert pair.listener is not None
            pair.starter.receive(pair.listener.send(pair.now), pair.now)
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertGreater(len(numbers), 5)


class AllowanceTests(SynchronousTestCase):
    """Window and pace."""

    def setUp(self) -> None:
        self.pair, self.starter, _ = opened_pair()
        self.link = self.starter.link
        self.now = self.pair.now

    def fly(self, size: int) -> None:
        """Have so many bytes in flight."""
        recovery = self.link.recovery
        recovery.sent(Sent(recovery.take_number(), self.now, size, [(Ledger(), 0, 1)], False))

    def test_unmeasured(self) -> None:
        """Before the round trip is known the window alone decides."""
        link = Pair().starter.link
        self.assertEqual(link.allowance.data(START), 12_000)

    def test_window(self) -> None:
        """When nothing is left of the window, nothing may leave, and no time will change that."""
        self.fly(self.link.route.congestion.window)
        self.assertEqual(self.link.allowance.data(self.now), 0)
        before = self.link.next_timeout()
        self.link.allowance.blocked(self.now, True)
        self.assertEqual(self.link.next_timeout(), before)
        self.assertTrue(self.link.recovery.limited)

    def test_last_of_window(self) -> None:
        """No more than the window leaves: whole datagrams, then one that is shorter, but none that is much shorter."""
        self.fly(self.link.route.congestion.window - 2_399)
        self.assertEqual(self.link.allowance.data(self.now + 1), 1_200)
        self.fly(1_200)
        self.assertEqual(self.link.allowance.data(self.now + 2), 1_199)
        self.fly(899)
        self.assertEqual(self.link.allowance.data(self.now + 3), 300)
        self.fly(1)
        self.assertEqual(self.link.allowance.data(self.now + 4), 0)
        self.link.allowance.blocked(self.now + 4, True)
        self.assertIsNone(self.link.allowance.resume_at, "acknowledgements bring room, no time does")

    def test_paced(self) -> None:
        """Beyond a train the pace decides: the link asks to be woken, and then at least a datagram may leave."""
        datagrams = 0
        while allowed := self.link.allowance.data(self.now):
            self.assertLess(allowed, self.link.route.congestion.window)
            payload = self.link.outbound.begin(self.now, False)
            payload.add(p.Direct(bytes(payload.room - 3)).encode())
            payload.contents.append((Ledger(), 0, 1))
            self.assertGreater(self.link.outbound.finish(payload, self.now), 0)
            datagrams += 1
        self.assertGreaterEqual(datagrams, 1)
        self.assertGreater(self.link.route.congestion.window - self.link.recovery.in_flight, 1_200)
        self.link.allowance.blocked(self.now, True)
        deadline = self.link.next_timeout()
        self.assertTrue(self.now < deadline < self.now + 0.01)
        self.assertGreaterEqual(self.link.allowance.data(deadline), 1_200)

    def test_held_back_by_pace(self) -> None:
        """Who is held back by the controller's pace uses up the window, with messages or with copies."""
        for more, again in ((True, False), (False, True)):
            self.link.allowance.spent(100_000)
            self.assertEqual(self.link.allowance.data(self.now), 0)
            self.link.allowance.blocked(self.now, more, again)
            self.assertTrue(self.link.recovery.limited)
            self.assertIsNotNone(self.link.allowance.resume_at)

    def test_copies_held_back(self) -> None:
        """When the window has no room for a whole datagram copies wait, and no time will change that."""
        self.fly(self.link.route.congestion.window - 1_199)
        self.link.allowance.data(self.now)
        self.link.allowance.blocked(self.now, False, True)
        self.assertTrue(self.link.recovery.limited)
        self.assertIsNone(self.link.allowance.resume_at)

    def test_limit_unmeasured(self) -> None:
        """The user's limit holds before the round trip is known."""
        link = Pair().starter.link
        allowance = Allowance(link.path, link.rtt, link.recovery, link.route.congestion, 1 << 20, START, 12_500)
        self.assertEqual(allowance.data(START + 10), 1_200)
        allowance.spent(1_200)
        self.assertEqual(allowance.data(START + 10), 0)
        allowance.blocked(START + 10, True)
        self.assertEqual(allowance.resume_at, START + 10 + 1_200 / 12_500)
        self.assertFalse(link.recovery.limited)

    def test_nothing_held_back(self) -> None:
        """Who has nothing more to send is not woken, and is not limited by the window."""
        before = self.link.next_timeout()
        self.link.allowance.data(self.now)
        self.link.allowance.blocked(self.now, False)
        self.assertEqual(self.link.next_timeout(), before)
        self.assertFalse(self.link.recovery.limited)

    def test_probes(self) -> None:
        """Probes leave whatever the window says."""
        self.fly(1_000_000)
        self.link.recovery.probes = 2
        self.assertEqual(self.link.allowance.data(self.now), 2_400)
        self.assertEqual(self.link.allowance.control, 1_200)

    def test_control(self) -> None:
        """Control packets wait neither for pace nor window, but a flood of them is held to ten datagrams beyond."""
        window = self.link.route.congestion.window
        self.assertEqual(self.link.allowance.control, window + INITIAL_WINDOW * 1_200)
        self.fly(window + INITIAL_WINDOW * 1_200)
        self.assertEqual(self.link.allowance.control, 0)

    def test_peer_limits(self) -> None:
        """Trains are at most half of the peer's buffer, which is taken to hold two datagrams whatever it says."""
        for buffer, most in ((1 << 20, 1 << 19), (7_600, 3_600), (0, 1_200)):
            self.link.peer_limits(buffer, 65_507, 30.0, self.now)
            self.link.rtt.smoothed = 1e-4  # a fast path, where trains would be long
            self.now += 1
            self.assertEqual(self.link.allowance.data(self.now), min(most, self.link.route.congestion.window))

    def test_peer_datagrams(self) -> None:
        """Datagrams stay as large as every path carries them, whatever the peer says that it reads."""
        link = Link(
            Role.STARTER,
            Options(mtu=1_400),
            PlainHandshake(Role.STARTER),
            local_tag=1,
            first_tag=2,
            remote_tag=2,
            address="peer",
            now=START,
            trace=NullTrace(),
            skips=b"",
        )
        for size, expected in ((65_507, 1_400), (100, 1_400)):
            link.peer_limits(1 << 20, size, 30.0, START)
            self.assertEqual(link.path.mtu, expected)

    def test_peer_patience(self) -> None:
        """A peer that forgets sooner is pinged sooner."""
        self.link.peer_limits(1 << 20, 1_200, 3.0, self.now)  # no larger datagrams, so that nothing searches for them
        self.assertEqual(self.link.next_timeout(), self.link.heartbeat._heard + 1.0)


class StatisticsTests(SynchronousTestCase):
    """Counters."""

    def test_agree(self) -> None:
        """What one side counts as sent the other counts as received, in datagrams and bytes."""
        _, starter, listener = opened_pair()
        ours, theirs = starter.link.statistics(), listener.link.statistics()
        for one, other in ((ours, theirs), (theirs, ours)):
            self.assertEqual(one["datagrams_sent"], other["datagrams_received"])
            self.assertEqual(one["bytes_sent"], other["bytes_received"])
            self.assertGreater(one["datagrams_sent"], 1)
        self.assertAlmostEqual(ours["rtt"], 0.02, delta=0.005)
        self.assertEqual((ours["in_flight"], ours["datagrams_lost"], ours["bytes_lost"]), (0, 0, 0))
        self.assertEqual((ours["mtu"], ours["window"]), (1_200, 12_000))
        self.assertEqual((ours["probe_timeouts"], ours["datagrams_dropped"]), (0, 0))

    def test_unmeasured(self) -> None:
        """A round trip that was not measured is not made up."""
        self.assertIsNone(Pair().starter.link.statistics()["rtt"])

    def test_trace(self) -> None:
        """Each datagram that is sealed or opened is traced, with number, size and kind."""

        class Recorder(NullTrace):
            """Keeps what it is told."""

            def __init__(self) -> None:
                self.records: list[tuple[Any, ...]] = []

            def sent(self, now: float, number: int, size: int, long: bool) -> None:
                self.records.append(("sent", now, number, size, long))

            def received(self, now: float, number: int, size: int, long: bool) -> None:
                self.records.append(("received", now, number, size, long))

        pair, starter, _ = opened_pair()
        recorder = Recorder()
        starter.link.inbound._trace = starter.link.outbound._trace = recorder
        starter.control.put("a", p.StreamGo(1, 2))
        number = starter.link.recovery._next
        (datagram,) = starter.send(pair.now)
        largest = starter.link.acks.largest
        starter.receive([short([p.StreamGo(1, 2)], largest + 1, STARTER_TAG), b"\x40garbage"], pair.now)
        self.assertEqual(
            recorder.records,
            [
                ("sent", pair.now, number, len(datagram), False),
                ("received", pair.now, largest + 1, header.SHORT.size + 17 + SEAL.overhead, False),
            ],
        )
