"""
Tests for L{hypermail.link.flight}.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import LimitExceeded
from hypermail.link.flight import MAX_HANDSHAKE, Flight
from hypermail.link.payload import Payload
from hypermail.wire.codec import decode
from hypermail.wire.packets import HANDSHAKE, Handshake


def fill(flight: Flight, room: int = 1_000) -> Payload:
    """A datagram with what of a flight fits."""
    payload = Payload(room)
    flight.fill(payload)
    return payload


def packets(payload: Payload) -> list[Handshake]:
    """What a datagram holds."""
    found = [packet for part in payload.parts for packet in decode(memoryview(part))]
    return [packet for packet in found if isinstance(packet, Handshake)]


def take(flight: Flight, payload: Payload) -> bytes:
    """Receive a datagram. @return: the bytes that are now in order."""
    return b"".join(piece for packet in packets(payload) for piece in flight.receive(packet))


class EmptyFlightTests(SynchronousTestCase):
    """Mode plain's flights are empty, and yet are said."""

    def test_announced(self) -> None:
        """An empty flight leaves once, as a packet without bytes, and arrives as one empty piece."""
        flight = Flight()
        self.assertFalse(flight.waiting)
        self.assertEqual(fill(flight).parts, [])
        flight.send(b"")
        self.assertTrue(flight.waiting)
        payload = fill(flight)
        self.assertEqual(payload.parts, [Handshake(0, b"").encode()])
        self.assertEqual(payload.contents, [(flight, 0, 0)])
        self.assertFalse(payload.full or flight.waiting)
        self.assertEqual(Flight().receive(Handshake(0, b"")), [b""])

    def test_lost(self) -> None:
        """Lost, it is said again; acknowledged, it is not."""
        flight = Flight()
        flight.send(b"")
        first = fill(flight)
        flight.lost(0, 0)
        self.assertEqual(fill(flight).parts, first.parts)
        flight.acked(0, 0)
        self.assertFalse(flight.waiting)

    def test_behind_bytes(self) -> None:
        """An empty flight behind bytes counts when these have arrived, and not before."""
        incoming = Flight()
        self.assertEqual(incoming.receive(Handshake(3, b"")), [])
        self.assertEqual(incoming.receive(Handshake(0, b"abc")), [b"abc"])
        self.assertEqual(incoming.receive(Handshake(3, b"")), [b""])


class FlightTests(SynchronousTestCase):
    """Flights of bytes."""

    def test_one_datagram(self) -> None:
        """A flight that fits leaves whole."""
        flight = Flight()
        flight.send(b"hello")
        payload = fill(flight)
        self.assertEqual(packets(payload), [Handshake(0, b"hello")])
        self.assertEqual(payload.room, 1_000 - HANDSHAKE.size - 5)
        self.assertFalse(payload.full or flight.waiting)

    def test_fragments(self) -> None:
        """A flight that doesn't fit fills its datagrams to the last byte, but never beyond."""
        flight = Flight()
        data = bytes(range(256)) * 10
        flight.send(data)
        sizes = []
        incoming = Flight()
        received = b""
        while flight.waiting:
            payload = fill(flight)
            self.assertEqual(payload.full, flight.waiting)
            sizes.append(payload.room)
            received += take(incoming, payload)
        self.assertEqual(sizes, [0, 0, 1_000 - (2_560 - 2 * 993) - 7])
        self.assertEqual(received, data)

    def test_no_room(self) -> None:
        """In too little room nothing is put, and the payload says that more is to come."""
        flight = Flight()
        flight.send(b"hello")
        payload = fill(flight, room=HANDSHAKE.size)
        self.assertEqual((payload.parts, payload.room, payload.full), ([], HANDSHAKE.size, True))

    def test_second_flight(self) -> None:
        """A later flight goes on where the one before ended."""
        flight = Flight()
        flight.send(b"abc")
        fill(flight)
        flight.send(b"de")
        self.assertEqual(packets(fill(flight)), [Handshake(3, b"de")])

    def test_lost_parts(self) -> None:
        """Only what was lost is sent again, cut anew."""
        flight = Flight()
        flight.send(b"0123456789")
        fill(flight)
        flight.lost(2, 4)
        flight.lost(4, 6)
        flight.lost(8, 9)
        self.assertEqual(packets(fill(flight)), [Handshake(2, b"2345"), Handshake(8, b"8")])

    def test_unheard(self) -> None:
        """What the peer's link has not acknowledged, all of it, is unheard; an empty flight never is."""
        flight = Flight()
        self.assertFalse(flight.unheard)
        flight.send(b"")
        self.assertFalse(flight.unheard)
        flight.send(b"0123456789")
        self.assertTrue(flight.unheard)
        fill(flight)
        self.assertTrue(flight.unheard)
        for start, stop, unheard in ((5, 10, True), (0, 4, True), (0, 4, True), (4, 5, False)):
            flight.acked(start, stop)
            self.assertEqual(flight.unheard, unheard)
        flight.lost(0, 10)
        self.assertFalse(flight.unheard, "it was heard all the same")
        flight.send(b"more")
        self.assertTrue(flight.unheard)

    def test_limit(self) -> None:
        """A handshake may have 64 KiB and not a byte more, wherever the piece lies."""
        incoming = Flight()
        self.assertEqual(incoming.receive(Handshake(MAX_HANDSHAKE - 3, b"abc")), [])
        for packet in (Handshake(MAX_HANDSHAKE - 2, b"abc"), Handshake(0xFFFFFFFF, b"x"), Handshake(0xFFFFFFFF, b"")):
            self.assertRaises(LimitExceeded, incoming.receive, packet)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(8, 100), st.integers(0, 1 << 32))
    def test_through_loss(self, flights: list[bytes], room: int, seed: int) -> None:
        """Whatever is lost, doubled or reordered on its way, the flights arrive whole and in order."""
        random = Random(seed)
        outgoing, incoming = Flight(), Flight()
        for flight in flights:
            outgoing.send(flight)
        received = b""
        network: list[Payload] = []
        for _ in range(10_000):
            if not outgoing.waiting and not network:
                break
            if outgoing.waiting:
                payload = fill(outgoing, room)
                network += [payload] * random.randint(1, 2)
            payload = network.pop(random.randrange(len(network)))
            if random.random() < 0.3:
                for source, start, stop in payload.contents:
                    source.lost(start, stop)
            else:
                received += take(incoming, payload)
        self.assertEqual(received, b"".join(flights))
