"""
Tests for L{hypermail.hive.redirect}.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.redirect import LARGEST, Redirects
from hypermail.test.calls import RecordedCall
from hypermail.test.privileges import obeying
from hypermail.test.sessions import logged

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"
CHALLENGES = "/.well-known/acme-challenge/"


def answered(
    target: str = "/",
    host: str | None = "example.org",
    method: str = "GET",
    version: tuple[int, int] = (1, 1),
    port: int = 443,
    webroot: str | None = None,
) -> RecordedCall:
    """A call that was."""
    headers = {} if host is None else {"Host": (host,)}
    call = RecordedCall(method, target.encode(), headers, version=version, scheme="http")
    return call.serve(Redirects(Clock(), port, webroot))


class RedirectTests(SynchronousTestCase):
    """Where one is sent."""

    def location(self, target: str, host: str = "example.org", port: int = 443) -> str:
        """For GET."""
        call = answered(target, host, port=port)
        self.assertEqual((call.status, call.body_written, call.length, call.ended), (301, b"", 0, True))
        self.assertEqual(list(call.sent_headers), ["location"])
        [location] = call.sent_headers["location"]
        return location

    def test_location(self) -> None:
        """The same host, without its port, and the same target."""
        for target, host, location in (
            ("/", "example.org", "https://example.org/"),
            ("/a/b?c=d&e=f?g", "Example.ORG:8080", "https://example.org/a/b?c=d&e=f?g"),
            ("/%2Fa%20?%20", "example.org.", "https://example.org/%2Fa%20?%20"),
            ("//other.example/", "example.org", "https://example.org//other.example/"),
            ("/a", "192.0.2.1:80", "https://192.0.2.1/a"),
            ("/a", "[2001:DB8::1]:80", "https://[2001:db8::1]/a"),
            ("http://other.example:81/a?b", "example.org", "https://other.example/a?b"),
            ('/"<>?"<>', "example.org", "https://example.org/%22%3C%3E?%22%3C%3E"),
        ):
            self.assertEqual(self.location(target, host), location)

    def test_port(self) -> None:
        """Another port than HTTPS's own is named."""
        self.assertEqual(self.location("/a", port=8443), "https://example.org:8443/a")
        self.assertEqual(self.location("/a", "[::1]", port=8443), "https://[::1]:8443/a")

    @given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
    def test_targets(self, rest: str) -> None:
        """Whatever is asked for, nobody is sent to another host, or gets a header that is none."""
        call = answered("/" + rest)
        if call.status == 301:
            [location] = call.sent_headers["location"]
            self.assertTrue(location.startswith("https://example.org/"))
            self.assertRegex(location, r"\A[!$%&'()*+,/:;=?@~A-Za-z0-9._-]*\Z")
        else:
            self.assertEqual(call.status, 400)

    def test_methods(self) -> None:
        """A method stays what it is (RFC 9110 §15.4)."""
        for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308), ("OPTIONS", 308), ("PROPFIND", 308)):
            call = answered("/a", method=method)
            self.assertEqual((call.status, call.sent_headers), (status, {"location": ("https://example.org/a",)}))

    def test_refused(self) -> None:
        """Without a host there is nowhere to go; others are refused as they are with TLS."""
        for host in ("", None, "a b", "exa/mple", "user@example.org", ".", "a:b", "[::1"):
            self.assertEqual(answered(host=host).status, 400, host)
        self.assertEqual(answered(host=None, version=(1, 0)).status, 400)
        self.assertEqual(answered("/../a").status, 400)
        self.assertEqual(answered("*", method="OPTIONS").status, 400)
        self.assertEqual(answered(method="TRACE").status, 501)
        self.assertIn(b"There has to be one Host.", answered(host=None).body_written)

    def test_no_webroot(self) -> None:
        """Without a directory challenges are redirected like everything else."""
        self.assertEqual(self.location(CHALLENGES + "a"), f"https://example.org{CHALLENGES}a")


class ChallengeTests(SynchronousTestCase):
    """Answers to ACME's challenges."""

    def setUp(self) -> None:
        self.webroot = Path(self.mktemp()).resolve()
        self.place = self.webroot / ".well-known" / "acme-challenge"
        self.place.mkdir(parents=True)
        (self.webroot / "secret").write_bytes(b"secret")
        self.before = len(os.listdir("/dev/fd"))

    def tearDown(self) -> None:
        """No descriptor is left open."""
        self.assertLessEqual(len(os.listdir("/dev/fd")), self.before)

    def ask(self, token: str = TOKEN, method: str = "GET") -> RecordedCall:
        """For a token."""
        return answered(CHALLENGES + token, method=method, webroot=str(self.webroot))

    def test_served(self) -> None:
        """A file that has a token's name is served as it is, whatever the host and the query are."""
        (self.place / TOKEN).write_bytes(b"a\0\xff")
        call = self.ask()
        self.assertEqual((call.status, call.body_written, call.ended), (200, b"a\0\xff", True))
        self.assertEqual(
            call.sent_headers,
            {
                "content-type": ("application/octet-stream",),
                "x-content-type-options": ("nosniff",),
                "cache-control": ("no-store",),
            },
        )
        self.assertEqual(self.ask(TOKEN + "?a").body_written, b"a\0\xff")
        call = self.ask(method="HEAD")
        self.assertEqual((call.status, call.length, call.body_written), (200, 3, b""))

    def test_methods(self) -> None:
        """They are for reading."""
        (self.place / TOKEN).write_bytes(b"a")
        call = self.ask(method="POST")
        self.assertEqual((call.status, call.sent_headers["allow"]), (405, ("GET, HEAD",)))

    def test_tokens(self) -> None:
        """Nothing but a token of base64url is looked for, and nothing is redirected."""
        for name in ("a.b", "a b", "a=", "a" * 129):
            (self.place / name).write_bytes(b"secret")
        (self.place / "sub").mkdir()
        (self.place / "sub" / "a").write_bytes(b"secret")
        for token in ("", "none", "a.b", "a%20b", "a=", "a" * 129, "sub", "sub/a", "%61", "a%00"):
            self.assertEqual(self.ask(token).status, 404, token)
        for token in ("..", "../../secret", "..%2f..%2fsecret", "..\\..\\secret"):
            self.assertEqual(self.ask(token).status, 400, token)
        (self.place / ("a" * 128)).write_bytes(b"a")
        self.assertEqual(self.ask("a" * 128).status, 200)

    def test_links(self) -> None:
        """No link leads anywhere, be it the file or a directory above it; the directory itself may be one."""
        (self.place / "link").symlink_to(self.webroot / "secret")
        lines = logged(self)
        self.assertEqual(self.ask("link").status, 404)
        self.assertIn("answers to ACME's challenges below", lines[0])
        for moved in (self.place, self.place.parent):
            (self.place / TOKEN).write_bytes(b"a")
            away = self.webroot / "away"
            moved.rename(away)
            moved.symlink_to(away)
            self.assertEqual(self.ask().status, 404)
            moved.unlink()
            away.rename(moved)
        link = self.webroot.with_name("link")
        link.symlink_to(self.webroot)
        self.webroot = link
        self.assertEqual(self.ask().body_written, b"a")

    def test_kinds(self) -> None:
        """Regular files only; one that nobody writes to does not hold up the queen."""
        os.mkfifo(self.place / "fifo")
        self.assertEqual(self.ask("fifo").status, 404)

    def test_size(self) -> None:
        """There is a limit."""
        (self.place / TOKEN).write_bytes(b"a" * LARGEST)
        self.assertEqual(self.ask().length, 65_536)
        (self.place / TOKEN).write_bytes(b"a" * (LARGEST + 1))
        self.assertEqual(self.ask().status, 404)

    def test_missing(self) -> None:
        """A directory that is not there is no matter; one that may not be read is said so, not too often."""
        lines = logged(self)
        redirects = Redirects(clock := Clock(), 443, str(self.webroot))
        self.place.rmdir()
        target = (CHALLENGES + TOKEN).encode()
        self.assertEqual(RecordedCall(target=target).serve(redirects).status, 404)
        self.assertEqual(lines, [])
        obeying(self)
        self.place.parent.chmod(0)
        for _ in range(3):
            self.assertEqual(RecordedCall(target=target).serve(redirects).status, 404)
        clock.advance(10)
        RecordedCall(target=target).serve(redirects)
        self.place.parent.chmod(0o700)
        self.assertEqual(len(lines), 2)
        self.assertIn(f"{str(self.webroot)!r} cannot be read: Permission denied", lines[0])

    def test_others(self) -> None:
        """Everything else is redirected."""
        for target in ("/", "/.well-known/acme-challenge", "/.well-known/acme-challeng/a", "/secret"):
            self.assertEqual(answered(target, webroot=str(self.webroot)).status, 301)
