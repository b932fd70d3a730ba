"""
What is about to leave: short datagrams that were filled in one turn, and are sealed together.

A call for each of them costs more than what is done in it, so they wait for each other until the turn's last one is
filled. Numbers were given, and the datagrams counted as sent, when they were filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from hypermail.link.keys import SendingKeys
from hypermail.wire.header import Kind

_SHORT = int(Kind.SHORT)
_PREFIX = Struct(">BQ")


class Departures:
    """
    Of one link.

    @ivar waiting: how many datagrams wait to be sealed.
    """

    __slots__ = ("_contents", "_runs", "waiting")

    def __init__(self) -> None:
        self._contents: list[Sequence[bytes]] = []
        self._runs: list[list[int]] = []  # [number of the first, how many], in the order of contents
        self.waiting = 0

    def add(self, number: int, parts: Sequence[bytes]) -> None:
        """A datagram is filled. @param parts: its content, in pieces."""
        runs = self._runs
        if runs and sum(runs[-1]) == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
        self._contents.append(parts)
        self.waiting += 1

    def add_run(self, first: int, contents: Sequence[Sequence[bytes]]) -> None:
        """Datagrams are filled whose numbers follow each other."""
        count = len(contents)
        runs = self._runs
        if runs and sum(runs[-1]) == first:
            runs[-1][1] += count
        else:
            runs.append([first, count])
        self._contents += contents
        self.waiting += count

    def seal(self, keys: SendingKeys, tag: int) -> list[bytes]:
        """
        Seal all that waits.

        @param tag: that they bear.
        """
        contents, runs = self._contents, self._runs
        self._contents, self._runs = [], []
        self.waiting = 0
        datagrams: list[bytes] = []
        for number, count in runs:
            while count:
                some = keys.prepare(number, count)
                at = len(datagrams)
                prefix = short_prefix(keys.phase, tag)
                datagrams += keys.seal_train(prefix, number, contents[at : at + some])
                number += some
                count -= some
        return datagrams


def short_prefix(phase: int, tag: int) -> bytes:
    """What short datagrams begin with, before the lowest bits of their numbers."""
    return _PREFIX.pack(_SHORT | phase, tag)
