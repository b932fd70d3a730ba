"""
What queen and cell say to each other, and how it is written (seed 002).

A frame is a length of 32 bits, big-endian, then that many bytes, of which the first is the kind and the others are the
payload: bytes of a body, or JSON. The length is read and written by L{hypermail.hive.reading}; here it is about what
follows it.

What the seed does not know is said between ends that both know it only. A cell says in L{IAm} that it does and a queen
in L{Accept}: keys that others pass over.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.fields import Lists, Told, lists, number, text, texts, told

#: Bytes of the largest frame that is read by default.
LARGEST = 16 << 20
#: Likewise, of JSON: a head of 64 KiB, some of it told three times, has less.
LARGEST_JSON = 1 << 20
#: Bytes of the largest frame of one who has not logged in.
LARGEST_STRANGE = 4_096
#: What a queen says of a request's body.
BODY, NO_BODY = 1, 2
#: What knows the extensions that are described here says so by this number.
EXTENSIONS = 1
#: What streams of hypermail are called that are a leash, and a band.
LEASH, BAND = b"leash", b"band"


class Kind(IntEnum):
    """The first byte of a frame."""

    I_AM = 0x00
    ACCEPT = 0x08
    MOUNT = 0x10
    UNMOUNT = 0x11
    NEED_BAND = 0x20
    REQUEST_HEAD = 0x30
    REQUEST_BODY = 0x31
    REQUEST_END = 0x32
    RESPONSE_WANT = 0x38
    RESPONSE_HEAD = 0x39
    RESPONSE_BODY = 0x3A
    RESPONSE_END = 0x3B
    # Extensions
    REFUSE = 0x09
    MOUNTED = 0x12
    MOUNT_REFUSED = 0x13
    LEAVE = 0x14
    HEARTBEAT = 0x21


class ConnectionKind(IntEnum):
    """What a cell opens."""

    CELL = 0
    BAND = 1


def _connection(value: object) -> ConnectionKind:
    try:
        return ConnectionKind(number(value))
    except ValueError:
        raise ValueError("0, of a cell, or 1, of a band") from None


def _port(value: object) -> int:
    port = number(value)
    if port > 65_535:
        raise ValueError("a port")
    return port


@dataclass(frozen=True)
class Frame(Told):
    """A frame whose payload is JSON. @cvar TERSE: whether an empty object is written as nothing."""

    KIND: ClassVar[Kind]
    TERSE: ClassVar[bool] = False

    def frame(self) -> bytes:
        """Kind and payload."""
        payload = self.encode()
        return bytes((self.KIND,)) + (b"" if self.TERSE and payload == b"{}" else payload)


@dataclass(frozen=True)
class IAm(Frame):
    """
    A cell: who connects. Its first frame.

    @ivar uuid: of the leash, for a band.
    @ivar key: the queen's for a leash, the leash's for a band.
    @ivar extensions: 0, or L{EXTENSIONS}.
    """

    KIND = Kind.I_AM
    connection: ConnectionKind = told("connKind", _connection)
    uuid: str = told("uuid", text)
    key: str = told("key", text)
    extensions: int = told("hypermail", number, ours=True)


@dataclass(frozen=True)
class Accept(Frame):
    """
    The queen: the connection is let in.

    @ivar uuid: of the leash.
    @ivar key: by which bands belong to it; empty for a band.
    @ivar extensions: 0, or L{EXTENSIONS}.
    @ivar queens: C{HOST:PORT} of all to whom the cell should keep a leash.
    """

    KIND = Kind.ACCEPT
    uuid: str = told("uuid", text)
    key: str = told("key", text)
    extensions: int = told("hypermail", number, ours=True)
    queens: tuple[str, ...] = told("queens", texts, ours=True)


@dataclass(frozen=True)
class Refuse(Frame):
    """An extension. The queen: the connection is not let in, and is closed. @ivar reason: for people."""

    KIND = Kind.REFUSE
    reason: str = told("reason", text)


@dataclass(frozen=True)
class Mount(Frame):
    """A cell: it wants the requests for a host and a path, and all below when that ends with a slash."""

    KIND = Kind.MOUNT
    host: str = told("host", text)
    path: str = told("path", text)


@dataclass(frozen=True)
class Unmount(Frame):
    """A cell: it wants them no more. Of nothing, which is all that the seed knows, means all of the leash's."""

    KIND = Kind.UNMOUNT
    host: str = told("host", text, ours=True)
    path: str = told("path", text, ours=True)


@dataclass(frozen=True)
class Mounted(Frame):
    """An extension. The queen: requests will come."""

    KIND = Kind.MOUNTED
    host: str = told("host", text)
    path: str = told("path", text)


@dataclass(frozen=True)
class MountRefused(Frame):
    """An extension. The queen: none will come. @ivar reason: for people."""

    KIND = Kind.MOUNT_REFUSED
    host: str = told("host", text)
    path: str = told("path", text)
    reason: str = told("reason", text)


@dataclass(frozen=True)
class Leave(Frame):
    """An extension. Either: no more requests, please; those that are running will be finished."""

    KIND = Kind.LEAVE


@dataclass(frozen=True)
class Heartbeat(Frame):
    """An extension. Either: are you there? Answered by the same. @ivar answer: 1 in the answer, else 0."""

    KIND = Kind.HEARTBEAT
    answer: int = told("answer", number)


@dataclass(frozen=True)
class NeedBand(Frame):
    """The queen: more bands, please. Cells of the seed's authors open one whatever the count is."""

    KIND = Kind.NEED_BAND
    count: int = told("count", number)


@dataclass(frozen=True)
class RequestHead(Frame):
    """
    The queen: a request.

    @ivar remote_address_real: who is connected.
    @ivar remote_address: who has asked, which differs behind a proxy that the queen trusts.
    @ivar path: without what the cell has mounted, decoded.
    @ivar query: decoded, by name.
    @ivar headers: by name, in lower case.
    @ivar cookies: by name.
    @ivar target: an extension: path and query as they were written, without what the cell has mounted.
    @ivar mount: an extension: the path that the cell has mounted.
    @ivar body: an extension: L{BODY} or L{NO_BODY}; 0 of a queen who does not say.
    """

    KIND = Kind.REQUEST_HEAD
    remote_address_real: str = told("remoteAddrReal", text)
    remote_address: str = told("remoteAddr", text)
    method: str = told("method", text)
    scheme: str = told("scheme", text)
    host: str = told("host", text)
    port: int = told("port", _port)
    path: str = told("path", text)
    fragment: str = told("fragment", text)
    query: Lists = told("query", lists)
    protocol: str = told("proto", text)
    protocol_major: int = told("protoMajor", number)
    protocol_minor: int = told("protoMinor", number)
    headers: Lists = told("headers", lists)
    cookies: Lists = told("cookies", lists)
    target: str = told("target", text, ours=True)
    mount: str = told("mount", text, ours=True)
    body: int = told("body", number, ours=True)


@dataclass(frozen=True)
class RequestEnd(Frame):
    """The queen: the body of the request is over. @ivar trailers: an extension."""

    KIND = Kind.REQUEST_END
    TERSE = True
    trailers: Lists = told("trailers", lists, ours=True)


@dataclass(frozen=True)
class ResponseWant(Frame):
    """A cell: it wants the body of the request. @ivar size: bytes that it takes at most."""

    KIND = Kind.RESPONSE_WANT
    size: int = told("maxSize", number)


@dataclass(frozen=True)
class ResponseHead(Frame):
    """A cell: the head of a response."""

    KIND = Kind.RESPONSE_HEAD
    status: int = told("statusCode", number)
    headers: Lists = told("headers", lists)


@dataclass(frozen=True)
class ResponseEnd(Frame):
    """A cell: the response is over. @ivar trailers: an extension."""

    KIND = Kind.RESPONSE_END
    TERSE = True
    trailers: Lists = told("trailers", lists, ours=True)


@dataclass(frozen=True)
class Body:
    """A frame whose payload is bytes of a body."""

    KIND: ClassVar[Kind]
    data: bytes

    def frame(self) -> bytes:
        """Kind and payload."""
        return bytes((self.KIND,)) + self.data


@dataclass(frozen=True)
class RequestBody(Body):
    """The queen: some of the body of a request."""

    KIND = Kind.REQUEST_BODY


@dataclass(frozen=True)
class ResponseBody(Body):
    """A cell: some of the body of a response."""

    KIND = Kind.RESPONSE_BODY


# By plain numbers: the hash of an enumeration's member is Python's to compute.
_FRAMES = {int(one.KIND): one for one in Frame.__subclasses__()}
_BODIES = {int(one.KIND): one for one in Body.__subclasses__()}


def decode(frame: bytes) -> Frame | Body:
    """
    Read what follows the length.

    @raise FrameInvalid: when it is no frame.
    """
    if not frame:
        raise FrameInvalid("a frame without a kind")
    body = _BODIES.get(frame[0])
    if body is not None:
        return body(frame[1:])
    kind = _FRAMES.get(frame[0])
    if kind is None:
        raise FrameInvalid(f"there are no frames of kind 0x{frame[0]:02x}")
    return kind.decode(frame[1:])
