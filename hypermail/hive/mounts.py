"""
Which cells a request is for: hosts and paths that cells have mounted (C{docs/protocol/hive}, "Mounts").

A mount is a host and a path. One whose path ends with a slash gets all below it; another gets just that path. What
matches exactly comes first, then the longest that ends with a slash. Several may be on one mount: who gets a request is
decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

from hypermail.errors import UsageError

C = TypeVar("C", bound=Hashable)

#: Characters of a host and of a path that is mounted, at most.
LONGEST_HOST = 255
LONGEST_PATH = 1_024
#: What is C{localhost} by default, and any other name that an alias may give.
HERE = "@"

_HOST = re.compile(r"@|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")
_STRAY = re.compile(r"[\x00-\x20\x7f?#\\]|/\.{1,2}(/|$)|//")


class Pattern(NamedTuple):
    """
    What is mounted.

    @ivar host: in lower case; C{*.example.org} for all below C{example.org}.
    @ivar path: with a slash at its beginning.
    """

    host: str
    path: str

    def __str__(self) -> str:
        return self.host + self.path

    def strip(self, path: str) -> str:
        """What the cell sees of a path that matches: the mount is its root."""
        return path[len(self.path) - 1 :] if self.path.endswith("/") else "/"


def parse_pattern(host: str, path: str) -> Pattern:
    """
    What a cell asks for.

    @param path: empty for C{/}.
    @raise UsageError: when no request could match it.
    """
    host = host.lower().strip("[]").removesuffix(".")
    path = path or "/"
    if len(host) > LONGEST_HOST or not _HOST.fullmatch(host):
        raise UsageError(f"{host[:LONGEST_HOST]!r} is no host to mount on, as @, example.org or *.example.org")
    if len(path) > LONGEST_PATH or not path.startswith("/") or _STRAY.search(path):
        raise UsageError(f"{path[:LONGEST_PATH]!r} is no path to mount on, as / or /app/")
    return Pattern(host, path)


def parse_mount(text: str) -> Pattern:
    """
    Read C{HOST/PATH}, as C{@/} or C{example.org/app/}.

    @raise UsageError: when no request could match it.
    """
    host, slash, path = text.partition("/")
    return parse_pattern(host, slash + path)


class Match(NamedTuple, Generic[C]):
    """
    Where a request goes.

    @ivar cells: in the order in which they have mounted; at least one.
    """

    pattern: Pattern
    cells: tuple[C, ...]


class Mounts(Generic[C]):
    """What is mounted by whom."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, list[C]]] = {}

    def add(self, pattern: Pattern, cell: C) -> bool:
        """@return: whether it was not there already."""
        cells = self._hosts.setdefault(pattern.host, {}).setdefault(pattern.path, [])
        if cell in cells:
            return False
        cells.append(cell)
        return True

    def remove(self, pattern: Pattern, cell: C) -> bool:
        """@return: whether it was there."""
        paths = self._hosts.get(pattern.host, {})
        cells = paths.get(pattern.path, [])
        if cell not in cells:
            return False
        cells.remove(cell)
        if not cells:
            del paths[pattern.path]
        if not paths:
            del self._hosts[pattern.host]
        return True

    def find(self, host: str, path: str) -> Match[C] | None:
        """
        Look up a request.

        @param host: what L{hypermail.hive.aliases.Aliases.resolve} has come to.
        @param path: begins with a slash.
        @return: None when nothing is mounted there.
        """
        if len(host) > LONGEST_HOST:
            return None
        for name in _names(host):
            paths = self._hosts.get(name)
            found = None if paths is None else _longest(paths, path)
            if paths is not None and found is not None:
                return Match(Pattern(name, found), tuple(paths[found]))
        return None

    def __iter__(self) -> Iterator[tuple[Pattern, tuple[C, ...]]]:
        """All that is mounted, by whom."""
        for host, paths in self._hosts.items():
            for path, cells in paths.items():
                yield Pattern(host, path), tuple(cells)

    def __len__(self) -> int:
        return sum(len(paths) for paths in self._hosts.values())


def _names(host: str) -> Iterator[str]:
    """What may be mounted for a host: itself, then what has a star for its first labels, longest first."""
    yield host
    _, dot, rest = host.partition(".")
    while dot:
        yield f"*.{rest}"
        _, dot, rest = rest.partition(".")


def _longest(paths: dict[str, list[C]], path: str) -> str | None:
    if path in paths:
        return path
    end = path.rfind("/", 0, LONGEST_PATH)
    while end >= 0:
        above = path[: end + 1]
        if above in paths:
            return above
        end = path.rfind("/", 0, end)
    return None
