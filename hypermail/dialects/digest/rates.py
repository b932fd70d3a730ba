"""
How often strangers are answered: so often per prefix, and in all.
"""

from __future__ import annotations

from collections import OrderedDict

#: Answers per second, which may also leave at once: to one prefix, and to all.
PER_PREFIX = 256.0
IN_ALL = 1_024.0
#: Prefixes that are remembered; the one that was answered longest ago is forgotten.
MOST_PREFIXES = 1_024


class _Bucket:
    __slots__ = ("at", "left")

    def __init__(self, left: float, now: float) -> None:
        self.left = left
        self.at = now

    def fill(self, rate: float, now: float) -> float:
        self.left = min(self.left + (now - self.at) * rate, rate)
        self.at = now
        return self.left


class AnswerRates:
    """Token buckets, a second deep each."""

    __slots__ = ("_all", "_prefixes")

    def __init__(self) -> None:
        self._all: _Bucket | None = None
        self._prefixes: OrderedDict[object, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        """How many prefixes are remembered."""
        return len(self._prefixes)

    def allow(self, prefix: object, now: float) -> bool:
        """Whether one more answer may go there. @param now: s, monotonic."""
        if self._all is None:
            self._all = _Bucket(IN_ALL, now)
        bucket = self._prefixes.get(prefix)
        if bucket is None:
            bucket = self._prefixes[prefix] = _Bucket(PER_PREFIX, now)
            if len(self._prefixes) > MOST_PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(prefix)
        if self._all.fill(IN_ALL, now) < 1 or bucket.fill(PER_PREFIX, now) < 1:
            return False
        self._all.left -= 1
        bucket.left -= 1
        return True
