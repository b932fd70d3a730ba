"""
Tests for L{hypermail.dialects.digest.packets}: the bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.packets import (
    HEADER,
    LAST_ORDER,
    MOST_PAYLOAD,
    NAMING,
    STAMPED,
    DigestPayload,
    PacketType,
    build,
    parse,
    random_uuid,
    uuid_bytes,
    uuid_text,
)
from hypermail.dialects.digest.timestamps import read
from hypermail.errors import UsageError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "digest.json").read_text())["packets"]

UUIDS = st.binary(min_size=16, max_size=16)
SECRETS = st.none() | st.binary(min_size=1, max_size=100)
ORDERS = st.integers(0, LAST_ORDER) | st.integers(LAST_ORDER - 3, LAST_ORDER)
UUID = bytes(range(16))


class VectorsTests(SynchronousTestCase):
    """The vectors, the first three of which the original has sent."""

    def test_built(self) -> None:
        """What we build is what they are."""
        for vector in VECTORS:
            payload = bytes.fromhex(vector["payload_hex"]) if "payload_hex" in vector else vector["payload"].encode()
            secret = None if vector["secret"] is None else vector["secret"].encode()
            built = build(
                PacketType(vector["type"]),
                uuid_bytes(vector["uuid"]),
                vector["order"],
                payload,
                secret,
                vector.get("custom", 0),
            )
            self.assertEqual(built.hex(), vector["hex"], vector["name"])

    def test_read(self) -> None:
        """What we read is what they say, and their digests are right."""
        for vector in VECTORS:
            packet = parse(bytes.fromhex(vector["hex"]))
            assert packet is not None
            self.assertEqual(packet.type, vector["type"])
            self.assertEqual(packet.order, vector["order"])
            self.assertEqual(packet.custom, vector.get("custom", 0))
            self.assertEqual(uuid_text(packet.sender), vector["uuid"])
            secret = None if vector["secret"] is None else vector["secret"].encode()
            self.assertTrue(packet.verifies(secret), vector["name"])
            self.assertFalse(packet.verifies(b"another"))
            self.assertFalse(packet.verifies(None if secret else b"client"))
            if packet.type in STAMPED:
                self.assertIsNotNone(read(packet.payload), vector["name"])

    def test_every_bit(self) -> None:
        """No bit of a packet can be changed without being noticed."""
        for vector in VECTORS[:4]:
            datagram = bytes.fromhex(vector["hex"])
            secret = None if vector["secret"] is None else vector["secret"].encode()
            for at in range(len(datagram) * 8):
                changed = bytearray(datagram)
                changed[at // 8] ^= 1 << at % 8
                packet = parse(bytes(changed))
                self.assertFalse(packet is not None and packet.verifies(secret), at)


class DigestPacketTests(SynchronousTestCase):
    """Any packet, and anything that is none."""

    @settings(deadline=None)
    @given(
        st.sampled_from(PacketType),
        UUIDS,
        ORDERS,
        st.binary(min_size=1, max_size=300),
        SECRETS,
        st.integers(0, 65_535),
        st.binary(max_size=40),
    )
    def test_round_trip(
        self,
        type: PacketType,
        uuid: bytes,
        order: int,
        payload: bytes,
        secret: bytes | None,
        custom: int,
        behind: bytes,
    ) -> None:
        """A packet that was built is read as it was, whatever stands behind it."""
        if type in NAMING:
            payload = payload.ljust(32, b"x")[:32]
        datagram = build(type, uuid, order, payload, secret, custom)
        packet = parse(datagram + behind)
        assert packet is not None
        self.assertEqual(packet[1:6], (uuid, type, custom, order, payload))
        self.assertEqual(packet.size, len(datagram) + len(behind))
        self.assertTrue(packet.verifies(secret))
        self.assertFalse(packet.verifies((secret or b"") + b"x"))

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_arbitrary(self, datagram: bytes) -> None:
        """Arbitrary bytes are a packet or none, and never an error."""
        parse(datagram)

    @settings(deadline=None)
    @given(st.integers(0, 255), st.binary(min_size=3, max_size=3), st.integers(0, 65_535), st.integers(0, 200))
    def test_header(self, number: int, reserved: bytes, length: int, follows: int) -> None:
        """A packet has a known type, reserved bytes that are zero, and a payload that is there, and not empty."""
        datagram = HEADER.pack(b"", UUID, number, reserved, length, 0, 0) + bytes(follows)
        well = number <= 10 and reserved == bytes(3) and 1 <= length <= follows
        if number in (7, 8):
            well = well and length == 32
        self.assertEqual(parse(datagram) is not None, well)

    def test_sizes(self) -> None:
        """Payloads have from 1 to 65,442 bytes."""
        for size in (1, MOST_PAYLOAD):
            datagram = build(PacketType.DATA_ACK, UUID, 0, bytes(size), None)
            self.assertEqual(len(datagram), 64 + size)
            self.assertIsNotNone(parse(datagram))
            self.assertIsNone(parse(datagram[:-1]))
        for size in (0, MOST_PAYLOAD + 1):
            with self.assertRaises(UsageError):
                build(PacketType.DATA_ACK, UUID, 0, bytes(size), None)
        header = HEADER.pack(b"", UUID, 9, bytes(3), MOST_PAYLOAD + 1, 0, 0)
        self.assertIsNone(parse(header + bytes(MOST_PAYLOAD + 1)))


class UuidTests(SynchronousTestCase):
    """UUIDs as people write them."""

    def test_texts(self) -> None:
        """With hyphens or without, in capitals or not; they are written in one way."""
        for text in ("00112233-4455-6677-8899-AABBCCDDEEFF", "00112233445566778899aabbccddeeff"):
            self.assertEqual(uuid_text(uuid_bytes(text)), "00112233-4455-6677-8899-aabbccddeeff")

    @settings(deadline=None)
    @given(UUIDS)
    def test_round_trip(self, uuid: bytes) -> None:
        """What is written is read."""
        self.assertEqual(uuid_bytes(uuid_text(uuid)), uuid)

    def test_refused(self) -> None:
        """What is no UUID is told so."""
        for text in ("", "0011", "g" * 32, "00112233-4455-6677-8899aabbccddeeff", "-" * 36, "٠" * 32):
            with self.assertRaises(UsageError):
                uuid_bytes(text)

    def test_random(self) -> None:
        """A random one is of version 4 and its variant."""
        for byte in (0x00, 0xFF):
            text = uuid_text(random_uuid(bytes([byte]) * 16))
            self.assertEqual(text[14], "4")
            self.assertIn(text[19], "89ab")


class DigestPayloadTests(SynchronousTestCase):
    """Payloads of applications."""

    def test_custom(self) -> None:
        """It is bytes, with an id that fits the header."""
        payload = DigestPayload(b"telemetry", 513)
        self.assertEqual(payload, b"telemetry")
        self.assertEqual(payload.custom, 513)
        self.assertEqual(DigestPayload(b"").custom, 0)
        self.assertIn("513", repr(payload))
        for custom in (-1, 65_536):
            with self.assertRaises(UsageError):
                DigestPayload(b"x", custom)
