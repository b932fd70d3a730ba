"""
aioquic: one stream; messages in it behind their lengths. Its flow-control windows and socket buffers are made too
large to matter, everything else is as it comes.

It has no back pressure, so the receiver tells on the same stream how far it is, and the sender stays less than
C{AHEAD} before that.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted, QuicEvent, StreamDataReceived

from benchmarks.network.peers.credit import AHEAD, TOTAL, Credit
from benchmarks.network.program import NAME, Task
from benchmarks.network.work import Bulk, BulkSource, MessageSource, Strings, Taker
from benchmarks.securing import identity, pem

WINDOW = 8 * AHEAD
SOCKET_BUFFER = 4 << 20
LOOK = 0.02


def _configuration(task: Task, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        congestion_control_algorithm=task.arguments["congestion"],
        max_data=WINDOW,
        max_stream_data=WINDOW,
        server_name=NAME,
    )


def _socket(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    made.setblocking(False)
    made.bind((host, port))
    return made


class Taking(QuicConnectionProtocol):
    """
    The listener's side of the connection.

    @ivar task: of this process.
    @ivar taker: of what arrives.
    """

    task: Task
    taker: Taker

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._strings = None if isinstance(self.task.work, Bulk) else Strings()
        self._credit = Credit()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.task.began()
        elif isinstance(event, StreamDataReceived):
            now = monotonic()
            if self._strings is not None:
                for message in self._strings.feed(event.data):
                    self.taker.take(message, now)
                return
            self.taker.take(event.data, now)
            told = self._credit.took(len(event.data))
            if told:
                self._quic.send_stream_data(event.stream_id, told)


class Starting(QuicConnectionProtocol):
    """The starter's side."""

    source: BulkSource | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stream = 0
        self._told = b""

    def open_stream(self) -> None:
        """Take a stream for all that is sent."""
        self._stream = self._quic.get_next_available_stream_id()

    def send(self, data: bytes) -> None:
        """On the stream."""
        self._quic.send_stream_data(self._stream, data)
        self.transmit()

    def top_up(self, taken: int = 0) -> None:
        """Write as much as the receiver's progress allows."""
        source = self.source
        while source is not None and not source.over and source.given - taken < AHEAD:
            self._quic.send_stream_data(self._stream, source.next())
        self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self._told += event.data
            whole = len(self._told) // TOTAL * TOTAL
            if whole:
                taken = int.from_bytes(self._told[whole - TOTAL : whole], "big")
                self._told = self._told[whole:]
                self.top_up(taken)


def _look(task: Task, taker: Taker) -> None:
    """See whether the work is over, again and again."""
    if taker.over(monotonic()):
        task.over(taker.result())
    else:
        asyncio.get_running_loop().call_later(LOOK, _look, task, taker)


async def _listen(task: Task) -> None:
    shown = identity(NAME)
    configuration = _configuration(task, False)
    configuration.certificate, configuration.private_key = shown.certificate, shown.key
    taker = task.work.taker()

    class Bound(Taking):
        pass

    Bound.task, Bound.taker = task, taker
    loop = asyncio.get_running_loop()
    listening = _socket(task.host, task.port)
    await loop.create_datagram_endpoint(
        lambda: QuicServer(configuration=configuration, create_protocol=Bound), sock=listening
    )
    task.ready(pem(shown.certificate))
    loop.call_later(LOOK, _look, task, taker)
    await asyncio.Event().wait()


async def _start(task: Task) -> None:
    configuration = _configuration(task, True)
    configuration.load_verify_locations(cadata=task.word.encode())
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(
        lambda: Starting(QuicConnection(configuration=configuration)), sock=_socket("0.0.0.0", 0)
    )
    protocol.connect((task.host, task.port))
    await protocol.wait_connected()
    protocol.open_stream()
    task.began()
    if isinstance(task.work, Bulk):
        protocol.source = BulkSource(task.work, monotonic)
        protocol.top_up()
    else:
        source = MessageSource(task.work, monotonic())
        while not source.over:
            if source.due <= monotonic():
                protocol.send(Strings.of(source.next()))
            else:
                await asyncio.sleep(source.due - monotonic())
    await asyncio.Event().wait()


def listen(task: Task) -> None:
    """The listener's process."""
    asyncio.run(_listen(task))


def start(task: Task) -> None:
    """The starter's process."""
    asyncio.run(_start(task))
