"""
Tests for L{hypermail.hive.heads}.
"""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.errors import RequestRefused
from hypermail.hive.fields import Lists
from hypermail.hive.frames import NO_BODY, RequestHead
from hypermail.hive.heads import Head, RequestArrival, read_head
from hypermail.hive.mounts import parse_mount

HERE = RequestArrival("192.0.2.1", 5555, "https", (1, 1))
HOST: Lists = {"Host": ("Example.org",)}


class HeadTests(SynchronousTestCase):
    """Heads of requests."""

    def read(
        self, headers: Lists = HOST, method: str = "GET", target: bytes = b"/", arrival: RequestArrival = HERE
    ) -> Head:
        """Read one."""
        return read_head(arrival, method, target, headers, (ip_network("10.0.0.0/8"),))

    def test_told(self) -> None:
        """All that a cell is told."""
        head = self.read(
            {
                "Host": ("Example.org:8443",),
                "Cookie": ("a=b",),
                "X-Mine": ("1", "2"),
                "Connection": ("x-gone",),
                "X-Gone": ("3",),
            },
            "POST",
            b"/app/x%2Fy?q=1&q=2&r=%20",
        )
        self.assertEqual((head.host, head.upgrade, head.length), ("Example.org:8443", "", None))
        self.assertEqual(
            head.told(parse_mount("example.org/app/")),
            RequestHead(
                remote_address_real="192.0.2.1:5555",
                remote_address="192.0.2.1",
                method="POST",
                scheme="https",
                host="example.org",
                port=8443,
                path="/x%2Fy",
                query={"q": ("1", "2"), "r": (" ",)},
                protocol="HTTP/1.1",
                protocol_major=1,
                protocol_minor=1,
                headers={
                    "host": ("Example.org:8443",),
                    "cookie": ("a=b",),
                    "x-mine": ("1", "2"),
                    "x-forwarded-for": ("192.0.2.1",),
                    "x-forwarded-proto": ("https",),
                    "x-forwarded-host": ("Example.org:8443",),
                    "forwarded": ('for=192.0.2.1;proto=https;host="Example.org:8443"',),
                    "via": ("1.1 hypermail",),
                },
                cookies={"a": ("b",)},
                target="/x%2Fy?q=1&q=2&r=%20",
                mount="/app/",
                body=NO_BODY,
            ),
        )

    def test_proxied(self) -> None:
        """Behind a trusted proxy, who is connected is not who asks; ports are those of the scheme by default."""
        headers: Lists = {**HOST, "x-forwarded-for": ("2001:db8::1",), "x-forwarded-proto": ("http",)}
        for peer, real, asked, scheme, port in (
            ("10.0.0.1", "10.0.0.1:5555", "2001:db8::1", "http", 80),
            ("2001:db8::2", "[2001:db8::2]:5555", "2001:db8::2", "https", 443),
        ):
            told = self.read(headers, arrival=HERE._replace(peer=peer)).told(parse_mount("@/"))
            self.assertEqual((told.remote_address_real, told.remote_address), (real, asked))
            self.assertEqual((told.scheme, told.port), (scheme, port))

    def test_proxied_host(self) -> None:
        """What a proxy passes on as the host its client has asked for may be none, too."""
        proxied = HERE._replace(peer="10.0.0.1")
        for host in ("a b", "a:99999", "a:\u00b2", "u@a"):
            headers: Lists = {**HOST, "x-forwarded-host": (host,)}
            error = self.assertRaises(RequestRefused, self.read, headers, arrival=proxied)
            self.assertEqual(error.status, 400, host)
            self.assertEqual(self.read(headers, arrival=HERE).client.host, "Example.org")

    def test_port(self) -> None:
        """What ends an address of IPv6 is no port."""
        for host, port in (("[::1]", 443), ("[::1]:", 443), ("[::1]:81", 81), ("a:", 443)):
            self.assertEqual(self.read({"host": (host,)}).told(parse_mount("@/")).port, port)

    def test_host(self) -> None:
        """One Host, or the target's; before HTTP/1.1 none may do."""
        self.assertEqual(self.read(target=b"http://other.org:1/").host, "other.org:1")
        self.assertEqual(self.read({}, target=b"http://other.org/").headers["host"], ("other.org",))
        self.assertEqual(self.read({}, arrival=HERE._replace(version=(1, 0))).host, "")
        self.assertEqual(self.read({"host": ("",)}).host, "", "a URL may have none (RFC 9112 §3.2)")
        for host in ("[::1]:443", "127.0.0.1", "a_b.example", "example.org:", "a:65535"):
            self.assertEqual(self.read({"host": (host,)}).host, host)
        for headers in (
            {},
            {"host": ("a", "b")},
            {"Host": ("a",), "host": ("a",)},
            {"host": ("a b",)},
            {"host": ("a/b",)},
            {"host": ("a:b",)},
            {"host": ("u@a",)},
            {"host": ('a"',)},
            {"host": ("a:65536",)},
            {"host": ("[::1]:99999",)},
        ):
            self.assertEqual(self.assertRaises(RequestRefused, self.read, headers).status, 400, headers)

    def test_body(self) -> None:
        """A body has a length or is chunked, never both."""
        self.assertEqual(self.read({**HOST, "Content-Length": ("5",)}).length, 5)
        chunked = self.read({**HOST, "Transfer-Encoding": ("Chunked",)})
        self.assertEqual((chunked.length, "transfer-encoding" in chunked.headers), (None, False))
        for headers, status in (
            ({"Content-Length": ("5",), "Transfer-Encoding": ("chunked",)}, 400),
            ({"Content-Length": ("5", "6")}, 400),
            ({"Content-Length": ("x",)}, 400),
            ({"Transfer-Encoding": ("gzip, chunked",)}, 501),
            ({"Transfer-Encoding": ("identity",)}, 501),
            ({"Transfer-Encoding": ("",)}, 501),
            ({"Transfer-Encoding": ("chunked", "chunked")}, 501),
            ({"a b": ("c",)}, 400),
            ({"a": ("b\r\n c",)}, 400),
        ):
            error = self.assertRaises(RequestRefused, self.read, {**HOST, **headers})
            self.assertEqual(error.status, status, headers)

    def test_fields(self) -> None:
        """What has too many cookies, or fields of its query, is refused before a cell hears of it."""
        for headers, target in (({"cookie": ("a=b;" * 16_000,)}, b"/"), ({}, b"/?" + b"&" * 1_000)):
            error = self.assertRaises(RequestRefused, self.read, {**HOST, **headers}, target=target)
            self.assertEqual(error.status, 400)

    def test_method(self) -> None:
        """What is no method, or none for a gateway, is refused."""
        for method, status in (("", 400), ("G ET", 400), ("A" * 41, 400), ("CONNECT", 501), ("TRACE", 501)):
            self.assertEqual(self.assertRaises(RequestRefused, self.read, method=method).status, status)
        self.assertEqual(self.read(method="BREW").method, "BREW")

    def test_upgrade(self) -> None:
        """A wish for another protocol goes on to the cell, unlike what else is of the connection."""
        head = self.read({**HOST, "Connection": ("keep-alive, Upgrade",), "Upgrade": ("WebSocket",)})
        self.assertEqual(
            (head.upgrade, head.headers["upgrade"], head.headers["connection"]),
            ("websocket", ("websocket",), ("upgrade",)),
        )
        for headers, version in (
            ({"Upgrade": ("websocket",)}, (1, 1)),
            ({"Connection": ("upgrade",), "Upgrade": ("websocket",)}, (1, 0)),
            ({"Connection": ("upgrade",), "Upgrade": ("h2c, HTTP/2.0, TLS/1.2",)}, (1, 1)),
        ):
            head = self.read({**HOST, **headers}, arrival=HERE._replace(version=version))
            self.assertEqual((head.upgrade, "upgrade" in head.headers), ("", False))

    def test_via(self) -> None:
        """Cells learn through whom a request has come."""
        self.assertEqual(self.read(HOST).headers["via"], ("1.1 hypermail",))
        head = self.read({**HOST, "Via": ("1.0 other",)}, arrival=HERE._replace(version=(2, 0)))
        self.assertEqual(head.headers["via"], ("1.0 other", "2 hypermail"))
