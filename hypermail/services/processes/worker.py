"""
The process of a worker: C{python -m hypermail.services.processes.worker}, which only a parent starts.

It is a listener like any other, on the sockets that it was given, whose log and status are the parent's. It ends in
order when the parent says so, when it gets a SIGTERM, and when the parent is gone, however that has ended.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from socket import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from hypermail.services.processes.orders import Orders
from hypermail.services.processes.talk import Lines, heard, said, written

if TYPE_CHECKING:  # nothing may import a reactor before the parent's one is installed
    from hypermail.internet.strays import Strays
    from hypermail.services.listener import ListenerService
    from hypermail.services.status import Status

FLUSHING = 2.0
"""Seconds that the parent has to take the last words."""


def main() -> None:
    """Work until the parent says that it is enough."""
    line, rest = firstLine(0)
    if not line:
        return
    orders = Orders.decode(line)
    inside, outside = withdrawn(0), withdrawn(1)
    import_module(orders.reactor).install()

    from twisted.internet import reactor, stdio

    loop: Any = reactor
    program = WorkerProgram(loop, orders)
    talk = program.talk = Talk(program.hear, program.stop)
    connect: Any = stdio.StandardIO
    connect(talk, stdin=inside, stdout=outside, reactor=loop)
    talk.dataReceived(rest)
    observer: Any = program.log
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    loop.callWhenRunning(program.begin)
    loop.addSystemEventTrigger("before", "shutdown", program.end)
    # What a terminal sends to all of its processes is the parent's to understand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    loop.run()
    sys.exit(program.code)


def firstLine(descriptor: int) -> tuple[bytes, bytes]:
    """The first line of what can be read, which is empty when there is none, and what has come behind it."""
    data = b""
    while b"\n" not in data:
        more = os.read(descriptor, 65_536)
        if not more:
            return b"", b""
        data += more
    line, _, rest = data.partition(b"\n")
    return line, rest


def withdrawn(descriptor: int) -> int:
    """Standard input or output under another number: nobody reads the one by accident, and prints to the other."""
    moved = os.dup(descriptor)
    if descriptor:
        os.dup2(2, descriptor)
    else:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, descriptor)
        os.close(nothing)
    return moved


class Talk(Protocol):
    """
    What is said to the parent, and by it.

    @param told: called with kind and fields of what it says.
    @param gone: called when it says no more.
    """

    def __init__(self, told: Callable[[str, dict[str, Any]], object], gone: Callable[[], object]) -> None:
        self._told = told
        self._gone = gone
        self._lines = Lines()
        self._finished: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        for line in self._lines.feed(data):
            self._told(*heard(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}: the parent is gone, or has heard everything."""
        self.connected = 0
        finished, self._finished = self._finished, None
        if finished is None:
            self._gone()
        else:
            finished.callback(None)

    def say(self, kind: str, **fields: Any) -> None:
        """Say something, if there is still somebody."""
        if self.transport is not None:
            self.transport.write(said(kind, **fields))

    def finish(self, reactor: Any) -> Deferred[None] | None:
        """Say no more. @return: fires when all was taken, or too much time has passed."""
        if self.transport is None or not self.connected:
            return None
        finished = self._finished = Deferred()
        self.transport.loseConnection()
        return finished.addTimeout(FLUSHING, reactor, lambda result, _: None)


class WorkerProgram:
    """
    What a worker's process does.

    @ivar talk: with the parent.
    @ivar code: that the process ends with.
    """

    talk: Talk

    _log = Logger()

    def __init__(self, reactor: Any, orders: Orders) -> None:
        self.code = 0
        self._reactor = reactor
        self._orders = orders
        self._ending = False
        self._listener: ListenerService | None = None
        self._status: Status | None = None
        self._strays: Strays | None = None
        self._asked = 0
        self._taking: dict[int, Deferred[None]] = {}

    def log(self, event: Any) -> None:
        """A log observer: the parent writes it down."""
        self.talk.say("log", event=written(event))

    def begin(self) -> None:
        """The reactor runs."""
        from hypermail.services.ending import CannotStart

        signal.signal(signal.SIGTERM, lambda number, frame: self._reactor.callFromThread(self.stop))
        try:
            self._begin()
        except CannotStart as error:
            self._failed(error.text)
        except Exception as error:
            self._log.failure("the worker cannot start")
            self._failed(f"worker {self._orders.worker} cannot start: {error}")
        else:
            self.talk.say("ready")

    def _failed(self, text: str) -> None:
        self.code = 1
        self.talk.say("failed", text=text)
        self.stop()

    def _begin(self) -> None:
        from hypermail.demux import Share
        from hypermail.internet.strays import Strays, Worker
        from hypermail.services.listener import ListenerService, Place
        from hypermail.services.status import Status
        from hypermail.services.tap import Command, doingOf

        orders = self._orders
        options = Command()
        options.parseOptions(orders.arguments)
        inner, *outer = map(_adopted, (orders.inner, *orders.outer))
        self._strays = Strays(self._reactor, inner, outer)
        sockets = [_adopted(number) for number in orders.sockets]
        worker = Worker(Share(orders.worker, orders.workers), bytes.fromhex(orders.secret), self._strays)
        if options["status-port"] is not None:
            self._status = Status(monotonic, partial(datetime.now, UTC))
        doing = doingOf(options, self._status, Place(worker, sockets, self._takeAway))
        self._listener = ListenerService(self._reactor, doing)
        self._listener.startService()
        self._strays.start()
        for bound in sockets:
            bound.close()  # the ports have their own descriptors

    def hear(self, kind: str, fields: dict[str, Any]) -> None:
        """The parent has said something."""
        if kind == "end":
            self.stop()
        elif kind == "reload" and self._listener is not None:
            self._listener.reload()
        elif kind == "look":
            self._answer(None if self._status is None else self._status.snapshot(), fields["number"])
        elif kind == "leave":
            leaving = succeed(None) if self._listener is None else self._listener.leave(fields["transfer"])
            leaving.addCallback(self._answer, fields["number"])
        elif kind == "taken":
            self._taking.pop(fields["number"]).callback(None)

    def _answer(self, value: Any, number: int) -> None:
        self.talk.say("answer", number=number, value=value)

    def _takeAway(self, transfer: str) -> Deferred[None]:
        """Have the other workers leave a transfer. @return: fires when they have."""
        self._asked += 1
        taking = self._taking[self._asked] = Deferred[None]()
        self.talk.say("take", number=self._asked, transfer=transfer)
        return taking

    def stop(self) -> None:
        """It is enough."""
        if not self._ending:
            self._ending = True
            self._reactor.callWhenRunning(self._reactor.stop)

    def end(self) -> Deferred[None]:
        """The reactor stops. @return: fires when nothing is left to be done."""
        self._ending = True
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        if self._listener is not None and self._listener.running:
            await self._listener.stopService()
        if self._strays is not None:
            self._strays.stop()
        finishing = self.talk.finish(self._reactor)
        if finishing is not None:
            await finishing


def _adopted(number: int) -> socket:
    """A socket that was handed over; those that we might start in turn do not get it."""
    os.set_inheritable(number, False)
    return socket(fileno=number)


if __name__ == "__main__":
    main()
