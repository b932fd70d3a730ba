"""
Demuxes of a dialect against each other, in virtual time, over a network that loses, duplicates and reorders.

A L{World} has hosts; each has one demux, driven as L{hypermail.internet} does it, and an application, L{Application},
which writes down what it is told and settles what it gets. Datagrams travel as bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple

from hypermail import events
from hypermail.dialects.connection import DialectConnection
from hypermail.dialects.demux import DialectDemux
from hypermail.dialects.dialect import Dialect
from hypermail.options import ListenerOptions

#: s; beyond, nothing is waited for.
FOREVER = 1e6


class Place(NamedTuple):
    """Where a host receives."""

    host: str
    port: int


class Application:
    """
    What one side's application was told of one session.

    @param settles: whether messages are taken as soon as they come.
    @ivar accepts: what it says to a stranger; None for nothing yet.
    @ivar events: all, in order.
    @ivar messages: that have come; C{directs}: likewise.
    @ivar settled: messages of ours, whose fate is known.
    @ivar ended: why the session has; None before.
    """

    accepts: bool | None = True

    def __init__(self, *, settles: bool = True) -> None:
        self.settles = settles
        self.events: list[events.Event] = []
        self.messages: list[bytes] = []
        self.directs: list[bytes] = []
        self.settled: list[Any] = []
        self.ended: Any = None
        self.connection: Any = None

    @property
    def names(self) -> list[str]:
        """What it was told, shortly."""
        return [type(event).__name__ for event in self.events]

    def told(self, connection: Any, event: events.Event, now: float) -> None:
        """One event."""
        self.connection = connection
        self.events.append(event)
        if isinstance(event, events.SessionRequested) and self.accepts is not None:
            if self.accepts:
                connection.accept({}, now=now)
            else:
                connection.reject(5, "not today", now=now)
        elif isinstance(event, events.MessagesReceived):
            self.messages += event.messages
            if self.settles:
                event.lane.take(event.first, len(event.messages))
        elif isinstance(event, events.DirectsReceived):
            self.directs += event.messages
        elif isinstance(event, events.MessagesSettled):
            self.settled += event.messages
        elif isinstance(event, events.SessionEnded):
            self.ended = event.error


class Host:
    """
    One demux with its place in the world.

    @ivar applications: of its connections, in the order in which they came.
    @ivar make: makes an application for a stranger's session.
    """

    def __init__(self, world: World, place: Place, dialect: Dialect, listening: bool, limits: ListenerOptions) -> None:
        self.world = world
        self.place = place
        self.dialect = dialect
        self.demux: DialectDemux[Any] = dialect.demux(
            listening=listening,
            listener_options=limits,
            port=place.port,
            random_bytes=world.chance.randbytes,
            wall=lambda: 1_000_000.0 + world.now,
        )
        self.make: Callable[[], Application] = Application
        self.applications: dict[DialectConnection[Any, Any], Application] = {}
        self.sessions: list[Application] = []

    def start(self, place: Place, dialect: Dialect | None = None) -> Application:
        """Ask a listener for a session."""
        connection = self.demux.start(place, options=dialect or self.dialect, now=self.world.now)
        application = self._enter(connection, Application())
        self.attend(connection)
        return application

    def receive(self, datagram: bytes, source: Place) -> None:
        """A datagram has come."""
        touched = self.demux.receive([memoryview(datagram)], source, now=self.world.now)
        for _, fault in self.demux.faults():
            raise fault
        for connection in touched:
            if connection not in self.applications:
                self._enter(connection, self.make())
            self.attend(connection)
        for train in self.demux.replies():
            self._send(train)

    def attend(self, connection: DialectConnection[Any, Any]) -> None:
        """Deal with everything that a connection has, and see to the time."""
        now = self.world.now
        application = self.applications.get(connection)
        if application is None:
            return
        while True:
            while (event := connection.next_event()) is not None:
                application.told(connection, event, now)
            for train in connection.trains(now=now):
                self._send(train)
            event = connection.next_event()
            if event is None:
                break
            application.told(connection, event, now)
        if connection.ended:
            del self.applications[connection]
            self.world.disarm(connection)
            self.demux.forget(connection)
        else:
            self.world.arm(self, connection)

    def expired(self, connection: DialectConnection[Any, Any]) -> None:
        """A timer has run out."""
        if connection in self.applications:
            connection.handle_timeout(now=self.world.now)
            self.attend(connection)

    def _enter(self, connection: DialectConnection[Any, Any], application: Application) -> Application:
        application.connection = connection
        self.applications[connection] = application
        self.sessions.append(application)
        return application

    def _send(self, train: Any) -> None:
        for datagram in train.datagrams:
            self.world.send(datagram, self.place, Place(*train.address[:2]))


class World:
    """
    The network and the time.

    @param seed: of all chance.
    @param loss: of datagrams that are lost; C{duplication}: that come twice.
    @param delay: s that a datagram takes at least; C{jitter}: more, at most, so that some overtake others.
    @param scatter: whether datagrams seem to come from ports at which nobody receives.
    @ivar sent: bytes that were sent between two IP addresses.
    @ivar watch: called with every datagram, its source and its destination; what is not true is lost.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        loss: float = 0.0,
        duplication: float = 0.0,
        delay: float = 0.01,
        jitter: float = 0.0,
        scatter: bool = False,
    ) -> None:
        self.chance = random.Random(seed)
        self.now = 100.0
        self.loss = loss
        self.duplication = duplication
        self.delay = delay
        self.jitter = jitter
        self.scatter = scatter
        self.hosts: dict[Place, Host] = {}
        self.sent: dict[tuple[str, str], int] = {}
        self.watch: Callable[[bytes, Place, Place], bool] | None = None
        self._serial = count(1)
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._armed: dict[Any, tuple[float, int]] = {}
        self._timers: dict[int, tuple[Host, DialectConnection[Any, Any]]] = {}

    def host(
        self,
        place: Place,
        dialect: Dialect,
        *,
        listening: bool = False,
        limits: ListenerOptions = ListenerOptions(),
    ) -> Host:
        """One host more."""
        host = self.hosts[place] = Host(self, place, dialect, listening, limits)
        return host

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call something at a time in s."""
        heappush(self._queue, (time, next(self._serial), call, arguments))

    def arm(self, host: Host, connection: DialectConnection[Any, Any]) -> None:
        """A connection wants to be called when it says."""
        at = connection.next_timeout()
        if self._armed.get(connection, (None, 0))[0] == at:
            return
        self.disarm(connection)
        if at is not None:
            timer = next(self._serial)
            self._armed[connection] = (at, timer)
            self._timers[timer] = (host, connection)
            self.at(max(at, self.now), self._expire, timer)

    def disarm(self, connection: DialectConnection[Any, Any]) -> None:
        """A connection is not to be called."""
        _, timer = self._armed.pop(connection, (None, 0))
        self._timers.pop(timer, None)

    def _expire(self, timer: int) -> None:
        found = self._timers.pop(timer, None)
        if found is not None:
            host, connection = found
            del self._armed[connection]
            host.expired(connection)

    def send(self, datagram: bytes, source: Place, destination: Place) -> None:
        """A datagram leaves a host."""
        if self.watch is not None and not self.watch(datagram, source, destination):
            return
        pair = (source.host, destination.host)
        self.sent[pair] = self.sent.get(pair, 0) + len(datagram)
        if self.scatter:
            source = source._replace(port=self.chance.randrange(40_000, 60_000))
        for _ in range(1 + (self.chance.random() < self.duplication)):
            if self.chance.random() >= self.loss:
                at = self.now + self.delay + self.chance.random() * self.jitter
                self.at(at, self._arrive, datagram, source, destination)

    def _arrive(self, datagram: bytes, source: Place, destination: Place) -> None:
        host = self.hosts.get(destination)
        if host is not None:
            host.receive(datagram, source)

    def step(self, until: float = FOREVER) -> bool:
        """What happens next. @return: whether anything did, by C{until}."""
        if not self._queue or self._queue[0][0] > until:
            return False
        at, _, call, arguments = heappop(self._queue)
        self.now = max(self.now, at)
        call(*arguments)
        return True

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.step(until):
            pass
        self.now = until

    def run_until(self, condition: Callable[[], bool], most: float = 3_600.0) -> bool:
        """Let time pass until something is true. @return: whether it is, within so many seconds."""
        until = self.now + most
        while not condition():
            if not self.step(until):
                return condition()
        return True
