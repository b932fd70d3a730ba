"""
What the foreign peers of the dialects have in common: a bad link, virtual time, and a thread with a plain UDP socket.

A foreign peer is a core without sockets and clocks (L{ForeignCore}), written from the dialects' seeds and from
C{dialects.md} alone. It is driven by a L{ForeignWorld}, in virtual time, or by a L{ForeignNode}, on real sockets.
Nothing of ours is imported, and no Twisted, so that a mistake of ours cannot be in both ends.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

ForeignAddress = tuple[str, int]
"""An IP address and a port."""

DEADLINE = 60.0
"""How long anything may take on real sockets, in seconds: much more than it does."""

EPHEMERAL = 50_000
"""The first of the ports that a L{ForeignWorld} gives to connections."""


class ForeignCrash(Exception):
    """The foreign program met what the original does not survive, or what the dialect does not allow."""


class ForeignDatagram(NamedTuple):
    """
    A datagram that a core sends.

    @ivar data: Its bytes.
    @ivar destination: Where to.
    @ivar origin: Which port it comes from: L{None} for the one that listens, else a number for each port that only
        sends.
    """

    data: bytes
    destination: ForeignAddress
    origin: int | None = None


class ForeignCore(Protocol):
    """A peer: bytes and the time in seconds come in, and datagrams go out."""

    @property
    def due(self) -> float | None:
        """When C{wake} is to be called next; L{None} for never."""

    def receive(self, now: float, data: bytes, source: ForeignAddress) -> None:
        """Take a datagram."""

    def wake(self, now: float) -> None:
        """Do what is due."""

    def take(self) -> list[ForeignDatagram]:
        """Hand over what is to be sent."""


@dataclass
class ForeignFaults:
    """
    What a link does to datagrams, one direction of it; seeded.

    @ivar loss: The share that is lost.
    @ivar duplication: The share that comes twice.
    @ivar corruption: The share of which one bit is changed.
    @ivar spared: Tells of which datagrams nothing becomes but what was sent.
    @ivar seed: Where the random numbers begin.
    """

    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    spared: Callable[[bytes], bool] = lambda data: False
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def copies(self, data: bytes) -> list[bytes]:
        """What comes of a datagram: nothing, it, or it twice."""
        if self.spared(data):
            return [data]
        if self.random.random() < self.loss:
            return []
        count = 2 if self.random.random() < self.duplication else 1
        return [self._carried(data) for _ in range(count)]

    def _carried(self, data: bytes) -> bytes:
        if not data or self.random.random() >= self.corruption:
            return data
        changed = bytearray(data)
        changed[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return bytes(changed)


class ForeignWorld:
    """
    Virtual time, and a link between cores that loses, duplicates and reorders.

    @ivar now: The time in seconds.
    @ivar stray: What was sent to where nobody receives: destination and bytes.
    @ivar carried: How many datagrams were delivered.
    """

    def __init__(self, faults: ForeignFaults | None = None, latency: float = 0.01, jitter: float = 0.02) -> None:
        """
        @param faults: What is done to datagrams, in both directions.
        @param latency: How long the fastest takes, in seconds.
        @param jitter: How much longer the slowest takes; it is what reorders.
        """
        self.now = 100.0
        self.stray: list[tuple[ForeignAddress, bytes]] = []
        self.carried = 0
        self._faults = faults or ForeignFaults()
        self._delays = random.Random(self._faults.seed)
        self._latency = latency
        self._jitter = jitter
        self._cores: dict[ForeignAddress, ForeignCore] = {}
        self._ports: dict[tuple[ForeignAddress, int], int] = {}
        self._way: list[tuple[float, int, bytes, ForeignAddress, ForeignAddress]] = []
        self._count = itertools.count()

    def add(self, address: ForeignAddress, core: ForeignCore) -> None:
        """Let a core receive what is sent to an address."""
        self._cores[address] = core

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """
        Let time go on.

        @param until: Asked after each event whether that is all.
        @param limit: How many seconds it may take.
        @raise AssertionError: When they are over, or when nothing will happen any more.
        """
        end = self.now + limit
        self._flush()
        while not until():
            due = self._due()
            if due is None or due > end:
                raise AssertionError(f"not there at {self.now}: next is {due}, the end {end}")
            self.now = max(self.now, due)
            self._step()

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass, whatever happens in it."""
        end = self.now + seconds
        self._flush()
        while (due := self._due()) is not None and due <= end:
            self.now = max(self.now, due)
            self._step()
        self.now = end

    def _due(self) -> float | None:
        times = [core.due for core in self._cores.values()]
        times.extend(item[0] for item in self._way[:1])
        return min((when for when in times if when is not None), default=None)

    def _step(self) -> None:
        while self._way and self._way[0][0] <= self.now:
            _, _, data, destination, source = heapq.heappop(self._way)
            core = self._cores.get(destination)
            if core is None:
                self.stray.append((destination, data))
            else:
                self.carried += 1
                core.receive(self.now, data, source)
        for core in self._cores.values():
            if core.due is not None and core.due <= self.now:
                core.wake(self.now)
        self._flush()

    def _flush(self) -> None:
        for address, core in self._cores.items():
            for data, destination, origin in core.take():
                source = address if origin is None else (address[0], self._ephemeral(address, origin))
                for copy in self._faults.copies(data):
                    when = self.now + self._latency + self._delays.random() * self._jitter
                    heapq.heappush(self._way, (when, next(self._count), copy, destination, source))

    def _ephemeral(self, address: ForeignAddress, origin: int) -> int:
        return self._ports.setdefault((address, origin), EPHEMERAL + len(self._ports))


CoreT = TypeVar("CoreT", bound=ForeignCore)
AnswerT = TypeVar("AnswerT")


class ForeignNode(Generic[CoreT]):
    """
    A core on a real UDP socket, in a thread of its own; a context manager.

    What the core raises ends the thread, and is raised by whatever is called next.

    @ivar core: The core. Other threads look at it, and act on it, in L{call} and L{wait} only.
    @ivar address: Where it listens.
    """

    def __init__(
        self,
        make: Callable[[int], CoreT],
        outgoing: ForeignFaults | None = None,
        incoming: ForeignFaults | None = None,
        receive_buffer: int | None = None,
        interface: str = "127.0.0.1",
    ) -> None:
        """
        @param make: Makes the core, from the number of the port.
        @param outgoing: What becomes of datagrams that it sends.
        @param incoming: What becomes of datagrams that are sent to it.
        @param receive_buffer: What is asked of the kernel for the socket, in bytes.
        @param interface: The IP address to listen at.
        """
        self._outgoing = outgoing or ForeignFaults()
        self._incoming = incoming or ForeignFaults()
        self._socket = self._bound(interface)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.address: ForeignAddress = self._socket.getsockname()[:2]
        self.core = make(self.address[1])
        self._senders: dict[int, socket.socket] = {}
        self._waker, self._woken = socket.socketpair()
        self._changed = threading.Condition()
        self._ending = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"foreign {self.address[1]}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if failure is None and self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the thread, and close the sockets; raise what the core has raised."""
        self.__exit__(None, None, None)

    def call(self, act: Callable[[CoreT, float], AnswerT]) -> AnswerT:
        """
        Act on the core.

        @param act: Called with the core and the time; what it returns is returned.
        """
        with self._changed:
            self._check()
            answer = act(self.core, time.monotonic())
        self._waker.send(b"!")
        return answer

    def wait(self, holds: Callable[[CoreT], bool], deadline: float = DEADLINE) -> None:
        """
        Wait until something holds of the core.

        @param holds: Asked whenever something has come or was due.
        @param deadline: How long to wait, in seconds.
        @raise AssertionError: When it does not hold by then.
        """
        end = time.monotonic() + deadline
        with self._changed:
            self._check()
            while not holds(self.core):
                if not self._changed.wait(end - time.monotonic()):
                    raise AssertionError(f"not within {deadline} s: {self.core!r}")
                self._check()

    def stray(self) -> list[bytes]:
        """What has come to the ports that only send, of each at most one datagram."""
        with self._changed:
            readable, _, _ = select.select(list(self._senders.values()), [], [], 0)
            return [sender.recv(65_536) for sender in readable]

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _stop(self) -> None:
        if not self._thread.is_alive() and self._socket.fileno() < 0:
            return
        self._ending = True
        self._waker.send(b"!")
        self._thread.join()
        for one in (self._socket, self._waker, self._woken, *self._senders.values()):
            one.close()

    def _run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        except BaseException as failure:
            with self._changed:
                self._failure = failure
                self._changed.notify_all()

    def _turn(self) -> None:
        with self._changed:
            self._flush()
            due = self.core.due
        wait = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select([self._socket, self._woken], [], [], wait)
        with self._changed:
            if self._woken in readable:
                self._woken.recv(4096)
            if self._socket in readable:
                self._receive()
            self.core.wake(time.monotonic())
            self._flush()
            self._changed.notify_all()

    def _receive(self) -> None:
        data, source = self._socket.recvfrom(65_536)
        for copy in self._incoming.copies(data):
            self.core.receive(time.monotonic(), copy, source[:2])

    def _flush(self) -> None:
        for data, destination, origin in self.core.take():
            sender = self._socket if origin is None else self._sender(origin)
            for copy in self._outgoing.copies(data):
                sender.sendto(copy, destination)

    def _sender(self, origin: int) -> socket.socket:
        if origin not in self._senders:
            self._senders[origin] = self._bound(self.address[0])
        return self._senders[origin]

    @staticmethod
    def _bound(interface: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_DGRAM)
        bound.bind((interface, 0))
        return bound
