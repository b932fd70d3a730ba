"""
Tests for L{hypermail.test.foreign_digest_packets}: packets are written and read as the shared vectors say, and times as
Java prints them.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.foreign_digest_packets import (
    BILLION,
    DATA_ACK,
    ETC_UTC,
    LARGEST_PAYLOAD,
    STAMPED,
    ForeignZone,
    seal,
    unseal,
    when_of,
)
from hypermail.test.foreign_link import ForeignCrash

VECTORS: list[dict[str, Any]] = json.loads((files("hypermail.test") / "vectors" / "digest.json").read_text("utf-8"))[
    "packets"
]
CLIENT = UUID("00112233-4455-6677-8899-aabbccddeeff").bytes


class PacketTests(SynchronousTestCase):
    """Packets as bytes."""

    def test_vectors(self) -> None:
        """Each packet of the vectors is written as they say, and read as they say."""
        for vector in VECTORS:
            secret = None if vector["secret"] is None else vector["secret"].encode()
            uuid = UUID(vector["uuid"]).bytes
            payload = bytes.fromhex(vector["payload_hex"]) if "payload_hex" in vector else vector["payload"].encode()
            custom = vector.get("custom", 0)
            data = bytes.fromhex(vector["hex"])
            written = seal(secret, uuid, vector["type"], vector["order"], payload, custom)
            self.assertEqual(written.hex(), vector["hex"], vector["name"])
            packet = unseal(data + b"ignored")
            self.assertEqual(packet[:-1], (data[:32], uuid, vector["type"], custom, vector["order"], payload))
            self.assertTrue(packet.is_by(secret))
            self.assertFalse(packet.is_by(b"another"))

    def test_stamps_of_vectors(self) -> None:
        """The timestamps of the vectors are read and written; but one has seconds that Java would not print."""
        stamps = {vector["payload"].encode() for vector in VECTORS if vector["type"] in STAMPED}
        self.assertEqual(len(stamps), 5)
        for stamp in stamps:
            zone = ETC_UTC if stamp.endswith(b"]") else ForeignZone(None)
            self.assertEqual(zone.stamp(when_of(stamp)), stamp.replace(b":00:00Z", b":00Z"))

    def test_malformed(self) -> None:
        """What is too short, or has no payload, or less of it than its length says, is malformed."""
        whole = seal(b"client", CLIENT, DATA_ACK, 0, b"hi")
        for data in (b"", whole[:63], whole[:64], whole[:-1], whole[:52] + b"\0\0" + whole[54:]):
            self.assertRaises(ForeignCrash, unseal, data)

    def test_sizes(self) -> None:
        """A payload has 1 to 65,442 bytes; the largest makes the largest datagram that UDP carries, less one byte."""
        self.assertEqual(len(seal(None, CLIENT, DATA_ACK, 0, bytes(LARGEST_PAYLOAD))), 65_506)
        for size in (0, LARGEST_PAYLOAD + 1):
            self.assertRaises(ValueError, seal, None, CLIENT, DATA_ACK, 0, bytes(size))


class StampTests(SynchronousTestCase):
    """Times as Java's ZonedDateTime prints them."""

    def test_written(self) -> None:
        """Seconds that are zero are left out; fractions have 3, 6 or 9 digits; an offset may have a name."""
        minute = 1_506_297_600 * BILLION
        berlin = ForeignZone("Europe/Berlin", 3_600)
        for zone, nanoseconds, stamp in (
            (ForeignZone(None), 0, b"2017-09-25T00:00Z"),
            (ForeignZone(None), 5 * BILLION, b"2017-09-25T00:00:05Z"),
            (ForeignZone(None, -12_600), 0, b"2017-09-24T20:30-03:30"),
            (ETC_UTC, 500_000_000, b"2017-09-25T00:00:00.500Z[Etc/UTC]"),
            (berlin, 120_000, b"2017-09-25T01:00:00.000120+01:00[Europe/Berlin]"),
            (berlin, 1, b"2017-09-25T01:00:00.000000001+01:00[Europe/Berlin]"),
        ):
            self.assertEqual(zone.stamp(minute + nanoseconds), stamp)
            self.assertEqual(when_of(stamp), minute + nanoseconds)

    @settings(deadline=None)
    @given(
        st.integers(0, 4_000_000_000 * BILLION), st.sampled_from([1, 1_000, 1_000_000, BILLION]), st.integers(-720, 840)
    )
    def test_round(self, nanoseconds: int, grain: int, minutes: int) -> None:
        """What is written is read."""
        when = nanoseconds // grain * grain
        for name in (None, "Europe/Berlin"):
            self.assertEqual(when_of(ForeignZone(name, minutes * 60).stamp(when)), when)

    def test_others(self) -> None:
        """What Java would not print is refused."""
        for text in (
            "",
            "2017-09-25",
            "2017-09-25T00:00",
            "2017-09-25 00:00Z",
            "2017-13-25T00:00Z",
            "2017-09-25T00:00:00.5Z",
        ):
            self.assertRaises(ForeignCrash, when_of, text.encode())
