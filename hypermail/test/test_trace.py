"""
Tests for L{hypermail.trace}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.trace import NullTrace, Trace


class TraceTests(SynchronousTestCase):
    """A trace that is written."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.closed: list[bool] = []
        self.trace: NullTrace = Trace(self.lines.append, "a title", "client", 100.0, lambda: self.closed.append(True))

    def records(self) -> list[dict[str, Any]]:
        """The lines, read."""
        for line in self.lines:
            self.assertEqual(line.index("\n"), len(line) - 1)
        return [json.loads(line) for line in self.lines]

    def test_head(self) -> None:
        """The first line names format, connection, role and the zero of the times."""
        (head,) = self.records()
        self.assertEqual((head["qlog_format"], head["title"]), ("JSON-SEQ", "a title"))
        self.assertEqual(head["trace"]["vantage_point"], {"type": "client"})
        self.assertEqual(head["trace"]["common_fields"]["reference_time"], 100.0)
        self.assertEqual(head["trace"]["common_fields"]["time_format"], "relative")

    def test_event(self) -> None:
        """An event is one line: ms since the beginning, its name, its data, whatever that holds."""
        self.trace.event(100.0123456, "session:opened", way=2, peer=("::1", 4700), data=b"\xff\n")
        record = self.records()[1]
        self.assertEqual((record["time"], record["name"]), (12.346, "session:opened"))
        self.assertEqual(record["data"], {"way": 2, "peer": ["::1", 4700], "data": "b'\\xff\\n'"})

    def test_packets(self) -> None:
        """Datagrams are qlog's packets, long ones of the handshake."""
        self.trace.sent(100.0, 5, 1_200, True)
        self.trace.received(101.0, 6, 99, False)
        sent, received = self.records()[1:]
        self.assertEqual((sent["time"], sent["name"]), (0.0, "transport:packet_sent"))
        self.assertEqual(
            sent["data"], {"header": {"packet_type": "handshake", "packet_number": 5}, "raw": {"length": 1_200}}
        )
        self.assertEqual((received["time"], received["name"]), (1_000.0, "transport:packet_received"))
        self.assertEqual(
            received["data"], {"header": {"packet_type": "1RTT", "packet_number": 6}, "raw": {"length": 99}}
        )

    def test_close(self) -> None:
        """Closing calls who opened; without anybody to call it does nothing."""
        self.trace.close()
        self.assertEqual(self.closed, [True])
        Trace(self.lines.append, "", "server", 0.0).close()

    def test_null(self) -> None:
        """Its twin takes the same calls and does nothing."""
        null = NullTrace()
        null.event(0.0, "name", some="data")
        null.sent(0.0, 1, 2, True)
        null.received(0.0, 1, 2, False)
        null.close()
        self.assertFalse(hasattr(null, "__dict__"))
