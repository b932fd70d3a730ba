"""
Many WebSockets through one cell, opened at a rate, idle for longer than any timeout of the queen's; then a message on
each has to come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import time
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.hive.scene import WAYS, Hive
from hypermail.hive.descriptors import allow_many

#: Those that are open before memory is looked at.
WARM = 100
#: s that one may take to open, and a message to come back.
PATIENCE = 30.0
#: s of quiet before memory is looked at.
SETTLING = 3.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--count", type=int, default=4_000, help="of WebSockets [4000]")
    parser.add_argument("--rate", type=float, default=200, help="opened per second [200]")
    parser.add_argument("--idle", type=float, default=130, help="s without a word [130]")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Measure all of it."""
    allow_many()
    rows = []
    for way in options.ways:
        with Hive(directory / way) as hive:
            row = {"way": way, "idle": options.idle, **asyncio.run(_measure(hive, way, options))}
        print(json.dumps(row), flush=True)
        rows.append(row)
    failed = sum(row["failed"] for row in rows)
    lost = sum(row["lost"] for row in rows)
    return {
        "rows": rows,
        "goals": [
            {"goal": f"{options.count:,} are opened", "found": f"{failed} failed", "holds": not failed},
            {"goal": f"none is lost within {options.idle:.0f} s", "found": f"{lost} were", "holds": not lost},
        ],
    }


class Sockets:
    """WebSockets to one server."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self.open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.reasons: Counter[str] = Counter()  # of those that have failed

    async def open_many(self, count: int, rate: float) -> None:
        """Open so many at that rate, per second."""
        began = time.monotonic()
        opening = []
        for number in range(count):
            early = began + number / rate - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            opening.append(asyncio.create_task(self._open()))
        await asyncio.gather(*opening)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                self.open.append(await self._opened())
        except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.reasons[type(error).__name__ + f": {error}".partition("\r")[0]] += 1

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._address, self._port, ssl=self._context, limit=4_096)
        fields = {
            "Host": "localhost",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"GET /socket HTTP/1.1\r\n{head}\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101 "):
            writer.transport.abort()
            raise EOFError(answer.decode())
        return reader, writer

    async def echo(self) -> int:
        """Say something on each. @return: how many have not said it again."""
        told = await asyncio.gather(*(_echo(number, *one) for number, one in enumerate(self.open)))
        return told.count(False)

    def close(self) -> None:
        """Close all of them."""
        for _, writer in self.open:
            writer.transport.abort()


async def _echo(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    text, mask = b"message %d" % number, os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(bytes((0x81, 0x80 | len(text))) + mask + masked)  # RFC 6455 §5.2
            return await reader.readexactly(2 + len(text)) == bytes((0x81, len(text))) + text
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def _measure(hive: Hive, way: str, options: argparse.Namespace) -> dict[str, Any]:
    queen, cell = hive.queen(), hive.cell(way)
    sockets = Sockets(hive.address, hive.https)
    await sockets.open_many(WARM, options.rate)
    await asyncio.sleep(SETTLING)
    before = [program.usage() for program in (queen, cell)]
    began = time.monotonic()
    await sockets.open_many(options.count, options.rate)
    seconds = time.monotonic() - began
    await asyncio.sleep(SETTLING)
    after = [program.usage() for program in (queen, cell)]
    await asyncio.sleep(options.idle)
    began = time.monotonic()
    lost = await sockets.echo()
    echoing = time.monotonic() - began
    each = [(late.memory - early.memory) / options.count for early, late in zip(before, after, strict=True)]
    processor = [late.seconds - early.seconds for early, late in zip(before, after, strict=True)]
    sockets.close()
    return {
        "opened": len(sockets.open) - WARM,
        "seconds": seconds,
        "failed": sockets.reasons.total(),
        "reasons": sockets.reasons,
        "lost": lost,
        "echoing": echoing,
        "queen_memory": each[0],
        "cell_memory": each[1],
        "queen_peak": after[0].peak,
        "cell_peak": after[1].peak,
        "queen_processor": processor[0],
        "cell_processor": processor[1],
    }
