"""
What is sent, and what a receiver makes of it: the same for all peers.

Both processes run on one machine and share C{CLOCK_MONOTONIC}, so the time of sending travels with what is sent.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

#: Bytes after which the content of a bulk stream repeats; prime, so that no block in another's place looks right.
PERIOD = 131_071
_CONTENT = random.Random(1).randbytes(PERIOD)
_CONTENT += _CONTENT

#: Bytes that a sender hands over at once, at most.
PIECE = 65_536

_BEGAN = struct.Struct("!d")
_MESSAGE = struct.Struct("!dI")

#: s between two samples of how far a bulk stream is.
SAMPLE = 0.02

#: s after the last message was due when those that have not come are missing.
GRACE = 20.0


@dataclass(frozen=True, slots=True)
class Bulk:
    """
    One stream of bytes.

    @ivar size: bytes; 0 for as many as the time allows.
    @ivar seconds: after which the receiver counts no more.
    """

    size: int
    seconds: float

    @property
    def longest(self) -> float:
        """s that this may take."""
        return self.seconds

    def taker(self) -> BulkTaker:
        """The receiver's."""
        return BulkTaker(self)


@dataclass(frozen=True, slots=True)
class Messages:
    """
    Ordered messages, by an absolute schedule.

    @ivar count: how many.
    @ivar interval: s between two.
    @ivar size: bytes of each, at least 12.
    """

    count: int
    interval: float
    size: int = 200

    @property
    def longest(self) -> float:
        """s that this may take."""
        return self.count * self.interval + GRACE

    def taker(self) -> MessageTaker:
        """The receiver's."""
        return MessageTaker(self)


@dataclass(frozen=True, slots=True)
class Openings:
    """
    Sessions that are opened at once.

    @ivar count: how many.
    @ivar seconds: in which each has to open.
    """

    count: int
    seconds: float

    @property
    def longest(self) -> float:
        """s that this may take."""
        return self.seconds + GRACE


Work = Bulk | Messages | Openings

_KINDS: dict[str, type[Any]] = {"bulk": Bulk, "messages": Messages, "openings": Openings}


def pack(work: Work) -> dict[str, Any]:
    """For another process."""
    (kind,) = (name for name, kind in _KINDS.items() if isinstance(work, kind))
    return {"kind": kind, **asdict(work)}


def unpack(packed: dict[str, Any]) -> Any:
    """From another process."""
    fields = dict(packed)
    return _KINDS[fields.pop("kind")](**fields)


class BulkSource:
    """
    The bytes of a bulk stream, beginning with the time at which its first ones were handed over.

    @ivar given: bytes so far.
    """

    def __init__(self, work: Bulk, clock: Callable[[], float]) -> None:
        self._size = work.size
        self._clock = clock
        self.given = 0

    @property
    def over(self) -> bool:
        """Whether there is no more."""
        return 0 < self._size <= self.given

    def next(self, most: int = PIECE) -> bytes:
        """The next bytes, so many at most; none when it is over."""
        if not self.given:
            self.given = _BEGAN.size
            return _BEGAN.pack(self._clock())
        size = min(most, self._size - self.given) if self._size else most
        at = (self.given - _BEGAN.size) % PERIOD
        self.given += size
        return _CONTENT[at : at + size]


class BulkTaker:
    """
    Receives a bulk stream.

    @ivar bytes: that have arrived in time.
    @ivar intact: whether all were what was sent.
    """

    def __init__(self, work: Bulk) -> None:
        self._work = work
        self._head = b""
        self._began: float | None = None
        self._last = 0.0
        self._sampled = 0.0
        self._samples: list[tuple[float, int]] = []
        self.bytes = 0
        self.intact = True

    def take(self, data: bytes, now: float) -> None:
        """These have arrived at the application."""
        if self._began is None:
            self._head += data
            if len(self._head) < _BEGAN.size:
                return
            self._began = self._sampled = float(_BEGAN.unpack_from(self._head)[0])
            data = self._head[_BEGAN.size :]
            self.bytes = _BEGAN.size
        if self.over(now):
            return
        at = 0
        while at < len(data):
            piece = data[at : at + PIECE]
            self.intact &= _CONTENT.startswith(piece, (self.bytes - _BEGAN.size) % PERIOD)
            self.bytes += len(piece)
            at += len(piece)
        self._last = now
        if now >= self._sampled + SAMPLE:
            self._sampled = now
            self._samples.append((now, self.bytes))

    @property
    def whole(self) -> bool:
        """Whether all that was to be sent has arrived."""
        return 0 < self._work.size <= self.bytes

    def over(self, now: float) -> bool:
        """Whether nothing more counts."""
        return self.whole or (self._began is not None and now >= self._began + self._work.seconds)

    def result(self) -> dict[str, Any]:
        """
        Bytes per second, from the first that was sent to the last that was taken, or, where not all has come, over the
        time that there was; and the samples, (s of C{CLOCK_MONOTONIC}, bytes so far).
        """
        began = self._began or 0.0
        seconds = self._last - began if self.whole else self._work.seconds
        return {
            "bytes": self.bytes,
            "seconds": seconds,
            "rate": self.bytes / seconds,
            "whole": self.whole,
            "intact": self.intact,
            "began": began,
            "samples": self._samples,
        }


class MessageSource:
    """
    The messages of a schedule.

    @ivar due: s of C{CLOCK_MONOTONIC} when the next is to be sent.
    """

    def __init__(self, work: Messages, now: float) -> None:
        self._work = work
        self._index = 0
        self._first = self.due = now
        self._filler = _CONTENT[: work.size - _MESSAGE.size]

    @property
    def over(self) -> bool:
        """Whether there is no more."""
        return self._index == self._work.count

    def next(self) -> bytes:
        """The next; it bears the time when it was due, so that a late sender hides nothing."""
        message = _MESSAGE.pack(self.due, self._index) + self._filler
        self._index += 1
        self.due = self._first + self._index * self._work.interval
        return message


class MessageTaker:
    """Receives the messages of a schedule."""

    def __init__(self, work: Messages) -> None:
        self._work = work
        self._filler = _CONTENT[: work.size - _MESSAGE.size]
        self._latencies: list[float] = []
        self._until: float | None = None
        self._intact = True

    def take(self, message: bytes, now: float) -> None:
        """One has arrived at the application."""
        due, index = _MESSAGE.unpack_from(message)
        if self._until is None:
            self._until = due + self._work.longest
        self._intact &= index == len(self._latencies) and message[_MESSAGE.size :] == self._filler
        self._latencies.append(round(now - due, 6))

    def over(self, now: float) -> bool:
        """Whether nothing more counts."""
        return len(self._latencies) == self._work.count or (self._until is not None and now >= self._until)

    def result(self) -> dict[str, Any]:
        """How long each took, in s; how many have not come; whether all were whole and in order."""
        return {
            "latencies": self._latencies,
            "missing": self._work.count - len(self._latencies),
            "intact": self._intact,
        }


Taker = BulkTaker | MessageTaker


class Strings:
    """Messages in a stream of bytes: each behind its length, in four bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @staticmethod
    def of(message: bytes) -> bytes:
        """A message as it is written."""
        return len(message).to_bytes(4, "big") + message

    def feed(self, data: bytes) -> list[bytes]:
        """What has become whole with these bytes."""
        self._buffer += data
        whole, at = [], 0
        while len(self._buffer) >= at + 4:
            end = at + 4 + int.from_bytes(self._buffer[at : at + 4], "big")
            if len(self._buffer) < end:
                break
            whole.append(bytes(self._buffer[at + 4 : end]))
            at = end
        del self._buffer[:at]
        return whole
