"""
A session's life between the core and the application: asked for, opened, without a link and over another, ended.

L{SessionLife} turns the events of one connection into callbacks (L{SessionLife.drain}), and is the half of
L{hypermail.internet.session.Session} that its application does not see. Whether a listener wants it is decided in
L{hypermail.internet.deciding}, what it carries is in L{hypermail.internet.traffic}, what of it goes to the disk in
L{hypermail.internet.writing}, and who waits for its end in L{hypermail.internet.closing}.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail import events
from hypermail.errors import (
    HypermailError,
    PeerSilent,
    Reason,
    SessionAborted,
)
from hypermail.interfaces import ISession, ISessionFactory, ISessionProtocol
from hypermail.internet.address import HypermailAddress, addressOf
from hypermail.internet.callbacks import APPLICATION_FAILED, pending
from hypermail.internet.closing import Closing
from hypermail.internet.deciding import Decision
from hypermail.internet.protocol import SessionProtocol
from hypermail.internet.reopening import claimed, reopen
from hypermail.internet.traffic import TRAFFIC_EVENTS, Traffic
from hypermail.internet.whereabouts import Whereabouts
from hypermail.internet.writing import Writing
from hypermail.options import Way

if TYPE_CHECKING:
    from hypermail.connection import Connection
    from hypermail.internet.crowds import Crowd
    from hypermail.internet.owner import SessionOwner


#: Knows no session. Twisted makes a logger anew whenever a class, or an object, is asked for its own.
_LOG = Logger("hypermail.internet.session.Session")
#: Why a session ends that whoever asked for it does not want any more.
NOT_WANTED = "the session was not wanted any more"


class SessionLife:
    """
    One session, as the socket that it lives on sees it.

    @ivar connection: the core's side; another one whenever the session goes on over another link.
    @ivar whereabouts: where a starter's looks for its listener; None for where it was.
    @ivar crowd: those with whom it shares what it may send; None while it has nothing in flight.
    @ivar deadline: when the connection wants to be called; L{Deadlines} keeps it.
    @ivar busy: while events are being dealt with, after which everything is sent anyway.
    @ivar opened: whether C{sessionOpened} was called; C{traffic} is there since then.
    @ivar opening: fires when C{sessionOpened} was called, or fails with what came in its place.
    @ivar traffic: what the session carries, from its opening on, until nothing is left of it.
    @ivar error: what ended the session, once it has ended.
    @ivar unsent: what the system has said when it refused to send last, and when in s; None when it never has.
    """

    _log = Logger()

    __slots__ = (
        "_closing",
        "_decision",
        "_factory",
        "_failure",
        "_owner",
        "_rejected",
        "_soon",
        "_writing",
        "busy",
        "connection",
        "crowd",
        "deadline",
        "error",
        "opened",
        "opening",
        "protocol",
        "reactor",
        "traffic",
        "unsent",
        "way",
        "whereabouts",
    )

    traffic: Traffic

    def __init__(
        self,
        owner: SessionOwner,
        connection: Connection,
        *,
        factory: ISessionFactory | None = None,
        protocol: ISessionProtocol | None = None,
        release: Callable[[], object] | None = None,
        whereabouts: Whereabouts | None = None,
    ) -> None:
        """
        @param factory: a listener's, which decides and builds the protocol.
        @param protocol: a starter's.
        @param whereabouts: a starter's.
        @param release: a starter's; closes the socket, perhaps later, when the session leaves nothing to answer.
        """
        self._owner = owner
        self.reactor = owner.reactor
        self.connection = connection
        self._factory = factory
        self.protocol = protocol
        self.whereabouts = whereabouts
        self.deadline = inf
        self.crowd: Crowd | None = None
        self.busy = False
        self.opened = False
        self.opening: Deferred[Any] | None = None
        self.error: HypermailError | None = None
        self.way: Way = connection.options.way
        self._decision: Decision | None = None
        self._writing: Writing | None = None
        self._rejected = False
        self._failure: HypermailError | None = None
        # Made for the first that comes, since most sessions wait for nothing most of the time.
        self._soon: list[Callable[[], object]] | None = None
        self._closing: Closing | None = None if release is None else Closing(self, release)
        self.unsent: tuple[OSError, float] | None = None

    @property
    def sessionID(self) -> bytes:
        """Names the session in logs; equal on both sides."""
        return bytes(self.connection.session_id)

    @property
    def durable(self) -> bool:
        """See L{ISession}."""
        return self.connection.durable

    def getHost(self) -> HypermailAddress:
        """See L{ISession.getHost}."""
        return self._owner.host()

    def getPeer(self) -> HypermailAddress:
        """See L{ISession.getPeer}."""
        return addressOf(self.connection.address)

    def abort(self, text: str = "", code: int = Reason.APPLICATION) -> None:
        """See L{ISession.abort}."""
        if self.error is None:
            if self.opened:
                self.traffic.aborted()
            self.connection.abort(code, text, now=self._owner.seconds())
            self.touch()

    def fail(self, error: HypermailError) -> None:
        """End the session at once, for a reason that lies here and not in the core."""
        self._failure = error
        self.abort(error.text, error.code)

    def whenOpened(self) -> Deferred[Any]:
        """
        A starter's: fires when C{sessionOpened} was called, errbacks with what came in its place.

        Cancelling it aborts the session.
        """
        self.opening = Deferred(self._unwantedByUs)
        return self.opening

    def _unwantedByUs(self, _: object) -> None:
        self.opening = None
        if not self.opened:
            self.protocol = SessionProtocol()  # whoever asked has another session by now, or wants none
        if self.connection.returning:
            self.park(NOT_WANTED)
        else:
            self.abort(NOT_WANTED)

    # Between calls and events.

    def seconds(self) -> float:
        """The time that the core is told."""
        return self._owner.seconds()

    def touch(self) -> None:
        """The core has something new to send."""
        if not self.busy:
            self._owner.pump.touch(self)

    def flush(self) -> None:
        """Nothing more will be written soon: what is there to send need not wait for it."""
        self._owner.pump.flush(self)

    def soon(self, call: Callable[[], object]) -> None:
        """Call when the events that are there have been dealt with, in this turn or the next."""
        if self.error is not None:
            self.reactor.callLater(0, call)
            return
        if self._soon is None:
            self._soon = []
        self._soon.append(call)
        self.touch()

    def drain(self) -> bool:
        """
        Deal with every event that the core has, but with no more asks than it gives at once: their replies are to leave
        before the others are answered, so that the asker can go on meanwhile.

        @return: whether there was anything to deal with.
        """
        self.busy = True
        happened = False
        try:
            while True:
                while (event := self.connection.next_event()) is not None:  # the connection may become another one
                    happened = True
                    kind = type(event)
                    if kind in TRAFFIC_EVENTS:
                        TRAFFIC_EVENTS[kind](self.traffic, event)
                    else:
                        _EVENTS[kind](self, event)
                    if kind is events.AsksReceived and not self._soon:
                        return True
                if not self._soon:
                    return happened
                happened = True
                calls, self._soon = self._soon, None
                for call in calls:
                    call()
        finally:
            self.busy = False

    def tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call the application; the session ends when it fails."""
        try:
            answer = callback(*arguments)
            waits = None if answer is None else pending(answer)
        except Exception:
            self._applicationFailed(Failure(), self.protocol)
        else:
            if waits is not None:
                waits.addErrback(self._applicationFailed, self.protocol)

    def _applicationFailed(self, failure: Failure, protocol: ISessionProtocol | None) -> None:
        self._log.failure("A callback of {protocol!r} has failed", failure, protocol=protocol)
        self.abort(APPLICATION_FAILED)

    # Opening.

    def _requested(self, event: events.SessionRequested) -> None:
        factory = self._factory
        assert factory is not None  # only listeners are asked
        self.way = event.way
        self._decision = Decision(self, self._owner, factory, event)
        self._decision.begin()

    def reject(self, code: int, text: str) -> None:
        """A listener's: the session is not wanted; its starter is told why."""
        try:
            self.connection.reject(code, text, now=self._owner.seconds())
        except HypermailError:
            return  # the stranger has given up; its end is among the events that wait
        self._rejected = True
        self._owner.failedHandshakes.refused(self.getPeer(), named(code, text), self._owner.seconds())
        self.touch()

    def _opened(self, _: events.SessionOpened) -> None:
        protocol = self.protocol
        assert protocol is not None  # built before accept(), or given to a starter
        self.traffic = Traffic(self, protocol)
        self.opened = True
        self._decision = None
        if self._factory is not None:
            self._owner.residents.enter(self)
        protocol.session = ISession(self)
        self.tell(protocol.sessionOpened)
        opening, self.opening = self.opening, None
        if opening is not None:
            opening.callback(self)

    # On disk, without a link, and over another one.

    def write(self) -> None:
        """Write down what has to outlive the process."""
        if self.connection.has_changes:
            self.writing.look()

    @property
    def writing(self) -> Writing:
        """What has to outlive the process, on its way."""
        if self._writing is None:
            store = self._owner.store
            assert store is not None  # or the session would not be durable
            self._writing = Writing(self, store, self._owner.wall)
        return self._writing

    def _messagesWanted(self, event: events.MessagesWanted) -> None:
        self.writing.bring(event)

    def park(self, text: str = "the session is kept") -> None:
        """See L{ISession.park}."""
        error = SessionAborted(text, Reason.SHUTTING_DOWN)
        self._owner.residents.parked()
        self._owner.pump.send(self.connection.park(error, now=self._owner.seconds()))
        self.write()
        self.touch()

    @property
    def socket(self) -> SessionOwner:
        """Where the session lives."""
        return self._owner

    def moveTo(self, owner: SessionOwner, connection: Connection) -> None:
        """The session goes on over another connection, perhaps on another socket; no other has it any more."""
        self._owner.pump.leave(self)
        self._owner = owner
        self.connection = connection
        owner.pump.enter(self)

    def moved(self, here: str) -> None:
        """Our own address has changed."""
        self._say("session {session} with {peer}: we are at {here} now", here=here)

    def _suspended(self, event: events.SessionSuspended) -> None:
        protocol = self.protocol
        assert protocol is not None  # the session was open
        self._note("session {session} with {peer} has lost its link: {reason}", event.error.code, event.error.text)
        self.traffic.suspended(event.error)
        if self._factory is not None and not self.connection.linked:
            self._owner.residents.suspend(self)
        self.tell(protocol.sessionSuspended, Failure(event.error))

    def _resumed(self, event: events.SessionResumed) -> None:
        protocol = self.protocol
        assert protocol is not None  # the session was open
        self._say("session {session} goes on with {peer}")
        if self._factory is not None:
            self._owner.residents.resume(self)
        if self.whereabouts is not None:
            self.whereabouts.arrived()
        if event.restarted:
            self.traffic.restarted()
        self.tell(protocol.sessionResumed)

    def _reopenDue(self, _: events.ReopenDue) -> None:
        reopen(self._owner, self)

    def _claimed(self, event: events.SessionClaimed) -> None:
        claimed(self._owner, self, event)

    # Ending.

    def _ended(self, event: events.SessionEnded) -> None:
        self.end(self._failure or self._explained(event.error))

    def _explained(self, error: HypermailError) -> HypermailError:
        """Silence has another reason when it was us who could not speak."""
        if self.unsent is None or not isinstance(error, PeerSilent):
            return error
        refusal, at = self.unsent
        if self._owner.seconds() - at > 2 * self.connection.options.ping_interval:
            return error
        said = refusal.strerror or str(refusal)
        return PeerSilent(f"{error.text}; this system refuses to send from {self.getHost().host}: {said}")

    def end(self, error: HypermailError) -> None:
        """The session is over: whoever waits for something is told."""
        self.error = error
        if self._factory is not None and self._decision is None and self.protocol is None:
            self._owner.failedHandshakes.note(self.getPeer(), error, self._owner.seconds())
        elif not self._rejected:
            self._note("session {session} with {peer} ended: {reason}", error.code, error.text)
        self._leave()
        if self.whereabouts is not None:
            self.whereabouts.forget()
        decision, self._decision = self._decision, None
        if decision is not None:
            decision.withdraw()
        if self.opened:
            self.traffic.lost(error)
        if self.protocol is not None and (self.opened or self._factory is not None):
            self.tell(self.protocol.sessionLost, Failure(error))
        opening, self.opening = self.opening, None
        if opening is not None:
            opening.errback(error)
        if self._closing is not None:
            self._closing.over()

    def _leave(self) -> None:
        """Nobody finds the session in this process any more, and on disk not before all is written there."""
        residents = self._owner.residents
        residents.leave(self)
        if self.connection.has_changes:
            if self._factory is not None:
                residents.occupy(self.sessionID, self)
        elif self._writing is None:
            residents.vacate(self)
        else:
            self._writing.sessionOver()

    def _note(self, format: str, code: int, text: str) -> None:
        self._say(format, reason=named(code, text))

    def _say(self, format: str, **details: object) -> None:
        """Log it, without the session itself: a log that nobody has begun to write down keeps 65,536 events."""
        session = self.sessionID.hex() or f"{self.connection.first_tag:016x}"
        _LOG.info(format, session=session, peer=self.getPeer(), **details)

    def forgotten(self) -> None:
        """
        The core has nothing more to answer for this session; a starter's socket is closed.

        What keeps itself alive is taken apart, so that the session goes with the last who knows it, and does not wait
        for the garbage collector with all that is its own.
        """
        if self._closing is not None:
            self._closing.forgotten()
            if self._closing.done:
                self._closing = None
        if self._writing is None:  # else it may have to tell of messages that it finds on disk
            self.protocol = None
            if self.opened:
                del self.traffic
        self.connection.let_go()

    @property
    def closing(self) -> Closing:
        """Who waits for the end."""
        if self._closing is None:
            self._closing = Closing(self, None)
        return self._closing


def named(code: int, text: str) -> str:
    """A reason's text, with the name of its code when that says something else."""
    name = Reason.describe(code) if code else text
    return text if text == name else f"{text} ({name})"


_EVENTS: dict[type, Callable[[SessionLife, Any], None]] = {
    events.SessionRequested: SessionLife._requested,
    events.SessionOpened: SessionLife._opened,
    events.SessionSuspended: SessionLife._suspended,
    events.SessionResumed: SessionLife._resumed,
    events.ReopenDue: SessionLife._reopenDue,
    events.SessionClaimed: SessionLife._claimed,
    events.SessionEnded: SessionLife._ended,
    events.MessagesWanted: SessionLife._messagesWanted,
}
