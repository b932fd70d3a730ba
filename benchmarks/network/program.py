"""
The process on one side of a measurement; L{benchmarks.network.measuring} starts it.

    python -m benchmarks.network.program listen|start TASK

It writes lines of JSON: C{ready} when it listens, with what the starter must know; C{began} when its work begins;
C{over} when its work is over, with the result; and a C{report} for each line that it reads. When its standard input
ends it ends at once, so that nothing outlives who has started it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from time import process_time
from typing import Any

from benchmarks.network.peers import PEERS
from benchmarks.network.work import unpack

#: That the listeners' certificates are for.
NAME = "bench.example"


@dataclass
class Task:
    """
    What this process is to do.

    @ivar arguments: of the peer.
    @ivar host: the listener's address, or where the starter finds it.
    @ivar port: likewise.
    @ivar word: what the listener has told, for the starter.
    @ivar work: what is to be carried.
    @ivar options: of hypermail's sessions, besides.
    """

    arguments: dict[str, Any]
    host: str
    port: int
    word: str
    work: Any
    options: dict[str, Any]
    _processor: float = 0.0
    _statistics: Callable[[], dict[str, Any]] = field(default=dict)

    def ready(self, word: str = "") -> None:
        """Listening: the other side may start."""
        _write({"ready": word})

    def began(self, statistics: Callable[[], dict[str, Any]] = dict) -> None:
        """
        The handshake is over and the work begins: processor time counts from now on.

        @param statistics: what the transport knows of itself, for the report.
        """
        self._processor = process_time()
        self._statistics = statistics
        _write({"began": True})

    def over(self, result: dict[str, Any]) -> None:
        """The work is over."""
        _write({"over": result})

    def attend(self) -> None:
        """Answer reports, and end with the standard input."""
        for _ in sys.stdin:
            _write({"report": {"processor": process_time() - self._processor, "statistics": self._statistics()}})
        os._exit(0)


def _write(record: dict[str, Any]) -> None:
    # what a peer has in its statistics beyond numbers is shown as text
    sys.stdout.write(json.dumps(record, default=str) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run one side."""
    role, text = sys.argv[1:]
    fields = json.loads(text)
    peer = PEERS[fields.pop("peer")]
    task = Task(arguments=peer.arguments, **{**fields, "work": unpack(fields["work"])})
    threading.Thread(target=task.attend, daemon=True).start()
    room = import_module(f"benchmarks.network.peers.{peer.room}")
    (room.listen if role == "listen" else room.start)(task)


if __name__ == "__main__":
    main()
