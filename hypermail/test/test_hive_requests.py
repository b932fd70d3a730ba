"""
Tests for L{hypermail.hive.targets} and L{hypermail.hive.forwarded}.
"""

from __future__ import annotations

from ipaddress import ip_network
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.errors import RequestRefused
from hypermail.hive.fields import Lists
from hypermail.hive.forwarded import Client, client_of, passed_on
from hypermail.hive.targets import MOST_FIELDS, RequestTarget, check_fields, cookies_of, fields_of, parse_target


class TargetTests(SynchronousTestCase):
    """What stands between method and version."""

    def test_path(self) -> None:
        """A path, perhaps with a query; what finds a mount is decoded, but for slashes that are none."""
        for raw, path, query in (
            (b"/", "/", ""),
            (b"/a/b?c=d?e", "/a/b", "c=d?e"),
            (b"/%61%C3%A9", "/aé", ""),
            (b"/a%2Fb%2fc", "/a%2Fb%2Fc", ""),
            (b"/%ff", "/\ufffd", ""),
            (b"//a//b", "//a//b", ""),
            (b"/.well-known/...", "/.well-known/...", ""),
            (b'/a|b^"<>`{}', '/a|b^"<>`{}', ""),
            (b"/%252e%252e/", "/%2e%2e/", ""),
        ):
            found = parse_target(raw)
            self.assertEqual((found.authority, found.path, found.query, str(found)), ("", path, query, raw.decode()))

    def test_absolute(self) -> None:
        """A whole URL, whose host counts."""
        for raw, target in (
            (b"http://example.org/a?b", RequestTarget("example.org", "/a", "b")),
            (b"HTTPS://example.org:8443", RequestTarget("example.org:8443", "/", "")),
            (b"https://example.org?b", RequestTarget("example.org", "/", "b")),
        ):
            self.assertEqual(parse_target(raw), target)

    def test_refused(self) -> None:
        """What others might read differently is refused with 400."""
        for raw in (
            b"",
            b"*",
            b"a/b",
            b"example.org:443",
            b"ftp://example.org/",
            b"http:///a",
            b"http://user@example.org/",
            b"/a b",
            b"/a\tb",
            b"/a#b",
            b"/a?b#c",
            b"/a?b c",
            b"/\xc3\xa9",
            b"/%",
            b"/%0",
            b"/%gg",
            b"/a\x00",
            b"/a\r\nb: c",
            b"/.",
            b"/..",
            b"/a/./b",
            b"/a/../b",
            b"/a/%2e%2E/b",
            b"/a/.%2e",
            b"/a%2F..%2Fb",
            b"/a/..\\b",
            b"/a%5c..%5cb",
        ):
            self.assertEqual(self.assertRaises(RequestRefused, parse_target, raw).status, 400, raw)

    def test_below(self) -> None:
        """What the cell sees: the mount is its root, as it was written."""
        for raw, mount, seen in (
            (b"/a/b?c", "/", "/a/b?c"),
            (b"/app/", "/app/", "/"),
            (b"/app/x%2Fy/z", "/app/", "/x%2Fy/z"),
            (b"/%61pp/b/x", "/app/b/", "/x"),
            (b"/app//x", "/app/", "//x"),
            (b"/app?c", "/app", "/?c"),
        ):
            self.assertEqual(str(parse_target(raw).below(mount)), seen)

    @given(st.lists(st.sampled_from(["a", "%61", "%2F", "%2e", ".", "/", "\\", "%5C", "?", "é", " "]), max_size=12))
    def test_no_way_up(self, parts: list[str]) -> None:
        """However often what passes is decoded by whoever takes backslashes for slashes, nothing leads upwards."""
        try:
            found = parse_target(("/" + "".join(parts)).encode())
        except RequestRefused:
            return
        self.assertNotIn("..", unquote(found.raw).replace("\\", "/").split("/"))
        self.assertTrue(found.path.startswith("/"))


class FieldsTests(SynchronousTestCase):
    """Queries and cookies."""

    def test_query(self) -> None:
        """Decoded, several by one name, blank ones too."""
        self.assertEqual(
            fields_of("a=1&b=%C3%A9+x&a=2&c&d=&%FF=1"),
            {"a": ("1", "2"), "b": ("é x",), "c": ("",), "d": ("",), "\ufffd": ("1",)},
        )
        self.assertEqual(fields_of(""), {})

    def test_cookies(self) -> None:
        """By name; what has none is passed over."""
        self.assertEqual(cookies_of(("a=b; c=d=e;f; =g", "a=h;")), {"a": ("b", "h"), "c": ("d=e",)})

    def test_many(self) -> None:
        """There is a limit."""
        check_fields("&".join("a" * MOST_FIELDS), ("a=b; " * (MOST_FIELDS - 1), "a=b;"))
        for query, cookies in (
            ("&".join("a" * (MOST_FIELDS + 1)), ()),
            ("", ("a=b;" * (MOST_FIELDS + 1),)),
            ("", ("a=b",) * (MOST_FIELDS + 1)),
        ):
            self.assertEqual(self.assertRaises(RequestRefused, check_fields, query, cookies).status, 400)


class ForwardedTests(SynchronousTestCase):
    """For whom a proxy asks."""

    trusted = (ip_network("10.0.0.0/8"), ip_network("::1"))

    def client(self, headers: Lists, peer: str) -> Client:
        """Who asks, on a connection of this peer's."""
        return client_of(headers, peer, "https", "example.org", self.trusted)

    def test_strangers(self) -> None:
        """What anybody says of himself counts for nothing."""
        headers = {"x-forwarded-for": ("1.2.3.4",), "x-forwarded-proto": ("http",), "x-forwarded-host": ("evil",)}
        client = self.client(headers, "192.0.2.1")
        self.assertEqual(client, Client("192.0.2.1", "https", "example.org"))
        self.assertEqual(
            passed_on({**headers, "forwarded": ("for=evil",), "a": ("b",)}, "192.0.2.1", client, self.trusted),
            {
                "a": ("b",),
                "x-forwarded-for": ("192.0.2.1",),
                "x-forwarded-proto": ("https",),
                "x-forwarded-host": ("example.org",),
                "forwarded": ('for=192.0.2.1;proto=https;host="example.org"',),
            },
        )

    def test_trusted(self) -> None:
        """A proxy's word counts: the last address that is no proxy of ours is the client."""
        headers = {
            "x-forwarded-for": ("6.6.6.6, 1.2.3.4", "10.1.1.1"),
            "x-forwarded-proto": ("http",),
            "x-forwarded-host": ("a.org:1",),
        }
        client = self.client(headers, "10.0.0.1")
        self.assertEqual(client, Client("1.2.3.4", "http", "a.org:1"))
        told = passed_on(headers, "10.0.0.1", client, self.trusted)
        self.assertEqual(told["x-forwarded-for"], ("6.6.6.6, 1.2.3.4, 10.1.1.1, 10.0.0.1",))
        self.assertEqual(told["forwarded"], ('for=1.2.3.4;proto=http;host="a.org:1"',))

    def test_partly(self) -> None:
        """What a proxy does not say stays, and what is no address ends the search."""
        self.assertEqual(self.client({}, "10.0.0.1"), Client("10.0.0.1", "https", "example.org"))
        for said, found in (
            ("10.2.2.2", "10.2.2.2"),
            ("1.2.3.4, unknown, 10.2.2.2", "10.2.2.2"),
            ("evil", "::1"),
            ("::ffff:10.3.3.3", "::ffff:10.3.3.3"),
            ("2001:db8::1", "2001:db8::1"),
            (", ".join(["9.9.9.9"] + ["10.1.1.1"] * 40), "10.1.1.1"),
        ):
            self.assertEqual(
                self.client({"x-forwarded-for": (said,), "x-forwarded-proto": ("gopher",)}, "::1").address, found
            )
            self.assertEqual(self.client({"x-forwarded-proto": ("gopher",)}, "::1").scheme, "https")

    def test_mapped(self) -> None:
        """An IPv4 address is the same one where a socket of IPv6 shows it."""
        self.assertEqual(self.client({"x-forwarded-for": ("1.2.3.4",)}, "::ffff:10.0.0.1").address, "1.2.3.4")
        self.assertEqual(self.client({"x-forwarded-for": ("1.2.3.4",)}, "::ffff:11.0.0.1").address, "::ffff:11.0.0.1")

    def test_quoted(self) -> None:
        """IPv6 has brackets, and no host leaves its quotes (RFC 7239 §4, §6)."""
        client = Client("2001:db8::1", "https", 'a";for=b\\')
        told = passed_on({}, "2001:db8::1", client, ())
        self.assertEqual(told["forwarded"], ('for="[2001:db8::1]";proto=https;host="a\\";for=b\\\\"',))
