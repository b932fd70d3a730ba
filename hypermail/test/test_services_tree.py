"""
Tests for L{hypermail.services.tree}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.services.tree import find


class FindTests(SynchronousTestCase):
    """What a command line names."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp()).absolute()
        self.top.mkdir()

    def write(self, name: str, content: bytes = b"") -> str:
        """Make a file; its path."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def names(self, *arguments: str) -> list[str]:
        """The names that are sent for arguments that bring no problems."""
        found = find(arguments, recursive=True)
        self.assertEqual(found.problems, [])
        return [item.name.decode() for item in found.items]

    def test_files(self) -> None:
        """A file is sent under its own name, wherever it is; its size is known."""
        first, second = self.write("a/x.txt", b"123"), self.write("y")
        found = find([first, second], recursive=False)
        self.assertEqual([tuple(item) for item in found.items], [(first, b"x.txt", 3), (second, b"y", 0)])
        self.assertEqual(found.problems, [])

    def test_directory(self) -> None:
        """A directory's files are sent under its name, in order; empty directories are not."""
        for name in ("d/b/2", "d/b/10", "d/a", "d/.hidden"):
            self.write(name)
        (self.top / "d" / "empty").mkdir()
        expected = ["d/.hidden", "d/a", "d/b/10", "d/b/2"]
        self.assertEqual(self.names(str(self.top / "d")), expected)
        self.assertEqual(self.names(str(self.top / "d") + "/"), expected)
        self.assertEqual(self.names(str(self.top / "d" / "b" / "..")), expected)

    def test_workingDirectory(self) -> None:
        """C{.} has the name of what it is."""
        self.write("d/a")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.top / "d")
        self.assertEqual(self.names("."), ["d/a"])

    def test_notRecursive(self) -> None:
        """A directory without --recursive is wrong usage."""
        error = self.assertRaises(UsageError, find, [str(self.top)], recursive=False)
        self.assertIn("--recursive", error.text)

    def test_links(self) -> None:
        """Links to files are sent as files, links to directories are not followed, dead ones are told."""
        self.write("d/real/a", b"1")
        (self.top / "d" / "file").symlink_to("real/a")
        (self.top / "d" / "loop").symlink_to(".")
        (self.top / "d" / "dead").symlink_to("nowhere")
        found = find([str(self.top / "d")], recursive=True)
        self.assertEqual([(item.name, item.size) for item in found.items], [(b"d/file", 1), (b"d/real/a", 1)])
        self.assertEqual(found.problems, [f"cannot read {str(self.top / 'd' / 'dead')!r}: No such file or directory"])

    def test_special(self) -> None:
        """Pipes and devices are not sent, and that is told."""
        os.mkfifo(self.top / "pipe")
        for arguments in ([str(self.top / "pipe")], [str(self.top)]):
            found = find(arguments, recursive=True)
            self.assertEqual(found.items, [])
            (problem,) = found.problems
            self.assertIn("neither a file nor a directory", problem)
        self.assertEqual(len(find(["/dev/null"], recursive=False).problems), 1)

    def test_missing(self) -> None:
        """What is not there is told, and the rest is found."""
        here = self.write("here")
        found = find([str(self.top / "missing"), here], recursive=False)
        self.assertEqual(len(found.items), 1)
        self.assertIn("No such file", found.problems[0])

    def test_badName(self) -> None:
        """Names that no inbox would take are told here already, in one line."""
        for name in (b"a\nb", b"a\\b", b"\xff"):
            path = os.path.join(os.fsencode(self.top), name)
            with open(path, "wb"):
                pass
        found = find([str(self.top)], recursive=True)
        self.assertEqual(found.items, [])
        self.assertEqual(len(found.problems), 3)
        for problem in found.problems:
            self.assertTrue(problem.isprintable(), problem)
