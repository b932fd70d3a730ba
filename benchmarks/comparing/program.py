"""
The process on one side of a measurement; L{benchmarks.comparing.measuring} starts it.

    python -m benchmarks.comparing.program listen|start TASK

It writes lines of JSON. A listener writes C{ready} when it listens, with what the starter must know; then its
C{usage} for each line that it reads. A starter reads that word first, and writes C{began} when its work can begin; the
work begins with the next line that it reads; C{over} comes with the result. A listener ends with its standard
input; a starter is ended.

A process that is to be profiled writes the profile when it gets C{SIGUSR1}, and C{profiled} then: a starter's is of its
work, a listener's of all that it does once it listens.
"""

from __future__ import annotations

import cProfile
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.comparing.work import unpack
from benchmarks.peers import PEERS

HOST = "127.0.0.1"
#: Names of files (PEM).
AUTHORITY, CERTIFICATE, KEY = "authority.pem", "certificate.pem", "key.pem"
#: Files that a process has open besides its connections' sockets.
OTHER_FILES = 256


def usage() -> dict[str, float]:
    """What this process has used until now: s of processor time of all threads, and bytes of memory."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"processor": spent.ru_utime + spent.ru_stime, "memory": pages * resource.getpagesize()}


@dataclass
class Task:
    """
    What this process is to do.

    @ivar arguments: of the peer.
    @ivar work: what is to be carried.
    @ivar identity: directory of the key and the certificate of all listeners of this run.
    @ivar profile: file for the profile of this process; None for no profile.
    @ivar word: what the listener has told, for the starter.
    """

    arguments: Mapping[str, Any]
    work: Any
    identity: str
    profile: str | None = None
    word: Any = None
    _profiler: cProfile.Profile = field(default_factory=cProfile.Profile)

    @property
    def authority(self) -> Path:
        """File of the only certificate that starters trust."""
        return Path(self.identity, AUTHORITY)

    @property
    def certificate(self) -> Path:
        """File of what that has issued for the listener."""
        return Path(self.identity, CERTIFICATE)

    @property
    def key(self) -> Path:
        """File of the listener's private key."""
        return Path(self.identity, KEY)

    def ready(self, word: Any) -> None:
        """Listening: the other side may start."""
        _write({"ready": word})
        self._begin_profile()

    def begin(self) -> None:
        """What is measured begins when this returns. Nothing else happens meanwhile."""
        _write({"began": usage()})
        sys.stdin.readline()
        self._begin_profile()

    def over(self, result: dict[str, Any]) -> None:
        """The work is over."""
        self._profiler.disable()
        _write({"over": result, "usage": usage()})

    def _begin_profile(self) -> None:
        if self.profile is not None:
            signal.signal(signal.SIGUSR1, self._write_profile)
            self._profiler.enable()

    def _write_profile(self, *_: object) -> None:
        assert self.profile is not None
        self._profiler.disable()
        self._profiler.dump_stats(self.profile)
        _write({"profiled": True})


def _write(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def attend() -> None:
    """Tell a listener's usage whenever it is asked for, and end with the standard input."""
    for _ in sys.stdin:
        _write({"usage": usage()})
    os._exit(0)


def allow_files() -> None:
    """Raise the limit of open files as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Run one side."""
    role, text = sys.argv[1:]
    fields = json.loads(text)
    peer = PEERS[fields.pop("peer")]
    task = Task(arguments=peer.arguments, work=unpack(fields.pop("work")), **fields)
    allow_files()
    room = import_module(f"benchmarks.peers.{peer.room}")
    if role == "listen":
        threading.Thread(target=attend, daemon=True).start()
        room.listen(task)
    else:
        task.word = json.loads(sys.stdin.readline())
        room.start(task)


if __name__ == "__main__":
    main()
