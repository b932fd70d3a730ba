"""
aioquic: QUIC in pure Python. See L{benchmarks.peers.quic} for most of how it is set.

It has no path MTU discovery: how large datagrams are is said beforehand, and is C{DATAGRAM} here, more than its default
of 1,200, as what most paths carry. Beside that there is a variant with C{LARGEST}, which only loopback carries: more
does not fit the lengths that it writes into its packets. Bulk that says nothing of datagrams has these, too.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import StreamDataReceived

from benchmarks.comparing.program import Task
from benchmarks.comparing.work import Bulk
from benchmarks.peers import quic

DATAGRAM = 1_400
LARGEST = 16_000


def _settings(task: Task) -> dict[str, Any]:
    large = task.work.datagram is None if isinstance(task.work, Bulk) else task.arguments.get("large")
    return {"max_datagram_size": LARGEST if large else DATAGRAM}


async def _endpoint(loop: Any, make: Callable[[], Any], own: socket.socket) -> tuple[Any, Any]:
    made: tuple[Any, Any] = await loop.create_datagram_endpoint(make, sock=own)
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
