"""
KCP (C, by C{kcp}, which C{kcp.py} is an older name of): one conversation over a UDP socket of ours, not encrypted.

It is what KCP's authors call fastest: no delay, an interval of 10 ms, a fast retransmission after two, and no
congestion control; and it is flushed in each turn of the loop, not by that interval alone. Windows have C{WINDOW}
packets of 1,400 bytes, or of half a block where nothing is said about datagrams, and socket buffers hold more than
that. There is no back pressure, so a sender stays less than C{AHEAD} before what the listener has told. KCP has no
connections: nobody opens one, and there are no figures for that.
"""

from __future__ import annotations

import select
import socket
from time import perf_counter
from typing import Any

from kcp.extension import KCP

from benchmarks.comparing.program import HOST, Task
from benchmarks.peers.quic import udp_socket

CONVERSATION = 1
#: Bytes of a segment's head.
HEAD = 24
#: Bytes of packets where nothing else is said: a block is two then.
LARGEST = 32_768 + HEAD
WINDOW = 1_024
#: Of that many datagrams in a row, before the answer.
READS = 64
#: ms; also that a turn waits for the network at most.
INTERVAL = 10


class Conversation:
    """KCP over a socket."""

    def __init__(self, own: socket.socket, datagram: int | None) -> None:
        self._socket = own
        self._peer: Any = None
        size = datagram or LARGEST
        window = WINDOW if size < 2_000 else 64
        self._kcp = KCP(
            CONVERSATION,
            max_transmission=size,
            no_delay=True,
            update_interval=INTERVAL,
            resend_count=2,
            no_congestion_control=True,
            send_window_size=window,
            receive_window_size=max(128, window),
        )
        self._kcp.include_outbound_handler(self._out)

    def _out(self, kcp: Any, data: bytes) -> None:
        try:
            self._socket.send(data)
        except BlockingIOError:
            pass  # it is sent again

    def _connect(self, address: Any) -> None:
        self._peer = address
        self._socket.connect(address)

    def dial(self, address: Any) -> None:
        """Whom to send to."""
        self._connect(address)

    def turn(self) -> list[bytes]:
        """What has come; waits for something, but not for long."""
        select.select([self._socket], [], [], INTERVAL / 1e3)
        for _ in range(READS):
            try:
                data, address = self._socket.recvfrom(65_536)
            except BlockingIOError:
                break
            if self._peer is None:
                self._connect(address)
            self._kcp.receive(data)
        self._kcp.update(int(perf_counter() * 1e3))
        return [bytes(message) for message in self._kcp.get_all_received()]

    def send(self, messages: list[bytes]) -> None:
        """Queue them."""
        for message in messages:
            self._kcp.enqueue(message)

    def flush(self) -> None:
        """Send what is queued, and acknowledgements."""
        if self._peer is not None:
            self._kcp.flush()


def _conversation(task: Task) -> tuple[socket.socket, Conversation]:
    own = udp_socket()
    return own, Conversation(own, getattr(task.work, "datagram", None))


def listen(task: Task) -> None:
    """The listener's process."""
    own, conversation = _conversation(task)
    task.ready(own.getsockname()[1])
    take = task.work.listening().take
    while True:
        come = conversation.turn()
        conversation.send(take(come))
        conversation.flush()


def start(task: Task) -> None:
    """The starter's process."""
    _, conversation = _conversation(task)
    conversation.dial((HOST, task.word))
    work = task.work.starting(task.over, bounded=True)
    task.begin()
    work.begin()
    while True:
        while batch := work.next():
            conversation.send(batch)
        conversation.flush()
        work.take(conversation.turn())
