"""
Bytes that were written to a stream and that the peer may still ask for.
"""

from __future__ import annotations

from bisect import bisect_right

from hypermail.wire.fields import Data

#: Writes are joined to blocks of at least so many bytes, so that many small ones cost little.
BLOCK = 16_384


class SendBuffer:
    """
    Keeps what was written from the first byte that the peer lacks on, in blocks that are never copied.

    @ivar start: offset of the first byte that is kept.
    @ivar stop: offset behind the last byte that was written.
    """

    __slots__ = ("_blocks", "_pending", "_pending_size", "_starts", "start", "stop")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._blocks: list[memoryview] = []
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.start = 0
        self.stop = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if not data:
            return
        if self._pending and len(data) >= BLOCK:
            self._join()  # so that only what is small is copied
        self._pending.append(data)
        self._pending_size += len(data)
        self.stop += len(data)
        if self._pending_size >= BLOCK:
            self._join()

    def _join(self) -> None:
        """Make a block of the writes since the last one."""
        pending = self._pending
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        self._starts.append(self.stop - len(data))
        self._blocks.append(memoryview(data))
        pending.clear()
        self._pending_size = 0

    def read(self, start: int, stop: int) -> list[memoryview]:
        """The bytes C{start <= n < stop}, which must be kept, in pieces."""
        if stop > self.stop - self._pending_size:
            self._join()
        index = bisect_right(self._starts, start) - 1
        pieces = []
        while start < stop:
            block = self._blocks[index]
            begin = start - self._starts[index]
            piece = block[begin : begin + stop - start]
            pieces.append(piece)
            start += len(piece)
            index += 1
        return pieces

    def cut(self, start: int, stop: int, size: int, heads: list[bytes]) -> list[tuple[Data, ...]]:
        """
        The bytes C{start <= n < stop}, which must be kept, in shares of C{size}, each in pieces.

        @param heads: what comes before each share.
        """
        if stop > self.stop - self._pending_size:
            self._join()
        shares: list[tuple[Data, ...]] = []
        while start < stop:
            index = bisect_right(self._starts, start) - 1
            block, begin = self._blocks[index], start - self._starts[index]
            whole = min(stop - start, len(block) - begin) // size * size
            some = heads[len(shares) : len(shares) + whole // size]
            shares += zip(some, [block[at : at + size] for at in range(begin, begin + whole, size)], strict=True)
            start += whole
            if start < stop:  # one that begins in this block and ends in another
                shares.append((heads[len(shares)], *self.read(start, start + size)))
                start += size
        return shares

    def release(self, offset: int) -> None:
        """Forget what lies below an offset; blocks go as wholes."""
        if offset <= self.start:
            return
        self.start = offset
        gone = bisect_right(self._starts, offset)
        if gone and self._starts[gone - 1] + len(self._blocks[gone - 1]) > offset:
            gone -= 1
        del self._starts[:gone], self._blocks[:gone]

    def forget(self) -> None:
        """Forget everything."""
        self._starts.clear()
        self._blocks.clear()
        self._pending.clear()
        self._pending_size = 0
        self.start = self.stop
