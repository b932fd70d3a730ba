"""
Tests for L{hypermail.test.calls}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.front.calls import Call
from hypermail.test.calls import RecordedCall

PLAIN = {"content-type": ("text/plain",)}
UPGRADE = {"host": ("example.org",), "Upgrade": ("websocket",)}


class Noting:
    """Answers nothing, and remembers what it hears."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.heard: list[Any] = []

    def bodyReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.heard.append(data)
        if data == b"pause":
            self.call.pauseBody()

    def bodyEnded(self, trailers: Any) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.heard.append(trailers)

    def pauseResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.heard.append("pause")

    def resumeResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.heard.append("resume")

    def clientLost(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.heard.append("lost")


class RecordedCallTests(SynchronousTestCase):
    """The rules of calls, as the tests of those who answer have them."""

    def served(self, *arguments: Any) -> tuple[RecordedCall, list[Any]]:
        """A call that is waiting for its answer, and what who answers hears."""
        call = RecordedCall(*arguments).serve(Noting)
        assert isinstance(call.answerer, Noting)
        return call, call.answerer.heard

    def refuses(self, *does: Callable[[], object]) -> None:
        """None of these is allowed."""
        for one in does:
            self.assertRaises(AssertionError, one)

    def test_body(self) -> None:
        """A body comes when it was asked for, waits while it is paused, and comes to its end."""
        call, heard = self.served("POST", b"/", None, b"a")
        self.refuses(partial(call.serve, Noting))
        call.push(b"pause")
        self.assertEqual(heard, [])
        call.readBody()
        self.assertEqual(heard, [b"a", b"pause"])
        call.push(b"b")
        call.finish({"t": ("1",)})
        self.assertEqual(heard, [b"a", b"pause"])
        call.resumeBody()
        self.assertEqual(heard, [b"a", b"pause", b"b", {"t": ("1",)}])
        self.refuses(call.readBody, lambda: call.push(b""), call.finish)

    def test_asked_while_it_is_served(self) -> None:
        """Who asks for the body at once gets it once it is known who answers."""

        def serve(call: Call) -> Noting:
            call.readBody()
            return Noting(call)

        call = RecordedCall(body=b"a").serve(serve)
        assert isinstance(call.answerer, Noting)
        self.assertEqual(call.answerer.heard, [b"a"])

    def test_response(self) -> None:
        """A response is a head, its body and an end, in this order, once."""
        call, heard = self.served()
        self.refuses(lambda: call.write(b"a"), lambda: call.end({}), lambda: call.push(b""), call.finish)
        call.respond(200, PLAIN, None)
        self.assertEqual((call.status, call.sent_headers, call.length, call.responded), (200, PLAIN, None, True))
        self.refuses(lambda: call.respond(200, {}, 0), lambda: call.upgrade({"upgrade": ("a",)}))
        call.write(b"a")
        call.write(b"b")
        call.slow()
        call.ready()
        call.end({"t": ("1",)})
        self.assertEqual((call.body_written, call.ended, call.trailers), (b"ab", True, {"t": ("1",)}))
        self.refuses(lambda: call.write(b""), lambda: call.end({}), call.abort, call.readBody, call.lose, call.slow)
        self.assertEqual(heard, ["pause", "resume"])

    def test_heads(self) -> None:
        """Heads that no client may see."""
        call, _ = self.served()
        for status, headers, length in (
            (101, {}, 0),
            (600, {}, 0),
            (200, {"A": ("b",)}, 0),
            (200, {"a": ("b\n",)}, 0),
            (200, {"connection": ("close",)}, 0),
            (200, {"content-length": ("1",)}, 0),
            (200, {}, -1),
        ):
            self.refuses(partial(call.respond, status, headers, length))
            self.assertFalse(call.responded)
        self.refuses(lambda: call.upgrade({"upgrade": ("a",)}))

    def test_lengths(self) -> None:
        """What is written is as long as it was said, but for responses that have no body."""
        call, _ = self.served()
        call.respond(200, {}, 2)
        call.write(b"a")
        self.refuses(lambda: call.end({}), lambda: call.write(b"bc"))
        for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
            call, _ = self.served(method)
            call.respond(status, {}, 2)
            self.refuses(partial(call.write, b"a"))
            call.end({})

    def test_upgrade(self) -> None:
        """After an upgrade bytes go both ways, also where there was no body."""
        for headers in ({}, {"upgrade": ("a",), "connection": ("upgrade",)}):
            call, _ = self.served("GET", b"/", UPGRADE)
            self.refuses(partial(call.upgrade, headers))
        call, heard = self.served("GET", b"/", UPGRADE)
        call.upgrade({"upgrade": ("websocket",)})
        call.push(b"a")
        call.write(b"b")
        call.finish()
        self.refuses(lambda: call.end({"t": ("1",)}))
        call.end({})
        self.assertEqual((heard, call.body_written, call.status, call.upgraded), ([b"a", {}], b"b", 101, True))

    def test_lost(self) -> None:
        """Nothing follows the loss of the client, nor an abort."""
        call, heard = self.served("POST", b"/", None, b"a")
        call.lose()
        self.refuses(lambda: call.respond(200, {}, 0), call.abort, call.readBody, call.lose)
        call.push(b"b")
        self.assertEqual(heard, ["lost"])
        call, heard = self.served()
        call.abort()
        self.refuses(lambda: call.respond(200, {}, 0), call.abort, call.lose)
        self.assertEqual((call.aborted, heard), (True, []))
