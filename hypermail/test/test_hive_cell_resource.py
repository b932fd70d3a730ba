"""
Tests for L{hypermail.hive.cell.resource}, L{heads<hypermail.hive.cell.heads>} and
L{application<hypermail.hive.cell.application>}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.util import Redirect

from hypermail.errors import UsageError
from hypermail.hive.cell.heads import client_of, length_of, lists_of, scheme_of, server_of, target_of
from hypermail.hive.cell.resource import ResourceApplication
from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import BODY, NO_BODY, RequestHead
from hypermail.test.cells import Asked, MemoryCase, SocketCase, head_of


class HeadTests(SynchronousTestCase):
    """Heads as applications have them."""

    def test_target(self) -> None:
        """What was written counts; without it path and query are put together again."""
        for head, target in (
            (RequestHead(target="/a%20b?c=%41", path="/a b", query={"c": ("A",)}), "/a%20b?c=%41"),
            (
                RequestHead(path="/a b/é?#%", query={"c": ("1 2", "3"), "": ("&",)}),
                "/a%20b/%C3%A9%3F%23%25?c=1+2&c=3&=%26",
            ),
            (RequestHead(path=""), "/"),
            (RequestHead(path="x", target="http://example.org/"), "/x"),
            (RequestHead(path="/x", target="/../y"), "/x"),
            (RequestHead(path="/x", target="/y z"), "/x"),
            (RequestHead(path="/x", target="/y\r\nz"), "/x"),
            (RequestHead(path="/x", target="/\xe4"), "/x"),
        ):
            self.assertEqual(target_of(head), target)

    def test_length(self) -> None:
        """Which requests have a body, as far as that is known."""
        for method, headers, length in (
            ("GET", {}, 0),
            ("HEAD", {}, 0),
            ("POST", {}, None),
            ("PATCH", {}, None),
            ("POST", {"content-length": ("0",)}, 0),
            ("GET", {"content-length": ("3",)}, 3),
        ):
            self.assertEqual(length_of(RequestHead(method=method, headers=headers)), length)
        for body, said, length in ((BODY, {}, None), (NO_BODY, {}, 0), (BODY, {"content-length": ("3",)}, 3)):
            for method in ("GET", "POST"):
                self.assertEqual(length_of(RequestHead(method=method, headers=said, body=body)), length)
        self.assertRaises(FrameInvalid, length_of, RequestHead(method="GET", headers={"content-length": ("3", "4")}))

    def test_peers(self) -> None:
        """Who asks and who is asked, with and without ports."""
        for text, peer in (
            ("192.0.2.1", ("192.0.2.1", 0)),
            ("192.0.2.1:80", ("192.0.2.1", 80)),
            ("2001:db8::1", ("2001:db8::1", 0)),
            ("[2001:db8::1]:80", ("2001:db8::1", 80)),
            ("[2001:db8::1]", ("2001:db8::1", 0)),
            ("192.0.2.1:999999", ("192.0.2.1", 0)),
            ("", ("", 0)),
        ):
            self.assertEqual(client_of(RequestHead(remote_address=text)), peer)
        self.assertEqual(client_of(RequestHead(remote_address_real="192.0.2.1:80")), ("192.0.2.1", 80))
        for head, peer in (
            (RequestHead(host="example.org", port=8443), ("example.org", 8443)),
            (RequestHead(host="example.org", scheme="http"), ("example.org", 80)),
            (RequestHead(headers={"host": ("example.org:81",)}), ("example.org", 81)),
            (RequestHead(headers={"host": ("example.org",)}), ("example.org", 443)),
            (RequestHead(), ("localhost", 443)),
        ):
            self.assertEqual(server_of(head), peer)
        self.assertEqual(
            [scheme_of(RequestHead(scheme=one)) for one in ("http", "https", "")], ["http", "https", "https"]
        )

    def test_response(self) -> None:
        """Headers of an application; those of the connection are left out, those that can't be sent are refused."""
        pairs = [(b"A", b"1"), (b"a", b"\xc3\xa4"), (b"b", b"\xe4"), (b"Transfer-Encoding", b"chunked")]
        self.assertEqual(lists_of(pairs), {"a": ("1", "ä"), "b": ("ä",)})
        for pair in ((b"a b", b""), (b"", b""), (b"a", b"1\r\nb: 2")):
            self.assertRaises(UsageError, lists_of, [pair])


class Everything(Resource):
    """Remembers requests; answers as C{render} says."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.body: Any = b"hello"
        self.finished: list[Any] = []
        self.tell: Callable[[Any], object] = id

    def render(self, request: Any) -> Any:
        """See L{Resource}."""
        self.requests.append(request)
        request.notifyFinish().addBoth(self.finished.append)
        self.content = request.content.read()
        self.tell(request)
        return self.body(request) if callable(self.body) else self.body


class ResourceCase(MemoryCase):
    """A cell with a resource."""

    def setUp(self) -> None:
        super().setUp()
        self.resource = Everything()

    def get(self, target: str = "/x", headers: dict[str, str] | None = None, method: str = "GET", **more: Any) -> Asked:
        """Ask for something."""
        body = more.pop("body", b"")
        return self.ask(head_of(method, target, headers, **more), body)


class RequestTests(ResourceCase):
    """What resources see."""

    def test_request(self) -> None:
        """All that C{twisted.web} tells of a request."""
        self.cell(ResourceApplication(self.resource))
        asked = self.get("/a%20b/c?d=1&d=2", {"cookie": "e=f", "x": "y"})
        self.assertEqual((asked.status, asked.received, asked.header("content-length")), (200, b"hello", "5"))
        [request] = self.resource.requests
        self.assertEqual((request.method, request.uri), (b"GET", b"/a%20b/c?d=1&d=2"))
        self.assertEqual((request.path, request.args), (b"/a%20b/c", {b"d": [b"1", b"2"]}))
        self.assertEqual((request.getCookie(b"e"), request.getHeader(b"x")), (b"f", b"y"))
        self.assertEqual(request.getClientAddress().host, "192.0.2.1")
        self.assertEqual((request.getHost().host, request.getHost().port), ("example.org", 443))
        self.assertEqual(request.getRequestHostname(), b"example.org")
        self.assertEqual((self.resource.finished, asked.most), ([None], None))

    def test_secure(self) -> None:
        """Whether the client has used HTTPS."""
        found: list[bool] = []
        self.resource.tell = lambda request: found.append(request.isSecure())
        self.cell(ResourceApplication(self.resource))
        for scheme in ("http", "https", ""):
            self.get(scheme=scheme)
        self.assertEqual(found, [False, True, True])

    def test_form(self) -> None:
        """Fields of a form, also where its length is not known; not when that is not wanted."""
        for parse, args in ((True, {b"a": [b"1"]}), (False, {})):
            cell = self.cell(ResourceApplication(self.resource, parseForms=parse))
            kind = {"content-type": "application/x-www-form-urlencoded"}
            for length in ({}, {"content-length": "3"}):
                self.get("/", {**kind, **length}, "POST", body=b"a=1")
                self.assertEqual((self.resource.requests[-1].args, self.resource.content), (args, b"a=1"))
            self.end(cell)

    def test_badForm(self) -> None:
        """A form that is none is refused."""
        self.cell(ResourceApplication(self.resource))
        asked = self.get("/", {"content-type": "multipart/form-data"}, "POST", body=b"--x\r\nnonsense")
        self.assertEqual((asked.status, self.resource.requests), (400, []))

    def test_largeBody(self) -> None:
        """A large body is in a file; one that is too large is refused, before it is sent, or by the queen."""
        self.cell(ResourceApplication(self.resource, most=200_000))
        asked = self.get("/", {"content-length": "200000"}, "PUT", body=b"x" * 200_000)
        self.assertEqual((asked.most, len(self.resource.content)), (200_000, 200_000))
        asked = self.get("/", {"content-length": "200001"}, "PUT", body=b"x" * 200_001)
        self.assertEqual((asked.status, asked.most), (413, None))
        self.assertEqual(self.get("/", None, "PUT", body=None).most, 200_000)

    def test_shortBody(self) -> None:
        """A body that ends too early is none."""
        self.cell(ResourceApplication(self.resource))
        asked = self.get("/", {"content-length": "4"}, "PUT", body=b"abc")
        self.assertEqual((asked.status, self.resource.requests), (400, []))

    def test_sessions(self) -> None:
        """C{twisted.web}'s sessions, which end with the cell."""
        found: list[Any] = []
        self.resource.tell = lambda request: found.append(request.getSession().uid)
        self.cell(ResourceApplication(self.resource))
        cookie = self.get().header("set-cookie").partition(";")[0]
        self.get("/", {"cookie": cookie})
        self.assertEqual((len(found), len(set(found))), (2, 1))

    def test_below(self) -> None:
        """A resource knows below which path it is mounted, and can say where it is."""
        tree = Resource()
        tree.putChild(b"old", Redirect(b"new"))
        tree.putChild(b"x", self.resource)
        found: list[Any] = []
        self.resource.tell = lambda request: found.append((request.prePathURL(), request.uri, request.postpath))
        self.cell(ResourceApplication(tree), "@/app/v1/")
        self.get("/x/y?z")
        self.assertEqual(found, [(b"https://example.org/app/v1/x", b"/app/v1/x/y?z", [b"y"])])
        self.assertEqual(self.get("/old").status, 302)
        self.assertEqual(self.get("/none").status, 404)


class ResponseTests(ResourceCase):
    """What resources answer."""

    def test_head(self) -> None:
        """C{HEAD}: no body, but its length."""
        self.cell(ResourceApplication(self.resource))
        asked = self.get(method="HEAD")
        self.assertEqual((asked.status, asked.header("content-length"), asked.received), (200, "5", b""))

    def test_streaming(self) -> None:
        """What a resource writes goes out as it comes, without chunks of HTTP's."""
        self.resource.body = lambda request: NOT_DONE_YET
        self.cell(ResourceApplication(self.resource))
        asked = self.get()
        [request] = self.resource.requests
        request.setResponseCode(201)
        request.responseHeaders.addRawHeader(b"set-cookie", b"a=b")
        request.responseHeaders.addRawHeader(b"set-cookie", b"c=d")
        request.write(b"one")
        self.hive.flush()
        assert asked.response is not None
        self.assertEqual((asked.status, asked.response.headers["set-cookie"]), (201, ("a=b", "c=d")))
        self.assertEqual(asked.received, b"one")
        request.write(b"two")
        request.finish()
        self.hive.flush()
        self.assertEqual((asked.received, asked.end is not None), (b"onetwo", True))
        self.assertEqual(self.resource.finished, [None])

    def test_producer(self) -> None:
        """A producer is that of the band while it is registered."""
        self.resource.body = lambda request: NOT_DONE_YET
        self.cell(ResourceApplication(self.resource))
        self.get()
        [request] = self.resource.requests
        transport = self.hive.links[1][0].transport
        producer = object()
        request.registerProducer(producer, True)
        self.assertIs(transport.producer, producer)
        request.unregisterProducer()
        self.assertIsNone(transport.producer)
        request.finish()

    def test_lost(self) -> None:
        """Resources learn that the client is lost, also while the body comes."""
        self.resource.body = lambda request: NOT_DONE_YET
        self.cell(ResourceApplication(self.resource))
        self.get()
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        self.assertEqual([failure.type for failure in self.resource.finished], [ConnectionLost])
        self.resource.requests[0].write(b"nobody hears this")
        asked = self.get("/", None, "PUT", body=None)
        asked.band.body(b"some")
        self.hive.flush()
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        self.assertEqual(len(self.resource.requests), 1)

    def test_fails(self) -> None:
        """A resource that fails: 500 of C{twisted.web}'s."""
        self.resource.body = lambda request: 1 / 0
        self.cell(ResourceApplication(self.resource))
        self.assertEqual(self.get().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_wrongHeader(self) -> None:
        """A header that can't be sent is a failure, too."""

        def body(request: Any) -> bytes:
            request.setHeader(b"x", b"\x00")
            return b""

        self.resource.body = body
        self.cell(ResourceApplication(self.resource))
        asked = self.get()
        self.assertEqual(asked.status, 500)
        self.assertTrue(self.flushLoggedErrors(UsageError))

    def test_loseConnection(self) -> None:
        """A resource may cut off its response."""
        for method in ("loseConnection", "abortConnection"):

            def body(request: Any, method: str = method) -> Any:
                request.write(b"some")
                getattr(request.transport, method)()
                return NOT_DONE_YET

            self.resource.body = body
            cell = self.cell(ResourceApplication(self.resource))
            self.assertTrue(self.get().wasLost)
            self.end(cell)
        self.assertEqual([failure.type for failure in self.resource.finished], [ConnectionLost] * 2)

    def test_loseConnectionEarly(self) -> None:
        """Before that its client gets an error."""
        self.resource.body = lambda request: request.loseConnection() or NOT_DONE_YET
        self.cell(ResourceApplication(self.resource))
        self.assertEqual(self.get().status, 500)

    def test_afterwards(self) -> None:
        """What a resource does to its connection when the response has ended does nothing to another request on it."""
        self.cell(ResourceApplication(self.resource))
        self.get()
        [first] = self.resource.requests
        self.resource.body = lambda request: NOT_DONE_YET
        asked = self.get()
        for method in ("pauseProducing", "loseConnection", "abortConnection"):
            getattr(first.transport, method)()
        self.resource.requests[1].transport.pauseProducing()
        first.transport.resumeProducing()
        self.assertEqual(self.hive.links[1][0].transport.producerState, "paused")
        self.resource.requests[1].transport.resumeProducing()
        self.resource.requests[1].finish()
        self.hive.flush()
        self.assertEqual((asked.status, asked.wasLost, self.hive.opened), (200, False, 2))

    def test_pause(self) -> None:
        """A resource may stop reading."""
        self.resource.body = lambda request: NOT_DONE_YET
        self.cell(ResourceApplication(self.resource))
        self.get()
        [request] = self.resource.requests
        band = self.hive.links[1][0].transport
        request.transport.pauseProducing()
        self.assertEqual(band.producerState, "paused")
        request.transport.resumeProducing()
        self.assertEqual(band.producerState, "producing")
        request.finish()


class Endless:
    """Writes to a request as long as it may."""

    def __init__(self, request: Any, size: int) -> None:
        self.request = request
        self.left = size
        self.paused = False

    def resumeProducing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            self.left -= 65_536
            self.request.write(bytes(65_536))
        if not self.left:
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True


class SocketTests(SocketCase):
    """Over sockets."""

    async def test_backPressure(self) -> None:
        """A response of 64 MiB to who does not read waits in its producer, not in the cell."""
        resource = Everything()
        producers: list[Endless] = []

        def body(request: Any) -> Any:
            producers.append(Endless(request, 64 << 20))
            request.registerProducer(producers[0], True)
            producers[0].resumeProducing()
            return NOT_DONE_YET

        resource.body = body
        await self.cell(ResourceApplication(resource))
        asked = self.begin(head_of("GET", "/"))
        await self.stall(asked, lambda: self.assertGreater(producers[0].left, 40 << 20))

    async def test_largeAtOnce(self) -> None:
        """A body that is written in one piece goes in several frames."""
        resource = Everything()
        resource.body = bytes(40 << 20)
        await self.cell(ResourceApplication(resource))
        self.assertEqual(len((await self.ask("GET", "/")).received), 40 << 20)
