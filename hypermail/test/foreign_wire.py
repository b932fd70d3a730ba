"""
What the foreign ends of the hive's protocol have in common: frames on a TLS socket.

Written from C{hive.md} and seed 002 alone, with plain sockets, and with nothing of ours: neither C{hypermail} nor
Twisted is imported, so that a mistake of ours cannot be in both ends. A foreign end lives in threads. No call of this
module waits longer than its deadline, and whoever waits is woken by L{FrameSocket.abort}.
"""

from __future__ import annotations

import contextlib
import enum
import json
import select
import socket
import ssl
import struct
import threading
import time
from typing import Any

DEADLINE = 20.0
"""How long anything may take, in seconds: much more than it does, and much less than a test may."""


class Kind(enum.IntEnum):
    """The kinds of frames, all of them (hive.md, "Wire")."""

    IAM = 0x00
    ACCEPT = 0x08
    MOUNT = 0x10
    UNMOUNT = 0x11
    NEED_BAND = 0x20
    REQ_HEAD = 0x30
    REQ_BODY = 0x31
    REQ_END = 0x32
    RES_WANT = 0x38
    RES_HEAD = 0x39
    RES_BODY = 0x3A
    RES_END = 0x3B


Frame = tuple[int, bytes]
"""A frame: its kind and its payload."""


class Violation(Exception):
    """The other end did what hive.md does not allow."""


def to_json(content: dict[str, Any]) -> bytes:
    """
    Write an object as Go's encoding/json does: without spaces, in UTF-8, and with what HTML would mistake for markup
    escaped.

    @param content: The object; its keys keep their order.
    """
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8")


def from_json(payload: bytes) -> dict[str, Any]:
    """
    Read an object, and ignore what is unknown in it, as Go does.

    @raise Violation: It is not an object in JSON.
    """
    try:
        content = json.loads(payload)
    except ValueError:
        raise Violation(f"not JSON: {payload!r}") from None
    if not isinstance(content, dict):
        raise Violation(f"not an object: {payload!r}")
    return content


def frame(kind: int, payload: bytes | dict[str, Any] = b"") -> bytes:
    """
    Write a frame: its length, big-endian in four bytes, its kind in one, its payload.

    @param payload: Bytes, or an object that is sent as JSON.
    """
    data = payload if isinstance(payload, bytes) else to_json(payload)
    return struct.pack(">IB", len(data) + 1, kind) + data


class FrameSocket:
    """
    Frames on one TLS connection. One thread reads, any may write.

    OpenSSL does not allow two threads in one connection at a time: the lock is only held while it is at work, and never
    while something waits for the network.

    @ivar closed: Whether this end has left.
    @ivar came: Every frame that came, in its order.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._buffer = bytearray()
        self.closed = False
        self.came: list[Frame] = []

    def send(self, kind: int, payload: bytes | dict[str, Any] = b"", timeout: float = DEADLINE) -> None:
        """Send a frame (see L{frame})."""
        self.send_bytes(frame(kind, payload), timeout)

    def send_bytes(self, data: bytes, timeout: float = DEADLINE) -> None:
        """
        Send bytes as they are, be they frames or not.

        @raise OSError: The connection is lost.
        @raise TimeoutError: The other end does not read.
        """
        until = time.monotonic() + timeout
        rest = memoryview(data)
        with self._turn:
            while rest:
                try:
                    with self._lock:
                        rest = rest[self._connection.send(rest[:16384]) :]
                except ssl.SSLWantReadError:
                    self._wait(until)
                except ssl.SSLWantWriteError:
                    self._wait(until, writing=True)

    def receive(self, timeout: float = DEADLINE) -> Frame:
        """
        Wait for the next frame.

        @raise EOFError: The other end, or this one, has closed the connection.
        @raise TimeoutError: Nothing came in time.
        @raise Violation: The frame has no kind.
        """
        until = time.monotonic() + timeout
        self._fill(4, until)
        (length,) = struct.unpack_from(">I", self._buffer)
        if length == 0:
            raise Violation("a frame of length 0")
        self._fill(4 + length, until)
        got = self._buffer[4], bytes(self._buffer[5 : 4 + length])
        del self._buffer[: 4 + length]
        self.came.append(got)
        return got

    def expect(self, kind: Kind, timeout: float = DEADLINE) -> bytes:
        """
        Wait for the next frame, which must be of this kind.

        @return: Its payload.
        @raise Violation: It is of another kind.
        """
        got, payload = self.receive(timeout)
        if got != kind:
            raise Violation(f"a frame of kind {got:#04x} where {kind.name} is due")
        return payload

    def ended(self, timeout: float = DEADLINE) -> bytes:
        """
        Wait until the other end has closed the connection.

        @return: What it sent before, if anything.
        @raise TimeoutError: It has not closed in time.
        """
        until = time.monotonic() + timeout
        with contextlib.suppress(EOFError):
            self._fill(1 << 62, until)
        return bytes(self._buffer)

    def abort(self) -> None:
        """
        Leave, from any thread, as the kernel does for a process that is killed: TLS is not told. Whoever reads or
        writes here learns of it at once.
        """
        self.closed = True
        with contextlib.suppress(OSError):
            # Not ssl's own shutdown, which would let plain reads see what is encrypted.
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the descriptor back, when no thread uses it any more."""
        self.closed = True
        self._connection.close()

    def _fill(self, size: int, until: float) -> None:
        """Read until C{size} bytes are there."""
        while len(self._buffer) < size:
            try:
                with self._lock:
                    data = b"" if self.closed else self._connection.recv(65536)
            except ssl.SSLWantReadError:
                self._wait(until)
                continue
            except ssl.SSLWantWriteError:
                self._wait(until, writing=True)
                continue
            except OSError:
                data = b""
            if not data:
                raise EOFError("the connection is closed")
            self._buffer += data

    def _wait(self, until: float, *, writing: bool = False) -> None:
        """Wait until the network allows more."""
        if self.closed:
            raise EOFError("the connection is closed")
        # Not select(), which knows no descriptor above 1,023.
        poll = select.poll()
        poll.register(self._connection, select.POLLOUT if writing else select.POLLIN)
        if not poll.poll(max(0, until - time.monotonic()) * 1000):
            raise TimeoutError("the other end lets us wait")


def connect(address: tuple[str, int], context: ssl.SSLContext, name: str) -> FrameSocket:
    """
    Connect by TLS.

    @param name: The name, or the address, that the certificate must bear.
    @raise OSError: There is nobody, or TLS fails.
    """
    plain = socket.create_connection(address, DEADLINE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return FrameSocket(context.wrap_socket(plain, server_hostname=name))


def join(threads: list[threading.Thread]) -> None:
    """
    Wait until threads have ended, also those that they start meanwhile.

    @param threads: A list that they themselves append to.
    @raise TimeoutError: They do not end.
    """
    until = time.monotonic() + DEADLINE
    for thread in threads:
        if thread is threading.current_thread():
            continue
        thread.join(max(0, until - time.monotonic()))
        if thread.is_alive():
            raise TimeoutError("a thread does not end")
