"""
Tests for L{hypermail.services.paths}.
"""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.services.paths import MAX_COMPONENT, MAX_PATH, UnsafeName, numbered, printable, safe_parts


class SafePartsTests(SynchronousTestCase):
    """Which names may become files."""

    def test_harmless(self) -> None:
        """Ordinary relative paths come back as their components."""
        for path, parts in (
            (b"a", ("a",)),
            (b"dir/sub/file.tar.gz", ("dir", "sub", "file.tar.gz")),
            ("grüße/日本.txt".encode(), ("grüße", "日本.txt")),
            (b".hidden", (".hidden",)),
            (b"...", ("...",)),
            (b" -rf ", (" -rf ",)),
            (b"x" * MAX_COMPONENT, ("x" * MAX_COMPONENT,)),
        ):
            self.assertEqual(safe_parts(path), parts)

    def test_refused(self) -> None:
        """What could leave the directory, fool a terminal or not be stored is refused, with the reason."""
        for path, reason in (
            (b"", "empty"),
            (b"/etc/passwd", "absolute"),
            (b"..", "component '..'"),
            (b"a/../../b", "component '..'"),
            (b"a/./b", "component '.'"),
            (b"a//b", "component ''"),
            (b"a/", "component ''"),
            (b"a\0b", "control characters"),
            (b"a\nb", "control characters"),
            (b"a\x1b[2J", "control characters"),
            ("a\u2028b".encode(), "control characters"),
            ("a\x85b".encode(), "control characters"),
            (b"..\\..\\b", "backslash"),
            (b"\xff\xfe", "not UTF-8"),
            (b"\xed\xa0\x80", "not UTF-8"),
            (b"x" * (MAX_COMPONENT + 1), "longer than 255 bytes"),
            (b"x/" * 460, "900 are the most"),
        ):
            error = self.assertRaises(UnsafeName, safe_parts, path)
            self.assertIn(reason, error.text)
            self.assertTrue(error.text.isprintable(), error.text)

    @given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_anything(self, path: bytes) -> None:
        """Whatever is let through is relative, stays below its directory and can be shown."""
        try:
            parts = safe_parts(path)
        except UnsafeName:
            return
        self.assertEqual("/".join(parts).encode(), path)
        self.assertLessEqual(len(path), MAX_PATH)
        for part in parts:
            self.assertNotIn(part, ("", ".", ".."))
            self.assertFalse(any(unicodedata.category(character) == "Cc" for character in part))


class NumberedTests(SynchronousTestCase):
    """How a name that is taken is numbered."""

    def test_names(self) -> None:
        """The number goes before the extension; a leading dot begins none."""
        self.assertEqual(numbered("a.txt", 1), "a.txt")
        self.assertEqual(numbered("a.txt", 2), "a (2).txt")
        self.assertEqual(numbered("a.tar.gz", 13), "a.tar (13).gz")
        self.assertEqual(numbered("a", 3), "a (3)")
        self.assertEqual(numbered(".bashrc", 2), ".bashrc (2)")
        self.assertEqual(numbered("a.txt", 2, ".part"), "a (2).txt.part")

    def test_tooLong(self) -> None:
        """A long name loses characters, never half of one, and keeps its extension."""
        name = numbered("ä" * 125 + ".txt", 12, ".part")
        self.assertTrue(name.endswith("ä (12).txt.part"))
        self.assertLessEqual(len(name.encode()), MAX_COMPONENT)

    @given(st.text(min_size=1, max_size=255), st.integers(1, 10**6), st.sampled_from(("", ".part")))
    def test_fits(self, name: str, number: int, suffix: str) -> None:
        """What comes out always fits a directory entry."""
        try:
            parts = safe_parts(name.encode("utf-8", "surrogatepass"))
        except UnsafeName:
            return
        fitted = numbered(parts[-1], number, suffix)
        self.assertLessEqual(len(fitted.encode()), MAX_COMPONENT)
        self.assertTrue(fitted.endswith(suffix))


class PrintableTests(SynchronousTestCase):
    """Somebody else's text in our log."""

    def test_escapes(self) -> None:
        """Line breaks and escape sequences become visible; letters stay."""
        self.assertEqual(printable("grün\r\n\x1b[31m\u202e"), "grün\\r\\n\\x1b[31m\\u202e")
