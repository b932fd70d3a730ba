"""
One address for several processes: each has a socket of its own, and Linux is told whose each datagram is.

The sockets share the address (SO_REUSEPORT, socket(7)), and a small program in the kernel (classic BPF) chooses among
them by the byte that the receiver's tag begins with, modulo how many they are (C{docs/protocol/datagrams.rst}). So what
is for a session comes to one process wherever it comes from, and strangers, whose tags are random, are spread evenly.

The kernel counts the sockets of an address in the order in which they were bound, and others move up when one is
closed. So one process opens them all, and keeps them open while others come and go.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence

from twisted.internet.error import CannotListenError

from hypermail.errors import NotSupported
from hypermail.internet.address import HypermailAddress
from hypermail.internet.listening import MAX_ATTEMPTS, isInUse, onEvery

# asm-generic/socket.h; the socket module has no name for it.
SO_ATTACH_REUSEPORT_CBPF = 51

#: Where the first byte of the receiver's tag is, in each kind of datagram.
TAG = 1

# linux/bpf_common.h, linux/filter.h: a sock_filter, and a sock_fprog.
_LOAD_BYTE, _MODULO, _RETURN_A = 0x30, 0x94, 0x16
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")

_REMEDY = "start it without --workers: one process then does all; or one for each of several ports"


class SteeredSockets:
    """
    The sockets of one listener.

    @ivar shares: those of each worker, one for each address.
    """

    def __init__(self, workers: int) -> None:
        self.shares: list[list[socket.socket]] = [[] for _ in range(workers)]

    def getHosts(self) -> list[HypermailAddress]:
        """The addresses."""
        return [HypermailAddress(*bound.getsockname()[:2]) for bound in self.shares[0]]

    def close(self) -> None:
        """What waits in them is lost with the last process that has them open."""
        for share in self.shares:
            for bound in share:
                bound.close()
            share.clear()

    def open(self, port: int, interface: str) -> int:
        """
        Open one more address.

        @return: its port.
        @raise CannotListenError: when it cannot be bound, as it cannot where anybody else has it.
        @raise NotSupported: by a system that cannot tell whose each datagram is.
        """
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        opened: list[socket.socket] = []
        try:
            for _ in self.shares:
                port = self._bind(family, port, interface, opened)
            if len(opened) > 1:
                steer(opened[0], len(opened))
        except BaseException as error:
            for made in opened:
                made.close()
            if isinstance(error, OSError):
                raise CannotListenError(interface, port, error) from error
            raise
        for share, made in zip(self.shares, opened, strict=True):
            share.append(made)
        return port

    def _bind(self, family: int, port: int, interface: str, opened: list[socket.socket]) -> int:
        made = socket.socket(family, socket.SOCK_DGRAM)
        first = not opened
        opened.append(made)
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if first:  # it shares with nobody when it is bound: so an address that somebody has is refused
            made.bind((interface, port))
        _share(made)
        if not first:
            made.bind((interface, port))
        return int(made.getsockname()[1])


def _share(made: socket.socket) -> None:
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except (AttributeError, OSError) as error:
        raise NotSupported(f"this system lets no two sockets share an address (SO_REUSEPORT): {_REMEDY}") from error


def steer(bound: socket.socket, workers: int) -> None:
    """
    Have the kernel choose, among the sockets that share an address, by the byte at L{TAG}. What is too short to have
    one comes to the first.

    @param bound: any of them.
    @param workers: how many they are.
    @raise NotSupported: when it cannot, with a text that says what to do.
    """
    instructions = ((_LOAD_BYTE, 0, 0, TAG), (_MODULO, 0, 0, workers), (_RETURN_A, 0, 0, 0))
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*each) for each in instructions))
    program = _PROGRAM.pack(len(instructions), ctypes.addressof(code))
    try:
        if sys.platform != "linux":  # where the number may mean something else
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        bound.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
    except OSError as error:
        text = (
            "several workers need Linux 4.5 or later, which can choose a socket by what a datagram says "
            f"(SO_ATTACH_REUSEPORT_CBPF); here that is refused ({error.strerror}): {_REMEDY}"
        )
        raise NotSupported(text) from error


def openSteered(port: int, interfaces: Sequence[str], workers: int) -> SteeredSockets:
    """
    Open one port number of several interfaces, for several workers.

    @param port: 0 for one that is free on all of them.
    @param interfaces: IP addresses; a family that the machine does not have is left out, and logged.
    @raise CannotListenError: when an address cannot be bound, or none of them exists here.
    @raise NotSupported: as of L{steer}.
    """
    attempts = MAX_ATTEMPTS if port == 0 and len(interfaces) > 1 else 1
    while True:
        attempts -= 1
        sockets = SteeredSockets(workers)
        try:
            onEvery(port, interfaces, sockets.open)
            return sockets
        except (CannotListenError, NotSupported) as error:
            again = attempts and sockets.shares[0] and isinstance(error, CannotListenError) and isInUse(error)
            sockets.close()
            if not again:
                raise
