"""
How what is kept of sessions is written in the rows of a store, and read again without trust in the disk.

Each row's value begins with a CRC-32 of its key and of what follows, so that a value that was damaged, or that
belongs to another key, is noticed before it is used. Integers are in network order; times are s since 1970; what has no
fixed size comes after its length.

========= ====================================================================================================
store     latest time, how often it was written, owner
session   role, way, worker, generation, incarnation of the peer, timeout, time of suspension (NaN: it has a
          link), secret, name, key and parameters of the peer
sending   ordered, delivery, priority, redundancy, settled, next, ranges of withdrawn numbers
receiving taken, then of each verdict its number, cleared, code, length of text, text
messages  flags, count, lengths of data; with flag 1 when they expire (NaN: never); with flag 2 lengths of notes,
          and notes; then the data
========= ====================================================================================================
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import ParamSpec, TypeVar
from zlib import crc32

from hypermail.messages.lanes import LaneProperties
from hypermail.options import Delivery, Role, Way
from hypermail.session.journal import (
    QueuedMessage,
    SessionIdentity,
    StoredReceiving,
    StoredSending,
    StoredSession,
)
from hypermail.wire.packets import Verdict

#: Bytes of data that share a row, unless a single message is larger.
ROW_BYTES = 1 << 20
#: Messages that share a row.
ROW_MESSAGES = 1 << 16

_CHECK = struct.Struct(">I")
_SESSION = struct.Struct(">BBBQQdd")
_SENDING = struct.Struct(">BBBBQQ")
_RANGE = struct.Struct(">QQ")
_VERDICT = struct.Struct(">QBII")
_MESSAGES = struct.Struct(">BI")
_EXPIRING, _NOTED = 1, 2
_STORE = struct.Struct(">dQ")

P = ParamSpec("P")
T = TypeVar("T")


class Damaged(Exception):
    """A row is not what was written."""


@dataclass(slots=True)
class Sending:
    """The sending half of a lane; see L{StoredSending}. @ivar withdrawn: what of it is not to be delivered."""

    properties: LaneProperties
    settled: int = 0
    next: int = 0
    withdrawn: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Receiving:
    """The receiving half of a lane; see L{StoredReceiving}. @ivar verdicts: by number."""

    taken: int = 0
    verdicts: dict[int, Verdict] = field(default_factory=dict)


@dataclass(slots=True)
class Kept:
    """
    A session as it is in the store.

    @ivar suspended: s since 1970 at which its link was lost, or None while it has one.
    """

    identity: SessionIdentity
    suspended: float | None = None
    sending: dict[int, Sending] = field(default_factory=dict)
    receiving: dict[int, Receiving] = field(default_factory=dict)

    @property
    def until(self) -> float | None:
        """s since 1970 until which it is kept, or None while it has a link."""
        return None if self.suspended is None else self.suspended + self.identity.timeout

    def stored(self) -> StoredSession:
        """As others see it."""
        return StoredSession(
            identity=self.identity,
            sending={
                lane: StoredSending(properties=half.properties, settled=half.settled, next=half.next)
                for lane, half in self.sending.items()
            },
            receiving={
                lane: StoredReceiving(taken=half.taken, verdicts=tuple(half.verdicts.values()))
                for lane, half in self.receiving.items()
            },
        )


def _noticing(decode: Callable[P, T]) -> Callable[P, T]:
    """A damage that the check does not show, which happens once in 4 thousand million times, is one all the same."""

    @functools.wraps(decode)
    def noticing(*arguments: P.args, **keywords: P.kwargs) -> T:
        try:
            return decode(*arguments, **keywords)
        except (struct.error, ValueError, TypeError, OverflowError) as error:
            raise Damaged(f"a row makes no sense: {error}") from error

    return noticing


def _sealed(key: bytes, value: bytes) -> bytes:
    return _CHECK.pack(crc32(value, crc32(key))) + value


def _opened(key: bytes, sealed: bytes) -> memoryview:
    view = memoryview(sealed)
    if len(view) < _CHECK.size or _CHECK.unpack_from(view)[0] != crc32(view[_CHECK.size :], crc32(key)):
        raise Damaged("a row does not match its check")
    return view[_CHECK.size :]


def _key(table: bytes, id: bytes, *numbers: int) -> bytes:
    return table + id + b"".join(number.to_bytes(8, "big") for number in numbers)


def _pieces(view: memoryview, offset: int) -> Iterator[bytes]:
    while offset < len(view):
        (size,) = _CHECK.unpack_from(view, offset)
        offset += _CHECK.size
        yield bytes(view[offset : offset + size])
        offset += size


def encode_store(owner: bytes, seen: float, count: int) -> bytes:
    """Whose sessions they are, the latest time that the store knows of, and how often this was written."""
    return _sealed(b"store", _STORE.pack(seen, count) + owner)


@_noticing
def decode_store(sealed: bytes) -> tuple[bytes, float, int]:
    """Owner, time and count. @raise Damaged: when it was not written so."""
    view = _opened(b"store", sealed)
    return bytes(view[_STORE.size :]), *_STORE.unpack_from(view)


def encode_session(kept: Kept) -> bytes:
    """All but the lanes."""
    of = kept.identity
    fixed = _SESSION.pack(
        of.role,
        of.way,
        of.worker,
        of.generation,
        of.peer_incarnation,
        of.timeout,
        math.nan if kept.suspended is None else kept.suspended,
    )
    pieces = (of.secret, encode_name(of.name), of.peer_key, of.parameters)
    return _sealed(_key(b"session", of.id), fixed + b"".join(_CHECK.pack(len(piece)) + piece for piece in pieces))


@_noticing
def decode_session(id: bytes, sealed: bytes) -> Kept:
    """A session without its lanes. @raise Damaged: when it was not written so."""
    view = _opened(_key(b"session", id), sealed)
    role, way, worker, generation, incarnation, timeout, suspended = _SESSION.unpack_from(view)
    secret, name, peer_key, parameters = _pieces(view, _SESSION.size)
    identity = SessionIdentity(
        id=id,
        secret=secret,
        role=Role(role),
        name=name.decode("utf-8", "surrogatepass"),
        way=Way(way),
        generation=generation,
        peer_incarnation=incarnation,
        peer_key=peer_key,
        worker=worker,
        parameters=parameters,
        timeout=timeout,
    )
    return Kept(identity, None if math.isnan(suspended) else suspended)


def encode_name(name: str) -> bytes:
    """A session's name, whatever it holds."""
    return name.encode("utf-8", "surrogatepass")


def encode_sending(id: bytes, lane: int, half: Sending) -> bytes:
    """The sending half of a lane."""
    fixed = _SENDING.pack(*half.properties[:-1], half.settled, half.next)
    return _sealed(_key(b"sending", id, lane), fixed + b"".join(_RANGE.pack(*pair) for pair in _ranges(half.withdrawn)))


@_noticing
def decode_sending(id: bytes, lane: int, sealed: bytes) -> Sending:
    """Likewise. @raise Damaged: when it was not written so."""
    view = _opened(_key(b"sending", id, lane), sealed)
    ordered, delivery, priority, redundancy, settled, following = _SENDING.unpack_from(view)
    withdrawn: set[int] = set()
    for begin, end in _RANGE.iter_unpack(view[_SENDING.size :]):
        withdrawn.update(range(begin, end))
    properties = LaneProperties(bool(ordered), Delivery(delivery), priority, redundancy, durable=True)
    return Sending(properties, settled, following, withdrawn)


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    begin = end = -1
    for number in sorted(numbers):
        if number != end:
            if end >= 0:
                yield begin, end
            begin = number
        end = number + 1
    if end >= 0:
        yield begin, end


def encode_receiving(id: bytes, lane: int, half: Receiving) -> bytes:
    """The receiving half of a lane."""
    parts = [half.taken.to_bytes(8, "big")]
    for verdict in half.verdicts.values():
        text = verdict.text.encode("utf-8", "surrogatepass")
        parts += _VERDICT.pack(verdict.number, verdict.cleared, verdict.code, len(text)), text
    return _sealed(_key(b"receiving", id, lane), b"".join(parts))


@_noticing
def decode_receiving(id: bytes, lane: int, sealed: bytes) -> Receiving:
    """Likewise. @raise Damaged: when it was not written so."""
    view = _opened(_key(b"receiving", id, lane), sealed)
    half, offset = Receiving(int.from_bytes(view[:8], "big")), 8
    while offset < len(view):
        number, cleared, code, size = _VERDICT.unpack_from(view, offset)
        offset += _VERDICT.size
        text = str(view[offset : offset + size], "utf-8", "surrogatepass")
        offset += size
        half.verdicts[number] = Verdict(number, bool(cleared), code, text)
    return half


def rows(messages: Sequence[QueuedMessage]) -> Iterator[Sequence[QueuedMessage]]:
    """Messages in runs that share a row each: at most L{ROW_BYTES} of data unless it is a single one."""
    if len(messages) <= ROW_MESSAGES and sum(len(message.data) for message in messages) <= ROW_BYTES:
        yield messages
        return
    begin = size = 0
    for index, message in enumerate(messages):
        size += len(message.data)
        if index > begin and (size > ROW_BYTES or index - begin == ROW_MESSAGES):
            yield messages[begin:index]
            begin, size = index, len(message.data)
    yield messages[begin:]


def encode_messages(id: bytes, lane: int, first: int, messages: Sequence[QueuedMessage]) -> bytes:
    """The messages of one row, from the number C{first} on; at least one."""
    data, expires, notes = zip(*messages)
    count = len(data)
    flags = (_EXPIRING if expires.count(None) < count else 0) | (_NOTED if any(notes) else 0)
    parts = [_MESSAGES.pack(flags, count), struct.pack(f">{count}I", *map(len, data))]
    if flags & _EXPIRING:
        parts.append(struct.pack(f">{count}d", *(math.nan if time is None else time for time in expires)))
    if flags & _NOTED:
        parts += struct.pack(f">{count}H", *map(len, notes)), *notes
    parts += data
    return _sealed(_key(b"messages", id, lane, first, first + count), b"".join(parts))


@_noticing
def decode_messages(
    id: bytes, lane: int, first: int, stop: int, sealed: bytes, begin: int
) -> Iterator[tuple[int, QueuedMessage]]:
    """
    The messages of a row with their numbers, from the number C{begin} on; each is copied when its turn comes.

    @raise Damaged: when the row was not written so.
    """
    view = _opened(_key(b"messages", id, lane, first, stop), sealed)
    flags, count = _MESSAGES.unpack_from(view)
    if first + count != stop:
        raise Damaged("a row holds another number of messages than its key says")
    offset = _MESSAGES.size
    lengths = struct.unpack_from(f">{count}I", view, offset)
    offset += 4 * count
    expires: Sequence[float] = ()
    if flags & _EXPIRING:
        expires = struct.unpack_from(f">{count}d", view, offset)
        offset += 8 * count
    notes: list[int] = []
    if flags & _NOTED:
        noted = struct.unpack_from(f">{count}H", view, offset)
        notes = list(accumulate(noted, initial=offset + 2 * count))
        offset = notes[-1]
    ends = list(accumulate(lengths, initial=offset))
    if ends[-1] != len(view):
        raise Damaged("a row holds more or less than its messages")

    def message(index: int) -> QueuedMessage:
        time = expires[index] if expires else math.nan
        note = bytes(view[notes[index] : notes[index + 1]]) if notes else b""
        return QueuedMessage(bytes(view[ends[index] : ends[index + 1]]), None if math.isnan(time) else time, note)

    return ((first + index, message(index)) for index in range(max(0, begin - first), count))
