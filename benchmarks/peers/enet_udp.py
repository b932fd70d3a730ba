"""
ENet (C, by C{pyenet}): reliable packets of one channel. Nothing is encrypted.

It has neither a reactor nor back pressure: each side turns a loop, and a sender stays less than C{AHEAD} before what
the listener has told. Its datagrams have 1,392 bytes and its window has 64 KiB at most; C{pyenet} can't set them.
A host has at most 4,095 peers, so that more connections need several, and allocates them all when it is made: those of
the connections that are counted are made on both sides when counting begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import monotonic, perf_counter
from typing import Any

import enet

from benchmarks.comparing.program import HOST, Task
from benchmarks.comparing.work import WARM, Carried, Openings

CHANNEL = 0
#: ms that a turn waits for the network.
TURN = 10
#: s that connecting may take.
PATIENCE = 30.0
#: Connections of one host.
PEERS = 2_000


def _send(peer: Any, messages: list[bytes]) -> None:
    for message in messages:
        peer.send(CHANNEL, enet.Packet(message, enet.PACKET_FLAG_RELIABLE))


def _events(host: Any, wait: int) -> Iterator[Any]:
    """What has happened, after so many ms at most; and whatever else has been read with it."""
    event = host.service(wait)
    while event.type != enet.EVENT_TYPE_NONE:
        yield event
        event = host.service(0)


def _sizes(count: int) -> list[int]:
    """Of the hosts for so many connections: the connections of each."""
    return [min(PEERS, count - first) for first in range(0, count, PEERS)]


def _made(count: int) -> list[Any]:
    """Hosts for so many connections to us."""
    return [enet.Host(enet.Address(HOST.encode(), 0), size, 1, 0, 0) for size in _sizes(count)]


def _ports(hosts: list[Any]) -> list[int]:
    return [host.address.port for host in hosts]


def _let_in(hosts: list[Any]) -> None:
    """Let everybody in, and make hosts for so many connections more when somebody asks for them."""
    while True:
        for host in tuple(hosts):
            for event in _events(host, TURN // len(hosts)):
                if event.type == enet.EVENT_TYPE_RECEIVE:
                    more = _made(int(event.packet.data))
                    hosts += more
                    _send(event.peer, [json.dumps(_ports(more)).encode()])


def listen(task: Task) -> None:
    """The listener's process."""
    hosts = _made(PEERS)
    task.ready(_ports(hosts))
    if not isinstance(task.work, Carried):
        _let_in(hosts)
    (host,) = hosts
    take = task.work.listening().take
    while True:
        come: list[bytes] = []
        peer = None
        for event in _events(host, TURN):
            if event.type == enet.EVENT_TYPE_RECEIVE:
                come.append(event.packet.data)
                peer = event.peer
        if peer is not None:
            _send(peer, take(come))
            host.flush()


class Dialling:
    """
    Opens connections from one host of ours to each of the listener's, some at once.

    @param ports: of the listener's.
    @param most: connections that there will be.
    @ivar kept: what is open.
    """

    def __init__(self, ports: list[int], most: int = PEERS) -> None:
        self._ports = ports
        self._hosts = [enet.Host(None, size, 1, 0, 0) for size in _sizes(most)]
        self.kept: list[Any] = []

    def dial(self, number: int = 0) -> Any:
        """Begin to connect. @param number: of the host. @return: the peer."""
        return self._hosts[number].connect(enet.Address(HOST.encode(), self._ports[number]), 1)

    def events(self, number: int = 0) -> Iterator[Any]:
        """What has happened at a host."""
        return _events(self._hosts[number], TURN // len(self._hosts))

    def open(self, count: int, at_once: int) -> None:
        """Connect so many more, and keep them."""
        for number in range(len(self._hosts)):
            left = min(count - number * PEERS, PEERS)
            while left > 0:
                some = min(at_once, left)
                self.kept += [self.dial(number) for _ in range(some)]
                self._await(number, some)
                left -= some

    def _await(self, number: int, count: int) -> None:
        until = monotonic() + PATIENCE
        while count:
            for event in self.events(number):
                count -= event.type == enet.EVENT_TYPE_CONNECT
            if monotonic() > until:
                raise TimeoutError("ENet's peer does not answer")

    def more(self, count: int) -> Dialling:
        """Who can open so many connections more, to hosts that the listener makes now."""
        _send(self.kept[0], [str(count).encode()])
        while True:
            for event in self.events():
                if event.type == enet.EVENT_TYPE_RECEIVE:
                    return Dialling(json.loads(event.packet.data), count)

    def rest(self, seconds: float) -> None:
        """Leave them alone; ENet pings."""
        until = monotonic() + seconds
        while monotonic() < until:
            for number in range(len(self._hosts)):
                for _ in self.events(number):
                    pass

    def open_and_close(self, work: Openings) -> dict[str, Any]:
        """See L{benchmarks.comparing.work.open_and_close}."""
        began = perf_counter()
        until = began + work.seconds
        count = running = 0
        while True:
            while running < work.at_once and perf_counter() < until:
                running += 1
                self.dial()
            if not running:
                return {"count": count, "seconds": perf_counter() - began}
            for event in self.events():
                if event.type == enet.EVENT_TYPE_CONNECT:
                    self._hosts[0].flush()  # disconnecting would forget to acknowledge the connection
                    event.peer.disconnect()
                elif event.type == enet.EVENT_TYPE_DISCONNECT:
                    count += 1
                    running -= 1


def _carry(task: Task, dialling: Dialling) -> None:
    dialling.open(1, 1)
    (peer,) = dialling.kept
    work = task.work.starting(task.over, bounded=True)
    task.begin()
    work.begin()
    while True:
        while batch := work.next():
            _send(peer, batch)
        # what comes is asked for, and what is queued is sent, by the same call
        come = [event.packet.data for event in dialling.events() if event.type == enet.EVENT_TYPE_RECEIVE]
        work.take(come)


def start(task: Task) -> None:
    """The starter's process."""
    dialling, work = Dialling(task.word), task.work
    if isinstance(work, Carried):
        _carry(task, dialling)
    elif isinstance(work, Openings):
        task.begin()
        task.over(dialling.open_and_close(work))
    else:
        dialling.open(WARM, work.at_once)
        dialling.rest(work.rest)
        task.begin()
        counted = dialling.more(work.count)
        counted.open(work.count, work.at_once)
        until = monotonic() + work.rest
        while monotonic() < until:
            dialling.rest(0.01)
            counted.rest(0.01)
        task.over({"opened": len(dialling.kept) + len(counted.kept)})
    dialling.rest(PATIENCE)
