"""
What is carried, and what both sides do with it: the same for all peers, whatever carries it.

A starter asks its side what may be sent (C{next}) and tells it what came (C{take}); a listener tells its side what
came, and sends the replies. All are in lists, one for each read or write, so that little of what is measured is
spent here. Where a peer has streams of bytes instead of messages, L{Strings} makes the one of the other.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Protocol

#: Bytes that a bulk sender hands over at once.
BLOCK = 65_536
#: Messages that a sender hands over at once.
BATCH = 100
#: Bytes that a sender may be before what it was told of, where its peer has no back pressure of its own.
AHEAD = 4 << 20
#: Bytes after which a receiver of bulk tells how much it has.
STEP = 256 << 10
#: Connections that are opened before memory is counted.
WARM = 100

_LENGTH = struct.Struct("!I")
_TOTAL = struct.Struct("!Q")
#: Bytes of a total or a count.
TOTAL = _TOTAL.size


class Strings:
    """Messages in a stream of bytes: each behind its length, in four bytes."""

    def __init__(self) -> None:
        self._rest = b""

    @staticmethod
    def of(messages: Sequence[bytes]) -> bytes:
        """Messages as they are written."""
        pack = _LENGTH.pack
        return b"".join([pack(len(message)) + message for message in messages])

    def feed(self, data: bytes) -> list[bytes]:
        """What has become whole with these bytes."""
        if self._rest:
            data = self._rest + data
        whole: list[bytes] = []
        at, size = 0, len(data)
        while size - at >= 4:
            (length,) = _LENGTH.unpack_from(data, at)
            end = at + 4 + length
            if end > size:
                break
            whole.append(data[at + 4 : end])
            at = end
        self._rest = data[at:]
        return whole


class Pieces:
    """Bytes that bear no messages: each piece is as it came."""

    @staticmethod
    def of(messages: Sequence[bytes]) -> bytes:
        """The same."""
        return messages[0] if len(messages) == 1 else b"".join(messages)

    def feed(self, data: bytes) -> list[bytes]:
        """The same."""
        return [data]


# The works. Each makes its two sides.


@dataclass(frozen=True, slots=True)
class Bulk:
    """
    Bytes one way.

    @ivar size: bytes.
    @ivar datagram: bytes of the largest UDP payload, for peers to whom that can be said; None for the peer's own best.
    """

    size: int
    datagram: int | None = None

    #: What parts its pieces where the peer has a stream.
    strings = Pieces

    @property
    def patience(self) -> float:
        """s that this may take."""
        return 20 + self.size / 4e6

    def starting(self, over: Callable[[dict[str, Any]], object], bounded: bool) -> BulkStarting:
        """The starter's side. @param bounded: whether it has to wait for what the listener tells."""
        return BulkStarting(self, over, bounded)

    def listening(self) -> BulkListening:
        """The listener's side."""
        return BulkListening(self)


@dataclass(frozen=True, slots=True)
class Messages:
    """
    Messages one way, as many as the peer can in a time, and each acknowledged by the receiving application.

    @ivar size: bytes of each.
    @ivar seconds: for which they are sent; then all have to be acknowledged, and the rate is over all of that.
    @ivar sessions: that share them, where there is more than one.
    @ivar warming: s for which they are sent before any counts; then those count that are acknowledged in C{seconds}, as
        many may be queued before, and after.
    """

    size: int
    seconds: float
    sessions: int = 1
    warming: float = 0.0

    strings = Strings

    @property
    def patience(self) -> float:
        """s that this may take."""
        return self.warming + self.seconds + 30 + self.sessions / 10

    def starting(self, over: Callable[[dict[str, Any]], object], bounded: bool) -> MessagesStarting:
        """The starter's side. @param bounded: whether it has to wait for what the listener tells."""
        return MessagesStarting(self, over, bounded)

    def listening(self) -> MessagesListening:
        """The listener's side."""
        return MessagesListening()


@dataclass(frozen=True, slots=True)
class Asks:
    """
    Messages that come back.

    @ivar size: bytes of each.
    @ivar seconds: for which they are sent.
    @ivar outstanding: that are on their way at once.
    """

    size: int
    seconds: float
    outstanding: int

    strings = Strings

    @property
    def patience(self) -> float:
        """s that this may take."""
        return self.seconds + 20

    def starting(self, over: Callable[[dict[str, Any]], object], bounded: bool) -> AsksStarting:
        """The starter's side. @param bounded: of no matter here."""
        return AsksStarting(self, over)

    def listening(self) -> AsksListening:
        """The listener's side."""
        return AsksListening()


@dataclass(frozen=True, slots=True)
class Openings:
    """
    Connections that are opened, with all of the handshake, and closed, as many as the peer can in a time.

    @ivar seconds: for which they are.
    @ivar at_once: how many at once.
    """

    seconds: float
    at_once: int = 8

    @property
    def patience(self) -> float:
        """s that this may take."""
        return self.seconds + 20


@dataclass(frozen=True, slots=True)
class Idle:
    """
    Connections that are opened and left alone.

    @ivar count: how many.
    @ivar rest: s after the last was opened; nothing of opening is left then.
    @ivar window: s, after that, over which processor time is counted; 0 to count the memory of opening them instead.
    @ivar ping_interval: s, of hypermail's.
    @ivar limit: s that all of it may take.
    """

    count: int
    rest: float
    window: float = 0.0
    ping_interval: float = 5.0
    limit: float = 240.0
    at_once: int = 20

    @property
    def patience(self) -> float:
        """s that this may take."""
        return self.limit + self.rest * 2 + self.window


Work = Bulk | Messages | Asks | Openings | Idle
#: Works that one connection does.
Carried = Bulk | Messages | Asks

_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Bulk, Messages, Asks, Openings, Idle)}


def pack(work: Work) -> dict[str, Any]:
    """For another process."""
    return {"kind": type(work).__name__.lower(), **asdict(work)}


def unpack(packed: dict[str, Any]) -> Any:
    """From another process."""
    fields = dict(packed)
    return _KINDS[fields.pop("kind")](**fields)


# The starter's sides.


class BulkStarting:
    """
    Hands over blocks; it is over when the listener has told that it has all.

    @ivar pulled: whether it has more whenever there is room.
    @ivar exhausted: whether C{next} will give no more.
    """

    pulled = True

    def __init__(self, work: Bulk, over: Callable[[dict[str, Any]], object], bounded: bool) -> None:
        self._size = work.size
        self._over = over
        self._ahead = AHEAD if bounded else work.size
        self._block = bytes(BLOCK)
        self._given = self._taken = 0
        self._began = 0.0

    def begin(self) -> None:
        """Time counts from now on."""
        self._began = perf_counter()

    @property
    def exhausted(self) -> bool:
        return self._given >= self._size

    def next(self) -> list[bytes]:
        """What may be sent now; nothing when that is nothing."""
        if self._given >= self._size or self._given - self._taken >= self._ahead:
            return []
        some = min(BLOCK, self._size - self._given)
        self._given += some
        return [self._block if some == BLOCK else self._block[:some]]

    def take(self, messages: Sequence[bytes]) -> None:
        """The listener has told how much it has."""
        if not messages:
            return
        (self._taken,) = _TOTAL.unpack(messages[-1])
        if self._taken >= self._size:
            self._over({"seconds": perf_counter() - self._began, "bytes": self._taken})


class MessagesStarting:
    """
    Hands over batches of messages until its time is over; it is over when all are acknowledged.

    @ivar pulled: whether it has more whenever there is room.
    @ivar exhausted: whether C{next} will give no more.
    """

    pulled = True

    def __init__(self, work: Messages, over: Callable[[dict[str, Any]], object], bounded: bool) -> None:
        self._over = over
        self._seconds = work.seconds
        self._batch = [bytes(work.size)] * BATCH
        self._ahead = max(BATCH, AHEAD // (work.size + 32)) if bounded else 1 << 60
        self._given = self._taken = 0
        self._began = self._until = 0.0
        self.exhausted = False

    def begin(self) -> None:
        """Time counts from now on."""
        self._began = perf_counter()
        self._until = self._began + self._seconds

    def next(self) -> list[bytes]:
        """What may be sent now; nothing when that is nothing."""
        if self._given - self._taken >= self._ahead or self.exhausted:
            return []
        if perf_counter() >= self._until:
            self.exhausted = True
            self._look()  # all may be acknowledged already
            return []
        self._given += BATCH
        return self._batch

    def take(self, messages: Sequence[bytes]) -> None:
        """The listener has told how many it has."""
        if messages:
            (self._taken,) = _TOTAL.unpack(messages[-1])
            if self.exhausted:
                self._look()

    def taken(self, count: int) -> None:
        """So many more are acknowledged, each by itself."""
        self._taken += count
        if self.exhausted:
            self._look()

    def _look(self) -> None:
        if self._taken >= self._given:
            self._over({"seconds": perf_counter() - self._began, "count": self._taken})


class AsksStarting:
    """
    Asks again for each answer until its time is over; it is over when all are answered.

    @ivar pulled: whether it has more whenever there is room.
    """

    pulled = False
    exhausted = False

    def __init__(self, work: Asks, over: Callable[[dict[str, Any]], object]) -> None:
        self._work = work
        self._over = over
        self._message = bytes(work.size)
        self._due = work.outstanding
        self._outstanding = self._count = 0
        self._alone = work.outstanding == 1
        self._latencies: list[float] = []
        self._began = self._until = self._asked = 0.0

    def begin(self) -> None:
        """Time counts from now on."""
        self._began = perf_counter()
        self._until = self._began + self._work.seconds

    def next(self) -> list[bytes]:
        """What is to be asked now; nothing when that is nothing."""
        due, self._due = self._due, 0
        if not due:
            return []
        now = perf_counter()
        if now >= self._until:
            self._look(now)  # the time may be over since the last answer was taken
            return []
        self._outstanding += due
        self._asked = now
        return [self._message] * due

    def take(self, messages: Sequence[bytes]) -> None:
        """These are answered."""
        answered = len(messages)
        if not answered:
            return
        now = perf_counter()
        if self._alone:
            self._latencies.append(now - self._asked)
        self._count += answered
        self._outstanding -= answered
        if now < self._until:
            self._due += answered
        else:
            self._look(now)

    def _look(self, now: float) -> None:
        if not self._outstanding:
            self._over({"seconds": now - self._began, "count": self._count, "latencies": self._latencies})


Starting = BulkStarting | MessagesStarting | AsksStarting


# The listener's sides.


class BulkListening:
    """Tells how much it has, now and then and at the end."""

    def __init__(self, work: Bulk) -> None:
        self._size = work.size
        self._taken = self._told = 0

    def take(self, messages: Sequence[bytes]) -> list[bytes]:
        """These have arrived. @return: what is to be sent back."""
        for message in messages:
            self._taken += len(message)
        if self._taken < self._told + STEP and self._taken < self._size:
            return []
        self._told = self._taken
        return [_TOTAL.pack(self._taken)]


class MessagesListening:
    """Counts the messages, and tells how many they were, once for each read: that is how each is acknowledged."""

    def __init__(self) -> None:
        self._count = 0

    def received(self, message: bytes) -> None:
        """One message, at the application."""
        self._count += 1

    def take(self, messages: Sequence[bytes]) -> list[bytes]:
        """These have arrived. @return: what is to be sent back."""
        received = self.received
        for message in messages:
            received(message)
        return [_TOTAL.pack(self._count)] if messages else []


class AsksListening:
    """Sends everything back."""

    def asked(self, message: bytes) -> bytes:
        """One ask, at the application."""
        return message

    def take(self, messages: Sequence[bytes]) -> list[bytes]:
        """These have arrived. @return: what is to be sent back."""
        asked = self.asked
        return [asked(message) for message in messages]


# Connections.

#: Opens one, and waits until it is open.
Open = Callable[[], Awaitable[Any]]
#: Closes one.
Close = Callable[[Any], Awaitable[object]]
#: Lets several go on at once, and waits for all: that of a reactor, or of asyncio.
Gather = Callable[[list[Coroutine[Any, Any, Any]]], Awaitable[Any]]


async def open_and_close(work: Openings, open_one: Open, close: Close, gather: Gather) -> dict[str, Any]:
    """As often as it can be in that time. @return: how often it was, and in which time."""
    began = perf_counter()
    until = began + work.seconds
    count = 0

    async def again() -> None:
        nonlocal count
        while perf_counter() < until:
            await close(await open_one())
            count += 1

    await gather([again() for _ in range(work.at_once)])
    return {"count": count, "seconds": perf_counter() - began}


async def open_many(count: int, at_once: int, open_one: Open, gather: Gather) -> list[Any]:
    """Open so many. @return: these."""
    kept: list[Any] = []
    left = count

    async def again() -> None:
        nonlocal left
        while left:
            left -= 1
            kept.append(await open_one())

    await gather([again() for _ in range(at_once)])
    return kept


class Measured(Protocol):
    """What connections that are left alone need of their process."""

    def begin(self) -> None:
        """What is measured begins when this returns."""

    def over(self, result: dict[str, Any]) -> None:
        """It is over."""


async def keep_open(
    work: Idle, task: Measured, open_one: Open, rest: Callable[[float], Awaitable[object]], gather: Gather
) -> None:
    """
    Open connections, and leave them alone.

    @param rest: lets so many seconds pass.
    """
    kept = await open_many(WARM, work.at_once, open_one, gather)
    if work.window:
        kept += await open_many(work.count - WARM, work.at_once, open_one, gather)
    await rest(work.rest)
    task.begin()
    if work.window:
        await rest(work.window)
    else:
        kept += await open_many(work.count, work.at_once, open_one, gather)
        await rest(work.rest)
    task.over({"opened": len(kept)})
