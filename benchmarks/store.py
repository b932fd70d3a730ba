"""
Durable messages per second of the store alone, beside a file to which the same bytes are appended with one fsync per
group.

    python -m benchmarks.store [--seconds 5] [--size 200] [--group 2000] [--turn 1] [--directory DIR]

One process. Groups of the store are what waits while the one before is written: messages of one lane, as many as
C{--group} wait at most, one call of C{write} for each ten. Each line is first with an idle reactor, then with one that
is never idle: it reckons for C{--turn} ms in each of its turns.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.task import LoopingCall, react

from hypermail.messages.lanes import LaneProperties
from hypermail.options import Role, Way
from hypermail.services.store import openedStore
from hypermail.services.workers import Workers
from hypermail.session.journal import LaneUsed, Queued, QueuedMessage, SessionIdentity, Settled, Taken

#: Messages of one call of C{write}.
CALL = 10
ID = bytes(16)
IDENTITY = SessionIdentity(
    id=ID,
    secret=bytes(32),
    role=Role.LISTENER,
    name="",
    way=Way.TWO_WAY,
    generation=0,
    peer_incarnation=0,
    peer_key=b"",
    worker=0,
    parameters=b"",
    timeout=3600.0,
)


async def paced(write: Callable[[int], Deferred[Any]], seconds: float, group: int) -> tuple[float, float]:
    """
    Write L{CALL} messages at a time, from the number that C{write} is called with on, with a group on the way.

    @return: messages per s; s to wait.
    """
    room = DeferredSemaphore(max(1, group // CALL))
    began = time.monotonic()
    waits: list[float] = []
    pending: list[Deferred[Any]] = []
    number = 0
    while time.monotonic() - began < seconds:
        await room.acquire()
        asked = time.monotonic()

        def written(_: None, asked: float = asked) -> None:
            waits.append(time.monotonic() - asked)
            room.release()

        pending.append(write(number).addCallback(written))
        number += CALL
    await gatherResults(pending)
    return number / (time.monotonic() - began), sorted(waits)[len(waits) // 2]


async def queue(store: Any, seconds: float, group: int, messages: list[QueuedMessage]) -> tuple[float, float]:
    """Queue messages, and settle them as a peer would that is one group behind. @return: as L{paced}."""
    await store.write([IDENTITY, LaneUsed(ID, 0, LaneProperties())])

    def write(number: int) -> Deferred[Any]:
        return store.write([Queued(ID, 0, number, messages), Settled(ID, 0, max(0, number - group))])

    return await paced(write, seconds, group)


async def take(store: Any, seconds: float, group: int) -> tuple[float, float]:
    """The same of a receiver, which only writes down up to where it has taken."""
    return await paced(lambda number: store.write([Taken(ID, 1, number + CALL, ())]), seconds, group)


def append(path: Path, seconds: float, group: int, size: int) -> tuple[float, float]:
    """The limit: bytes in a file, and one fsync for each group."""
    content = os.urandom(group * size)
    began = time.monotonic()
    count = 0
    with open(path, "wb", buffering=0) as file:
        while time.monotonic() - began < seconds:
            file.write(content)
            os.fsync(file.fileno())
            count += 1
    elapsed = time.monotonic() - began
    return count * group / elapsed, elapsed / count


def reckon(turn: float) -> None:
    """What a busy reactor does, for so many s."""
    until = time.monotonic() + turn
    while time.monotonic() < until:
        pass


async def main(reactor: Any, arguments: argparse.Namespace) -> None:
    """Run it."""
    seconds, group, size = arguments.seconds, arguments.group, arguments.size
    messages = [QueuedMessage(os.urandom(size), None, b"") for _ in range(CALL)]
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        here = Path(directory)

        def tell(what: str, found: tuple[float, float]) -> None:
            print(f"{what:28} {found[0]:11,.0f} messages/s   {found[1] * 1e3:6.1f} ms until durable", flush=True)

        print(f"messages of {size} bytes, {group} of them wait at most")
        tell("append and fsync", append(here / "appended", seconds, group, size))
        works: list[tuple[str, Callable[[Any], Any]]] = [
            ("queued", lambda store: queue(store, seconds, group, messages)),
            ("taken", lambda store: take(store, seconds, group)),
        ]
        for name in ("idle", "busy"):
            workers = Workers(reactor, threads=1, name="store")
            workers.start()
            store = await openedStore(here / f"{name}.db", b"", run=workers.run, now=time.time)
            busy = LoopingCall(reckon, arguments.turn / 1e3)
            busy.clock = reactor
            if name == "busy":
                busy.start(0)
            for work, run in works:
                tell(f"{work}, reactor {name}", await run(store))
            if name == "busy":
                busy.stop()
            await store.close()
            await workers.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each line [5]")
    parser.add_argument("--size", type=int, default=200, help="bytes of a message [200]")
    parser.add_argument("--group", type=int, default=2000, help="messages that wait at most [2000]")
    parser.add_argument("--turn", type=float, default=1.0, help="ms of a busy reactor [1]")
    parser.add_argument("--directory", help="on the disk in question [that of temporary files]")
    parsed = parser.parse_args()
    react(main, [parsed])
