"""
Tests for L{hypermail.options}, and for the options of streams in L{hypermail.events}.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.events import StreamOptions
from hypermail.options import _DURATIONS, _LEAST, KIB, MIB, Delivery, ListenerOptions, Options, Role, Way


class WayTests(SynchronousTestCase):
    """Which way a session carries."""

    def test_may_send(self) -> None:
        """In a two-way session both send, in a read-only one the listener, in a write-only one the starter."""
        may = {way: (way.may_send(Role.STARTER), way.may_send(Role.LISTENER)) for way in Way}
        self.assertEqual(may, {Way.TWO_WAY: (True, True), Way.READ_ONLY: (False, True), Way.WRITE_ONLY: (True, False)})

    def test_numbers(self) -> None:
        """The numbers of roles, ways and deliveries are on the wire and never change."""
        self.assertEqual([int(way) for way in (Way.TWO_WAY, Way.READ_ONLY, Way.WRITE_ONLY)], [0, 1, 2])
        self.assertEqual([int(role) for role in (Role.STARTER, Role.LISTENER)], [0, 1])
        self.assertEqual([int(one) for one in (Delivery.ACKED, Delivery.BUFFERED, Delivery.DIRECT)], [0, 1, 2])


class OptionsTests(SynchronousTestCase):
    """What one side of a session wants and bears."""

    def test_max_rate(self) -> None:
        """A limit of the rate is at least 8 kbit/s, and a number; by default there is none."""
        self.assertIsNone(Options().max_rate)
        self.assertEqual(Options(max_rate=8_000).max_rate, 8_000)
        for wrong in (0, 7_999.9, -1.0, 1e15, float("inf"), float("nan")):
            self.assertIn("max_rate must be at least 8000 bit/s", self.refuse(max_rate=wrong))

    def refuse(self, **values: Any) -> str:
        """Assert that options are refused. @return: why."""
        error: UsageError = self.assertRaises(UsageError, Options, **values)
        self.assertIsInstance(error, ValueError)
        return error.text

    def test_defaults(self) -> None:
        """The defaults are those of the protocol's text."""
        options = Options()
        self.assertEqual(options.connection_timeout, 10.0)
        self.assertEqual((options.ping_interval, options.ping_packet_count, options.delivery_timeout), (5.0, 4, 5.0))
        self.assertEqual((options.max_message, options.allowance_bytes), (16 * MIB, 32 * MIB))
        self.assertEqual((options.allowance_messages, options.max_unsettled), (65_536, 1_024))
        self.assertEqual((options.max_streams, options.stream_window, options.mtu), (4_096, 16 * KIB, 1_200))
        self.assertEqual((options.stream_pool, options.stream_pool_max), (4 * MIB, 64 * MIB))
        self.assertIs(options.way, Way.TWO_WAY)

    def test_documented(self) -> None:
        """Each option is explained."""
        for described in (Options, ListenerOptions):
            for field in fields(described):
                self.assertIn(f"@ivar {field.name}:", described.__doc__ or "")

    def test_frozen(self) -> None:
        """Options don't change under a session."""
        self.assertRaises(FrozenInstanceError, setattr, Options(), "mtu", 9_000)
        self.assertRaises(FrozenInstanceError, setattr, ListenerOptions(), "max_sessions", 1)

    def test_times(self) -> None:
        """A time is a positive, finite number of seconds; the option and the value are named."""
        for name in _DURATIONS:
            for value in (0, -1, 0.0, float("inf"), float("nan"), 1e9):
                text = self.refuse(**{name: value})
                self.assertIn(name, text)
                self.assertIn(repr(value), text)
            values: dict[str, Any] = {name: 0.001}
            self.assertEqual(getattr(Options(**values), name), 0.001)

    def test_least(self) -> None:
        """Each limit may be as small as its least value, and no smaller; the option is named."""
        for name, least in _LEAST.items():
            values: dict[str, Any] = {name: least}
            self.assertEqual(getattr(Options(**values), name), least)
            self.assertIn(f"{name} must be at least {least}", self.refuse(**{name: least - 1}))

    def test_all_checked(self) -> None:
        """No number escapes being checked."""
        numbers = {field.name for field in fields(Options) if field.type in ("int", "float")}
        self.assertEqual(numbers - set(_DURATIONS) - set(_LEAST), {"allowance_bytes"})

    def test_largest_message(self) -> None:
        """A message's length has 32 bits."""
        most = (1 << 32) - 1
        self.assertEqual(Options(max_message=most, allowance_bytes=most).max_message, most)
        self.assertIn("4 GiB", self.refuse(max_message=most + 1, allowance_bytes=most + 1))

    def test_allowance(self) -> None:
        """The allowance holds at least one largest message, or nothing could ever be sent."""
        self.assertEqual(Options(max_message=100, allowance_bytes=100).allowance_bytes, 100)
        self.assertIn("allowance_bytes", self.refuse(max_message=101, allowance_bytes=100))


class StreamOptionsTests(SynchronousTestCase):
    """What an opener says of a stream."""

    def test_length(self) -> None:
        """A length is unknown, or a number below 2**62."""
        for length in (None, 0, (1 << 62) - 1):
            self.assertEqual(StreamOptions(length=length).length, length)
        for length in (-1, 1 << 62):
            error = self.assertRaises(UsageError, StreamOptions, length=length)
            self.assertIn(str(length), error.text)

    def test_attributes(self) -> None:
        """Without attributes each has an empty mapping of its own."""
        self.assertEqual(StreamOptions().attributes, {})
        self.assertIsNot(StreamOptions().attributes, StreamOptions().attributes)
