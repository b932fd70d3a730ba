"""
Sessions that go on over another link: a starter's tries one, a listener's is claimed over one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, Reason
from hypermail.events import SessionClaimed, SessionRequested
from hypermail.options import Role
from hypermail.session.journal import StoredSession
from hypermail.session.survival import closed_session, unknown_session

if TYPE_CHECKING:
    from hypermail.internet.life import SessionLife
    from hypermail.internet.owner import SessionOwner


_log = Logger()


def reopen(socket: SessionOwner, session: SessionLife) -> None:
    """Starter: try another link."""
    before = session.connection
    address, host, target, options = before.address, None, socket, before.options
    if session.whereabouts is not None:
        host, patience = session.whereabouts.host, session.whereabouts.patience
        options = replace(options, connection_timeout=patience)
        address = session.whereabouts.next()
        if (":" in address[0]) != (":" in before.address[0]):  # a socket has one family
            try:
                target = session.whereabouts.move(address)
            except CannotListenError:
                address = before.address
    connection = target.beginConnection(address, host, options, before)
    session.moveTo(target, connection)


def _revive(socket: SessionOwner, candidate: SessionLife, sessionID: bytes) -> None:
    """A session is claimed that this process knows nothing of: perhaps one before it did."""
    residents, store = socket.residents, socket.store
    if residents.wasClosed(sessionID):
        closed = closed_session()
        candidate.reject(closed.code, closed.text)
    elif store is None:
        _unknown(candidate)
    elif not residents.occupy(sessionID, candidate):
        candidate.reject(Reason.TOO_MANY_SESSIONS, "the session is being taken up, or put away; try again")
    else:
        finding = store.find(sessionID)
        finding.addCallback(_found, socket, candidate)
        finding.addErrback(_notTakenUp, socket, candidate)


def _found(stored: StoredSession | None, socket: SessionOwner, candidate: SessionLife) -> None:
    revived = False
    if stored is not None and stored.identity.role is not Role.LISTENER:  # a starter's, which has the same store
        stored = None
    if candidate.error is None and stored is None:
        _unknown(candidate)
    elif candidate.error is None and stored is not None:
        incarnation = socket.residents.incarnation(stored.identity.id)
        revived = candidate.connection.revive(stored, incarnation, now=socket.seconds())
        candidate.touch()
    if not revived:
        socket.residents.vacate(candidate)


def _notTakenUp(failure: Failure, socket: SessionOwner, candidate: SessionLife) -> None:
    socket.residents.vacate(candidate)
    if failure.check(HypermailError):
        _log.error("a session cannot be taken up: {reason}", reason=failure.getErrorMessage())
    else:
        _log.failure("A session cannot be taken up", failure)
    if candidate.error is None:
        candidate.reject(Reason.STORE_FAILED, "the listener cannot read what it has kept of the session")


def _unknown(candidate: SessionLife) -> None:
    unknown = unknown_session()
    candidate.reject(unknown.code, unknown.text)


def claimed(socket: SessionOwner, candidate: SessionLife, event: SessionClaimed) -> None:
    """
    Listener: a session is claimed.

    @param candidate: stands for the new connection, and is nothing any more if the session goes on over it.
    """
    connection = candidate.connection
    session = socket.residents.find(event.session_id)
    if session is None:
        _revive(socket, candidate, event.session_id)
        return
    try:
        # Who may come now, which may be fewer than when the session has opened.
        socket.security.admit(SessionRequested(session.way, candidate.getPeer(), event.certificate))
    except HypermailError as error:
        candidate.reject(error.code, error.text)
        return
    before = session.connection
    if connection.go_on(before, now=socket.seconds()):
        socket.pump.leave(candidate)
        candidate.connection = before
        session.moveTo(socket, connection)
