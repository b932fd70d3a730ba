"""
From which of its addresses a listener answers: from the one that it was asked at.

A socket that is bound to all addresses sends from whichever the routes say. On a host with several that is not always
the one that the peer has sent to, and no NAT or firewall lets in what comes from another. So Linux is asked where
each datagram was sent to (IP_PKTINFO and IPV6_PKTINFO, ip(7), RFC 3542 §6), and told to send answers from there.

Nothing is kept for that: it is part of the address that a connection has of its peer. Two sessions of one peer's
socket that were asked for at two addresses are each answered from their own, and strangers fill no memory.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import NamedTuple

from hypermail.internet.address import SocketAddress

# linux/in.h; the socket module has no name for it before Python 3.14.
IP_PKTINFO = 8

#: Bytes of the larger control message, an in6_pktinfo.
PKTINFO_SIZE = 20

#: Control messages that tell where a datagram was sent to.
ASKED = (IP_PKTINFO, socket.IPV6_PKTINFO)

#: What the system says when it cannot send from an address: one that is not the host's any more (Linux: ENETUNREACH in
#: IPv4, EINVAL in IPv6), or one from which no route leads there.
REFUSES_SOURCE = {errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH}


class AskedAddress(NamedTuple):
    """
    A peer's address, as of L{SocketAddress}, and ours that it has sent to: together, a path (RFC 9000 §9).

    @ivar local: as L{localOf} gives it.
    """

    host: str
    port: int
    local: bytes

    def __str__(self) -> str:
        return str(SocketAddress(self.host, self.port))


def isEverywhere(interface: str) -> bool:
    """Whether a socket that is bound to an IP address, or to none (empty), has all addresses of its family."""
    return not interface or ip_address(interface).is_unspecified


def pktinfoOption(family: int) -> tuple[int, int]:
    """The option that has the kernel tell where each datagram was sent to."""
    if family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO
    return socket.IPPROTO_IP, IP_PKTINFO


def localOf(data: bytes) -> bytes:
    """
    What the kernel has told of a datagram, cut down to what has it send from there.

    @param data: an in_pktinfo (the interface; our address, also of what went to a group; the one in the header) or an
        in6_pktinfo (the one in the header; the interface).
    @return: the address, packed; a link-local one, which means nothing without, with its interface. Empty when nobody
        can send from there, as it is a group's.
    """
    if len(data) != PKTINFO_SIZE:
        return data[4:8]
    if data[0] == 0xFF:  # ff00::/8
        return b""
    if data[0] == 0xFE and data[1] & 0xC0 == 0x80:  # fe80::/10
        return data
    return data[:16]


def pktinfoMessage(local: bytes) -> tuple[int, int, bytes]:
    """The control message for sending from what L{localOf} gave; which interface that takes is left to the routes."""
    if len(local) == 4:
        return socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + local + bytes(4)
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local.ljust(PKTINFO_SIZE, b"\0")
