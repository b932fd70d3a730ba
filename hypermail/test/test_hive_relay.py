"""
Tests for L{hypermail.hive.relay}, L{hypermail.hive.routing} and L{hypermail.hive.sticky}: from a client's call to the
bands of cells and back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from hypermail.hive.access import Access
from hypermail.hive.exchanges import UNLIMITED
from hypermail.hive.fields import Lists
from hypermail.hive.frames import (
    BODY,
    EXTENSIONS,
    NO_BODY,
    Accept,
    Body,
    ConnectionKind,
    Frame,
    IAm,
    NeedBand,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    ResponseWant,
    Unmount,
)
from hypermail.hive.garden import WAIT
from hypermail.hive.mounts import Pattern
from hypermail.hive.routing import Router
from hypermail.hive.sticky import Sticky
from hypermail.test.calls import RecordedCall
from hypermail.test.test_hive_leashes import CellsCase, Peer

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class RouterCase(CellsCase):
    """A router before the queen's cells."""

    def setUp(self) -> None:
        super().setUp()
        self.finished: list[tuple[Access, Pattern | None]] = []
        self.router = Router(self.cells, self.clock.seconds, lambda: NOW, lambda *what: self.finished.append(what))

    def tearDown(self) -> None:
        """No request is left either."""
        super().tearDown()
        self.assertEqual(self.router.running, 0)

    def cell(self, *mounts: str, extended: bool = True) -> tuple[Peer, Accept]:
        """A cell, on C{@/} unless it says otherwise."""
        return self.leash(extended, *(mounts or ("/",)))

    def open(self, accept: Accept) -> Peer:
        """A band of a cell's."""
        extensions = EXTENSIONS if accept.extensions else 0
        return self.connect().say(IAm(ConnectionKind.BAND, accept.uuid, accept.key, extensions))

    def ready(self, accept: Accept) -> Peer:
        """A band that nobody waits for."""
        band = self.open(accept)
        [_] = band.heard()
        return band

    def request(
        self, method: str = "GET", target: bytes = b"/", body: bytes | None = None, **headers: str
    ) -> RecordedCall:
        """A client's request, which is served."""
        found = {name.replace("_", "-"): (value,) for name, value in headers.items()}
        call = RecordedCall(method, target, {"host": ("localhost",), **found}, body)
        return call.serve(self.router.serve)

    def asked(self, peer: Peer) -> RequestHead:
        """The one request that a band has got."""
        *_, head = peer.heard()
        assert isinstance(head, RequestHead)
        return head

    def last(self) -> Access:
        """The last request that is over."""
        return self.finished[-1][0]


class PassingTests(RouterCase):
    """What a request and its response look like on the other side."""

    def test_get(self) -> None:
        """The head goes to the cell, the response comes back as it is written, and the band carries the next one."""
        _, accept = self.cell("/app/")
        band = self.ready(accept)
        call = self.request("GET", b"/app/x%20y?a=b", accept="text/html", connection="close", cookie="c=d")
        head = self.asked(band)
        self.assertEqual(
            (head.method, head.path, head.target, head.query, head.cookies, head.scheme, head.host, head.port),
            ("GET", "/x y", "/x%20y?a=b", {"a": ("b",)}, {"c": ("d",)}, "https", "localhost", 443),
        )
        self.assertEqual(head.headers["accept"], ("text/html",))
        self.assertEqual(head.headers["x-forwarded-for"], ("192.0.2.1",))
        self.assertNotIn("connection", head.headers)
        self.assertEqual((head.mount, head.body), ("/app/", NO_BODY))
        band.say(ResponseHead(200, {"Content-Type": ("text/plain",), "Connection": ("close",)}))
        self.assertEqual((call.status, call.sent_headers, call.length), (200, {"content-type": ("text/plain",)}, None))
        band.say(ResponseBody(b"some"))
        self.assertEqual((call.body_written, call.ended), (b"some", False))
        band.say(ResponseBody(b" more"), ResponseEnd({"x-sum": ("1",)}))
        self.assertEqual((call.body_written, call.ended, call.trailers), (b"some more", True, {"x-sum": ("1",)}))
        self.assertEqual(self.finished[0][1], Pattern("@", "/app/"))
        self.assertEqual(
            self.last(),
            Access(
                "192.0.2.1", NOW, "localhost", "GET", "/app/x%20y?a=b", "HTTP/1.1", 200, 9, "", "", 0.0, accept.uuid[:8]
            ),
        )
        self.request(target=b"/app/")
        self.asked(band)

    def test_time(self) -> None:
        """What a request has taken is from its head to its end."""
        _, accept = self.cell()
        band = self.ready(accept)
        self.request(referer="r", user_agent="u")
        self.clock.advance(1.5)
        band.say(ResponseHead(204), ResponseEnd())
        self.assertEqual((self.last().seconds, self.last().referer, self.last().agent), (1.5, "r", "u"))

    def test_head(self) -> None:
        """There is no body to HEAD, whatever the cell writes, and the length is what it has said."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("HEAD")
        band.say(ResponseHead(200, {"content-length": ("5",)}), ResponseBody(b"12345"), ResponseEnd())
        self.assertEqual((call.length, call.sent_headers, call.body_written), (5, {}, b""))
        self.assertTrue(call.ended)

    def test_slow_client(self) -> None:
        """A client that is slow slows the band down; what has come meanwhile follows in its order."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request()
        band.say(ResponseHead(200), ResponseBody(b"a"))
        call.slow()
        self.assertEqual(band.transport.producerState, "paused")
        band.say(ResponseBody(b"b"), ResponseEnd())
        self.assertEqual((call.body_written, call.ended), (b"a", False))
        call.ready()
        self.assertEqual((call.body_written, call.ended), (b"ab", True))
        self.assertEqual(band.transport.producerState, "producing")

    def test_nothing_mounted(self) -> None:
        """404 where nothing is, and the log says so."""
        self.cell("/app/")
        call = self.request(target=b"/other", user_agent="u", referer="r")
        self.assertEqual((call.status, call.ended), (404, True))
        access, pattern = self.finished[0]
        self.assertEqual((access.status, access.agent, access.referer, pattern), (404, "u", "r", None))
        self.assertEqual((access.size, access.target), (len(call.body_written), "/other"))

    def test_away(self) -> None:
        """503 where something was, whose cell was lost just now."""
        leash, _ = self.cell("/app/")
        leash.hang_up()
        call = self.request(target=b"/app/x")
        self.assertEqual((call.status, call.sent_headers["retry-after"]), (503, ("1",)))
        self.assertEqual(self.request(target=b"/other").status, 404)

    def test_bad(self) -> None:
        """What others might read differently is refused, whoever has mounted it; a body is not read."""
        self.cell()
        self.assertEqual(self.request(target=b"/../x", body=b"x").status, 400)
        self.assertEqual(self.last().target, "/../x")
        self.assertEqual(self.request("TRACE").status, 501)

    def test_proxied(self) -> None:
        """Behind a trusted proxy, the host that its client has asked for finds the mount."""
        self.router.trusted = (ip_network("192.0.2.0/24"),)
        _, accept = self.cell()
        band = self.ready(accept)
        call = RecordedCall(headers={"host": ("inner",), "x-forwarded-host": ("localhost",)}).serve(self.router.serve)
        self.asked(band)
        self.assertIsNone(call.status)

    def test_long(self) -> None:
        """What is no request is remembered as far as that fills no disk."""
        self.request("G" * 3_000, b"/" + b"x" * 3_000, user_agent="u" * 3_000)
        self.assertEqual(
            [len(part) for part in (self.last().method, self.last().target, self.last().agent)], [2_048] * 3
        )

    def test_slash(self) -> None:
        """An option has paths without an extension end with a slash, as queens of the seed's authors do."""
        _, accept = self.cell()
        self.router.slash = True
        call = self.request(target=b"/a/b?c=d")
        self.assertEqual((call.status, call.sent_headers["location"], call.ended), (301, ("/a/b/?c=d",), True))
        self.assertEqual(self.last().status, 301)
        others = b"//evil.example/a", b"/\\evil.example/a"  # which would lead to another host
        for method, target in (
            ("GET", b"/a/b.c"),
            ("GET", b"/a/"),
            ("POST", b"/a/b"),
            *(("GET", one) for one in others),
        ):
            band = self.ready(accept)
            self.request(method, target)
            self.asked(band)


class BodyTests(RouterCase):
    """Bodies of requests."""

    def test_wanted(self) -> None:
        """A body goes to the cell once she wants it, as it comes, and so do its trailers."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST", body=b"one")
        self.assertEqual(self.asked(band).body, BODY)
        self.assertFalse(call.reading)
        band.say(ResponseWant(100))
        self.assertEqual(band.heard(), [RequestBody(b"one")])
        call.push(b"two")
        self.assertEqual(band.heard(), [RequestBody(b"two")])
        call.finish({"x-sum": ("1",)})
        self.assertEqual(band.heard(), [RequestEnd({"x-sum": ("1",)})])
        self.assertIsNone(band.transport.producer)
        band.say(ResponseHead(200), ResponseEnd())
        self.assertTrue(call.ended)
        self.assertFalse(band.left)

    def test_trailers(self) -> None:
        """Trailers that are none are the client's fault, not the cell's, and some that are headers go no further."""
        _, accept = self.cell()
        for responded in (False, True):
            band = self.ready(accept)
            call = self.request("POST", body=b"one")
            self.asked(band)
            band.say(ResponseWant(100), *([ResponseHead(200)] if responded else []))
            call.finish({"x-sum": ("a\x01",)})
            self.assertEqual((call.status, call.aborted, band.cut), (200 if responded else 400, responded, True))
        band = self.ready(accept)
        call = self.request("POST", body=b"one")
        self.asked(band)
        band.say(ResponseWant(100))
        band.heard()
        trailers = {"content-length": ("5",), "X-Forwarded-For": ("1.1.1.1",), "host": ("evil",), "x": ("1",)}
        call.finish(trailers)
        self.assertEqual(band.heard(), [RequestEnd({"x": ("1",)})])
        band.say(
            ResponseHead(200), ResponseEnd({"Transfer-Encoding": ("chunked",), "set-cookie": ("a=b",), "y": ("2",)})
        )
        self.assertEqual(call.trailers, {"y": ("2",)})

    def test_unwanted(self) -> None:
        """One that she does not want is not read."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST", body=b"one")
        self.asked(band)
        band.say(ResponseHead(200), ResponseEnd())
        self.assertEqual((call.reading, call.ended, band.heard(), band.left), (False, True, [], False))

    def test_none(self) -> None:
        """Who wants a body where there is none learns that at once."""
        _, accept = self.cell()
        band = self.ready(accept)
        self.request("POST")
        self.asked(band)
        band.say(ResponseWant(100))
        self.assertEqual(band.heard(), [RequestEnd()])

    def test_slow_cell(self) -> None:
        """A cell that is slow slows the client down."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST", body=b"one")
        band.say(ResponseWant(100))
        producer: Any = band.transport.producer
        producer.pauseProducing()
        call.push(b"two")
        self.assertEqual(band.heard()[1:], [RequestBody(b"one")])
        producer.resumeProducing()
        self.assertEqual(band.heard(), [RequestBody(b"two")])

    def test_too_long_said(self) -> None:
        """A body that says that it is longer than wanted is 413, and never read; the band is cut off."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST", body=b"one", content_length="3")
        band.say(ResponseWant(2))
        self.assertEqual((call.status, call.reading, call.ended, band.cut), (413, False, True, True))
        self.assertEqual(self.last().status, 413)

    def test_too_long(self) -> None:
        """One that proves to be is 413 as long as there is no response, and else cut off: never silently shorter."""
        for early in (False, True):
            _, accept = self.cell()
            band = self.ready(accept)
            call = self.request("POST", body=b"on")
            band.say(ResponseWant(2))
            if early:
                band.say(ResponseHead(200))
            call.push(b"e")
            self.assertEqual(
                (call.status, call.aborted, call.ended), (200, True, False) if early else (413, False, True)
            )
            self.assertTrue(band.cut)
            self.assertTrue(self.last().reason)

    def test_early_response(self) -> None:
        """A response that is over before the body is leaves no band that could be out of step."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST", body=b"one")
        band.say(ResponseWant(100), ResponseHead(400), ResponseEnd())
        self.assertEqual((call.status, call.ended, band.left), (400, True, True))
        self.assertIsNone(band.transport.producer)


class UpgradeTests(RouterCase):
    """Other protocols, as WebSocket."""

    def upgrade(self, extended: bool = True) -> tuple[RecordedCall, Peer, RequestHead]:
        """A client that would like another protocol."""
        _, accept = self.cell(extended=extended)
        band = self.ready(accept)
        call = self.request(connection="Upgrade", upgrade="websocket", sec_websocket_key="k")
        return call, band, self.asked(band)

    def test_accepted(self) -> None:
        """Bytes go both ways once the cell has accepted it, until both are done."""
        call, band, head = self.upgrade()
        self.assertEqual((head.headers["upgrade"], head.headers["sec-websocket-key"]), (("websocket",), ("k",)))
        band.say(ResponseWant(UNLIMITED))
        self.assertEqual(band.heard(), [])
        band.say(ResponseHead(101, {"Upgrade": ("websocket",), "Connection": ("upgrade",), "x": ("y",)}))
        self.assertEqual((call.upgraded, call.sent_headers), (True, {"upgrade": ("websocket",), "x": ("y",)}))
        call.push(b"in")
        self.assertEqual(band.heard(), [RequestBody(b"in")])
        band.say(ResponseBody(b"out"))
        self.assertEqual(call.body_written, b"out")
        call.finish()
        self.assertEqual(band.heard(), [RequestEnd()])
        band.say(ResponseEnd())
        self.assertTrue(call.ended)
        self.assertFalse(band.left)
        self.assertEqual((self.last().status, self.last().size), (101, 3))

    def test_again(self) -> None:
        """A cell that is lost when it has wanted an upgrade leaves nothing behind for the next one."""
        _, accept = self.cell()
        bands = [self.ready(accept) for _ in range(2)]
        call = self.request(connection="Upgrade", upgrade="websocket")
        bands[1].say(ResponseWant(UNLIMITED)).hang_up()
        self.asked(bands[0])
        bands[0].say(ResponseHead(200), ResponseEnd())
        self.assertEqual((call.status, call.ended, bands[0].heard(), bands[0].left), (200, True, [], False))

    def test_hung_up(self) -> None:
        """A cell that ends it ends it, and the band with it; what the client says afterwards is nobody's."""
        call, band, _ = self.upgrade()
        band.say(ResponseWant(UNLIMITED), ResponseHead(101), ResponseBody(b"bye"), ResponseEnd({"a": ("b",)}))
        self.assertEqual((call.ended, call.sent_headers, band.left), (True, {"upgrade": ("websocket",)}, True))
        self.assertEqual(call.trailers, {})
        answerer: Any = call.answerer
        answerer.bodyReceived(b"late")
        answerer.bodyEnded({})
        answerer.clientLost()
        self.assertEqual((band.heard(), len(self.finished), self.last().reason), ([], 1, ""))

    def test_declined(self) -> None:
        """A cell that has asked for what would follow, and answers otherwise, learns that there is no body."""
        call, band, _ = self.upgrade()
        band.say(ResponseWant(UNLIMITED), ResponseHead(403))
        self.assertEqual(band.heard(), [RequestEnd()])
        band.say(ResponseEnd())
        self.assertEqual((call.status, call.ended, band.left), (403, True, False))

    def test_declined_at_once(self) -> None:
        """One that has not asked need not be told."""
        call, band, _ = self.upgrade()
        band.say(ResponseHead(403), ResponseEnd())
        self.assertEqual((call.status, call.ended, band.left, band.heard()), (403, True, False, []))

    def test_with_body(self) -> None:
        """A request with a body is none for another protocol: 101 to it is an error."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST", body=b"x", connection="upgrade", upgrade="websocket")
        band.say(ResponseWant(UNLIMITED))
        self.assertEqual(band.heard()[1:], [RequestBody(b"x")])
        band.say(ResponseHead(101))
        band.hang_up()
        self.assertEqual(call.status, 502)

    def test_read(self) -> None:
        """Who reads a body of some size does not wait for one that will not come."""
        _, band, _ = self.upgrade()
        band.say(ResponseWant(1 << 20))
        self.assertEqual(band.heard(), [RequestEnd()])

    def test_other_cells(self) -> None:
        """Cells that don't know the extension can't: their 101 is an error."""
        call, band, _ = self.upgrade(extended=False)
        leash = self.peers[0]
        band.say(ResponseWant(UNLIMITED))
        self.assertEqual(band.heard(), [RequestEnd()])
        band.say(ResponseHead(101))
        self.assertTrue(band.cut)
        band.hang_up()
        leash.hang_up()
        self.assertEqual(call.status, 502)


class TroubleTests(RouterCase):
    """Cells that fail, and clients that go."""

    def test_lost_before(self) -> None:
        """A cell that is lost with a request that might have done something leaves 502."""
        leash, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST")
        band.hang_up()
        self.assertEqual((call.status, self.last().reason), (502, "the cell was lost before it has answered"))
        leash.hang_up()

    def test_lost_after(self) -> None:
        """One that is lost within its response has that cut off, and no page added to it."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request()
        band.say(ResponseHead(200), ResponseBody(b"half"))
        band.hang_up()
        self.assertEqual((call.body_written, call.aborted, call.ended), (b"half", True, False))
        self.assertTrue(self.last().reason)

    def test_nothing(self) -> None:
        """One that answers nothing leaves 502; its band is good."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request()
        band.say(ResponseEnd())
        self.assertEqual((call.status, band.left, band.cut), (502, False, False))

    def test_out_of_place(self) -> None:
        """One that breaks a rule has its band cut off, and its client gets 502, or sees that something is missing."""
        frames: tuple[tuple[tuple[Frame | Body, ...], int | None], ...] = (
            ((ResponseBody(b"x"),), 502),
            ((ResponseHead(99),), 502),
            ((ResponseHead(200, {"a": ("b\r\nc: d",)}),), 502),
            ((ResponseHead(200, {"content-length": ("1",)}), ResponseBody(b"xy")), None),
            ((ResponseHead(200, {"content-length": ("1",)}), ResponseEnd()), None),
            ((ResponseHead(200), ResponseHead(200)), None),
        )
        for said, status in frames:
            leash, accept = self.cell()
            band = self.ready(accept)
            call = self.request("POST")
            band.say(*said)
            self.assertTrue(band.cut)
            band.hang_up()
            self.assertEqual((call.status, call.aborted), (status, False) if status else (200, True))
            leash.hang_up()

    def test_client_gone(self) -> None:
        """A client that goes has its band cut off, so that its cell stops and nobody else gets its response."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request("POST", body=b"x")
        band.say(ResponseWant(10))
        call.lose()
        self.assertTrue(band.cut)
        self.assertEqual((self.last().status, self.last().reason), (0, "the client has gone"))

    def test_client_gone_waiting(self) -> None:
        """One that goes while it waits for a band waits no more: who comes after it gets that."""
        leash, accept = self.cell()
        first = self.request(target=b"/1")
        self.request(target=b"/2")
        self.assertEqual(leash.heard(), [NeedBand(1), NeedBand(1)])
        first.lose()
        self.assertEqual(self.asked(self.open(accept)).path, "/2")

    def test_waits(self) -> None:
        """Without an idle band the cell is asked for one; when none comes in time that is 503."""
        leash, accept = self.cell()
        call = self.request()
        self.assertEqual(leash.heard(), [NeedBand(1)])
        self.assertEqual(self.asked(self.open(accept)).path, "/")
        late = self.request()
        self.clock.advance(WAIT)
        self.assertEqual((call.status, late.status), (None, 503))

    def test_cell_gone_waiting(self) -> None:
        """When the cell is lost meanwhile that is 502, at once."""
        leash, _ = self.cell()
        call = self.request()
        leash.hang_up()
        self.assertEqual(call.status, 502)

    def test_unmounted_waiting(self) -> None:
        """A cell that has unmounted since still answers who waits for it."""
        leash, accept = self.cell()
        call = self.request()
        leash.say(Unmount())
        band = self.open(accept)
        self.asked(band)
        band.say(ResponseHead(200), ResponseEnd())
        self.assertEqual(call.status, 200)

    def test_too_many_fields(self) -> None:
        """A request that no cell could be told is refused, and the band stays good."""
        _, accept = self.cell()
        band = self.ready(accept)
        call = self.request(target=b"/?" + b"&".join([b"a"] * 1_001))
        self.assertEqual((call.status, band.heard(), band.cut), (400, [], False))
        self.request()
        self.asked(band)


class SeveralTests(RouterCase):
    """Several cells on one mount."""

    def test_least(self) -> None:
        """Each gets as many as the other."""
        bands = [self.ready(self.cell()[1]) for _ in range(2)]
        self.request()
        self.request()
        for band in bands:
            self.asked(band)

    def test_again(self) -> None:
        """What may be sent twice is, when the cell is lost before its answer; another comes first then."""
        _, one = self.cell()
        _, two = self.cell()
        bands = [self.ready(one), self.ready(two)]
        call = self.request()
        first, second = bands if bands[0].heard() else bands[::-1]
        first.hang_up()
        self.asked(second)
        second.say(ResponseHead(200), ResponseEnd())
        self.assertEqual(call.status, 200)

    def test_again_alone(self) -> None:
        """The only cell there is is asked again, too: just the band may have been lost. Once."""
        _, accept = self.cell()
        bands = [self.ready(accept) for _ in range(3)]
        call = self.request("DELETE")
        for band in (bands[2], bands[1]):
            self.asked(band)
            band.hang_up()
        self.assertEqual((call.status, bands[0].heard()), (502, []))

    def test_not_again(self) -> None:
        """Nothing is sent twice that might do something twice, or whose body is used up."""
        for method, body in (("POST", None), ("PUT", b"x"), ("PUT", b"")):
            _, accept = self.cell()
            bands = [self.ready(accept) for _ in range(2)]
            call = self.request(method, body=body)
            if body is not None:
                bands[1].say(ResponseWant(10))  # what has not come yet might come to another cell
            bands[1].hang_up()
            self.assertEqual((call.status, bands[0].heard()), (502, []))

    def test_never_reached(self) -> None:
        """What has reached no cell goes to another, whatever it is."""
        leashes = [self.cell() for _ in range(2)]
        call = self.request("POST")
        (first, _), (_, accept) = leashes if leashes[0][0].heard() else leashes[::-1]
        band = self.ready(accept)
        first.hang_up()
        self.asked(band)
        band.say(ResponseHead(200), ResponseEnd())
        self.assertEqual(call.status, 200)

    def test_full(self) -> None:
        """A cell that can take no more is passed over at once; when all can't that is 503."""
        full, _ = self.cell()
        [member] = self.found()
        member.garden._most_waiting = 0
        self.assertEqual(self.request().status, 503)
        self.assertEqual((self.last().cell, self.last().reason), ("", "too many requests wait for the cell"))
        self.clock.advance(1.0)
        _, accept = self.cell()
        member.health.chosen = -1
        band = self.ready(accept)
        self.request()
        self.asked(band)
        self.assertEqual(full.heard(), [])
        self.assertGreater(member.health.rests_until, self.clock.seconds())

    def test_recovers(self) -> None:
        """A cell that has answered rests no more."""
        _, accept = self.cell()
        bands = [self.ready(accept) for _ in range(2)]
        self.request("POST")
        bands[1].hang_up()
        [member] = self.found()
        self.assertTrue(member.health.rests_until)
        self.request("POST")
        bands[0].say(ResponseHead(500))
        self.assertFalse(member.health.rests_until)

    def test_unmounted_since(self) -> None:
        """Who has unmounted since is not asked anew."""
        leash, accept = self.cell()
        bands = [self.ready(accept) for _ in range(2)]
        call = self.request()
        leash.say(Unmount())
        bands[1].hang_up()
        self.assertEqual((call.status, bands[0].heard()), (502, []))

    def test_rests(self) -> None:
        """A cell that has failed is passed over for a while."""
        _, one = self.cell()
        _, two = self.cell()
        bands: dict[str, Any] = {accept.uuid: [self.ready(accept) for _ in range(4)] for accept in (one, two)}
        self.request("POST")
        [failed] = [uuid for uuid, peers in bands.items() if any(peer.heard() for peer in peers)]
        bands[failed][-1].hang_up()
        [other] = set(bands) - {failed}
        for _ in range(3):
            self.request()
        self.assertEqual(sum(bool(peer.heard()) for peer in bands[other]), 3)
        self.clock.advance(1.0)
        self.request()
        self.assertEqual(sum(bool(peer.heard()) for peer in bands[failed]), 1)


class StickyTests(RouterCase):
    """Clients that stay with a cell."""

    def setUp(self) -> None:
        super().setUp()
        self.router.sticky = Sticky("stay")
        self.accepts = [self.cell()[1] for _ in range(2)]
        self.bands = [self.ready(accept) for accept in self.accepts for _ in range(3)]

    def answer(self, cookie: str = "x=y") -> tuple[int, Lists]:
        """A request and its response. @return: which cell has answered, and the headers that the client sees."""
        call = self.request(cookie=cookie)
        [number] = [number for number, band in enumerate(self.bands) if band.heard()]
        self.bands[number].say(ResponseHead(200, {"set-cookie": ("a=b",)}), ResponseEnd())
        return number // 3, call.sent_headers

    def test_stays(self) -> None:
        """Who shows the cookie gets the same cell again, and is told nothing new; the cell's own cookies stay."""
        cell, headers = self.answer()
        own, cookie = headers["set-cookie"]
        self.assertEqual(own, "a=b")
        value, *attributes = cookie.split("; ")
        self.assertEqual(attributes, ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"])
        for _ in range(4):
            self.assertEqual(self.answer(cookie=f"x=y; {value}"), (cell, {"set-cookie": ("a=b",)}))

    def test_tells_nothing(self) -> None:
        """The cookie has nothing of what lets the bands of a cell in."""
        _, headers = self.answer()
        for accept in self.accepts:
            self.assertNotIn(accept.uuid[:8], headers["set-cookie"][1])
            self.assertNotIn(accept.key[:8], headers["set-cookie"][1])

    def test_not_stubborn(self) -> None:
        """A client's cell that is lost with its request is not asked again before the others are."""
        cell, headers = self.answer()
        value = headers["set-cookie"][1].split(";")[0]
        call = self.request(cookie=value)
        [busy] = [band for band in self.bands if band.heard()]
        busy.hang_up()
        [number] = [number for number, band in enumerate(self.bands) if band.heard()]
        self.assertNotEqual(number // 3, cell)
        self.bands[number].say(ResponseHead(200), ResponseEnd())
        self.assertEqual(call.status, 200)

    def test_gone(self) -> None:
        """Who shows one of a cell that is gone, or rests, gets another, and is told."""
        cell, headers = self.answer()
        value = headers["set-cookie"][1].split(";")[0]
        self.request("POST", cookie=value)
        [busy] = [band for band in self.bands if band.heard()]
        busy.hang_up()
        other, told = self.answer(cookie=value)
        self.assertNotEqual(other, cell)
        self.assertNotIn(value, told["set-cookie"][1])
