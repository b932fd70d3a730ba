"""
A session's streams between the core and the application: asked for, accepted, connected, over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, Reason, StreamAborted, UsageError
from hypermail.events import StreamOptions
from hypermail.interfaces import ISessionProtocol
from hypermail.internet.callbacks import meantForPeer, verdict, withdraw
from hypermail.internet.likeness import StreamUser
from hypermail.internet.transport import StreamTransport
from hypermail.wire.fields import Data

if TYPE_CHECKING:
    from hypermail.streams.stream import Stream


class StreamsUser(StreamUser, Protocol):
    """What the streams of a session need of it, besides what their transports do."""

    def seconds(self) -> float:
        """The time that the core is told."""


class _Opening:
    """
    A stream that the peer has not accepted yet.

    @ivar deferred: what the caller of C{openStream} waits for.
    """

    __slots__ = ("_gone", "deferred", "factory")

    def __init__(self, deferred: Deferred[IProtocol], factory: IProtocolFactory, gone: Callable[[], object]) -> None:
        self.deferred = deferred
        self.factory = factory
        self._gone = gone
        factory.doStart()

    def over(self) -> None:
        """The stream is over, or will not be."""
        self.factory.doStop()
        self._gone()


def _nothing() -> None:
    """Nobody needs to know."""


class SessionStreams:
    """
    The streams of one session.

    @param protocol: the application's.
    """

    _log = Logger()

    __slots__ = ("_opening", "_protocol", "_requested", "_session", "_transports")

    def __init__(self, session: StreamsUser, protocol: ISessionProtocol) -> None:
        self._session = session
        self._protocol = protocol
        self._opening: dict[Stream, _Opening] = {}
        self._requested: dict[Stream, Deferred[Any]] = {}
        self._transports: dict[Stream, StreamTransport] = {}

    # Streams that we open.

    def open(
        self,
        factory: IProtocolFactory,
        name: bytes,
        options: StreamOptions | None,
        gone: Callable[[], object] = _nothing,
    ) -> Deferred[IProtocol]:
        """
        See L{ISession.openStream}.

        @param gone: called once when the stream is over, or will not be.
        """
        try:
            connection = self._session.connection
            stream = connection.open_stream(name, options or StreamOptions(), now=self._session.seconds())
        except HypermailError as error:
            gone()
            return defer.fail(error)
        deferred: Deferred[IProtocol] = Deferred(partial(self._cancel, stream))
        self._opening[stream] = _Opening(deferred, factory, gone)
        self._session.touch()
        return deferred

    def _cancel(self, stream: Stream, deferred: Deferred[IProtocol]) -> None:
        self._giveUp(stream, Failure(defer.CancelledError()))

    def _giveUp(self, stream: Stream, failure: Failure) -> None:
        """We do not want a stream any more that is being opened."""
        stream.clear(Reason.STREAM_ABORTED, "the stream is not wanted any more")
        self._session.touch()
        self._failed(stream, failure)

    def _failed(self, stream: Stream, failure: Failure) -> None:
        opening = self._opening.pop(stream, None)
        if opening is not None:
            opening.over()
            opening.deferred.errback(failure)

    def accepted(self, stream: Stream) -> None:
        """The peer's application takes our stream."""
        opening = self._opening.get(stream)
        if opening is None:
            return
        try:
            protocol = opening.factory.buildProtocol(self._session.getPeer())
            if protocol is None:
                raise NoProtocol()
        except Exception:
            self._giveUp(stream, Failure())
            return
        if self._opening.pop(stream, None) is None:
            return  # cancelled by the factory
        self._connect(stream, protocol, opening.over)
        if not opening.deferred.called:  # the protocol may have cancelled it
            opening.deferred.callback(protocol)

    # Streams that the peer opens.

    def requested(self, stream: Stream) -> None:
        """Ask the application whether it takes a stream."""
        answer = maybeDeferred(self._protocol.streamOpened, stream.name, stream.options)
        self._requested[stream] = answer
        answer.addCallbacks(self._wanted, self._unwanted, callbackArgs=(stream,), errbackArgs=(stream,))

    def _wanted(self, protocol: IProtocol | None, stream: Stream) -> None:
        if self._requested.pop(stream, None) is None:
            return
        if protocol is None:
            self._refuse(stream, Reason.STREAM_REJECTED, "this application does not take the stream")
            return
        with suppress(UsageError):  # the peer has given it up: the end that waits among the events is told the protocol
            stream.accept()
        self._connect(stream, protocol, _nothing)
        self._session.touch()

    def _unwanted(self, failure: Failure, stream: Stream) -> None:
        if self._requested.pop(stream, None) is None:
            return
        if not meantForPeer(failure):
            self._log.failure("streamOpened has failed; the stream is refused", failure)
        code, text = verdict(failure, Reason.STREAM_REJECTED, "this stream")
        self._refuse(stream, code, text)

    def _refuse(self, stream: Stream, code: int, text: str) -> None:
        try:
            stream.refuse(code, text)
        except UsageError:
            return  # as above
        self._session.touch()

    # Both.

    def _connect(self, stream: Stream, protocol: IProtocol, gone: Callable[[], object]) -> None:
        transport = StreamTransport(self._session, stream, protocol, gone)
        self._transports[stream] = transport
        transport.begin()

    def dataArrived(self, stream: Stream, pieces: list[Data]) -> None:
        """Bytes of the peer, in order."""
        transport = self._transports.get(stream)
        if transport is not None:
            transport.dataArrived(pieces)

    def finishArrived(self, stream: Stream) -> None:
        """The peer's direction is complete."""
        transport = self._transports.get(stream)
        if transport is not None:
            transport.finishArrived()

    def flushed(self, stream: Stream) -> None:
        """The peer has everything that was written."""
        transport = self._transports.get(stream)
        if transport is not None:
            transport.flushed()

    def writable(self, stream: Stream) -> None:
        """There is room to write."""
        transport = self._transports.get(stream)
        if transport is not None:
            transport.writable()

    def ended(self, stream: Stream, error: HypermailError | None) -> None:
        """A stream is over."""
        requested = self._requested.pop(stream, None)
        if requested is not None:
            withdraw(requested)
        self._failed(stream, Failure(error or StreamAborted("the stream ended before it was accepted")))
        transport = self._transports.pop(stream, None)
        if transport is not None:
            transport.ended(error)

    def lost(self, error: HypermailError) -> None:
        """The session is over, and with it every stream."""
        while self._requested:
            withdraw(self._requested.popitem()[1])
        while self._opening:
            self._failed(next(iter(self._opening)), Failure(error))
        while self._transports:
            self._transports.popitem()[1].ended(error)
