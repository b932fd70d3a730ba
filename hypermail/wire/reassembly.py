"""
Ordered bytes out of pieces that come in any order, more than once, and overlapping.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from hypermail.errors import LimitExceeded

Buffer = bytes | memoryview


class Reassembly:
    """
    What has arrived of one sequence of bytes.

    Where pieces overlap the one that came first counts, so that what was delivered can't change.
    Memory is the bytes that have arrived plus a bounded number of pieces, never what a peer declared.

    @ivar offset: the first byte that is still missing.
    @ivar waiting: bytes held beyond C{offset}.
    """

    __slots__ = ("_pieces", "_starts", "offset", "waiting")

    #: Pieces that may wait, besides one for each 512 bytes of the window.
    LEAST_PIECES = 64
    #: A shorter piece grows by its neighbour, so that a sender of many small ones is not taken for a hostile one.
    SMALL_PIECE = 512

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.waiting = 0
        self._starts: list[int] = []
        self._pieces: dict[int, bytes] = {}

    def follow(self, start: int, stop: int) -> bool:
        """
        Count C{start <= n < stop} as arrived when it is all that can be given on: the next bytes, and none wait behind.

        @return: whether it is; otherwise nothing was done.
        """
        if start != self.offset or self._starts or start == stop:
            return False
        self.offset = stop
        return True

    def add(self, offset: int, data: Buffer, window: int) -> list[bytes]:
        """
        Take a piece.

        @param offset: of the piece's first byte, at least 0.
        @param window: how far beyond C{self.offset} pieces may lie; bounds the number of pieces.
        @return: the pieces that are now contiguous, in order; empty when none is.
        @raise LimitExceeded: when there are more holes than any honest network makes.
        """
        if offset == self.offset and not self._starts:
            self.offset += len(data)
            return [bytes(data)] if len(data) else []
        if offset < self.offset:
            data = data[self.offset - offset :]
            offset = self.offset
        self._keep(offset, data)
        if len(self._starts) > self.LEAST_PIECES + (window >> 9):
            raise LimitExceeded(f"more than {len(self._starts) - 1} separate pieces wait for what is missing")
        return self._contiguous()

    def _keep(self, offset: int, data: Buffer) -> None:
        """Keep those parts of a piece that no earlier piece covers."""
        starts, pieces = self._starts, self._pieces
        stop = offset + len(data)
        index = bisect_right(starts, offset) - 1
        if index >= 0:
            offset_after = starts[index] + len(pieces[starts[index]])
            if offset_after > offset:
                data = data[offset_after - offset :]
                offset = offset_after
        while offset < stop:
            index = bisect_left(starts, offset)
            until = min(stop, starts[index]) if index < len(starts) else stop
            if until > offset:
                before = starts[index - 1] if index else offset
                if before < offset <= before + len(pieces[before]) < before + self.SMALL_PIECE:
                    pieces[before] += bytes(data[: until - offset])
                else:
                    pieces[offset] = bytes(data[: until - offset])
                    insort(starts, offset)
                self.waiting += until - offset
            if until == stop:
                return
            covered = until + len(pieces[until])
            data = data[covered - offset :]
            offset = covered

    def _contiguous(self) -> list[bytes]:
        starts, pieces = self._starts, self._pieces
        ready = []
        taken = 0
        while taken < len(starts) and starts[taken] == self.offset:
            piece = pieces.pop(starts[taken])
            ready.append(piece)
            self.offset += len(piece)
            self.waiting -= len(piece)
            taken += 1
        del starts[:taken]
        return ready

    @property
    def highest(self) -> int:
        """The offset behind the last byte that has arrived."""
        if not self._starts:
            return self.offset
        return self._starts[-1] + len(self._pieces[self._starts[-1]])

    def missing(self, stop: int) -> list[tuple[int, int]]:
        """The ranges between C{self.offset} and C{stop} that have not arrived."""
        gaps = []
        at = self.offset
        for start in self._starts:
            if start >= stop:
                break
            if start > at:
                gaps.append((at, start))
            at = start + len(self._pieces[start])
        if at < stop:
            gaps.append((at, stop))
        return gaps

    def forget(self) -> None:
        """Free what waits; nothing more will be asked."""
        self._starts.clear()
        self._pieces.clear()
        self.waiting = 0
