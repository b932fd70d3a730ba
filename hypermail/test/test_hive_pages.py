"""
Tests for L{hypermail.hive.front.pages}.
"""

from __future__ import annotations

from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.front.pages import Answered, page, respond_whole, send
from hypermail.test.calls import RecordedCall

STATUSES = (400, 404, 413, 431, 500, 501, 502, 503, 504)
BROWSER = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


class PageTests(SynchronousTestCase):
    """Pages by themselves."""

    def test_text(self) -> None:
        """Who does not ask for HTML gets two lines."""
        for accept in ("", "*/*", "application/json"):
            headers, body = page(404, accept)
            self.assertEqual(
                headers,
                {
                    "cache-control": ("no-store",),
                    "x-content-type-options": ("nosniff",),
                    "content-type": ("text/plain; charset=utf-8",),
                },
            )
            self.assertEqual(body, b"404 Not Found\nThere is nothing at this address.\n")

    def test_html(self) -> None:
        """Browsers get HTML, in which a sentence is text."""
        for accept in (BROWSER, "TEXT/HTML"):
            headers, body = page(400, accept, "the <b> & \u00e9 are none")
            self.assertEqual(headers["content-type"], ("text/html; charset=utf-8",))
            self.assertIn("<title>400 Bad Request</title>", body.decode())
            self.assertIn("<p>The &lt;b&gt; &amp; \u00e9 are none.</p>", body.decode())
            parser = HTMLParser()
            parser.feed(body.decode())
            parser.close()

    def test_sentences(self) -> None:
        """Each has one of its own; a full stop is not written twice."""
        bodies = [page(status)[1].decode().split("\n") for status in STATUSES]
        self.assertEqual(len({sentence for _, sentence, _ in bodies}), len(STATUSES))
        for status, (title, sentence, rest) in zip(STATUSES, bodies, strict=True):
            self.assertTrue(title.startswith(f"{status} "))
            self.assertTrue(sentence.endswith(".") and sentence[0].isupper() and not rest)
            self.assertNotIn(title[4:], sentence)
        self.assertEqual(bodies[2][0], "413 Content Too Large")
        self.assertEqual(page(405)[1], b"405 Method Not Allowed\nMethod Not Allowed.\n")
        self.assertEqual(page(400, "", "a. b.")[1], b"400 Bad Request\nA. b.\n")

    def test_retry(self) -> None:
        """Who found all busy is told when to ask again."""
        for status in STATUSES:
            self.assertEqual(page(status)[0].get("retry-after"), ("1",) if status == 503 else None)

    def test_no_characters(self) -> None:
        """Half of a pair of surrogates cannot be written."""
        for accept in ("", "text/html"):
            self.assertIn(b"?", page(400, accept, "\ud800")[1])


class SendTests(SynchronousTestCase):
    """Answers to calls."""

    def test_send(self) -> None:
        """A page of the kind that the client takes, with its length, and the end."""
        call = RecordedCall(headers={"Accept": ("text/plain", "text/html")}).serve(
            lambda call: send(call, 405, "no", {"allow": ("GET",)})
        )
        headers, body = page(405, "text/html", "no")
        self.assertEqual((call.status, call.sent_headers), (405, headers | {"allow": ("GET",)}))
        self.assertEqual((call.body_written, call.length, call.trailers), (body, len(body), {}))

    def test_head(self) -> None:
        """In answer to HEAD there is the length only."""
        call = RecordedCall("HEAD", headers={}).serve(lambda call: send(call, 502))
        self.assertEqual((call.length, call.body_written, call.ended), (len(page(502)[1]), b"", True))
        self.assertEqual(call.sent_headers, page(502)[0])

    def test_whole(self) -> None:
        """A body that is here."""
        call = RecordedCall().serve(lambda call: respond_whole(call, 200, {"a": ("b",)}, b"c"))
        self.assertEqual((call.status, call.sent_headers, call.body_written), (200, {"a": ("b",)}, b"c"))
        answered = call.answerer
        assert isinstance(answered, Answered)
        answered.bodyReceived(b"")
        answered.bodyEnded({})
        answered.pauseResponse()
        answered.resumeResponse()
        answered.clientLost()
