"""
Datagrams that came to another worker than the one that they are for.

The kernel looks at the first of several datagrams of one sender that its network card, or it, has joined (UDP_GRO), and
brings them all to that one's worker. A starter with many sessions on one socket may have sent to several. So workers
have a door each, a socket of the Unix domain, through which the others pass on what is its, with what is known of it.

=========  ===============================================================
bytes      field, in network order
=========  ===============================================================
1          which of the addresses it came to
1          its codepoint of explicit congestion notification
2          port of the sender
1, 1       lengths of the next two
..         host of the sender; which of our addresses it has sent to, or nothing
..         the datagram
=========  ===============================================================
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.demux import Share
from hypermail.interfaces import ICarrierUser
from hypermail.internet.carrier import LARGEST_DATAGRAM

_HEAD = struct.Struct(">BBHBB")
#: Read at one time, before the reactor gets its turn.
MOST = 256


def openDoors(workers: int) -> list[tuple[socket.socket, socket.socket]]:
    """For each worker the inner side of its door, and the outer one for the others."""
    doors = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
    for sides in doors:
        for side in sides:
            side.setblocking(False)
    return doors


@implementer(IReadDescriptor)
class Strays:
    """
    A worker's door, and the way to those of the others.

    @param reactor: an L{IReactorFDSet}.
    @param inner: of its own.
    @param outer: of all, by worker.
    @ivar lost: what could not be passed on, by cause.
    """

    def __init__(self, reactor: Any, inner: socket.socket, outer: Sequence[socket.socket]) -> None:
        self._reactor = reactor
        self._inner = inner
        self._outer = outer
        self._users: list[ICarrierUser] = []
        self.lost: Counter[str] = Counter()

    def enter(self, user: ICarrierUser) -> None:
        """What comes to the next of the addresses is for this one. All workers have the same ones in the same order."""
        self._users.append(user)

    def start(self) -> None:
        """Open the door."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Close it."""
        self._reactor.removeReader(self)
        self._users.clear()

    def passOn(self, user: ICarrierUser, datagrams: Sequence[bytes], address: Any, ecn: int) -> None:
        """
        Give datagrams to those that they are for, as far as these have room.

        @param user: that they came to.
        @param address: as the carrier has told it.
        """
        host = address[0].encode("ascii")
        local = address[2] if len(address) == 3 else b""
        head = _HEAD.pack(self._users.index(user), ecn, address[1], len(host), len(local)) + host + local
        for datagram in datagrams:
            try:
                self._outer[datagram[1] % len(self._outer)].send(head + datagram)
            except OSError as error:  # there is no room, or the other one is gone: lost, as on any way
                self.lost[type(error).__name__] += 1

    # IReadDescriptor

    def fileno(self) -> int:
        """See L{IReadDescriptor}."""
        return self._inner.fileno()

    def logPrefix(self) -> str:
        """See L{IReadDescriptor}."""
        return "strays"

    def doRead(self) -> None:
        """See L{IReadDescriptor}."""
        for _ in range(MOST):
            try:
                data = self._inner.recv(_HEAD.size + 512 + LARGEST_DATAGRAM)
            except OSError:
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        at, ecn, port, hosts, locals_ = _HEAD.unpack_from(data)
        middle = _HEAD.size + hosts
        begin = middle + locals_
        host, local = data[_HEAD.size : middle].decode("ascii"), data[middle:begin]
        if at < len(self._users):  # it is not before all are listening
            address = (host, port, local) if local else (host, port)
            self._users[at].datagramsReceived([memoryview(data)[begin:]], address, ecn)

    def connectionLost(self, reason: Failure) -> None:
        """See L{IReadDescriptor}: the reactor stops, or the descriptor is bad."""
        self.stop()


@attrs.frozen
class Worker:
    """
    What one of several processes has of a listener.

    @ivar share: which tags are its.
    @ivar secret: 32 bytes for tokens, the same for all of them.
    @ivar strays: what comes to the wrong one of them.
    """

    share: Share
    secret: bytes = attrs.field(repr=False)
    strays: Strays
