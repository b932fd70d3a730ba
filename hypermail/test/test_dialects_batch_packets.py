"""
Tests for L{hypermail.dialects.batch.packets}, against the vectors that the original program has written.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.batch import packets as p

VECTORS: list[dict[str, Any]] = json.loads(
    (files("hypermail.test") / "vectors" / "batch.json").read_text("utf-8"),
)["packets"]

ids = st.integers(0, 2**32 - 1)
octets = st.integers(0, 255)
any_packet = st.one_of(
    st.builds(p.BatchConnect, st.integers(0, 65_535), ids, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    st.builds(p.BatchConnectAck, ids, ids, st.integers(0, 2**64 - 1)),
    st.builds(p.BatchClose, ids),
    st.builds(p.BatchData, ids, ids, octets, st.integers(0, 3), st.binary(max_size=2_000)),
    st.builds(p.BatchDataAck, ids, ids),
    st.builds(p.BatchRepeat, ids, st.lists(ids, max_size=300).map(tuple)),
    st.builds(p.BatchDirect, ids, st.binary(max_size=2_000)),
    st.builds(p.BatchPing, ids, octets),
    st.builds(p.BatchPingAck, ids, octets),
)


def packet_of(vector: dict[str, Any]) -> p.BatchPacket:
    """What a vector describes in words."""
    match vector["name"].partition(",")[0]:
        case "Connect":
            return p.BatchConnect(vector["port"], vector["starter_id"], vector["version"], vector["receive_buffer"])
        case "Connect ack":
            return p.BatchConnectAck(vector["starter_id"], vector["receiver_id"], vector["receive_buffer"])
        case "Data":
            payload = vector["payload"].encode()
            return p.BatchData(vector["id"], vector["packet"], vector["batch"], vector["flags"], payload)
        case "Data ack":
            return p.BatchDataAck(vector["id"], vector["packet"])
        case "Request to repeat":
            return p.BatchRepeat(vector["id"], tuple(vector["packets"]))
        case "Direct UDP":
            return p.BatchDirect(vector["id"], vector["payload"].encode())
        case "Ping":
            return p.BatchPing(vector["id"], vector["count"])
        case "Ping ack":
            return p.BatchPingAck(vector["id"], vector["count"])
        case "Close":
            return p.BatchClose(vector["id"])
        case unknown:
            raise AssertionError(unknown)


class VectorsTests(SynchronousTestCase):
    """The packets of the original."""

    def test_written(self) -> None:
        """Each packet is what the vectors say, byte by byte."""
        for vector in VECTORS:
            self.assertEqual(packet_of(vector).encode().hex(), vector["hex"], vector["name"])

    def test_read(self) -> None:
        """Each packet of the vectors is understood."""
        for vector in VECTORS:
            self.assertEqual(p.decode(bytes.fromhex(vector["hex"])), packet_of(vector), vector["name"])

    def test_every_type(self) -> None:
        """The vectors have every type."""
        self.assertEqual({bytes.fromhex(vector["hex"])[0] for vector in VECTORS}, set(p.PacketType))

    def test_defaults(self) -> None:
        """What we say of version and buffer is what the original says."""
        self.assertEqual(p.BatchConnect(1_234, 1).encode().hex(), VECTORS[0]["hex"])
        self.assertEqual(p.BatchConnectAck(1, 2).encode().hex(), VECTORS[1]["hex"])


class CodecTests(SynchronousTestCase):
    """Any packets, and what is none."""

    @settings(deadline=None)
    @given(any_packet)
    def test_round_trip(self, packet: p.BatchPacket) -> None:
        """What was written is read again, from bytes and from a view of them, and is never shorter than allowed."""
        datagram = packet.encode()
        self.assertGreaterEqual(len(datagram), p.SHORTEST)
        for found in (p.decode(datagram), p.decode(memoryview(datagram))):
            self.assertEqual(found, packet)
            self.assertIs(type(found), type(packet))

    @settings(deadline=None, max_examples=500)
    @given(st.binary(max_size=60) | st.builds(lambda head, rest: bytes([head]) + rest, octets, st.binary(max_size=60)))
    def test_anything(self, datagram: bytes) -> None:
        """Arbitrary bytes are a packet that is written exactly so, or nothing; and nothing is raised."""
        packet = p.decode(datagram)
        if packet is not None:
            self.assertEqual(packet.encode(), datagram)

    @settings(deadline=None)
    @given(any_packet, st.integers(1, 30))
    def test_lengths(self, packet: p.BatchPacket, change: int) -> None:
        """Where the layout is fixed, no byte may be missing or too much."""
        datagram = packet.encode()
        if not isinstance(packet, p.BatchData | p.BatchDirect | p.BatchRepeat):
            self.assertIsNone(p.decode(datagram + bytes(change)))
            self.assertIsNone(p.decode(datagram[:-change]))

    def test_malformed(self) -> None:
        """Type 4, unknown types, unknown flags, numbers that are cut and datagrams without an id are nothing."""
        for datagram in (
            b"",
            bytes(5),
            bytes([4]) + bytes(10),
            bytes([11]) + bytes(10),
            bytes([255]) + bytes(10),
            *(bytes([kind]) + bytes(3) for kind in p.PacketType),
            p.BatchRepeat(1, (2, 3)).encode()[:-1],
            p.BatchData(1, 1, 1, 3, b"").encode()[:-1],
            *(p.BatchData(1, 1, 1, flags, b"x").encode() for flags in (4, 0x83, 0xFF)),
        ):
            self.assertIsNone(p.decode(datagram), datagram)

    def test_sizes(self) -> None:
        """A full Data packet is a datagram of 983 bytes, and so is a direct one of 976."""
        self.assertEqual(len(p.BatchData(1, 1, 1, 3, bytes(p.DATA_PAYLOAD)).encode()), 983)
        self.assertEqual(p.LARGEST, 983)
        self.assertEqual(len(p.BatchDirect(1, bytes(p.DIRECT_PAYLOAD)).encode()), 976)
