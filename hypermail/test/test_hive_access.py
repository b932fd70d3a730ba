"""
Tests for L{hypermail.hive.access}.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.access import FORMATS, Access, as_json, combined

ACCESS = Access(
    client="192.0.2.1",
    when=datetime(2026, 3, 7, 8, 9, 10, tzinfo=UTC),
    host="example.org",
    method="GET",
    target="/a?b=c",
    protocol="HTTP/1.1",
    status=200,
    size=1234,
    referer="https://example.org/",
    agent="curl/8.0",
    seconds=0.0123456789,
    cell="u",
)


class AccessTests(SynchronousTestCase):
    """Lines."""

    def test_combined(self) -> None:
        """The combined format, in English whatever the locale is."""
        self.assertEqual(
            combined(ACCESS),
            '192.0.2.1 - - [07/Mar/2026:08:09:10 +0000] "GET /a?b=c HTTP/1.1" 200 1234 '
            '"https://example.org/" "curl/8.0"',
        )
        west = ACCESS.when.astimezone(timezone(-timedelta(hours=3, minutes=30)))
        self.assertIn("[07/Mar/2026:04:39:10 -0330]", combined(ACCESS._replace(when=west)))

    def test_unknown(self) -> None:
        """What is not known is a minus."""
        line = combined(ACCESS._replace(status=0, referer="", agent="", size=0))
        self.assertTrue(line.endswith('" - 0 "-" "-"'), line)

    def test_escaped(self) -> None:
        """Nothing ends a field, a line, or does something to a terminal."""
        line = combined(ACCESS._replace(agent='a"b\\c\nd\x1b[1m\u00e9', target='/"'))
        self.assertTrue(line.endswith('"a\\"b\\\\c\\x0ad\\x1b[1m\\xc3\\xa9"'), line)
        self.assertIn('"GET /\\" HTTP/1.1"', line)

    def test_json(self) -> None:
        """An object with all that is known."""
        self.assertEqual(
            json.loads(as_json(ACCESS)),
            {**ACCESS._asdict(), "when": "2026-03-07T08:09:10+00:00", "seconds": 0.012346},
        )

    @given(st.text(), st.text(), st.sampled_from(sorted(FORMATS)))
    def test_one_line(self, target: str, agent: str, format: str) -> None:
        """One request is one line of ASCII, and not a long one."""
        line = FORMATS[format](ACCESS._replace(target=target * 50, agent=agent))
        self.assertTrue(line.isascii() and line.isprintable())
        self.assertLess(len(line), 60_000)
