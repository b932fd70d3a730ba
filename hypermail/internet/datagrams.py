"""
A UDP socket with the sessions that live on it.

L{HypermailDatagramProtocol} is the pump between a carrier and the core. Whatever happens to a session
(datagrams, its deadline, calls of its application), the same follows: its events become callbacks, what the
core wants sent goes to the carrier, and the deadline is set anew. Calls of the application from outside
are gathered for the rest of the reactor's turn, so that what is sent in one turn shares datagrams.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.connection import Connection
from hypermail.demux import Demux
from hypermail.errors import Reason, SessionAborted, Unreachable, UsageError
from hypermail.events import SessionClaimed
from hypermail.interfaces import ICarrier, ICarrierUser, ISessionFactory, ISessionProtocol, ISessionStore
from hypermail.internet.address import HypermailAddress, SocketAddress, isLoopback
from hypermail.internet.answering import AskedAddress
from hypermail.internet.carrier import DatagramCarrier
from hypermail.internet.credentials import thisMachine
from hypermail.internet.deadlines import Deadlines, clockOf
from hypermail.internet.reopening import claimed, reopen
from hypermail.internet.residents import Residents, residentsOf
from hypermail.internet.security import Security, refuseToLeave
from hypermail.internet.session import Session
from hypermail.internet.strangers import FailedHandshakes
from hypermail.internet.surroundings import Surroundings
from hypermail.internet.traces import Traces
from hypermail.internet.whereabouts import Whereabouts
from hypermail.link.train import Train
from hypermail.options import KIB, ListenerOptions, Options
from hypermail.security.handshake import HandshakeFactory
from hypermail.session.journal import StoredSession

#: What a socket that is bound to all addresses of its family is bound to.
EVERYWHERE = ("0.0.0.0", "::")


@implementer(ICarrierUser)
class HypermailDatagramProtocol(DatagramProtocol):
    """
    Sessions over one UDP socket.

    It works with any C{reactor.listenUDP}; L{SessionServerEndpoint} and L{SessionClientEndpoint} give it a
    faster socket where there is one. In mode C{plain} datagrams from other machines are dropped, unless it was told
    otherwise.

    @ivar strangers: how many datagrams were dropped because they came from elsewhere.
    @ivar failedHandshakes: of strangers.
    """

    noisy = False
    seconds: Callable[[], float]

    _log = Logger()

    def __init__(
        self,
        factory: ISessionFactory | None = None,
        *,
        security: Security,
        options: Options | None = None,
        listenerOptions: ListenerOptions | None = None,
        traceDirectory: str | Path | None = None,
        reactor: Any = None,
        seconds: Callable[[], float] | None = None,
        randomBytes: Callable[[int], bytes] = os.urandom,
        residents: Residents | None = None,
        store: ISessionStore | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        @param factory: what strangers' sessions are for; None for a starter, which takes none.
        @param security: how the sessions are secured; of a listener, or of a starter without a factory.
        @param options: what each session wants and bears.
        @param listenerOptions: what the socket bears from strangers.
        @param traceDirectory: where every connection writes a trace; None for nowhere.
        @param reactor: None for that of the transport.
        @param seconds: the time that the core is told, in s, never going back; None for
            L{time.monotonic}, or a L{Clock}'s own time.
        @param randomBytes: makes so many random bytes.
        @param residents: the sessions that may be claimed here: those of all sockets of one listener; None for this
            one's alone.
        @param store: where durable sessions are kept; the sessions are durable when there is one (a listener's when
            their starters want it). Whoever has opened it closes it, after the socket.
        @param wall: the wall clock, in s since 1970, by which messages on disk expire.
        """
        self.factory = factory
        self.reactor: Any = reactor
        self._seconds = seconds
        self.strangers = 0
        self._options = options or Options()
        self.store = store
        self.wall = wall
        self._listenerOptions = listenerOptions or ListenerOptions()
        self.security = security
        self._randomBytes = randomBytes
        self._traces = Traces(traceDirectory)
        self.failedHandshakes = FailedHandshakes()
        self.residents = residents or residentsOf(self._listenerOptions, randomBytes)
        self._sessions: dict[Connection, Session] = {}
        self._dirty: dict[Session, None] = {}
        self._flushing: IDelayedCall | None = None
        self._writable = True
        self._unreachable: dict[Any, OSError] = {}
        self._carrier: Any = None
        self._ownCarrier: DatagramCarrier | None = None

    # The socket.

    def startProtocol(self) -> None:
        """The socket is open."""
        transport: Any = self.transport
        if self.reactor is None:
            self.reactor = getattr(transport, "reactor", None)
            if self.reactor is None:
                raise UsageError(f"{transport!r} does not tell its reactor: pass HypermailDatagramProtocol one")
        self.seconds = self._seconds or clockOf(self.reactor)
        if ICarrier.providedBy(transport):
            self._carrier = transport
        else:
            self._carrier = self._ownCarrier = DatagramCarrier(transport, self, self.reactor)
        self._options = self._within(self._options)
        self._deadlines: Deadlines[Session] = Deadlines(self.reactor, self.seconds, self._expired)
        everywhere = self.host().host in EVERYWHERE
        self._surroundings = Surroundings(self.reactor, self.seconds, self._sessions, everywhere, self._pump)
        self._demux = Demux(
            options=self._options,
            listener_options=self._listenerOptions,
            handshake=None if self.factory is None else self.security.listening(self._randomBytes),
            random_bytes=self._randomBytes,
            secret=self.security.stateless,
            scope=f"{thisMachine()} {self.host()}".encode() if self.factory is not None else b"",
            trace_factory=self._traces.ofStranger,
        )
        if self.factory is not None:
            self.factory.doStart()

    def stopProtocol(self) -> None:
        """The socket is about to be closed: the sessions end, and nothing is left in the reactor."""
        for session in list(self._sessions.values()):
            try:
                session.park("this side is shutting down; the session is kept")
            except UsageError:
                session.abort("this side is shutting down", Reason.SHUTTING_DOWN)
            self._writable = True
            self._pump(session)
            self._forget(session)
        self._deadlines.stop()
        self._dirty.clear()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._carrier.stop()
        if self.factory is not None:
            self.factory.doStop()

    def renew(self, security: Security) -> None:
        """
        Secure sessions that are asked for from now on another way: another identity, or other trust. Those that are
        open go on.

        @param security: of a listener, in the same mode.
        @raise UsageError: when it is not.
        """
        self._demux.renew(security.listening(self._randomBytes))
        self.security = security

    def host(self) -> HypermailAddress:
        """Our address."""
        found = self._carrier.getHost()
        return HypermailAddress(found.host, found.port)

    def carrierStatistics(self) -> dict[str, int]:
        """What was lost between us and the network, by cause."""
        return dict(self._carrier.statistics())

    def socketStatistics(self) -> dict[str, int]:
        """What has become of strangers, and of datagrams that belong to no session, for people to look at."""
        strangers = self.failedHandshakes
        return {
            **self._demux.statistics(),
            "sessions_refused": strangers.refusals,
            "handshakes_failed": strangers.count,
        }

    # Receiving.

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """A stock transport has one datagram."""
        if self._ownCarrier is not None:
            self._ownCarrier.datagramReceived(datagram, addr)

    def datagramsReceived(self, datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
        """See L{ICarrierUser.datagramsReceived}."""
        if not self.security.allowRemote and not isLoopback(address[0]):
            self._refuse(address, len(datagrams))
            return
        address = SocketAddress(*address) if len(address) == 2 else AskedAddress(*address)
        demux = self._demux
        try:
            touched = demux.receive(datagrams, address, now=self.seconds(), ecn=ecn)
        except Exception:
            self._log.failure("Datagrams from {address} could not be dealt with", address=address)
            return
        faults = dict(demux.faults())
        for connection in touched:
            session = self._sessions.get(connection) or self._received(connection)
            if connection in faults:
                self._broken(session, Failure(faults[connection]))
            else:
                self._pump(session)
        for train in demux.replies():
            if self._writable:
                self._writable = self._carrier.send(train)

    def _refuse(self, address: Any, count: int) -> None:
        if not self.strangers:
            self._log.warn(
                "datagrams from {address} are dropped: mode plain serves this machine only, unless it is told "
                "--allow-remote-plain (allowRemotePlain)",
                address=address,
            )
        self.strangers += count

    def _received(self, connection: Connection) -> Session:
        """A stranger has begun a connection."""
        session = self._sessions[connection] = Session(self, connection, factory=self.factory)
        return session

    def startSession(
        self,
        address: Any,
        protocol: ISessionProtocol,
        *,
        host: str | None = None,
        options: Options | None = None,
        release: Any = None,
        whereabouts: Whereabouts | None = None,
        name: str = "",
        stored: StoredSession | None = None,
        taken: Mapping[int, int] = {},
    ) -> Session:
        """
        Ask a listener for a session.

        @param address: (host, port) of the listener.
        @param protocol: what the session will be for.
        @param host: the name by which the listener was asked for, if by one.
        @param options: in place of the socket's.
        @param release: called when the session has nothing more to answer; may return a Deferred.
        @param whereabouts: where to look for the listener when the link is lost; None for C{address} alone.
        @param name: by which a durable session is found again.
        @param stored: what was kept of the session, which is to go on. It is open at once, and has a link later.
        @param taken: what the protocol's C{messagesTaken} has said of it.
        @return: the session, whose C{opening} fires when it has opened.
        @raise RemoteAddressRefused: when mode C{plain} may not go there.
        @raise UsageError: when C{security} is a listener's.
        """
        refuseToLeave(self.security, address[0], "connect to")
        handshake = self.security.starting(host or address[0], self._randomBytes)
        options = options or self._options
        if options.receive_buffer > self._options.receive_buffer:
            options = replace(options, receive_buffer=self._options.receive_buffer)
        connection = self._begin(address, handshake, self._within(options), None, stored=stored, taken=taken, name=name)
        session = Session(self, connection, protocol=protocol, release=release, whereabouts=whereabouts)
        self._sessions[connection] = session
        self.touch(session)
        self._watch()
        return session

    def _watch(self) -> None:
        """A starter's: notice when this host moves, or has slept."""
        if self.factory is None:
            self._surroundings.watch()

    def _rest(self) -> None:
        """There are no sessions, perhaps."""
        if not self._sessions:
            self._surroundings.stop()

    def _begin(
        self, address: Any, handshake: HandshakeFactory, options: Options, before: Connection | None, **restored: Any
    ) -> Connection:
        """A starter's connection."""
        now = self.seconds()
        trace = self._traces.ofStarter(now)
        connection = Connection.starter(
            SocketAddress(*address),
            options=options,
            now=now,
            random_bytes=self._randomBytes,
            handshake=handshake,
            trace=trace,
            before=before,
            **restored,
        )
        self._traces.name(trace, f"{connection.first_tag:016x}")
        self._demux.add(connection)
        return connection

    # Sessions that go on over another link.

    def reopen(self, session: Session) -> None:
        """See L{SessionOwner.reopen}."""
        reopen(self, session)

    def claimed(self, candidate: Session, event: SessionClaimed) -> None:
        """See L{SessionOwner.claimed}."""
        claimed(self, candidate, event)

    def beginConnection(self, address: Any, host: str | None, options: Options, before: Connection) -> Connection:
        """See L{ReopeningSocket.beginConnection}."""
        handshake = self.security.starting(host or address[0], self._randomBytes)
        return self._begin(address, handshake, self._within(options), before)

    def settle(self, session: Session, connection: Connection) -> None:
        """See L{ReopeningSocket.settle}."""
        session.moveTo(self, connection)
        self._sessions[connection] = session
        self.touch(session)
        self._watch()

    def leave(self, session: Session) -> None:
        """See L{ReopeningSocket.leave}."""
        connection = session.connection
        del self._sessions[connection]
        if connection.released:
            self._demux.forget(connection)
        self._deadlines.arm(session, None)
        self._dirty.pop(session, None)
        self._rest()

    def _within(self, options: Options) -> Options:
        """What the carrier, and a store, can do of what is wanted."""
        carrier = self._carrier
        granted = carrier.receiveBuffer
        if granted is not None and granted < options.receive_buffer:
            options = replace(options, receive_buffer=max(granted, 16 * KIB))
        if carrier.largestDatagram < options.max_datagram:
            options = replace(options, max_datagram=max(carrier.largestDatagram, options.mtu))
        if carrier.fragments and options.discover_mtu:
            options = replace(options, discover_mtu=False)
        if options.ecn and not carrier.ecn:
            options = replace(options, ecn=False)
        if self.store is not None and options.allow_reopen:
            options = replace(options, durable=True)
        return options

    # The pump.

    def touch(self, session: Session) -> None:
        """A session's core has something new to send: in this turn, together with whatever else comes up."""
        self._dirty[session] = None
        if self._flushing is None and self._writable:
            self._flushing = self.reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        if self._unreachable:
            self._giveUpUnreachable()
        dirty, self._dirty = self._dirty, {}
        for session in dirty:
            self._pump(session)

    def _expired(self, session: Session) -> None:
        connection = session.connection
        if connection not in self._sessions:
            return
        now = self.seconds()
        deadline = connection.next_timeout()
        if deadline is not None and deadline > now:
            self._deadlines.arm(session, deadline)  # it has moved away since
            return
        try:
            connection.handle_timeout(now=now)
        except Exception:
            self._broken(session, Failure())
        if connection.unanswered:
            self._surroundings.suspect()
        self._pump(session)

    def _pump(self, session: Session) -> None:
        """Tell the application what has happened, send what is to be sent, and see to the time."""
        if session.connection not in self._sessions:
            return
        try:
            session.drain()
            self._send(session)
            while session.drain():  # a session that closes ends with the last that is sent
                self._send(session)
            session.write()
        except Exception:
            self._broken(session, Failure())
        else:
            self._after(session)

    def _send(self, session: Session) -> None:
        connection = session.connection
        send = self._carrier.send
        while self._writable and session.socket is self:  # it may have gone on from another socket
            for train in connection.trains(now=self.seconds()):
                self._writable = send(train)
            if not connection.more:
                return

    def send(self, trains: list[Train]) -> None:
        """See L{SessionOwner.send}."""
        for train in trains:
            self._carrier.send(train)

    def _after(self, session: Session) -> None:
        """Nothing more can be done for a session now: when again?"""
        connection = session.connection
        if session.socket is not self:
            return
        if connection.suspended:
            self._demux.forget(connection)
        if connection.ended:
            self._forget(session)
        elif self._writable:
            self._deadlines.arm(session, connection.next_timeout())
        else:
            self._dirty[session] = None

    def carrierWritable(self) -> None:
        """See L{ICarrierUser.carrierWritable}."""
        self._writable = True
        self._flush()

    def addressUnreachable(self, address: Any, error: OSError) -> None:
        """
        See L{ICarrierUser.addressUnreachable}: sessions that were to open there won't; those that are open go on, for a
        way may come back, and tell of it if none does.
        """
        self._unreachable[address] = error
        if self._flushing is None:
            self._flushing = self.reactor.callLater(0, self._flush)

    def _giveUpUnreachable(self) -> None:
        unreachable, self._unreachable = self._unreachable, {}
        for session in list(self._sessions.values()):
            error = unreachable.get(session.connection.address)
            if error is None:
                continue
            session.unsent = error, self.seconds()
            if not session.opened and self.factory is None:
                session.fail(Unreachable(f"{session.getPeer()} cannot be reached: {error.strerror}"))
        self._surroundings.suspect()

    def _broken(self, session: Session, failure: Failure) -> None:
        """The core has failed on a session, which must not harm the others."""
        if session.opened or self.failedHandshakes.mayBeSaid(self.seconds()):
            self._log.failure("A session with {peer} has failed inside", failure, peer=session.getPeer())
        try:
            session.connection.abort(Reason.INTERNAL_ERROR, "internal error", now=self.seconds())
            session.drain()
            self._send(session)
        except Exception:
            self._log.failure("... and could not be ended in order")
        self._forget(session)

    def _forget(self, session: Session) -> None:
        """The core has nothing more to answer for a session."""
        if self._sessions.pop(session.connection, None) is None:
            return
        if session.error is None:
            session.end(SessionAborted("internal error", Reason.INTERNAL_ERROR))
        self._deadlines.arm(session, None)
        self._demux.forget(session.connection)
        self._rest()
        session.forgotten()
