"""
Black holes: paths that have begun to swallow large datagrams without a word (RFC 8899 §4.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from hypermail.link.payload import Sent

#: Losses of nothing but large datagrams, a round trip apart, before the path is taken to swallow them.
MOST_BURSTS = 3


class BlackHoles:
    """
    Watches what gets lost and what arrives.

    A burst is what was sent within one round trip and lost. It is suspicious when nothing as large that was sent later
    has arrived, but something smaller has. What is as large and arrives after all clears the path.

    @ivar base: bytes; datagrams no larger than this pass, or the path is none.
    @ivar found: whether large datagrams vanish.
    """

    __slots__ = ("_burst_at", "_bursts", "_first", "_proof", "_proof_size", "_size", "base", "found")

    def __init__(self, base: int) -> None:
        self.base = base
        self._proof = -1  # the last large datagram that is known to have arrived
        self._proof_size = 0
        self._bursts = 0
        self._burst_at = 0.0
        self._first = 0
        self._size = 0
        self.found = False

    def acked(self, datagrams: Sequence[Sent], newest: Sent) -> None:
        """
        Datagrams of one acknowledgement.

        @param newest: the one of them that was sent last.
        """
        if newest.size <= self.base:
            large = None
            for sent in datagrams:
                if sent.size > self.base and (large is None or sent.number > large.number):
                    large = sent
            if large is None:
                return
            newest = large
        if newest.number > self._proof:  # not one that was overtaken, or came after it was given up
            self._proof, self._proof_size = newest.number, newest.size
        if self._bursts and newest.number > self._first and newest.size >= self._size:
            self._bursts = 0

    def lost(self, datagrams: Sequence[Sent], largest_acked: int, round_trip: float) -> bool:
        """
        Datagrams that were declared lost together, oldest first.

        @param largest_acked: the largest number that has arrived; what was sent later is not known to be lost.
        @param round_trip: s.
        @return: whether the path is found to swallow large datagrams.
        """
        for sent in datagrams:
            if sent.size <= self.base or sent.number > largest_acked:
                continue
            if sent.number < self._proof and sent.size <= self._proof_size:
                continue
            if not self._bursts:
                self._first, self._size = sent.number, sent.size
            elif sent.time - self._burst_at < round_trip:
                self._size = min(self._size, sent.size)
                continue
            self._size = min(self._size, sent.size)
            self._burst_at = sent.time
            self._bursts += 1
        self.found = self.found or self._bursts >= MOST_BURSTS
        return self.found

    def forget(self, number: int) -> None:
        """The size of datagrams has been lowered; what was sent before C{number} says nothing any more."""
        self._bursts = 0
        self._proof, self._proof_size = number, 1 << 16
        self.found = False
