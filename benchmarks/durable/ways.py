"""
What is between the two programs of the kill runs: a relay on this machine, or two network namespaces and a bad network.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from threading import Timer
from typing import Any, Protocol

from benchmarks.durable.relay import HOST, Relay
from benchmarks.netemu import BadNetwork

#: ms one way, Mbit/s, % lost.
DELAY, RATE, LOSS = 20, 100, 1


class Way(Protocol):
    """
    From the till to the ledger.

    @ivar target: the port of the loopback interface where the ledger has to be.
    @ivar host: where the till has to go.
    @ivar port: likewise.
    """

    target: int
    host: str
    port: int

    def popen(self, name: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start C{till} or C{ledger} where it belongs. @param options: of C{Popen}."""

    def cutFor(self, seconds: float) -> None:
        """Nothing passes for so long."""

    def stop(self) -> int:
        """Nothing passes any more. @return: datagrams that a cut has cost."""


class Relayed:
    """Over loopback."""

    host = HOST

    def __init__(self) -> None:
        self.target = free()
        self._relay = Relay(self.target)
        self.port = self._relay.port
        self.cutFor = self._relay.cutFor

    def popen(self, name: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """See L{Way}."""
        return subprocess.Popen(argv, **options)

    def stop(self) -> int:
        """See L{Way}."""
        self._relay.stop()
        return self._relay.lost


class Namespaced:
    """Between two namespaces, in each of which there is nobody else."""

    port, target = 4700, 4701

    def __init__(self, seed: int) -> None:
        self._healing: Timer | None = None
        self._network = BadNetwork(delay=DELAY, rate=RATE, loss=LOSS, queue=4 * DELAY, seed=seed).__enter__()
        self.host = self._network.b.address
        relay = ["-m", "benchmarks.durable.relay", self.host, str(self.port), str(self.target)]
        self._network.popen("b", [sys.executable, *relay])

    def popen(self, name: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """See L{Way}."""
        return self._network.popen("a" if name == "till" else "b", argv, **options)

    def cutFor(self, seconds: float) -> None:
        """See L{Way}."""
        if self._healing is not None:
            self._healing.join()
        self._network.change(on=0, off=1)
        self._healing = Timer(seconds, self._network.change, kwargs={"off": 0})
        self._healing.start()

    def stop(self) -> int:
        """See L{Way}."""
        if self._healing is not None:
            self._healing.join()
        lost = sum(count.blackholed for count in self._network.count())
        self._network.close()
        return lost


def free() -> int:
    """A port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])
