"""
ZeroMQ (C++, by C{pyzmq}) with CURVE: a DEALER on each side, one thread of its own for I/O in each process.

The starter knows the listener's key; the listener lets everybody in. Its queues hold more messages than a sender is
ever ahead, so that none is dropped, and a sender stays less than C{AHEAD} before what the listener has told.
A connection is open when a first message has come back: sockets of ZeroMQ don't tell otherwise without a second one to
watch each. The listener is a ROUTER then. Blocks of bulk are not copied.
"""

from __future__ import annotations

from time import monotonic, perf_counter
from typing import Any

import zmq

from benchmarks.comparing.program import HOST, Task
from benchmarks.comparing.work import WARM, Bulk, Carried, Openings

#: Messages that a queue holds.
QUEUE = 200_000
#: Messages that are read before the answer.
READS = 1_000
#: ms that connecting may take.
PATIENCE = 30_000


def _context() -> Any:
    context = zmq.Context(io_threads=1)
    context.set(zmq.MAX_SOCKETS, context.get(zmq.SOCKET_LIMIT))
    return context


def _socket(context: Any, kind: int) -> Any:
    made = context.socket(kind)
    made.set(zmq.SNDHWM, QUEUE)
    made.set(zmq.RCVHWM, QUEUE)
    made.set(zmq.LINGER, 0)
    return made


def _read(one: Any, wait: bool) -> list[bytes]:
    """What has come; something, if we wait."""
    come: list[bytes] = []
    try:
        if wait:
            come.append(one.recv())
        while len(come) < READS:
            come.append(one.recv(zmq.NOBLOCK))
    except zmq.Again:
        pass
    return come


def listen(task: Task) -> None:
    """The listener's process."""
    carried = isinstance(task.work, Carried)
    public, secret = zmq.curve_keypair()
    one = _socket(_context(), zmq.DEALER if carried else zmq.ROUTER)
    one.curve_server = True
    one.curve_publickey, one.curve_secretkey = public, secret
    one.set(zmq.BACKLOG, 1_024)
    port = one.bind_to_random_port(f"tcp://{HOST}")
    task.ready([port, public.decode()])
    if not carried:
        while True:
            one.send_multipart(one.recv_multipart())
    take = task.work.listening().take
    while True:
        for reply in take(_read(one, wait=True)):
            one.send(reply)


class Dialling:
    """Opens connections, some at once."""

    def __init__(self, word: Any) -> None:
        self._port, key = word
        self._key = key.encode()
        self._context = _context()
        self._public, self._secret = zmq.curve_keypair()
        self._poller = zmq.Poller()

    def dial(self) -> Any:
        """Begin to connect."""
        one = _socket(self._context, zmq.DEALER)
        one.curve_serverkey = self._key
        one.curve_publickey, one.curve_secretkey = self._public, self._secret
        one.connect(f"tcp://{HOST}:{self._port}")
        return one

    def begin(self) -> None:
        """One more that is looked after until it is open."""
        one = self.dial()
        one.send(b"")
        self._poller.register(one, zmq.POLLIN)

    def opened(self) -> list[Any]:
        """Those that have become open."""
        found = [one for one, _ in self._poller.poll(PATIENCE)]
        if not found:
            raise TimeoutError("ZeroMQ's listener does not answer")
        for one in found:
            self._poller.unregister(one)
            one.recv()
        return found

    def open_many(self, count: int, at_once: int) -> list[Any]:
        """So many."""
        kept: list[Any] = []
        begun = 0
        while len(kept) < count:
            while begun < min(count, len(kept) + at_once):
                begun += 1
                self.begin()
            kept += self.opened()
        return kept

    def open_and_close(self, work: Openings) -> dict[str, Any]:
        """See L{benchmarks.comparing.work.open_and_close}."""
        began = perf_counter()
        until = began + work.seconds
        count = running = 0
        while True:
            while running < work.at_once and perf_counter() < until:
                running += 1
                self.begin()
            if not running:
                return {"count": count, "seconds": perf_counter() - began}
            for one in self.opened():
                one.close()
                count += 1
                running -= 1


def _carry(task: Task, one: Any) -> None:
    work = task.work.starting(task.over, bounded=True)
    copied = not isinstance(task.work, Bulk)
    task.begin()
    work.begin()
    while True:
        sent = False
        while batch := work.next():
            sent = True
            for message in batch:
                one.send(message, copy=copied)
            come = _read(one, wait=False)
            if come:
                work.take(come)
        work.take(_read(one, wait=not sent))


def _sleep(seconds: float) -> None:
    until = monotonic() + seconds
    while monotonic() < until:
        zmq.select([], [], [], until - monotonic())


def start(task: Task) -> None:
    """The starter's process."""
    dialling, work = Dialling(task.word), task.work
    if isinstance(work, Carried):
        _carry(task, dialling.dial())
    elif isinstance(work, Openings):
        for one in dialling.open_many(1, 1):
            one.close()
        task.begin()
        task.over(dialling.open_and_close(work))
    else:
        kept = dialling.open_many(WARM, work.at_once)
        _sleep(work.rest)
        task.begin()
        kept += dialling.open_many(work.count, work.at_once)
        _sleep(work.rest)
        task.over({"opened": len(kept)})
    _sleep(PATIENCE)
