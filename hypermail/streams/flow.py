"""
Back pressure without a receive window (seed 004): absolute limits, raised from one pool per session.

A stream may always carry C{window} bytes beyond what its application has read; everything above comes
out of the pool, which is shared by the streams that are being read. So memory is bounded by the number of
open streams × C{window} + the pool, whatever the peer does. The pool grows to four times the product of
measured bandwidth and round trip, so that it is not what holds the streams back.
"""

from __future__ import annotations


class Pool:
    """
    The bytes that all streams of a session may have above their windows.

    @param window: bytes that each stream has for itself.
    @param size: bytes of the pool at first.
    @param most: bytes of the pool at most.
    """

    __slots__ = ("_epoch_bytes", "_epoch_start", "_most", "_readers", "_size", "_used", "window")

    def __init__(self, window: int, size: int, most: int) -> None:
        self.window = window
        self._size = size
        self._most = max(size, most)
        self._used = 0
        self._readers = 0
        self._epoch_start = 0.0
        self._epoch_bytes = 0

    @property
    def used(self) -> int:
        """Bytes that are granted to streams."""
        return self._used

    @property
    def size(self) -> int:
        """Bytes that may be granted."""
        return self._size

    def join(self) -> None:
        """A stream is being read."""
        self._readers += 1

    def leave(self, granted: int) -> None:
        """A stream is read no more, and gives back what it was granted."""
        self._readers -= 1
        self._used -= granted

    def grant(self, wanted: int) -> int:
        """Take up to C{wanted} bytes out of the pool: no more than a reader's share of it."""
        share = self._size // max(1, self._readers)
        granted = max(0, min(wanted, share, self._size - self._used))
        self._used += granted
        return granted

    def keep(self, granted: int) -> None:
        """Take bytes that were promised to a peer already, whatever the pool holds."""
        self._used += granted

    def give_back(self, granted: int) -> None:
        """A stream has used up what it was granted."""
        self._used -= granted

    def delivered(self, size: int, now: float, round_trip: float) -> None:
        """
        Applications have read so many bytes: measure how many they read in a round trip.

        @param round_trip: s.
        """
        self._epoch_bytes += size
        elapsed = now - self._epoch_start
        if elapsed < round_trip:
            return
        if elapsed < 4 * round_trip:  # an older epoch had a pause in it
            product = int(self._epoch_bytes * round_trip / elapsed)
            self._size = min(self._most, max(self._size, 4 * product))
        self._epoch_start = now
        self._epoch_bytes = 0
