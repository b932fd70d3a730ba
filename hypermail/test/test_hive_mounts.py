"""
Tests for L{hypermail.hive.mounts} and L{hypermail.hive.aliases}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.hive.aliases import DEFAULT, FALLBACK, Aliases, bare
from hypermail.hive.mounts import LONGEST_HOST, LONGEST_PATH, Mounts, Pattern, parse_mount, parse_pattern


class PatternTests(SynchronousTestCase):
    """What may be mounted."""

    def test_read(self) -> None:
        """A host, then a path; hosts are of one case, and no path is the root."""
        for text, host, path in (
            ("@/", "@", "/"),
            ("@", "@", "/"),
            ("Example.ORG/App/", "example.org", "/App/"),
            ("example.org./x", "example.org", "/x"),
            ("*.example.org/", "*.example.org", "/"),
            ("[::1]/", "::1", "/"),
            ("127.0.0.1/.well-known/x", "127.0.0.1", "/.well-known/x"),
        ):
            self.assertEqual(parse_mount(text), Pattern(host, path))
        self.assertEqual(str(parse_mount("a/b/")), "a/b/")

    def test_refused(self) -> None:
        """What no request could match, or two would read differently, is refused and named."""
        for host in (
            "",
            " ",
            "a b",
            "a/b",
            "*",
            "a.*.b",
            "**.a",
            "a..b",
            "é",
            "a" * (LONGEST_HOST + 1),
            "a\n",
            "(fallback)",
        ):
            self.assertIn("is no host to mount on", self.assertRaises(UsageError, parse_pattern, host, "/").text)
        for path in (
            "x",
            "/a b",
            "/a?b",
            "/a#b",
            "/../x",
            "/a/..",
            "/./",
            "//",
            "/a//b",
            "/\x00",
            "/a\\b",
            "/" * 2_000,
        ):
            self.assertIn("is no path to mount on", self.assertRaises(UsageError, parse_pattern, "@", path).text)
        parse_pattern("a" * LONGEST_HOST, "/" + "a" * (LONGEST_PATH - 1))

    def test_strip(self) -> None:
        """The mount is the cell's root."""
        for path, asked, seen in (
            ("/", "/", "/"),
            ("/", "/a/b", "/a/b"),
            ("/app/", "/app/", "/"),
            ("/app/", "/app/x/y", "/x/y"),
            ("/app", "/app", "/"),
        ):
            self.assertEqual(Pattern("@", path).strip(asked), seen)


class MountsTests(SynchronousTestCase):
    """Who gets a request."""

    def setUp(self) -> None:
        self.mounts: Mounts[str] = Mounts()

    def add(self, *texts: str) -> None:
        """Mount them, each by a cell of the same name."""
        for text in texts:
            self.assertTrue(self.mounts.add(parse_mount(text), text))

    def found(self, host: str, path: str) -> str | None:
        """What one is mounted where a request goes."""
        match = self.mounts.find(host, path)
        return None if match is None else str(match.pattern)

    def test_exact(self) -> None:
        """A path that matches exactly comes first; one without a slash at its end matches nothing else."""
        self.add("@/", "@/app", "@/app/", "@/app/x")
        for path, where in (
            ("/app", "@/app"),
            ("/app/", "@/app/"),
            ("/app/x", "@/app/x"),
            ("/app/x/", "@/app/"),
            ("/app/xy", "@/app/"),
            ("/apple", "@/"),
            ("/", "@/"),
        ):
            self.assertEqual(self.found("@", path), where)

    def test_longest(self) -> None:
        """Else it is the longest that ends with a slash."""
        self.add("@/a/", "@/a/b/c/")
        for path, where in (
            ("/a/b/c/d/e", "@/a/b/c/"),
            ("/a/b/cd", "@/a/"),
            ("/a", None),
            ("/b/a/", None),
            ("/", None),
        ):
            self.assertEqual(self.found("@", path), where)

    def test_hosts(self) -> None:
        """A host has its own; a star stands for one label or more, and gives way to what is longer."""
        self.add("example.org/", "*.example.org/", "*.b.example.org/", "*.org/only/")
        for host, path, where in (
            ("example.org", "/x", "example.org/"),
            ("a.example.org", "/x", "*.example.org/"),
            ("a.a.example.org", "/x", "*.example.org/"),
            ("a.b.example.org", "/x", "*.b.example.org/"),
            ("b.example.org", "/x", "*.example.org/"),
            ("another.org", "/only/x", "*.org/only/"),
            ("another.org", "/x", None),
            ("org", "/only/x", None),
            ("@", "/x", None),
            ("", "/x", None),
            ("example.org/", "/x", None),
        ):
            self.assertEqual(self.found(host, path), where, host)

    def test_several(self) -> None:
        """Several cells on one mount, each once; what is removed is gone."""
        pattern = parse_mount("@/")
        self.assertTrue(self.mounts.add(pattern, "a"))
        self.assertTrue(self.mounts.add(pattern, "b"))
        self.assertFalse(self.mounts.add(pattern, "a"))
        self.assertEqual(list(self.mounts), [(pattern, ("a", "b"))])
        self.assertTrue(self.mounts.remove(pattern, "a"))
        self.assertFalse(self.mounts.remove(pattern, "a"))
        match = self.mounts.find("@", "/x")
        assert match is not None
        self.assertEqual((match.cells, len(self.mounts)), (("b",), 1))
        self.assertTrue(self.mounts.remove(pattern, "b"))
        self.assertEqual((list(self.mounts), len(self.mounts), self.mounts.find("@", "/")), ([], 0, None))
        self.assertEqual(vars(self.mounts), vars(Mounts()), "nothing is kept")
        self.assertFalse(self.mounts.remove(parse_mount("other/"), "b"))

    def test_long(self) -> None:
        """A host or path of any length costs no more than the longest that can be mounted."""
        self.add("@/")
        self.assertEqual(self.found("@", "/" * 1_000_000), "@/")
        self.assertIsNone(self.found("a." * 1_000_000, "/"))

    @given(st.data())
    def test_model(self, data: st.DataObject) -> None:
        """It finds what looking at all of them would."""
        names, parts = ["a", "b.a", "c.b.a", "*.a", "*.b.a"], st.lists(st.sampled_from("xy"), max_size=3)
        path = parts.flatmap(
            lambda found: st.sampled_from(("", "/")).map(lambda end: "/" + "/".join(found) + end * bool(found))
        )
        patterns = data.draw(st.sets(st.builds(Pattern, st.sampled_from(names), path), max_size=8))
        mounts: Mounts[int] = Mounts()
        for pattern in patterns:
            mounts.add(pattern, 0)
        host, asked = data.draw(st.sampled_from(names[:3])), data.draw(path)

        def matches(pattern: Pattern) -> bool:
            below = pattern.path.endswith("/") and asked.startswith(pattern.path)
            named = pattern.host == host or (pattern.host[0] == "*" and host.endswith(pattern.host[1:]))
            return named and (pattern.path == asked or below)

        expected = max(
            filter(matches, patterns),
            key=lambda pattern: (pattern.host == host, len(pattern.host), pattern.path == asked, len(pattern.path)),
            default=None,
        )
        match = mounts.find(host, asked)
        self.assertEqual(None if match is None else match.pattern, expected)


class AliasesTests(SynchronousTestCase):
    """Which host is meant."""

    def test_bare(self) -> None:
        """Ports, brackets, case and the last dot say nothing."""
        for authority, host in (
            ("Example.org", "example.org"),
            ("example.org:8443", "example.org"),
            ("example.org.:1", "example.org"),
            ("[::1]:443", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("", ""),
            (":443", ""),
        ):
            self.assertEqual(bare(authority), host)

    def test_default(self) -> None:
        """This machine's names mean C{@}; others mean themselves."""
        aliases = Aliases()
        for authority in ("localhost", "LOCALHOST:443", "127.0.0.1:1", "[::1]:443", "[::ffff:127.0.0.1]"):
            self.assertEqual(aliases.resolve(authority), "@")
        self.assertEqual(aliases.resolve("example.org:443"), "example.org")

    def test_fallback(self) -> None:
        """One for all that have none."""
        aliases = Aliases({**DEFAULT, "www.example.org": "example.org", FALLBACK: "elsewhere"})
        for authority, host in (
            ("www.example.org", "example.org"),
            ("localhost", "@"),
            ("x", "elsewhere"),
            ("", "elsewhere"),
        ):
            self.assertEqual(aliases.resolve(authority), host)
