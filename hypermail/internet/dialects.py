"""
A UDP socket with sessions of a dialect on it: an older wire format behind the session interface.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.dialects.demux import DialectDemux, Inquiry
from hypermail.dialects.dialect import Dialect
from hypermail.errors import UsageError
from hypermail.interfaces import ISessionFactory, ISessionProtocol, ISessionStore
from hypermail.internet.address import SocketAddress, asReceived
from hypermail.internet.inhabited import SocketSessions
from hypermail.internet.residents import residentsOf
from hypermail.internet.security import Plain, Security
from hypermail.internet.session import Session
from hypermail.options import ListenerOptions, Options

#: Whom a dialect lets in is its own affair: nothing stands before it.
UNSECURED = Plain(allowRemote=True)


class DialectDatagramProtocol(SocketSessions):
    """
    Sessions of one dialect over one UDP socket.

    It works with any C{reactor.listenUDP}; endpoints give it a faster socket where there is one. Nothing is encrypted.
    """

    fragmentable = True  # the seeds' programs send datagrams as large as they come

    _log = Logger()

    def __init__(
        self,
        factory: ISessionFactory | None = None,
        *,
        dialect: Dialect,
        listenerOptions: ListenerOptions | None = None,
        reactor: Any = None,
        seconds: Callable[[], float] | None = None,
        randomBytes: Callable[[int], bytes] = os.urandom,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        @param factory: what strangers' sessions are for; None for a starter, which takes none.
        @param dialect: which, and what its sessions want and bear.
        @param listenerOptions: what the socket bears from strangers.
        @param reactor: as of L{HypermailDatagramProtocol}, and so the rest.
        @raise UsageError: when a listener, or a starter, cannot do with what the dialect was told.
        """
        super().__init__(factory, reactor=reactor, seconds=seconds, randomBytes=randomBytes, wall=wall)
        dialect.check(listening=factory is not None)
        self.dialect = dialect
        self.security: Security = UNSECURED
        self.store: ISessionStore | None = None
        self._listenerOptions = listenerOptions or ListenerOptions()
        self.residents = residentsOf(self._listenerOptions, randomBytes)

    def makeDemux(self) -> DialectDemux[Any]:
        """See L{SocketSessions.makeDemux}."""
        return self.dialect.demux(
            listening=self.factory is not None,
            listener_options=self._listenerOptions,
            port=self.host().port,
            random_bytes=self._randomBytes,
            wall=self.wall,
        )

    def touched(self, connections: list[Any]) -> None:
        """See L{SocketSessions.touched}; what the dialect wants to know of the application is asked, too."""
        super().touched(connections)
        while self._demux.inquiries:
            inquiry: Inquiry[Any] = self._demux.inquiries.pop(0)
            asking = maybeDeferred(inquiry.question)
            asking.addErrback(self._noAnswer)
            asking.addCallback(partial(self._answered, inquiry))

    def _noAnswer(self, failure: Failure) -> None:
        self._log.failure("What dialect {name} has asked for was not to be had", failure, name=self.dialect.name)

    def _answered(self, inquiry: Inquiry[Any], answer: object) -> None:
        if self.transport is not None:  # it was closed meanwhile
            super().touched(inquiry.answer(answer, self.seconds()))

    def startSession(
        self,
        address: Any,
        protocol: ISessionProtocol,
        *,
        host: str | None = None,
        options: Dialect | Options | None = None,
        release: Any = None,
        whereabouts: object = None,
    ) -> Session:
        """
        Ask a listener for a session.

        @param address: (host, port) of the listener.
        @param protocol: what the session will be for.
        @param host: the name by which the listener was asked for; dialects don't know it.
        @param options: the dialect again, perhaps with another C{connection_timeout}; None for the socket's.
        @param release: called when the session has nothing more to answer; may return a Deferred.
        @param whereabouts: where to look when the link is lost, which dialects don't.
        @return: the session, whose C{opening} fires when it has opened.
        @raise UsageError: when the dialect cannot have one more session there, or this is a listener's socket.
        """
        if self.factory is not None:
            raise UsageError(f"a listener of dialect {self.dialect.name} asks for no sessions")
        listener = SocketAddress(asReceived(address[0]), address[1])  # dialects know their peers by address
        connection = self._demux.start(listener, options=options or self.dialect, now=self.seconds())
        session = Session(self, connection, protocol=protocol, release=release)
        self.pump.enter(session)
        return session
