"""
Programs whose output goes to a file each, and what these come to say.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The command of C{twistd hypermail}, as this Python has it; its options follow.
TWISTD = f"{sys.executable} -c 'from twisted.scripts.twistd import run; run()' -n --pidfile= hypermail"


class Logged:
    """
    Programs by their names.

    @param directory: for a file of each, of its name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self, name: str, begin: Callable[..., subprocess.Popen[Any]], *arguments: Any, **keywords: Any) -> Any:
        """Begin a program by C{begin}, which takes what C{Popen} takes. @return: what that returns."""
        with open(self._directory / name, "wb") as log:
            return begin(*arguments, stdout=log, stderr=log, **keywords)

    def text(self, name: str) -> str:
        """All that a program has said."""
        return (self._directory / name).read_text()

    def told(self, name: str, pattern: str) -> str:
        """
        Wait until a program says something.

        @return: the pattern's first group.
        @raise SystemExit: when it does not say that for 20 s.
        """
        for _ in range(200):
            found = re.search(pattern, self.text(name))
            if found:
                return found[1]
            time.sleep(0.1)
        raise SystemExit(f"{name} has not said {pattern!r}:\n{self.text(name)}")
