"""
Tests for L{hypermail.test.foreign_batch_packets}: packets are written and read as the shared vectors say, and made into
messages; what the original does not survive raises.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.foreign_batch_packets import (
    CLOSE,
    CONNECT,
    CONNECT_ACK,
    DATA,
    DATA_ACK,
    DIRECT,
    FIRST,
    LAST,
    PING,
    PING_ACK,
    RECEIVE_BUFFER,
    REPEAT,
    ForeignBatchAssembly,
    ForeignBatchPacket,
    read,
    straddles,
    write,
)
from hypermail.test.foreign_link import ForeignCrash

VECTORS: list[dict[str, Any]] = json.loads((files("hypermail.test") / "vectors" / "batch.json").read_text("utf-8"))[
    "packets"
]
KINDS = {
    "Connect": CONNECT,
    "Connect ack": CONNECT_ACK,
    "Close": CLOSE,
    "Data, a batch of one packet": DATA,
    "Data ack": DATA_ACK,
    "Request to repeat": REPEAT,
    "Direct UDP": DIRECT,
    "Ping": PING,
    "Ping ack": PING_ACK,
}
FIELDS = ("port", "starter_id", "receiver_id", "id", "packet", "batch", "flags", "count", "version", "receive_buffer")
"""The names of fields in the order of the wire, whatever the packet."""


def assembled(packets: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
    """What becomes of packets of one batch: the messages."""
    assembly = ForeignBatchAssembly()
    return [message for packet in packets if (message := assembly.add(*packet)) is not None]


class PacketTests(SynchronousTestCase):
    """Packets as bytes."""

    def test_vectors(self) -> None:
        """Each packet of the vectors is written as they say, and read as they say."""
        for vector in VECTORS:
            kind = KINDS[vector["name"]]
            fields = tuple(vector[name] for name in FIELDS if name in vector)
            payload = vector.get("payload", "").encode()
            if kind == REPEAT:
                payload = struct.pack(">2I", *vector["packets"])
            data = bytes.fromhex(vector["hex"])
            self.assertEqual(write(kind, *fields, payload=payload), data, vector["name"])
            self.assertEqual(read(data), ForeignBatchPacket(kind, fields, payload), vector["name"])

    def test_all_vectors(self) -> None:
        """There is a vector for each packet, and none else."""
        self.assertEqual({vector["name"] for vector in VECTORS}, set(KINDS))

    def test_crashes(self) -> None:
        """What the original does not survive raises."""
        for data in (
            b"",
            b"\x03\0\0\0",
            b"\x04\0\0\0",
            write(CONNECT, 0, 1, 1, RECEIVE_BUFFER),
            write(CONNECT, 4700, 1, 2, RECEIVE_BUFFER),
            write(DATA, 1, 1, 1, 3)[:-1],
            write(DATA_ACK, 1, 1) + b"\0",
        ):
            self.assertRaises(ForeignCrash, read, data)

    def test_unknown(self) -> None:
        """A packet of a type that nobody knows is read as such."""
        self.assertEqual(read(b"\x04\0\0\0\x01"), ForeignBatchPacket(4, (), b"\0\0\0\x01"))

    def test_straddling(self) -> None:
        """Batches of several packets are mangled between 127 and 128, and between 2^32 - 1 and 0."""
        mangled = [(127, 2), (120, 9), (1, 128), ((1 << 32) - 1, 2)]
        whole = [(127, 1), (128, 2), (126, 2), ((1 << 32) - 1, 1), ((1 << 32) - 2, 2), (0, 128)]
        self.assertEqual([straddles(*one) for one in mangled + whole], [True] * 4 + [False] * 6)


class AssemblyTests(SynchronousTestCase):
    """Packets of one batch."""

    @settings(deadline=None)
    @given(st.permutations(range(6)))
    def test_order(self, order: list[int]) -> None:
        """They make the message in whichever order they come."""
        flags = {0: FIRST, 5: LAST}
        packets = [(200 + index, flags.get(index, 0), b"%d" % index) for index in order]
        self.assertEqual(assembled(packets), [b"012345"])

    def test_mangled(self) -> None:
        """A batch that straddles the packet numbers 127 and 128 is a failure."""
        self.assertRaises(ForeignCrash, assembled, [(127, FIRST, b"a"), (128, LAST, b"b")])
        self.assertRaises(ForeignCrash, assembled, [((1 << 32) - 1, FIRST, b"a"), (0, LAST, b"b")])

    def test_mixed(self) -> None:
        """Two batches under one number are a failure."""
        self.assertRaises(ForeignCrash, assembled, [(200, FIRST, b"a"), (300, FIRST, b"b")])
        self.assertRaises(ForeignCrash, assembled, [(200, FIRST, b"a"), (190, 0, b"x"), (202, LAST, b"b")])
