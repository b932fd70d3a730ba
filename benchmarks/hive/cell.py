"""
A cell: a program for the other ones here.

    python -m benchmarks.hive.cell tls|hypermail HOST PORT CERTIFICATE|PIN KEYFILE

What it answers:

=================  ==================================================================================================
C{/small}          100 bytes
C{/big}            1 MiB
C{/upload}         takes a body, and says how long it is
C{/quick/ID}       says the ID
C{/slow/ID}        1 MiB that depends on the ID, in 16 pieces, 0.1 s apart
C{/put/ID}         takes a body, and answers with its SHA-256 and the ID
C{/hold/ID}        says the ID after 3 s
C{/socket}         a WebSocket that says again what it is told
=================  ==================================================================================================
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner, textFileLogObserver

from hypermail import StarterTLS
from hypermail.hive.band import End
from hypermail.hive.cell.application import answer
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.queens import Queen
from hypermail.hive.descriptors import allow_many
from hypermail.hive.exchanges import Exchange
from hypermail.internet.credentials import readHiveKey, readTrustRoots

reactor: Any = global_reactor

SMALL = b"x" * 100
PIECE = 64 << 10
PIECES = 16
BIG = b"x" * PIECE

#: s between pieces, and that a request is held.
APART = 0.1
HOLD = 3.0

_ACCEPTED = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


def piece_of(name: str, number: int) -> bytes:
    """One of the pieces of what C{/slow/NAME} is."""
    digest = hashlib.sha256(f"{name} {number}".encode()).digest()
    return digest * (PIECE // len(digest))


def respond(exchange: Exchange, data: bytes) -> None:
    """A response in one piece."""
    exchange.respond(200, {"content-length": (str(len(data)),)})
    exchange.write(data)
    exchange.end()


class Upload:
    """Takes a body. @param done: is told its length and SHA-256."""

    def __init__(self, exchange: Exchange, done: Callable[[int, str], None], *, hashed: bool) -> None:
        self._done = done
        self._size = 0
        self._hash = hashlib.sha256() if hashed else None
        exchange.read(self)

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self._size += len(data)
        if self._hash is not None:
            self._hash.update(data)

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self._done(self._size, "" if self._hash is None else self._hash.hexdigest())

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""


class Echo:
    """The application's end of a WebSocket, for messages of at most 125 bytes (RFC 6455 §5)."""

    def __init__(self, exchange: Exchange) -> None:
        [key] = exchange.head.headers["sec-websocket-key"]
        accepted = b64encode(hashlib.sha1(key.encode() + _ACCEPTED).digest()).decode()
        self._exchange = exchange
        self._came = b""
        exchange.read(self)
        headers = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-accept": accepted}
        exchange.respond(101, {name: (value,) for name, value in headers.items()})

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self._came += data
        while len(self._came) >= 2 and len(self._came) >= 6 + (self._came[1] & 0x7F):
            end = 6 + (self._came[1] & 0x7F)
            frame, self._came = self._came[:end], self._came[end:]
            mask = frame[2:6]
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(frame[6:]))
            self._exchange.write(bytes((frame[0], len(payload))) + payload)

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self._exchange.end()

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""


def big(exchange: Exchange) -> None:
    """C{/big}: 1 MiB at once."""
    exchange.respond(200, {"content-length": (str(PIECES * PIECE),)})
    for _ in range(PIECES):
        exchange.write(BIG)
    exchange.end()


def slow(exchange: Exchange, name: str) -> None:
    """C{/slow/ID}."""
    exchange.respond(200, {"content-length": (str(PIECES * PIECE),)})
    numbers = iter(range(PIECES))

    def write() -> None:
        if exchange.over:
            loop.stop()
            return
        number = next(numbers)
        exchange.write(piece_of(name, number))
        if number == PIECES - 1:
            loop.stop()
            exchange.end()

    loop = LoopingCall(write)
    loop.start(APART)


def hold(exchange: Exchange, name: str) -> None:
    """C{/hold/ID}."""

    def write() -> None:
        if not exchange.over:
            respond(exchange, name.encode())

    reactor.callLater(HOLD, write)


def application(exchange: Exchange) -> None:
    """All that this cell answers by itself."""
    _, what, *rest = exchange.head.path.split("/")
    name = rest[0] if rest else ""
    if what == "small":
        respond(exchange, SMALL)
    elif what == "quick":
        respond(exchange, name.encode())
    elif what == "big":
        big(exchange)
    elif what == "upload":
        Upload(exchange, lambda size, _: respond(exchange, b"%d" % size), hashed=False)
    elif what == "put":
        Upload(exchange, lambda _, digest: respond(exchange, f"{digest} {name}".encode()), hashed=True)
    elif what == "slow":
        slow(exchange, name)
    elif what == "hold":
        hold(exchange, name)
    elif what == "socket":
        Echo(exchange)
    else:
        answer(exchange, 404)


def main() -> None:
    """Run from the command line, until killed."""
    parser = argparse.ArgumentParser(description="a cell, for benchmarks")
    parser.add_argument("way")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("trust")
    parser.add_argument("key")
    arguments = parser.parse_args()
    allow_many()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)])
    if arguments.way == "tls":
        queen = Queen.overTLS(arguments.host, arguments.port, trustRoots=readTrustRoots(arguments.trust))
    else:
        queen = Queen.overHypermail(arguments.host, arguments.port, security=StarterTLS(pin=arguments.trust))
    Cell(queen, readHiveKey(arguments.key), "@/", application).startService()
    reactor.run()


if __name__ == "__main__":
    main()
