"""
A listener's decision on a session that a stranger asks for: whether its application takes it, and as what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, Reason
from hypermail.events import SessionRequested
from hypermail.interfaces import ISessionFactory, ISessionProtocol
from hypermail.internet.callbacks import meantForPeer, verdict, withdraw

if TYPE_CHECKING:
    from hypermail.internet.life import SessionLife
    from hypermail.internet.owner import SessionOwner


class Decision:
    """
    On one session, from its request until it opens or is over.

    @param owner: where the session lives until then.
    """

    _log = Logger()

    __slots__ = ("_answer", "_factory", "_owner", "_request", "_session")

    _answer: Deferred[Any]

    def __init__(
        self, session: SessionLife, owner: SessionOwner, factory: ISessionFactory, request: SessionRequested
    ) -> None:
        self._session = session
        self._owner = owner
        self._factory = factory
        self._request = request

    def begin(self) -> None:
        """Ask who may come, and then the application."""
        self._answer = maybeDeferred(self._ask)
        self._answer.addCallback(self._wanted)
        self._answer.addErrback(self._unwanted)

    def withdraw(self) -> None:
        """The session is over, whether it was wanted or not."""
        withdraw(self._answer)

    def _ask(self) -> object:
        request = replace(self._request, address=self._session.getPeer())
        self._owner.security.admit(request)
        return self._factory.sessionRequested(request)

    def _wanted(self, answer: object) -> Deferred[None] | None:
        session = self._session
        if session.error is not None:
            if ISessionProtocol.providedBy(answer):
                session.tell(answer.sessionLost, Failure(session.error))
            return None
        session.protocol = protocol = self._protocolOf(answer)
        if protocol is None:
            session.reject(Reason.SESSION_REJECTED, "this application does not take the session")
        elif self._request.session_id is not None:
            taken: Deferred[Any] = maybeDeferred(protocol.messagesTaken, self._request.session_id)
            return taken.addCallback(self._accept)
        elif session.connection.durable:
            assert self._owner.store is not None  # or the session would not be durable
            return self._owner.store.count().addCallback(self._acceptDurable)
        else:
            self._accept({})
        return None

    def _protocolOf(self, answer: object) -> ISessionProtocol | None:
        """What the session is to be for; None when the application does not take it."""
        if answer is None:
            return self._factory.buildProtocol(self._session.getPeer())
        if ISessionProtocol.providedBy(answer):
            return answer
        self._log.error(
            "{factory!r} has answered {answer!r} to sessionRequested, which is neither None nor an "
            "ISessionProtocol; the session is rejected",
            factory=self._factory,
            answer=answer,
        )
        return None

    def _acceptDurable(self, stored: int) -> None:
        self._owner.residents.room(stored)
        self._accept({})

    def _accept(self, taken: Mapping[int, int]) -> None:
        session = self._session
        try:
            session.connection.accept(taken, now=session.seconds())
        except HypermailError:
            return  # the stranger has given up; its end is among the events that wait
        session.touch()

    def _unwanted(self, failure: Failure) -> None:
        if self._session.error is not None:
            return
        if not meantForPeer(failure):
            self._log.failure("The decision on a session has failed; it is rejected", failure)
        self._session.reject(*verdict(failure, Reason.SESSION_REJECTED, "this session"))
