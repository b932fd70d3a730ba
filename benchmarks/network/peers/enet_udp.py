"""
ENet: reliable packets of one channel. Nothing is encrypted. Its window is 64 KiB at most, so its rate is at most that
in each round trip.

It has neither a reactor nor back pressure: each side turns a loop, and the receiver tells how far it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import enet

from benchmarks.network.peers.credit import AHEAD, Credit
from benchmarks.network.program import Task
from benchmarks.network.work import Bulk, BulkSource, MessageSource

CHANNEL = 0
#: Bytes of a packet of a bulk stream.
PACKET = 16 << 10
#: ms that a turn waits for the network.
TURN = 10
#: s that connecting may take.
PATIENCE = 30.0


def _send(peer: Any, data: bytes) -> None:
    peer.send(CHANNEL, enet.Packet(data, enet.PACKET_FLAG_RELIABLE))


def _events(host: Any, wait: int) -> Iterator[Any]:
    """What has happened, after so many ms at most; and whatever else has been read with it."""
    event = host.service(wait)
    while event.type != enet.EVENT_TYPE_NONE:
        yield event
        event = host.service(0)


def listen(task: Task) -> None:
    """The listener's process."""
    host = enet.Host(enet.Address(task.host.encode(), task.port), 1, 1, 0, 0)
    taker = task.work.taker()
    credit = Credit()
    task.ready()
    told = False
    while True:
        for event in _events(host, TURN):
            if event.type == enet.EVENT_TYPE_CONNECT:
                task.began()
            elif event.type == enet.EVENT_TYPE_RECEIVE:
                data = bytes(event.packet.data)
                taker.take(data, monotonic())
                total = credit.took(len(data)) if isinstance(task.work, Bulk) else b""
                if total:
                    _send(event.peer, total)
        if not told and taker.over(monotonic()):
            told = True
            task.over(taker.result())


def _connect(task: Task) -> tuple[Any, Any]:
    host = enet.Host(None, 1, 1, 0, 0)
    peer = host.connect(enet.Address(task.host.encode(), task.port), 1)
    until = monotonic() + PATIENCE
    while monotonic() < until:
        for event in _events(host, TURN):
            if event.type == enet.EVENT_TYPE_CONNECT:
                return host, peer
    raise TimeoutError(f"no ENet peer at {task.host}:{task.port}")


def _bulk(host: Any, peer: Any, source: BulkSource) -> None:
    taken = 0
    while True:
        while not source.over and source.given - taken < AHEAD:
            _send(peer, source.next(PACKET))
        for event in _events(host, TURN):
            if event.type == enet.EVENT_TYPE_RECEIVE:
                taken = int.from_bytes(event.packet.data, "big")


def _messages(host: Any, peer: Any, source: MessageSource) -> None:
    while not source.over:
        wait = source.due - monotonic()
        if wait <= 0:
            _send(peer, source.next())
            host.flush()
        for _ in _events(host, max(0, int(wait * 1e3))):
            pass
    while True:
        for _ in _events(host, TURN):
            pass


def start(task: Task) -> None:
    """The starter's process."""
    host, peer = _connect(task)
    task.began()
    if isinstance(task.work, Bulk):
        _bulk(host, peer, BulkSource(task.work, monotonic))
    else:
        _messages(host, peer, MessageSource(task.work, monotonic()))
