"""
hypermail: bulk goes through one stream, messages are messages of lane 0, asks are asks.

The options' defaults, but for the size of datagrams where a case says it: both sides are told then that the path
carries it, and look for no larger ones. Idle sessions have the C{ping_interval} of the case, and time to open. Mode
C{tls}: the listener shows a P-256 certificate, which the starter takes as the only authority, name included.

Messages come from a pull producer, without a Deferred (C{sendMessages}), or each with one (C{sendMessage}) that has a
callback. The sessions of one starter share one socket, as they do for every user of one endpoint.

Where a compiled twin was built, it is a peer of its own, and the others do without it (C{HYPERMAIL_PURE}).
"""

from __future__ import annotations

import sys
from itertools import repeat
from math import inf
from time import perf_counter
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater, react

from benchmarks.comparing.program import HOST, Task
from benchmarks.comparing.work import Asks, Bulk, Idle, Messages, Work, open_many
from benchmarks.peers import TWIN
from benchmarks.peers.reactors import Listening, Once, Starting, connections, gather
from benchmarks.securing import listening, starting
from hypermail import (
    Identity,
    ListenerOptions,
    Options,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
)

#: Messages without a Deferred that a producer offers at once; the session takes those that it has room for.
OFFERED = 10_000
#: Sessions that are opened at once.
AT_ONCE = 20
#: s that opening may take when thousands are.
PATIENCE = 60.0


class Taking(SessionProtocol):
    """
    The listener's side of a session.

    @ivar work: that it is for.
    """

    work: Work

    def messageReceived(self, message: bytes) -> None:
        """Taken."""

    def askReceived(self, message: bytes) -> bytes:
        """The same."""
        return message

    def streamOpened(self, name: bytes, options: Any) -> Protocol:
        """For bulk."""
        assert isinstance(self.work, Bulk)
        return Listening(self.work)


class Unwatched:
    """A producer of messages without Deferreds, until its time is over."""

    def __init__(self, session: Any, work: Messages) -> None:
        self._session = session
        self._message = bytes(work.size)
        self._until = inf if work.warming else perf_counter() + work.seconds
        self.over: Deferred[None] = Deferred()
        session.registerProducer(self, False)

    def resumeProducing(self) -> None:
        if perf_counter() < self._until:
            self._session.sendMessages(repeat(self._message, OFFERED))
        elif not self.over.called:
            self._session.unregisterProducer()
            last = self._session.sendMessage(self._message)  # to be settled, too, as they are in order
            last.chainDeferred(self.over)

    def stopProducing(self) -> None:
        """The session is over."""


class Watched:
    """A producer of messages, each with a Deferred."""

    def __init__(self, session: Any, task: Task) -> None:
        self._session = session
        self._work = task.work.starting(task.over, bounded=False)
        self._work.begin()
        session.registerProducer(self, False)

    def resumeProducing(self) -> None:
        send, settled = self._session.sendMessage, self._settled
        for message in self._work.next():
            send(message).addCallback(settled)
        if self._work.exhausted:
            self._session.unregisterProducer()

    def _settled(self, nothing: None) -> None:
        self._work.taken(1)

    def stopProducing(self) -> None:
        """The session is over."""


def _ask(session: Any, task: Task) -> None:
    work = task.work.starting(task.over, bounded=False)

    def answered(reply: bytes) -> None:
        work.take((reply,))
        more()

    def more() -> None:
        for message in work.next():
            session.ask(message).addCallback(answered)

    work.begin()
    more()


def _options(work: Work) -> Options:
    if isinstance(work, Bulk) and work.datagram is not None:
        return Options(mtu=work.datagram, max_datagram=work.datagram, discover_mtu=False)
    if isinstance(work, Idle):
        return Options(ping_interval=work.ping_interval, connection_timeout=PATIENCE)
    return Options()


async def _listen(reactor: Any, task: Task) -> None:
    bound = type("Bound", (Taking,), {"work": task.work})
    endpoint = SessionServerEndpoint(
        reactor,
        0,
        interface=HOST,
        security=listening(
            task.arguments["mode"], Identity.from_pem(task.key.read_bytes() + task.certificate.read_bytes())
        ),
        options=_options(task.work),
        listenerOptions=ListenerOptions(max_sessions=1_000_000),
    )
    factory = SessionFactory.forProtocol(bound)
    factory.noisy = False
    port: Any = await endpoint.listen(factory)
    task.ready(port.getHost().port)
    await Deferred()


async def _share(reactor: Any, sessions: list[Any], task: Task) -> None:
    """Messages of several sessions at once, without Deferreds."""
    work = task.work
    producers = [Unwatched(session, work) for session in sessions]
    if work.warming:
        await deferLater(reactor, work.warming)
    task.begin()
    before, began = _taken(sessions), perf_counter()
    if work.warming:  # what was queued meanwhile takes time in which as much is queued for later
        await deferLater(reactor, work.seconds)
    else:
        await gatherResults([producer.over for producer in producers])
    task.over({"count": _taken(sessions) - before, "seconds": perf_counter() - began})


def _taken(sessions: list[Any]) -> int:
    """How many messages the peer's application has acknowledged."""
    counts = [session.statistics() for session in sessions]
    return sum(count["messages_sent"] - count["messages_begun"] for count in counts)


async def _start(reactor: Any, task: Task) -> None:
    work = task.work
    roots = x509.load_pem_x509_certificates(task.authority.read_bytes())
    endpoint = SessionClientEndpoint(
        reactor,
        HOST,
        task.word,
        security=starting(task.arguments["mode"], trustRoots=roots),
        options=_options(work),
    )
    factory = SessionFactory.forProtocol(SessionProtocol)
    factory.noisy = False

    async def open_one() -> Any:
        return (await endpoint.connect(factory)).session

    if isinstance(work, Bulk):
        session = await open_one()
        protocol = Starting(task)
        await session.openStream(Once(protocol))
        task.begin()
        protocol.begin()
    elif isinstance(work, Messages):
        sessions = await open_many(work.sessions, AT_ONCE, open_one, gather)
        if task.arguments.get("each"):
            task.begin()
            Watched(sessions[0], task)
        else:
            await _share(reactor, sessions, task)
    elif isinstance(work, Asks):
        session = await open_one()
        task.begin()
        _ask(session, task)
    else:
        await connections(reactor, task, open_one, lambda session: session.close())
    await Deferred()


def _check(task: Task) -> None:
    """
    Make sure that it is the variant that is meant.

    @raise RuntimeError: when it is not.
    """
    compiled = TWIN in sys.modules
    if compiled != task.arguments["compiled"]:
        raise RuntimeError(f"hypermail's compiled twin {'is' if compiled else 'is not'} in use")


def listen(task: Task) -> None:
    """The listener's process."""
    _check(task)
    react(_listen, [task])


def start(task: Task) -> None:
    """The starter's process."""
    _check(task)
    react(_start, [task])
