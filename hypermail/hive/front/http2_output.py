"""
What goes out on a connection of HTTP/2: a frame of each stream in turn, as far as the client takes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from h2.connection import H2Connection
from h2.exceptions import H2Error

from hypermail.hive.front.http2_stream import HTTP2Stream
from hypermail.hive.front.line import Line

#: Bytes that are written before it is looked whether the client takes them.
BATCH = 1 << 16


class Speaking(Protocol):
    """The connection: see L{hypermail.hive.front.http2.HTTP2}."""

    def has(self, stream: HTTP2Stream) -> bool:
        """Whether that is still there."""

    def say(self, say: Callable[..., None], *arguments: Any, **more: Any) -> None:
        """Have h2 say something, which it may not be able to any more."""

    def safely(self, stream: HTTP2Stream, call: Callable[..., None], *arguments: Any) -> None:
        """Call something that may fail, and then is one stream's fault."""

    def forget(self, stream: HTTP2Stream) -> None:
        """A stream is over."""


class HTTP2Output:
    """
    @param speaking: whose output it is.
    """

    def __init__(self, speaking: Speaking, h2: H2Connection, line: Line) -> None:
        self._speaking = speaking
        self._h2 = h2
        self._line = line
        self._ready: deque[HTTP2Stream] = deque()  # those with something to send

    def clear(self) -> None:
        """Nobody has anything to send any more."""
        self._ready.clear()

    def queue(self, stream: HTTP2Stream) -> None:
        """A stream has something to send."""
        if not stream.queued:
            stream.queued = True
            self._ready.append(stream)

    def queue_all(self, streams: Iterable[HTTP2Stream]) -> None:
        """All of these that have something to send may do so."""
        for stream in streams:
            if stream.unsent:
                self.queue(stream)

    def pump(self) -> None:
        """Send, until the client takes no more."""
        line, ready, sent = self._line, self._ready, 0
        while ready and not line.blocked and not line.over:
            stream = ready.popleft()
            stream.queued = False
            if self._speaking.has(stream):
                sent += self._send(stream)
            if sent >= BATCH:
                self.write()
                sent = 0
        self.write()

    def write(self) -> None:
        """Write what h2 has said."""
        data = self._h2.data_to_send()
        if data:
            self._line.write(data)

    def _send(self, stream: HTTP2Stream) -> int:
        """Send a frame. @return: bytes."""
        if not stream.unsent:
            if stream.ending is not None:
                self._send_end(stream, b"")
            return 0
        room = self._room(stream)
        if room <= 0:
            stream.stall()
            return 0
        piece = stream.next_piece(room)
        if stream.ending is not None and not stream.unsent:
            self._send_end(stream, piece)
        else:
            self._speaking.say(self._h2.send_data, stream.number, piece)
            self._speaking.safely(stream, stream.sent)
            if stream.unsent:
                self.queue(stream)
        return len(piece)

    def _room(self, stream: HTTP2Stream) -> int:
        try:
            return min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
        except H2Error:  # it was reset, which is about to be told
            return 0

    def _send_end(self, stream: HTTP2Stream, piece: bytes | memoryview) -> None:
        trailers = [
            (name.encode(), value.encode()) for name, values in (stream.ending or {}).items() for value in values
        ]
        if piece or not trailers:
            self._speaking.say(self._h2.send_data, stream.number, piece, end_stream=not trailers)
        if trailers:
            self._speaking.say(self._h2.send_headers, stream.number, trailers, end_stream=True)
        if stream.received:
            self._speaking.forget(stream)
        else:
            stream.linger()
