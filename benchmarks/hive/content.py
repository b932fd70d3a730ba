"""
Bodies of any length, and the web server that gives and takes them: a program.

    python -m benchmarks.hive.content PORT

C{GET /content?SIZE} is so many bytes; C{POST /content?PAUSES} takes a body, stops reading for 5 s so often, and answers
with its SHA-256; C{GET /tick} says C{tick}.
"""

from __future__ import annotations

import hashlib
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator

BLOCK = 64 << 10
#: s that somebody does not read.
PAUSE = 5.0

_REST = bytes(range(256)) * (BLOCK // 256)


def blocks(size: int) -> Iterator[bytes]:
    """A body; no two of its blocks are the same."""
    for number in range(-(-size // BLOCK)):
        yield (number.to_bytes(8, "big") + _REST[8:])[: size - number * BLOCK]


def digest(size: int) -> str:
    """SHA-256 of a body, in hexadecimal."""
    found = hashlib.sha256()
    for block in blocks(size):
        found.update(block)
    return found.hexdigest()


class Pauses:
    """When to stop reading of a body, so that it is divided evenly."""

    def __init__(self, size: int, count: int) -> None:
        self._due = [size * number // (count + 1) for number in range(1, count + 1)]

    def reached(self, so_far: int) -> float:
        """So many bytes were read. @return: s for which nothing is to be read now."""
        if not self._due or so_far < self._due[0]:
            return 0.0
        self._due.pop(0)
        return PAUSE


class Incoming:
    """Bytes of a connection, as far as HTTP needs them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = b""

    def head(self) -> tuple[str, int]:
        """The next head. @return: its first line, and how long its body is. @raise EOFError: none comes."""
        while b"\r\n\r\n" not in self._held:
            some = self._sock.recv(BLOCK)
            if not some:
                raise EOFError("no head")
            self._held += some
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        return head.split(b"\r\n")[0].decode(), int(length[1]) if length else 0

    def some(self, most: int) -> bytes:
        """Some of a body. @raise EOFError: when none comes."""
        if not self._held:
            self._held = self._sock.recv(BLOCK)
            if not self._held:
                raise EOFError("no body")
        found, self._held = self._held[:most], self._held[most:]
        return found


def take(incoming: Incoming, size: int, pauses: int) -> str:
    """Read a body. @return: its SHA-256."""
    found, so_far, when = hashlib.sha256(), 0, Pauses(size, pauses)
    while so_far < size:
        some = incoming.some(size - so_far)
        found.update(some)
        so_far += len(some)
        time.sleep(when.reached(so_far))
    return found.hexdigest()


def _respond(sock: socket.socket, body: bytes) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def _serve(sock: socket.socket) -> None:
    incoming = Incoming(sock)
    try:
        while True:
            line, length = incoming.head()
            method, target, _ = line.split(" ")
            number = int(target.partition("?")[2] or 0)
            if target == "/tick":
                _respond(sock, b"tick")
            elif method == "POST":
                _respond(sock, take(incoming, length, number).encode())
            else:
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % number)
                for block in blocks(number):
                    sock.sendall(block)
    except (EOFError, OSError):
        sock.close()


def main() -> None:
    """Run from the command line, until killed."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1_000) as listening:
        print("it serves", flush=True)
        while True:
            threading.Thread(target=_serve, args=(listening.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
