"""
A worker as its parent sees it: its process, and the next one when that has ended.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from hypermail.services.paths import printable
from hypermail.services.processes.states import LIFE, Life, LifeInput
from hypermail.services.processes.talk import Lines, heard, readBack, said
from hypermail.services.taking import GRACE

FIRST_PAUSE = 0.25
LAST_PAUSE = 30.0
"""
Seconds until the next process starts, when one before it had not lasted: twice as long each time, from the first on to
the last. One that had lasted is followed at once.
"""

LASTING = 10.0
"""Seconds for which a process has to serve so that its end is not taken for that of a start in vain."""

PATIENCE = GRACE + 5.0
"""Seconds that a worker has to end when it is told to, before it is killed."""

ANSWERING = 2.0
"""Seconds that a worker has to answer."""


class Owner(Protocol):
    """Whoever has workers."""

    def workerReady(self, worker: WorkerLife) -> None:
        """It listens."""

    def takeAway(self, worker: WorkerLife, transfer: str) -> Deferred[None]:
        """It carries a transfer, which all others are to leave; fires when they have."""

    def workerDied(self, worker: WorkerLife, text: str, served: bool) -> None:
        """Its process has ended; C{text} tells how in one line. @param served: whether it had listened."""


#: Starts a worker's process, for a protocol. Raises L{OSError} when the system cannot.
Spawn = Callable[["WorkerLife", ProcessProtocol], IProcessTransport]


class WorkerLife:
    """
    One worker, over all of its processes.

    @param reactor: with processes.
    @param number: of the worker.
    @param orders: what each of its processes is told first.
    @ivar state: where it is in its life.
    @ivar pid: of its process, or None.
    @ivar restarts: how often another process has followed one that has ended.
    """

    _log = Logger()

    def __init__(self, reactor: Any, number: int, orders: bytes, spawn: Spawn, owner: Owner) -> None:
        self.number = number
        self.state = LIFE.initial
        self.pid: int | None = None
        self.restarts = 0
        self._reactor = reactor
        self._orders = orders
        self._spawn = spawn
        self._owner = owner
        self._transport: IProcessTransport | None = None
        self._failures = 0
        self._servingSince = 0.0
        self._refusal = ""
        self._call: IDelayedCall | None = None
        self._ended: list[Deferred[None]] = []
        self._asked = 0
        self._asks: dict[int, Deferred[Any]] = {}

    def start(self) -> None:
        """Start a process."""
        self._call = None
        self._enter(LifeInput.START)
        self._refusal = ""
        protocol = _Process(self, self._orders)
        try:
            self._transport = self._spawn(self, protocol)
        except OSError as error:
            self.died(f"could not be started: {error.strerror}")
        else:
            self.pid = self._transport.pid

    def _startAgain(self) -> None:
        self.restarts += 1
        self.start()

    def end(self) -> Deferred[None]:
        """Have it end, by force when it takes too long. @return: fires when it has."""
        if self.state is Life.OVER:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        if self.state is not Life.ENDING:
            self._end()
        return ended

    def _end(self) -> None:
        self._enter(LifeInput.END)
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self.state is Life.OVER:
            self._over()
        else:
            self._say("end")
            self._call = self._reactor.callLater(PATIENCE, self._kill)

    def _kill(self) -> None:
        self._call = None
        self._log.warn("worker {number} (process {pid}) does not end: it is killed", number=self.number, pid=self.pid)
        try:
            if self._transport is not None:
                self._transport.signalProcess(signal.SIGKILL)
        except ProcessExitedAlready:
            pass

    def _over(self) -> None:
        ended, self._ended = self._ended, []
        for deferred in ended:
            deferred.callback(None)

    def reload(self) -> None:
        """Have it read identity and trust again."""
        self._say("reload")

    def ask(self, kind: str, **fields: Any) -> Deferred[Any]:
        """
        Ask for something.

        @param kind: see L{hypermail.services.processes.talk}.
        @return: a Deferred of the answer; of None when it does not serve, or does not answer in time.
        """
        if self.state is not Life.SERVING:
            return succeed(None)
        self._asked += 1
        number, asking = self._asked, Deferred[Any]()
        self._asks[number] = asking
        self._say(kind, number=number, **fields)
        return asking.addTimeout(ANSWERING, self._reactor, lambda result, _: None).addBoth(self._answered, number)

    def _answered(self, result: Any, number: int) -> Any:
        self._asks.pop(number, None)
        return result

    def _say(self, kind: str, **fields: Any) -> None:
        if self._transport is not None:
            self._transport.write(said(kind, **fields))

    def _enter(self, input: LifeInput) -> None:
        self.state = LIFE.next(self.state, input)

    # What its process says

    def hear(self, line: bytes) -> None:
        """It has said something."""
        kind, fields = heard(line)
        if kind == "log":
            globalLogPublisher(readBack(fields["event"], f"worker {self.number}"))  # its log is ours
        elif kind == "ready":
            self._enter(LifeInput.READY)
            self._servingSince = self._reactor.seconds()
            if self.state is Life.SERVING:
                self._owner.workerReady(self)
        elif kind == "failed":
            self._refusal = fields["text"]
        elif kind == "answer":
            asking = self._asks.pop(fields["number"], None)
            if asking is not None:
                asking.callback(fields["value"])
        elif kind == "take":
            taking = self._owner.takeAway(self, fields["transfer"])
            taking.addCallback(lambda _: self._say("taken", number=fields["number"]))

    def complain(self, line: bytes) -> None:
        """It has written something on its standard error."""
        self._log.error(
            "worker {number}: {line}", number=self.number, line=printable(line.decode("utf-8", "replace").rstrip())
        )

    def died(self, how: str) -> None:
        """Its process has ended, or could not be started. @param how: what is told of it."""
        who = f"worker {self.number}" if self.pid is None else f"worker {self.number} (process {self.pid})"
        before, self.pid, self._transport = self.state, None, None
        self._enter(LifeInput.DIED)
        for asking in list(self._asks.values()):
            asking.callback(None)
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self.state is Life.OVER:
            self._over()
            return
        served = before is Life.SERVING
        if served and self._reactor.seconds() - self._servingSince >= LASTING:
            self._failures = 0
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), LAST_PAUSE) if self._failures else 0.0
        self._failures += 1
        self._call = self._reactor.callLater(pause, self._startAgain)
        when = f"in {pause:g} s" if pause else "now"
        self._log.error("{who} {how}; another one starts {when}", who=who, how=how, when=when)
        self._owner.workerDied(self, self._refusal or f"{who} {how}", served)


class _Process(ProcessProtocol):
    """A worker's process."""

    def __init__(self, worker: WorkerLife, orders: bytes) -> None:
        self._worker = worker
        self._orders = orders
        self._out = Lines()
        self._err = Lines()

    def connectionMade(self) -> None:
        """See L{ProcessProtocol}."""
        transport: Any = self.transport
        transport.write(self._orders)

    def outReceived(self, data: bytes) -> None:
        """See L{ProcessProtocol}."""
        for line in self._out.feed(data):
            self._worker.hear(line)

    def errReceived(self, data: bytes) -> None:
        """See L{ProcessProtocol}."""
        for line in self._err.feed(data):
            self._worker.complain(line)

    def processEnded(self, reason: Failure) -> None:
        """See L{ProcessProtocol}: all that it has said was heard."""
        rest = self._err.rest()
        if rest:
            self._worker.complain(rest)
        self._worker.died(_how(reason))


def _how(reason: Failure) -> str:
    """How a process has ended."""
    error = reason.value
    if isinstance(error, ProcessTerminated) and error.signal is not None:
        return f"was ended by signal {error.signal} ({signal.strsignal(error.signal)})"
    if isinstance(error, ProcessTerminated):
        return f"has ended with code {error.exitCode}"
    return "has ended"
