"""
Tests for L{hypermail.hive.cell.files}.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypermail.errors import UsageError
from hypermail.hive.cell.files import FilesApplication
from hypermail.test.cells import Asked, SocketCase


class FilesTests(SocketCase):
    """A directory that a cell serves."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.build()

    def build(self) -> None:
        """Make the directory."""
        top = Path(self.mktemp())
        self.top = top / "served"
        (self.top / "sub" / "deep").mkdir(parents=True)
        (self.top / "empty").mkdir()
        (self.top / ".git").mkdir()
        for name, content in (
            ("index.html", "<p>hello"),
            ("a b.txt", "0123456789"),
            ("sub/x.bin", "x"),
            (".secret", "no"),
            (".git/config", "no"),
            ("../outside.txt", "no"),
        ):
            (self.top / name).write_text(content)
        (self.top / "out").symlink_to(Path.cwd() / top / "outside.txt")
        (self.top / "up").symlink_to("..")
        (self.top / "within").symlink_to("a b.txt")
        (self.top / "nowhere").symlink_to("none")
        os.mkfifo(self.top / "pipe")
        os.utime(self.top / "a b.txt", (1_700_000_000, 1_700_000_000))

    async def get(self, target: str, **headers: str) -> Asked:
        """Ask for a file."""
        return await self.ask("GET", target, {name.replace("_", "-"): value for name, value in headers.items()})

    async def test_files(self) -> None:
        """Files with their types, C{index.html} of directories, which have a slash at their end."""
        await self.cell(FilesApplication(str(self.top)), "@/files/")
        for target, content, kind in (
            ("/", "<p>hello", "text/html"),
            ("/a%20b.txt", "0123456789", "text/plain"),
            ("/within", "0123456789", "text/html"),
            ("/sub/x.bin", "x", "application/octet-stream"),
        ):
            asked = await self.get(target)
            self.assertEqual((asked.status, asked.received), (200, content.encode()))
            self.assertEqual((asked.header("content-type"), asked.header("content-length")), (kind, str(len(content))))
        asked = await self.get("/sub")
        self.assertEqual((asked.status, asked.header("location")), (302, "/files/sub/"))
        asked = await self.ask("HEAD", "/a%20b.txt")
        self.assertEqual((asked.status, asked.header("content-length"), asked.received), (200, "10", b""))
        self.assertEqual((await self.ask("POST", "/a%20b.txt")).status, 405)

    async def test_notThere(self) -> None:
        """What must not be seen is not there: dots, links that lead out, listings, what is no file."""
        await self.cell(FilesApplication(str(self.top)))
        for target in (
            "/none",
            "/.secret",
            "/.git/config",
            "/out",
            "/up/outside.txt",
            "/up/served/index.html",
            "/sub/",
            "/empty/",
            "/pipe",
            "/nowhere",
            "/%2e%2e/outside.txt",
            "/..%2foutside.txt",
            "/sub/..%2f..%2f..%2foutside.txt",
            "/index.html/x",
            "/%00",
        ):
            asked = await self.get(target)
            self.assertEqual((target, asked.status, b"no" == asked.received), (target, 404, False))

    async def test_listing(self) -> None:
        """Listings, if they are wanted, of what may be seen."""
        await self.cell(FilesApplication(str(self.top), listing=True))
        (self.top / "index.html").unlink()
        asked = await self.get("/")
        for name in (b"a%20b.txt", b"sub/", b"within"):
            self.assertIn(b'href="' + name, asked.received)
        for name in (b"secret", b"git", b'"out"', b'"up', b"pipe", b"nowhere"):
            self.assertNotIn(name, asked.received)

    async def test_ranges(self) -> None:
        """Parts of a file."""
        await self.cell(FilesApplication(str(self.top)))
        asked = await self.get("/a%20b.txt", range="bytes=2-4")
        self.assertEqual((asked.status, asked.received, asked.header("content-range")), (206, b"234", "bytes 2-4/10"))
        self.assertEqual((await self.get("/a%20b.txt", range="bytes=20-")).status, 416)
        tag, modified = asked.header("etag"), asked.header("last-modified")
        for unchanged, status in (
            (tag, 206),
            (modified, 206),
            ('"other"', 200),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ):
            asked = await self.get("/a%20b.txt", range="bytes=2-4", if_range=unchanged)
            self.assertEqual(asked.status, status)

    async def test_conditions(self) -> None:
        """A client that has it already is not sent it again."""
        await self.cell(FilesApplication(str(self.top)))
        asked = await self.get("/a%20b.txt")
        tag, modified = asked.header("etag"), asked.header("last-modified")
        self.assertEqual(modified, "Tue, 14 Nov 2023 22:13:20 GMT")
        for headers, status in (
            ({"if_none_match": tag}, 304),
            ({"if_none_match": f'"other", W/{tag}'}, 304),
            ({"if_none_match": "*"}, 304),
            ({"if_none_match": '"other"'}, 200),
            ({"if_none_match": '"other"', "if_modified_since": modified}, 200),
            ({"if_modified_since": modified}, 304),
            ({"if_modified_since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ):
            asked = await self.get("/a%20b.txt", **headers)
            self.assertEqual((headers, asked.status), (headers, status))
            self.assertEqual(asked.received, b"" if status == 304 else b"0123456789")

    async def test_large(self) -> None:
        """A large file comes whole."""
        data = os.urandom(1 << 20) * 8
        (self.top / "large").write_bytes(data)
        await self.cell(FilesApplication(str(self.top)))
        self.assertEqual((await self.get("/large")).received, data)

    def test_noDirectory(self) -> None:
        """What is no directory cannot be served."""
        for name in ("none", str(self.top / "index.html")):
            self.assertRaises(UsageError, FilesApplication, name)
