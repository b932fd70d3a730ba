"""
AMP, Twisted's protocol of boxes, over TCP without TLS and without Nagle's algorithm.

Asks are commands with an answer. Messages are commands without one, and the listener counts them back, a count for
each read; or each has an answer of its own, with C{OUTSTANDING} on their way. Bulk is commands of C{VALUE} bytes,
likewise counted. What is sent without answers is a pull producer's.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import react
from twisted.protocols import amp
from twisted.python.failure import Failure

from benchmarks.comparing.program import HOST, Task
from benchmarks.comparing.work import Asks, Carried
from benchmarks.peers.reactors import Once, connections

#: Commands with answers that are on their way at once, where each message has one.
OUTSTANDING = 256
#: Bytes of a value: half of a block, as 64 KiB are a byte too many for one.
VALUE = 32_768


class Ask(amp.Command):
    """Something that is answered."""

    arguments = [(b"data", amp.String())]
    response = [(b"data", amp.String())]


class Tell(amp.Command):
    """Something that is not."""

    arguments = [(b"data", amp.String())]
    requiresAnswer = False


class Serving(amp.AMP):
    """The listener's side."""

    transport: Any

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._come: list[bytes] = []
        self._take = task.work.listening().take if isinstance(task.work, Carried) else None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.setTcpNoDelay(True)

    @Ask.responder
    def asked(self, data: bytes) -> dict[str, bytes]:
        """The same."""
        return {"data": data}

    @Tell.responder
    def told(self, data: bytes) -> dict[str, bytes]:
        """One of those of this read."""
        self._come.append(data)
        return {}

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._come:
            assert self._take is not None
            come, self._come = self._come, []
            for reply in self._take(come):
                self.callRemote(Tell, data=reply)


class Starting(amp.AMP):
    """The starter's side."""

    transport: Any

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self._work = task.work.starting(task.over, bounded=False) if isinstance(task.work, Carried) else None
        self._each = bool(task.arguments.get("each"))
        self._outstanding = 0
        self.opened: Deferred[Starting] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.setTcpNoDelay(True)
        self.opened.callback(self)

    def begin(self) -> None:
        """Begin with the work."""
        assert self._work is not None
        self._task.begin()
        self._work.begin()
        if isinstance(self._task.work, Asks):
            self._ask()
        elif self._each:
            self._top_up()
        else:
            self.transport.registerProducer(self, False)

    def _ask(self) -> None:
        assert self._work is not None
        for message in self._work.next():
            self.callRemote(Ask, data=message).addCallback(self._answered)

    def _answered(self, answer: dict[str, bytes]) -> None:
        assert self._work is not None
        self._work.take((answer["data"],))
        self._ask()

    def _top_up(self) -> None:
        assert self._work is not None
        while self._outstanding < OUTSTANDING:
            batch = self._work.next()
            if not batch:
                return
            self._outstanding += len(batch)
            for message in batch:
                self.callRemote(Ask, data=message).addCallback(self._acknowledged)

    def _acknowledged(self, answer: dict[str, bytes]) -> None:
        assert self._work is not None
        self._outstanding -= 1
        self._work.taken(1)  # type: ignore[union-attr]
        if self._outstanding < OUTSTANDING // 2:
            self._top_up()

    def resumeProducing(self) -> None:
        assert self._work is not None
        for message in self._work.next():
            for at in range(0, len(message), VALUE):
                self.callRemote(Tell, data=message[at : at + VALUE])
        if self._work.exhausted:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is over."""

    @Tell.responder
    def told(self, data: bytes) -> dict[str, bytes]:
        """How far the listener is."""
        assert self._work is not None
        self._work.take((data,))
        return {}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.lost.callback(None)


async def _listen(reactor: Any, task: Task) -> None:
    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda addr: Serving(task)  # type: ignore[method-assign]
    port = await TCP4ServerEndpoint(reactor, 0, backlog=1_024, interface=HOST).listen(factory)
    task.ready(port.getHost().port)
    await Deferred()


async def _start(reactor: Any, task: Task) -> None:
    endpoint = TCP4ClientEndpoint(reactor, HOST, task.word)

    async def open_one() -> Starting:
        starting = Starting(task)
        await endpoint.connect(Once(starting))
        return await starting.opened

    async def close(starting: Starting) -> None:
        starting.transport.loseConnection()
        await starting.lost

    if isinstance(task.work, Carried):
        (await open_one()).begin()
    else:
        await connections(reactor, task, open_one, close)
    await Deferred()


def listen(task: Task) -> None:
    """The listener's process."""
    react(_listen, [task])


def start(task: Task) -> None:
    """The starter's process."""
    react(_start, [task])
