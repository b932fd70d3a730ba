"""
Tests that the examples of C{docs/guide/testing.rst} run as they stand there.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any
from unittest import TestResult

from twisted.trial.unittest import SkipTest, SynchronousTestCase

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "testing.rst"


def blocks(text: str) -> list[str]:
    """The Python code blocks of a document, each behind so many empty lines that tracebacks name the right line."""
    found = []
    for match in re.finditer(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text, re.MULTILINE):
        before = text.count("\n", 0, match.start(1))
        found.append("\n" * before + textwrap.dedent(match[1]))
    return found


class GuideTests(SynchronousTestCase):
    """The guide's code blocks, one after the other in one namespace."""

    def test_examplesPass(self) -> None:
        """Every test in the guide passes, and there are as many as the guide's sections promise."""
        if not GUIDE.exists():
            raise SkipTest("the documentation is not installed")
        namespace: dict[str, Any] = {"__name__": "guide"}
        for block in blocks(GUIDE.read_text("utf-8")):
            exec(compile(block, str(GUIDE), "exec"), namespace)
        cases = [
            value
            for value in namespace.values()
            if isinstance(value, type) and issubclass(value, SynchronousTestCase) and value is not SynchronousTestCase
        ]
        self.assertEqual(
            [case.__name__ for case in cases], ["DirectoryTests", "SecurityTests", "OutageTests", "PairTests"]
        )
        for case in cases:
            names = [name for name in vars(case) if name.startswith("test_")]
            self.assertTrue(names)
            for name in names:
                result = TestResult()
                case(name).run(result)
                self.assertEqual(result.testsRun, 1)
                self.assertEqual(result.errors + result.failures, [], f"{case.__name__}.{name}")
