"""
One stream: its opening and its two directions, as the application sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypermail.errors import HypermailError, Reason, StreamAborted, UsageError
from hypermail.events import StreamOptions
from hypermail.streams.incoming import Incoming
from hypermail.streams.outgoing import Outgoing
from hypermail.streams.states import OPENING, Opening, OpeningInput
from hypermail.wire.packets import StreamClear, StreamOpenAck

if TYPE_CHECKING:
    from hypermail.streams.set import Streams


class Stream:
    """
    A stream of a session.

    @ivar id: even when the starter opened it; -1 until the peer's limit has allowed it.
    @ivar name: what the opener called it.
    @ivar options: what else the opener said.
    @ivar ours: whether this side opened it.
    @ivar opening: whether it has come about.
    @ivar error: why it ended, when it did not finish both ways.
    """

    __slots__ = (
        "_streams",
        "error",
        "had",
        "id",
        "incoming",
        "name",
        "opening",
        "options",
        "ours",
        "outgoing",
        "queued",
        "told_accepted",
        "told_ended",
        "told_flushed",
        "told_of",
        "touched",
    )

    def __init__(self, streams: Streams, ours: bool, name: bytes, options: StreamOptions, opening: Opening) -> None:
        self._streams = streams
        self.ours = ours
        self.name = name
        self.options = options
        self.opening = opening
        self.error: HypermailError | None = None
        self.id = -1
        self.queued = False  # whether it stands in line for sending
        self.had = 0  # bytes of its turn
        self.touched = False  # whether it may have events
        self.outgoing: Outgoing = streams.new_outgoing(self)
        self.incoming: Incoming = streams.new_incoming(self)
        # What the application has been told, so that it is told once:
        self.told_of = ours
        self.told_accepted = False
        self.told_flushed = self.outgoing.over
        self.told_ended = False

    def name_it(self, id: int) -> None:
        """Give the stream its number."""
        self.id = self.outgoing.id = self.incoming.id = id

    # The application's side

    @property
    def full(self) -> bool:
        """Whether the writer should pause; C{StreamWritable} says when to go on."""
        return self.outgoing.full

    @property
    def over(self) -> bool:
        """Whether both directions are over."""
        return self.outgoing.over and self.incoming.over

    def accept(self) -> None:
        """Take a stream that the peer has opened. @raise UsageError: when it isn't to be answered."""
        self._answer()
        self.opening = OPENING.next(self.opening, OpeningInput.ACCEPT)
        if not self.incoming.over:
            self.incoming.accept()
        self._streams.control.put(("open", self.id), StreamOpenAck(self.id, self.incoming.limit))
        self._streams.queue(self)
        self._streams.touch(self)

    def refuse(self, code: int = Reason.STREAM_REJECTED, text: str = "") -> None:
        """Don't take a stream that the peer has opened. @raise UsageError: when it isn't to be answered."""
        self._answer()
        self._streams.control.put(("open", self.id), StreamOpenAck(self.id, None, code, text))
        self.end(None)

    def _answer(self) -> None:
        if self.opening is not Opening.OFFERED:
            raise UsageError(f"stream {self.id} is not waiting for an answer")

    def write(self, data: bytes) -> None:
        """Send bytes, which must not be changed afterwards. @raise UsageError: after L{finish}."""
        self.outgoing.write(data)

    def finish(self) -> None:
        """End our direction when everything written has been sent. Doing it twice is harmless."""
        self.outgoing.finish()

    def clear(self, code: int = Reason.STREAM_ABORTED, text: str = "") -> None:
        """End both directions at once; the peer reads code and text. Harmless when it is over."""
        if self.opening is Opening.OVER:
            return
        if self.opening is not Opening.WAITING:
            self._streams.control.put(("clear", self.id), StreamClear(self.id, code, text))
        self.end(StreamAborted(text, code))

    def pause(self) -> None:
        """No more events with data, until L{resume}; the peer is told."""
        self.incoming.pause()

    def resume(self) -> None:
        """Data again."""
        self.incoming.resume()
        self._streams.touch(self)

    def end(self, error: HypermailError | None) -> None:
        """Both directions are over, whatever they were."""
        if self.opening is Opening.OVER:
            return
        self.opening = OPENING.next(self.opening, OpeningInput.END)
        self.error = error
        self.outgoing.clear()
        self.incoming.clear()
        self._streams.touch(self)
