"""
What the C{hypermail} command does once its arguments are read: open a session, use it, close it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from secrets import token_bytes
from typing import Any, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater

from hypermail.errors import HypermailError, MessageUndelivered, PeerUntrusted, SessionLost, SessionTimedOut
from hypermail.interfaces import ISession
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.settings import StarterSettings
from hypermail.options import Options
from hypermail.services.addresses import Destination
from hypermail.services.dialects import DialectSettings
from hypermail.services.directory import check_trace_directory
from hypermail.services.paths import printable
from hypermail.services.progress import INTERVAL, Progress, count
from hypermail.services.returning import CannotCall, ReturningSession
from hypermail.services.sending import Dispatch, FileDispatch, NewTransfers, Sending
from hypermail.services.sending_messages import MessageDispatch, send_message
from hypermail.services.tree import Item, find
from hypermail.services.workers import Workers

CLOSING = 2.0
"""Seconds that closing may take; all that matters is settled by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """
    How to open the session.

    @ivar settings: whom to trust, and who we are.
    @ivar timeout: s that opening may take; for L{send}, that may pass without a session.
    @ivar congestion: the name of the congestion control.
    @ivar maxRate: C{max_rate}, bit/s; None for no limit.
    @ivar allowReopen: C{allow_reopen}.
    @ivar dialect: that is spoken, in place of the native protocol.
    """

    destination: Destination
    settings: StarterSettings = field(default_factory=StarterSettings)
    traceDirectory: str | None = None
    timeout: float = Options().connection_timeout
    congestion: str = Options().congestion
    maxRate: float | None = None
    allowReopen: bool = True
    dialect: DialectSettings | None = None

    async def open(self, reactor: Any, patience: float) -> ISession:
        """
        Open the session.

        @param patience: s that this may take.
        @raise CannotCall: with one clear line, when it does not open.
        """
        check_trace_directory(self.traceDirectory)
        try:
            endpoint = self._endpoint(reactor, patience)
            factory = SessionFactory.forProtocol(SessionProtocol)
            factory.noisy = False
            protocol = await endpoint.connect(factory)
        except SessionTimedOut as error:
            text = f"nobody has answered at {self.destination} for {patience:g} s"
            raise CannotCall(text, error.code) from error
        except PeerUntrusted as error:
            raise CannotCall(self._distrust(error), error.code) from error
        except HypermailError as error:
            text = f"no session with {self.destination}: {printable(error.text)}"
            raise CannotCall(text, error.code) from error
        except CannotListenError as error:
            raise CannotCall(f"no session with {self.destination}: there is no socket ({error.socketError})") from error
        session: ISession = protocol.session
        return session

    def _endpoint(self, reactor: Any, patience: float) -> SessionClientEndpoint:
        """@raise HypermailError: when what the settings name cannot be used."""
        host, port = self.destination
        if self.dialect is not None:
            dialect = replace(self.dialect.dialect(), connection_timeout=patience)
            return SessionClientEndpoint(reactor, host, port, dialect=dialect, traceDirectory=self.traceDirectory)
        return SessionClientEndpoint(
            reactor,
            host,
            port,
            options=Options(
                connection_timeout=patience,
                session_timeout=self.timeout,
                congestion=self.congestion,
                max_rate=self.maxRate,
                allow_reopen=self.allowReopen,
            ),
            security=self.settings.security(),
            traceDirectory=self.traceDirectory,
        )

    def _distrust(self, error: PeerUntrusted) -> str:
        """What to say of a listener that is not trusted, and what to do if it should be."""
        text = f"no session with {self.destination}: {printable(error.text)}"
        if error.pin and self.settings.pin is None:
            text += f". If {error.pin} is what its operator tells you, give --pin {error.pin}"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What C{hypermail send} is to send."""

    files: Sequence[str] = ()
    messages: Sequence[bytes] = ()
    recursive: bool = False


async def send(reactor: Any, calling: Calling, load: Load, progress: Progress) -> bool:
    """
    Send files and messages.

    @return: whether the other side has stored all of it.
    @raise UsageError: when a directory is named, and C{load.recursive} is not set.
    @raise CannotCall: when no session opens.
    """
    workers = Workers(reactor, name="hypermail send")
    workers.start()
    try:
        found = await workers.run(partial(find, load.files, recursive=load.recursive))
        for problem in found.problems:
            progress.fail(problem)
        if found.items or load.messages:
            await _sendFound(reactor, calling, found.items, load.messages, workers, progress)
        elif not found.problems:
            progress.fail("there is no file to send")
    finally:
        await workers.stop()
    return not progress.failures


async def _sendFound(
    reactor: Any,
    calling: Calling,
    items: Sequence[Item],
    messages: Sequence[bytes],
    workers: Workers,
    progress: Progress,
) -> None:
    where = str(calling.destination)
    sessions = ReturningSession(
        reactor, calling, where, timeout=calling.timeout, away=partial(progress.away, where), back=progress.back
    )
    progress.begin(len(items), sum(item.size for item in items))
    looking = LoopingCall(progress.look)
    looking.clock = reactor
    looking.start(INTERVAL[progress.terminal], now=False)
    try:
        await sessions.session(None, None)
        progress.look()
        taken = await _sendMessages(sessions, messages, progress)
        sending = Sending(_dispatch(reactor, calling, sessions, workers, progress), items, progress)
        await sending.start()
        if sending.lost is not None:
            progress.fail(f"the session with {where} was lost: {printable(sending.lost.text)}")
    finally:
        looking.stop()
        progress.clear()
        sessions.stop()
        if sessions.current is not None:
            await _close(reactor, sessions.current)
    progress.end(where, taken)


async def _sendMessages(sessions: ReturningSession, messages: Sequence[bytes], progress: Progress) -> int:
    """Send messages, one after the other; how many were taken."""
    taken = 0
    for message in messages:
        try:
            await send_message(sessions, message)
        except MessageUndelivered as error:
            progress.fail(f"the message may have been stored, or not: {printable(error.cause.text)}")
        except HypermailError as error:
            progress.fail(f"the message was not stored: {printable(error.text)}")
        else:
            taken += 1
    return taken


def _dispatch(
    reactor: Any, calling: Calling, sessions: ReturningSession, workers: Workers, progress: Progress
) -> Dispatch:
    """What sends files: on streams, or as messages where there are none."""
    if calling.dialect is not None:
        return MessageDispatch(sessions, run=workers.run, watcher=progress, most=calling.dialect.most)
    transfers = NewTransfers(token_bytes)
    return FileDispatch(sessions, clock=reactor, run=workers.run, watcher=progress, transfers=transfers)


async def _close(reactor: Any, session: ISession) -> None:
    """Close the session; how it ends makes no difference any more."""
    closing: Deferred[Any] = session.close()
    closing.addTimeout(CLOSING, reactor)
    closing.addErrback(lambda _: None)
    await closing


async def ping(reactor: Any, calling: Calling, out: TextIO, *, times: int, interval: float) -> bool:
    """
    Measure and print round trips.

    @param times: how many; 0 for no end.
    @param interval: s between two.
    @return: True.
    @raise HypermailError: when no session opens, or it is lost.
    """
    session = await replace(calling, allowReopen=False).open(reactor, calling.timeout)
    trips: list[float] = []
    try:
        while not times or len(trips) < times:
            if trips:
                await deferLater(reactor, interval)
            trips.append(await session.ping())
            print(f"{calling.destination}: {trips[-1] * 1e3:.3f} ms", file=out, flush=True)
    except SessionLost as error:
        raise CannotCall(f"the session with {calling.destination} was lost: {printable(error.text)}") from error
    finally:
        if trips:
            _summary(calling.destination, trips, out)
        await _close(reactor, session)
    return True


def _summary(destination: Destination, trips: Sequence[float], out: TextIO) -> None:
    least, mean, most = min(trips), sum(trips) / len(trips), max(trips)
    line = f"{count(len(trips), 'round trip')} to {destination}: "
    line += f"least {least * 1e3:.3f} ms, mean {mean * 1e3:.3f} ms, most {most * 1e3:.3f} ms"
    print(line, file=out, flush=True)
