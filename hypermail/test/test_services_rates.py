"""
Tests for L{hypermail.services.rates}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.services.rates import parse_rate


class RateTests(SynchronousTestCase):
    """Rates as people write them."""

    def test_rates(self) -> None:
        """Bits per second, alone or in thousands, millions, thousands of millions; fractions, too."""
        for text, rate in (
            ("8000", 8e3),
            ("8k", 8e3),
            ("64K", 64e3),
            ("2.5M", 2.5e6),
            ("1G", 1e9),
            ("0.5G", 5e8),
            ("999999G", 999_999e9),
        ):
            self.assertEqual(parse_rate(text), rate)

    def test_none(self) -> None:
        """What is no rate is refused, with what was given and what would be one."""
        for text in (
            "",
            "k",
            "fast",
            "1 M",
            "1m",
            "1T",
            "-1M",
            "+1M",
            "1e6",
            ".5M",
            "1.M",
            "1,5M",
            "nan",
            "inf",
            "1MB",
            "\u0661M",
        ):
            error = self.assertRaises(UsageError, parse_rate, text)
            self.assertIn(f"{text!r} is no rate: give bits per second", error.text)

    def test_too_little(self) -> None:
        """Less than 8,000 bits per second, and more than can be counted, are refused."""
        for text in ("0", "7999", "7.9k", "1000000G", "9" * 400):
            error = self.assertRaises(UsageError, parse_rate, text)
            self.assertIn("is no rate to talk at", error.text)
