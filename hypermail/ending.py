"""
How a connection ends: its opening takes too long, a rule is broken, the link gives out, the session is over; and the
tombstone that it leaves, which answers until its last word was heard.
"""

from __future__ import annotations

from hypermail.errors import (
    HypermailError,
    PeerSilent,
    ProtocolViolation,
    Reason,
    SessionAborted,
    SessionTimedOut,
)
from hypermail.intake import Intake
from hypermail.link.heartbeat import Beat
from hypermail.link.link import Link
from hypermail.options import Options, Role
from hypermail.session.session import Session
from hypermail.session.states import State

#: s that a listener waits for the rest of a hello.
HELLO_TIMEOUT = 3.0


class Ending:
    """
    Ends one connection.

    @param patience: s within which a listener has to have heard all of the hello, or a starter's link to have keys.

    @ivar ended: whether everything is over, the tombstone included.
    @ivar suspended: whether the link is over, and the session waits for another one.
    """

    __slots__ = (
        "_began",
        "_intake",
        "_link",
        "_opening_until",
        "_options",
        "_patience",
        "_role",
        "_session",
        "_until",
        "ended",
        "suspended",
    )

    def __init__(
        self,
        role: Role,
        options: Options,
        link: Link,
        session: Session,
        intake: Intake,
        now: float,
        patience: float,
    ) -> None:
        self._role = role
        self._options = options
        self._link = link
        self._session = session
        self._intake = intake
        self._began = now
        self._patience = min(patience, options.connection_timeout)
        self._opening_until: float | None = now + self._patience
        self._until: float | None = None  # once the session is over: when its tombstone goes
        self.ended = False
        self.suspended = False

    def carry(self, session: Session) -> None:
        """It is this session from now on that ends with the link, or not."""
        self._session = session

    @property
    def over(self) -> bool:
        """Whether the session has ended, so that only its last words are left."""
        return self._session.over

    # What ends it

    def broke(self, error: HypermailError, now: float) -> None:
        """The peer broke a rule: say so and end."""
        if self.over:
            self.bury()
            return
        text = f"the peer broke the protocol: {error.text}"
        code = error.code if isinstance(error, ProtocolViolation) else Reason.PROTOCOL_VIOLATION
        self.die(SessionAborted(text, code), code, error.text, now)

    def gave_out(self, error: HypermailError, now: float) -> None:
        """The link can't go on: the handshake has failed, or its keys have served."""
        if not self.lose(error, now):
            self.die(error, error.code, error.text, now)

    def lose(self, error: HypermailError, now: float) -> bool:
        """
        The link is lost. What was in flight is to be sent again over the next one.

        @return: whether that is all, since the session waits for that, or is left to the disk; if not it has to end.
        """
        if self.over or self.suspended:
            return self.suspended
        if self._session.suspend(error, now):
            self.leave()
            self.suspended = True
            return True
        if self._role is Role.STARTER and self._session.returning:  # the listener may have it: it hears of no end
            self.expunge(error, now)
            return True
        return False

    def leave(self) -> None:
        """The session leaves the link, which is over."""
        self._link.recovery.resend_all()
        self._link.end()
        self._intake.forget()
        self._opening_until = None

    def die(self, error: HypermailError, code: int, text: str, now: float) -> None:
        """End the session at once; the peer is told, if it is one that may be told anything."""
        if self.over:
            return
        if self._link.speaks and not self.suspended:
            self._session.die(error, code, text)
            self.look(now)
        else:
            self.expunge(error, now)

    def vanish(self, error: HypermailError, now: float) -> None:
        """The link is gone, so nothing can be said of the end of the session, if it ends."""
        if not self.over and not self.lose(error, now):
            self.expunge(error, now)

    def expunge(self, error: HypermailError, now: float) -> None:
        """End the session at once, and say nothing of it."""
        if not self.over:
            self._session.end(error)
            self._session.control.retain(())
            self.look(now)

    # The tombstone

    def look(self, now: float) -> None:
        """A session that has ended leaves a tombstone, where it has a link."""
        if self.over and self.suspended:
            self.ended = True
        elif self.over and self._until is None:
            self._opening_until = None
            link = self._link
            heard = link.keyed or link.last_words
            self._until = now + (max(self._options.linger, 3 * link.rtt.probe_timeout) if heard else 0.0)
            self._intake.forget()
            if link.keyed:
                link.acks.force()

    @property
    def unheard(self) -> bool:
        """Whether nobody could hear a last word."""
        link = self._link
        return self.over and not (link.keyed or link.last_words or link.owes_ack)

    def said(self, now: float) -> None:
        """Everything that could leave has left: a tombstone whose last word was heard goes."""
        if self._until is not None and (
            now >= self._until or not (len(self._session.control) or self._link.last_words)
        ):
            self.bury()

    def bury(self) -> None:
        """Nothing is left to be said."""
        self.ended = True
        self._until = None
        self._link.end()

    # Time

    def next_timeout(self, deadline: float) -> float:
        """The earlier of C{deadline}, in s, and when L{timeout} is to be called."""
        if self._opening_until is not None and self._opening_until < deadline:
            deadline = self._opening_until
        if self._until is not None and self._until < deadline:
            deadline = self._until
        return deadline

    def timeout(self, beat: Beat, now: float) -> None:
        """Time has passed. @param beat: what the link's heartbeat says."""
        if self._until is not None:
            if now >= self._until or beat is Beat.DEAD:
                self.bury()
            return
        if self._opening_until is not None:
            self._check_opening(now)
        if beat is Beat.DEAD and not self.over:
            limit = self._options.ping_interval * (self._options.ping_packet_count + 1)
            error = PeerSilent(f"the peer has gone silent: nothing was heard from it for about {limit:g} s")
            if self.lose(error, now):
                return
            self.die(error, Reason.PEER_SILENT, "the link went silent", now)
            self._until = now
        self.look(now)

    def _check_opening(self, now: float) -> None:
        link, until = self._link, self._began + self._options.connection_timeout
        answered = link.keyed if self._role is Role.STARTER else link.hello_heard
        if self._session.state not in (State.NEW, State.OPENING) and not self._session.survival.claiming:
            self._opening_until = None
        elif now >= until or (now >= (self._opening_until or until) and not answered):
            text = f"nobody has answered within {self._options.connection_timeout if answered else self._patience:g} s"
            if self._role is Role.LISTENER:
                text = "the starter has not ended its handshake in time"
            if self.lose(SessionTimedOut(text), now):
                return
            self.die(SessionTimedOut(text), Reason.CONNECTION_TIMEOUT, "opening took too long", now)
            self._until = now
        elif answered:
            self._opening_until = until
