"""
The pump between a carrier and the core: what every session of a socket gets when anything has happened to it.

Its events become callbacks, what the core wants sent goes to the carrier, and its deadline is set anew. Calls of the
application from outside are gathered for the rest of the reactor's turn, so that what is sent in one turn shares
datagrams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.demux import Demux
from hypermail.errors import NotSupported, Reason, SessionAborted, Unreachable, UsageError
from hypermail.internet.beats import Beats
from hypermail.internet.crowds import Crowd, Crowds
from hypermail.internet.deadlines import FAR, Deadlines
from hypermail.internet.strangers import FailedHandshakes
from hypermail.internet.surroundings import Surroundings
from hypermail.link.train import Train

if TYPE_CHECKING:
    from hypermail.connection import Connection
    from hypermail.internet.life import SessionLife


class Pump:
    """
    Of one socket.

    @ivar sessions: that live on the socket, by their connections.
    """

    __slots__ = (
        "_beats",
        "_carrier",
        "_crowds",
        "_deadlines",
        "_demux",
        "_dirty",
        "_failedHandshakes",
        "_flushing",
        "_reactor",
        "_seconds",
        "_starting",
        "_surroundings",
        "_taking",
        "_unreachable",
        "_writable",
        "sessions",
    )

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        seconds: Callable[[], float],
        carrier: Any,
        demux: Demux,
        failedHandshakes: FailedHandshakes,
        *,
        starting: bool,
        everywhere: bool,
    ) -> None:
        """
        @param seconds: the time that the core is told.
        @param carrier: an L{ICarrier}.
        @param demux: has the connection of each session, as long as that has anything to answer.
        @param failedHandshakes: of strangers.
        @param starting: whether the sessions are those of starters alone.
        @param everywhere: whether the socket is bound to all addresses.
        """
        self._reactor = reactor
        self._seconds = seconds
        self._carrier = carrier
        self._demux = demux
        self._failedHandshakes = failedHandshakes
        self._starting = starting
        self.sessions: dict[Connection, SessionLife] = {}
        self._surroundings = Surroundings(reactor, seconds, self.sessions, everywhere, self.attend)
        self._deadlines: Deadlines[SessionLife] = Deadlines(reactor, seconds, self._expired, self.sendBeats)
        self._dirty: dict[SessionLife, None] = {}
        self._flushing: IDelayedCall | None = None
        self._beats = Beats(carrier.send)
        self._crowds = Crowds()
        self._taking = False  # whether those that have waited for others are sending now
        self._writable = True
        self._unreachable: dict[Any, OSError] = {}

    def stop(self) -> None:
        """The socket is about to be closed: the sessions end, and nothing is left in the reactor."""
        for session in list(self.sessions.values()):
            try:
                session.park("this side is shutting down; the session is kept")
            except (NotSupported, UsageError):
                session.abort("this side is shutting down", Reason.SHUTTING_DOWN)
            self._writable = True
            self.attend(session)
            self._forget(session)
        self._deadlines.stop()
        self._dirty.clear()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None

    # Coming and going.

    def enter(self, session: SessionLife) -> None:
        """A session lives on this socket from now on, over the connection that it has."""
        self.sessions[session.connection] = session
        self.touch(session)
        if self._starting:
            self._surroundings.watch()

    def leave(self, session: SessionLife) -> None:
        """A session goes on, but not over the connection that it has here."""
        connection = session.connection
        del self.sessions[connection]
        if connection.released:
            self._demux.forget(connection)
        self._deadlines.arm(session, None)
        self._dirty.pop(session, None)
        self._left(session)
        self._rest()

    def _forget(self, session: SessionLife) -> None:
        """The core has nothing more to answer for a session."""
        if self.sessions.pop(session.connection, None) is None:
            return
        if session.error is None:
            session.end(SessionAborted("internal error", Reason.INTERNAL_ERROR))
        self._deadlines.arm(session, None)
        self._demux.forget(session.connection)
        self._left(session)
        self._rest()
        session.forgotten()

    def _rest(self) -> None:
        """There are no sessions, perhaps."""
        if not self.sessions:
            self._surroundings.stop()

    # When something has happened.

    def touch(self, session: SessionLife) -> None:
        """A session's core has something new to send: in this turn, together with whatever else comes up."""
        self._dirty[session] = None
        if self._flushing is None and self._writable:
            self._flushing = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        if self._unreachable:
            self._giveUpUnreachable()
        dirty, self._dirty = self._dirty, {}
        for session in dirty:
            self.attend(session)

    def flush(self, session: SessionLife) -> None:
        """What a session has to send is sent at once, not in this turn's end; not to be called from its callbacks."""
        if session in self._dirty and self._writable:
            del self._dirty[session]
            self.attend(session)

    def _expired(self, session: SessionLife) -> None:
        connection = session.connection
        if connection not in self.sessions:
            return
        now = self._seconds()
        if not connection.resting:
            deadline = connection.next_timeout()
            if deadline is not None and deadline > now:
                self._deadlines.arm(session, deadline)  # it has moved away since
                return
        try:
            connection.handle_timeout(now=now)
        except Exception:
            self.broken(session, Failure())
        if connection.calm:
            self._sendBeat(session)
            self._deadlines.arm(session, connection.next_timeout())
            return
        if connection.unanswered:
            self._surroundings.suspect()
        self.attend(session)

    def beat(self, session: SessionLife) -> None:
        """
        In place of L{attend}, when a session's heart has beaten and nothing else has happened to it. What it says
        leaves with L{sendBeats}.
        """
        self._sendBeat(session)
        if session.deadline < self._seconds() + FAR:  # what it waited for has come
            self._deadlines.putOff(session, session.connection.next_timeout())

    def _sendBeat(self, session: SessionLife) -> None:
        try:
            trains = session.connection.beat(now=self._seconds())
        except Exception:
            self.broken(session, Failure())
        else:
            for train in trains:
                if self._beats.add(train):
                    self.sendBeats()

    def sendBeats(self) -> None:
        """Several sessions have been told to beat, perhaps: what they have to say leaves together."""
        if self._beats.waiting:
            self._writable = self._beats.send()

    def attend(self, session: SessionLife) -> None:
        """Tell the application what has happened, send what is to be sent, and see to the time."""
        if session.connection not in self.sessions:
            return
        try:
            session.drain()
            self._send(session)
            while session.drain():  # a session that closes ends with the last that is sent
                self._send(session)
            session.write()
        except Exception:
            self.broken(session, Failure())
        else:
            self._after(session)

    def _send(self, session: SessionLife) -> None:
        connection = session.connection
        send = self._carrier.send
        if not self._taking and (len(self.sessions) > 1 or session.crowd is not None):
            self._crowds.begin(session)
        while self._writable and connection in self.sessions:  # it may have gone on from another socket
            for train in connection.trains(now=self._seconds()):
                self._writable = send(train)
            if not connection.more:
                return

    def _after(self, session: SessionLife) -> None:
        """Nothing more can be done for a session now: when again?"""
        connection = session.connection
        if connection not in self.sessions:
            return
        if connection.suspended:
            self._demux.forget(connection)
        if connection.ended:
            self._forget(session)
            return
        if self._writable:
            self._deadlines.arm(session, connection.next_timeout())
        else:
            self._dirty[session] = None
        if len(self.sessions) > 1 or session.crowd is not None:
            crowd = self._crowds.end(session)
            if crowd is not None:
                self._takeTurns(crowd)

    def _left(self, session: SessionLife) -> None:
        """A session is not here any more."""
        crowd = self._crowds.leave(session)
        if crowd is not None:
            self._takeTurns(crowd)

    def _takeTurns(self, crowd: Crowd) -> None:
        """Whoever waits for others sends, as soon as it may."""
        if self._taking:
            return
        self._taking = True
        try:
            while self._writable and (turn := crowd.turn()) is not None:
                session, share = turn
                session.connection.allowance.admit(share, True)
                self.attend(session)
        finally:
            self._taking = False

    def broken(self, session: SessionLife, failure: Failure) -> None:
        """The core has failed on a session, which must not harm the others."""
        if session.opened or self._failedHandshakes.mayBeSaid(self._seconds()):
            self._log.failure("A session with {peer} has failed inside", failure, peer=session.getPeer())
        try:
            session.connection.abort(Reason.INTERNAL_ERROR, "internal error", now=self._seconds())
            session.drain()
            self._send(session)
        except Exception:
            self._log.failure("... and could not be ended in order")
        self._forget(session)

    # The carrier.

    def send(self, trains: list[Train]) -> None:
        """Send what belongs to no connection any more."""
        for train in trains:
            self._carrier.send(train)

    def reply(self, trains: list[Train]) -> None:
        """Send what answers strangers, as much of it as the carrier takes."""
        for train in trains:
            if self._writable:
                self._writable = self._carrier.send(train)

    def writable(self) -> None:
        """The carrier takes more."""
        self._writable = True
        self._flush()

    def unreachable(self, address: Any, error: OSError) -> None:
        """See L{ICarrierUser.addressUnreachable}."""
        self._unreachable[address] = error
        if self._flushing is None:
            self._flushing = self._reactor.callLater(0, self._flush)

    def _giveUpUnreachable(self) -> None:
        unreachable, self._unreachable = self._unreachable, {}
        for session in list(self.sessions.values()):
            error = unreachable.get(session.connection.address)
            if error is None:
                continue
            session.unsent = error, self._seconds()
            if not session.opened and self._starting:
                session.fail(Unreachable(f"{session.getPeer()} cannot be reached: {error.strerror}"))
        self._surroundings.suspect()
