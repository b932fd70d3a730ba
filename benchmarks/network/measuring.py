"""
One measurement: a network, a listener in namespace b, a starter in namespace a, and what they report.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.netemu import BadNetwork
from benchmarks.network.work import Openings, Work, pack
from benchmarks.talking import ANSWERING, Talking
from benchmarks.talking import MeasurementFailed as MeasurementFailed

CHECKOUT = Path(__file__).resolve().parents[2]
PORT = 4700

#: s that a process may take to begin, and to open its connection through a bad network.
BEGINNING = 60.0


class Program(Talking):
    """
    A process in a namespace that writes lines of JSON; a context manager, which kills it.

    @param what: for errors.
    @param module: of C{benchmarks.network}.
    """

    def __init__(self, network: BadNetwork, side: Any, what: str, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"benchmarks.network.{module}", *arguments]
        super().__init__(what, partial(network.popen, side, command, cwd=CHECKOUT))

    def __enter__(self) -> Program:
        return self

    def report(self) -> Any:
        """Processor time and statistics until now."""
        self.say("")
        return self.told("report", ANSWERING)


class Flow:
    """
    A peer's two processes and their work; a context manager.

    @param peer: its key.
    @param port: of the listener.
    @param through: (host, port) at which the starter calls; the listener's by default.
    @param options: of hypermail's sessions, besides.
    """

    def __init__(
        self,
        network: BadNetwork,
        peer: str,
        work: Work,
        *,
        port: int = PORT,
        through: tuple[str, int] | None = None,
        options: Mapping[str, Any] = {},
    ) -> None:
        self._network = network
        self._work = work
        self._peer = peer
        self._port = port
        self._through = through or (network.b.address, port)
        self._task = {"peer": peer, "work": pack(work), "options": dict(options)}
        self._programs: list[Program] = []

    def __enter__(self) -> Flow:
        """
        Listen, and start.

        @raise MeasurementFailed: when the listener does not listen.
        """
        try:
            listener = self._program("b", "listen", self._network.b.address, self._port, "")
            word = listener.told("ready", BEGINNING)
            self._program("a", "start", *self._through, word)
        except BaseException:
            self.end()
            raise
        return self

    def _program(self, side: str, role: str, host: str, port: int, word: str) -> Program:
        task = {**self._task, "host": host, "port": port, "word": word}
        program = Program(self._network, side, f"{self._peer}, {role}", "program", role, json.dumps(task))
        self._programs.append(program)
        return program

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End both."""
        for program in self._programs:
            program.__exit__(None, None, None)
        self._programs.clear()

    def wait(self) -> None:
        """Wait until the starter has begun with the work. @raise MeasurementFailed: when it doesn't."""
        self._programs[1].told("began", BEGINNING)

    def result(self) -> dict[str, Any]:
        """
        Wait until the work is over.

        @return: the result, with C{starter} and C{listener}: processor time and statistics.
        @raise MeasurementFailed: when a process fails, or takes too long.
        """
        listener, starter = self._programs
        tells = starter if isinstance(self._work, Openings) else listener
        try:
            found = tells.told("over", BEGINNING + self._work.longest)
        except MeasurementFailed as error:
            # what went wrong on the one side may have begun on the other
            (other,) = (program for program in self._programs if program is not tells)
            other.report()
            raise error
        return {**found, "starter": starter.report(), "listener": listener.report()}


def measure(
    peer: str,
    work: Work,
    conditions: Mapping[str, Any],
    changes: Mapping[str, Any] | None = None,
    after: float = 0.0,
    **flow: Any,
) -> dict[str, Any]:
    """
    One flow through a network of its own.

    @param conditions: of L{BadNetwork}.
    @param changes: of these conditions, while it flows.
    @param after: s after the work has begun, at which they change.
    @param flow: of L{Flow}.
    @return: its result, with what became of the packets of both directions.
    """
    with BadNetwork(**conditions) as network:
        with Flow(network, peer, work, **flow) as running:
            if changes:
                running.wait()
                time.sleep(after)
                network.change(**changes)
            found = running.result()
            forth, back = network.count()
        return {**found, "forth": counted(forth), "back": counted(back)}


def counted(counts: Any) -> dict[str, int]:
    """What is kept of the emulator's counts."""
    names = ("entered", "lost", "overflowed", "blackholed", "corrupted", "reordered")
    return {name: getattr(counts, name) for name in names}
