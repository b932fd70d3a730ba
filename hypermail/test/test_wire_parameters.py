"""
Tests for L{hypermail.wire.parameters}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import MalformedPacket
from hypermail.test import packets as strategies
from hypermail.test.packets import PARAMETERS, TOLD
from hypermail.wire.fields import Reader
from hypermail.wire.parameters import Parameters


def read(written: bytes) -> Parameters:
    """Parameters from all of some bytes."""
    reader = Reader(memoryview(written), 0)
    found = Parameters.decode(reader)
    if reader.at != len(written):
        raise AssertionError(f"{len(written) - reader.at} bytes were left over")
    return found


def entries(written: bytes) -> list[bytes]:
    """The parts of encoded parameters."""
    parts = []
    at = 1
    while at < len(written):
        end = at + 2 + written[at + 1]
        parts.append(written[at:end])
        at = end
    return parts


def join(parts: list[bytes]) -> bytes:
    """The inverse of L{entries}."""
    return bytes((len(parts),)) + b"".join(parts)


class ParametersTests(SynchronousTestCase):
    """What two sides tell each other about themselves."""

    @settings(deadline=None)
    @given(strategies.parameters)
    def test_round_trip(self, parameters: Parameters) -> None:
        """Any parameters come back from their own bytes."""
        self.assertEqual(read(parameters.encode()), parameters)

    @settings(deadline=None)
    @given(strategies.parameters.flatmap(lambda one: st.tuples(st.just(one), st.permutations(entries(one.encode())))))
    def test_any_order(self, given: tuple[Parameters, list[bytes]]) -> None:
        """The order in which parameters are written does not matter."""
        parameters, parts = given
        self.assertEqual(read(join(parts)), parameters)

    @settings(deadline=None)
    @given(st.integers(13, 255), st.binary(max_size=20), st.integers(0, 11))
    def test_unknown(self, number: int, value: bytes, at: int) -> None:
        """A parameter that we don't know is skipped wherever it stands, so that later versions can add some."""
        parts = entries(PARAMETERS.encode())
        parts.insert(at, bytes((number, len(value))) + value)
        self.assertEqual(read(join(parts)), PARAMETERS)

    def test_missing(self) -> None:
        """Each of the limits must be there; what is missing is named. The reset token may be absent."""
        parts = entries(TOLD.encode())
        for index, name in enumerate(Parameters._fields[:-1]):
            error = self.assertRaises(MalformedPacket, read, join(parts[:index] + parts[index + 1 :]))
            self.assertIn(f"{name} is missing", error.text)
        self.assertEqual(read(join(parts[:-1])), PARAMETERS)

    def test_doubled(self) -> None:
        """No parameter may appear twice, not even with the same value, not even an unknown one."""
        parts = entries(TOLD.encode())
        for index, part in enumerate(parts):
            error = self.assertRaises(MalformedPacket, read, join([*parts, part]))
            self.assertIn(f"{index + 1} appears twice", error.text)
        self.assertRaises(MalformedPacket, read, join([*parts, b"\xff\0", b"\xff\0"]))

    def test_too_long(self) -> None:
        """A limit of more than 8 bytes is refused, even when its value is small; one of 8 is not."""
        for index, name in enumerate(Parameters._fields[:-1]):
            parts = entries(PARAMETERS.encode())
            parts[index] = bytes((index + 1, 8)) + bytes(7) + b"\x09"
            self.assertEqual(read(join(parts))[index], 9)
            parts[index] = bytes((index + 1, 9)) + bytes(8) + b"\x09"
            error = self.assertRaises(MalformedPacket, read, join(parts))
            self.assertIn(f"{name} is longer than 8 bytes", error.text)

    def test_reset_token(self) -> None:
        """A reset token is empty or 16 bytes."""
        parts = entries(PARAMETERS.encode())
        for size in (1, 8, 15, 17, 32):
            error = self.assertRaises(MalformedPacket, read, join([*parts, bytes((12, size)) + bytes(size)]))
            self.assertIn("16 bytes", error.text)
        self.assertEqual(read(join([*parts, b"\x0c\0"])), PARAMETERS)

    def test_truncated(self) -> None:
        """Parameters cut short at any byte are malformed."""
        written = TOLD.encode()
        for length in range(len(written)):
            self.assertRaises(MalformedPacket, read, written[:length])
