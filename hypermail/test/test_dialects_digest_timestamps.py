"""
Tests for L{hypermail.dialects.digest.timestamps}.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.timestamps import COARSE, EXACT, NAMED, SECOND, WHOLE, Timestamp, read, write

DAY = int(datetime(2017, 9, 25, tzinfo=UTC).timestamp()) * SECOND
NANOSECONDS = st.integers(0, 4_000_000_000 * SECOND)


class ReadTests(SynchronousTestCase):
    """What is read."""

    def test_forms(self) -> None:
        """All that Java prints, and what is near it."""
        for text, offset in (
            (b"2017-09-25T00:00Z", 0),
            (b"2017-09-25T00:00:00Z", 0),
            (b"2017-09-25T00:00:00.000Z", 0),
            (b"2017-09-25T00:00:01.5Z", 1_500_000_000),
            (b"2017-09-25T00:00:00.001Z[UTC]", 1_000_000),
            (b"2017-09-25T00:00:00.000001Z[Etc/UTC]", 1_000),
            (b"2017-09-25T00:00:00.000000001Z", 1),
            (b"2017-09-25T02:00+02:00[Europe/Berlin]", 0),
            (b"2017-09-24T18:30-05:30", 0),
            (b"2017-09-25T00:00:30+00:00:30", 0),
            (b"2017-09-25T18:00+18:00", 0),
            (b"2017-09-25T00:00Z[America/Argentina/Buenos_Aires]", 0),
        ):
            moment = read(text)
            assert moment is not None, text
            self.assertEqual(moment.first, DAY + offset, text)

    def test_none(self) -> None:
        """What is no time, or no text of it."""
        for text in (
            b"",
            b"2017-09-25",
            b"2017-09-25T00:00",
            b"2017-09-25T00:00Z\n",
            b"2017-09-25T00:00:00.Z",
            b"2017-09-25T00:00:00.0000000001Z",
            b"2017-09-25T00:00.5Z",
            b"2017-02-30T00:00Z",
            b"0000-01-01T00:00Z",
            b"2017-09-25T24:00Z",
            b"2017-09-25T00:60Z",
            b"2017-09-25T00:00:60Z",
            b"2017-09-25T00:00+19:00",
            b"2017-09-25T00:00+00:60",
            b"2017-09-25T00:00Z[]",
            b"2017-09-25T00:00Z[a]b]",
            b"2017-09-25T00:00Z[" + b"a" * 65 + b"]",
            b"2017-09-25 00:00Z",
            "２017-09-25T00:00Z".encode(),
        ):
            self.assertIsNone(read(text), text)

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_arbitrary(self, text: bytes) -> None:
        """Arbitrary bytes are a time or none."""
        read(text)

    def test_precision(self) -> None:
        """A time is no finer than its digits."""
        self.assertEqual(read(b"2017-09-25T00:00Z"), Timestamp(DAY, DAY + SECOND - 1))
        self.assertEqual(read(b"2017-09-25T00:00:00.25Z"), Timestamp(DAY + SECOND // 4, DAY + SECOND // 4 + 9_999_999))
        self.assertEqual(read(b"2017-09-25T00:00:00.000000007Z"), Timestamp(DAY + 7, DAY + 7))

    def test_near(self) -> None:
        """Both older and newer times may be too far away."""
        moment = Timestamp(100, 100)
        self.assertEqual([moment.near(now, 10) for now in (89, 90, 110, 111)], [False, True, True, False])


class WriteTests(SynchronousTestCase):
    """What is written."""

    @settings(deadline=None)
    @given(NANOSECONDS, st.integers(WHOLE, 60))
    def test_round_trip(self, now: int, room: int) -> None:
        """What is written fits, and says the time, as exactly as it fits."""
        text = write(now, room)
        assert text is not None
        self.assertLessEqual(len(text), room)
        moment = read(text)
        assert moment is not None
        self.assertTrue(moment.first <= now <= moment.last)
        self.assertEqual(moment.first == moment.last, room >= EXACT)

    @settings(deadline=None)
    @given(NANOSECONDS, st.integers(-100, WHOLE - 1))
    def test_coarse(self, now: int, room: int) -> None:
        """Where seconds have no room, a time that is near the minute may be written without; no other."""
        text = write(now, room)
        second = now // SECOND % 60
        self.assertEqual(text is not None, room >= COARSE and second < 20)
        if text is not None:
            moment = read(text)
            assert moment is not None
            self.assertEqual(moment.first, now // SECOND * SECOND - second * SECOND)

    def test_forms(self) -> None:
        """Each form has the length that it says to have."""
        for length in (NAMED, EXACT, WHOLE, COARSE):
            text = write(DAY + 1, length)
            assert text is not None
            self.assertEqual(len(text), length)
        self.assertEqual(write(DAY + 1, NAMED), b"2017-09-25T00:00:00.000000001Z[Etc/UTC]")

    @settings(deadline=None)
    @given(
        st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)),
        st.integers(-18 * 60, 18 * 60),
    )
    def test_zones(self, when: datetime, minutes: int) -> None:
        """A time with a zone is what the standard library says that it is."""
        there = when.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        moment = read(there.isoformat(timespec="microseconds").encode())
        assert moment is not None
        expected = (there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        self.assertEqual(moment.first, expected * 1_000)
