"""
qh3: QUIC whose packets, recovery and TLS are in Rust. See L{benchmarks.peers.quic} for most of how it is set.

Both sides have its own transport for UDP, which sends and receives with GSO and GRO (C{qh3.asyncio.connect} uses it;
C{qh3.asyncio.serve} does not, yet it is faster with it). Its clients tell servers to send 1,472 bytes at most; where
nothing else is said it finds out by itself how large datagrams may be, up to that.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from qh3.asyncio._transport import create_optimized_datagram_transport
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.asyncio.server import QuicServer
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from qh3.quic.events import StreamDataReceived

from benchmarks.comparing.program import Task
from benchmarks.peers import quic


def _settings(task: Task) -> dict[str, Any]:
    datagram = getattr(task.work, "datagram", None)
    return {} if datagram is None else {"max_datagram_size": datagram, "probe_datagram_size": False}


async def _endpoint(loop: Any, make: Callable[[], Any], own: socket.socket) -> tuple[Any, Any]:
    made: tuple[Any, Any] = await create_optimized_datagram_transport(loop, make, sock=own)
    return made


LIBRARY = quic.Library(
    QuicConfiguration, QuicConnection, QuicConnectionProtocol, QuicServer, StreamDataReceived, _endpoint, _settings
)


def listen(task: Task) -> None:
    """The listener's process."""
    quic.listen(LIBRARY, task)


def start(task: Task) -> None:
    """The starter's process."""
    quic.start(LIBRARY, task)
