"""
A client that checks what it is told, and knows a clean error from others. Code of hypermail's has no part in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import ssl
import time
from dataclasses import dataclass
from typing import Any

import h11

from benchmarks.hive.cell import APART, BIG, PIECE, PIECES, piece_of

_CLEAN = {404: "absent", 502: "refused", 503: "refused"}


@dataclass(frozen=True)
class Outcome:
    """
    What has become of a request.

    @ivar name: C{right}; C{refused}, by 502 or 503; C{absent}, by 404; C{cut}, when there was no connection any more;
        C{gone}, when this client did not want to wait; C{hung}, when nothing came of it; C{wrong}: everything else.
    @ivar detail: for people, when that is bad.
    """

    name: str
    seconds: float
    detail: str = ""


class _Wrong(Exception):
    """What came is not what should have."""


class Asker:
    """
    Asks one server.

    @param longest: s that a client waits.
    """

    def __init__(self, address: str, port: int, longest: float) -> None:
        self._address, self._port, self._longest = address, port, longest
        self._numbers = itertools.count()
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    async def ask(
        self, kind: str, patience: float | None = None, apart: float = APART, together: asyncio.Barrier | None = None
    ) -> Outcome:
        """
        Make a request, on a connection of its own.

        @param kind: see L{benchmarks.hive.cell}.
        @param patience: s after which this client goes away without a word.
        @param apart: s between the pieces of an upload.
        @param together: with whom to begin, once all have their connections.
        """
        name = f"{kind}-{next(self._numbers)}"
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._longest if patience is None else patience):
                found = await self._request(kind, name, apart, together)
        except TimeoutError:
            found = "hung" if patience is None else "gone"
        except (OSError, EOFError, h11.RemoteProtocolError, ssl.SSLError):
            found = "cut"
        except _Wrong as error:
            return Outcome("wrong", time.monotonic() - began, f"{name}: {error}")
        return Outcome(found, time.monotonic() - began, name)

    async def _request(self, kind: str, name: str, apart: float, together: asyncio.Barrier | None) -> str:
        reader, writer = await asyncio.open_connection(self._address, self._port, ssl=self._context)
        sending: asyncio.Task[None] | None = None
        try:
            if together is not None:
                await together.wait()
            http = h11.Connection(h11.CLIENT)
            upload = kind == "put"
            headers = [("host", "localhost"), ("content-length", str(PIECE * PIECES if upload else 0))]
            request = h11.Request(method="POST" if upload else "GET", target=f"/{kind}/{name}", headers=headers)
            writer.write(http.send(request) or b"")
            if upload:
                sending = asyncio.create_task(_send(writer, name, apart))
            status, body = await _response(reader, http)
        finally:
            if sending is not None:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await sending
            writer.transport.abort()
        if status in _CLEAN:
            return _CLEAN[status]
        if status != 200:
            raise _Wrong(f"status {status}: {body[:100]!r}")
        if body != expected(kind, name):
            raise _Wrong(f"{len(body):,} bytes that begin with {body[:100]!r}")
        return "right"


async def _send(writer: asyncio.StreamWriter, name: str, apart: float) -> None:
    for number in range(PIECES):
        writer.write(piece_of(name, number))
        await writer.drain()
        await asyncio.sleep(apart)


async def _response(reader: asyncio.StreamReader, http: h11.Connection) -> tuple[int, bytes]:
    status, body = 0, []
    while True:
        event: Any = http.next_event()
        if event is h11.NEED_DATA:
            some = await reader.read(PIECE)
            if not some and http.their_state is h11.SEND_RESPONSE:
                raise EOFError("no response")
            http.receive_data(some)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return status, b"".join(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise EOFError("no response")


def expected(kind: str, name: str) -> bytes:
    """What the right answer is."""
    if kind == "big":
        return BIG * PIECES
    if kind not in ("slow", "put"):
        return name.encode()
    whole = b"".join(piece_of(name, number) for number in range(PIECES))
    return whole if kind == "slow" else f"{hashlib.sha256(whole).hexdigest()} {name}".encode()
