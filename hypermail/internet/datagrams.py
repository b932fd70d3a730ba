"""
A UDP socket with sessions of the native protocol on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from hypermail.connection import Connection
from hypermail.demux import ALONE, Demux
from hypermail.interfaces import ISessionFactory, ISessionProtocol, ISessionStore
from hypermail.internet.address import SocketAddress, isLoopback
from hypermail.internet.credentials import thisMachine
from hypermail.internet.inhabited import SocketSessions
from hypermail.internet.residents import Residents, residentsOf
from hypermail.internet.security import Security, refuseToLeave
from hypermail.internet.session import Session
from hypermail.internet.strays import Worker
from hypermail.internet.traces import Traces
from hypermail.internet.whereabouts import Whereabouts
from hypermail.options import KIB, ListenerOptions, Options
from hypermail.security.handshake import HandshakeFactory
from hypermail.session.journal import StoredSession


class HypermailDatagramProtocol(SocketSessions):
    """
    Sessions over one UDP socket.

    It works with any C{reactor.listenUDP}; L{SessionServerEndpoint} and L{SessionClientEndpoint} give it a
    faster socket where there is one. In mode C{plain} datagrams from other machines are dropped, unless it was told
    otherwise.

    @ivar strangers: how many datagrams were dropped because they came from elsewhere.
    """

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
        worker: Worker | None = None,
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
        @param worker: what this process has of a listener that has several; None for all of it.
        """
        super().__init__(factory, reactor=reactor, seconds=seconds, randomBytes=randomBytes, wall=wall)
        self.strangers = 0
        self._options = options or Options()
        self.store = store
        self._worker = worker
        self._listenerOptions = listenerOptions or ListenerOptions()
        self.security = security
        self._traces = Traces(traceDirectory)
        self.residents = residents or residentsOf(self._listenerOptions, randomBytes)

    # The socket.

    def makeDemux(self) -> Demux:
        """See L{SocketSessions.makeDemux}."""
        self._options = self._within(self._options)
        worker = self._worker
        if worker is not None:
            worker.strays.enter(self)
        return Demux(
            options=self._options,
            listener_options=self._listenerOptions,
            handshake=None if self.factory is None else self.security.listening(self._randomBytes),
            random_bytes=self._randomBytes,
            secret=self.security.stateless if worker is None else worker.secret,
            scope=f"{thisMachine()} {self.host()}".encode() if self.factory is not None else b"",
            share=ALONE if worker is None else worker.share,
            trace_factory=self._traces.ofStranger,
        )

    def renew(self, security: Security) -> None:
        """
        Secure sessions that are asked for from now on another way: another identity, or other trust. Those that are
        open go on.

        @param security: of a listener, in the same mode.
        @raise UsageError: when it is not.
        """
        self._demux.renew(security.listening(self._randomBytes))
        self.security = security

    # What the carrier says.

    def datagramsReceived(self, datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
        """See L{ICarrierUser.datagramsReceived}."""
        if not self.security.allowRemote and not isLoopback(address[0]):
            self._refuse(address, len(datagrams))
            return
        super().datagramsReceived(datagrams, address, ecn)
        if self._worker is not None and (strays := self._demux.strays()):
            self._worker.strays.passOn(self, strays, address, ecn)

    def _refuse(self, address: Any, count: int) -> None:
        if not self.strangers:
            self._log.warn(
                "datagrams from {address} are dropped: mode plain serves this machine only, unless it is told "
                "--allow-remote-plain (allowRemotePlain)",
                address=address,
            )
        self.strangers += count

    # Starters' connections.

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
        self.pump.enter(session)
        return session

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

    def beginConnection(self, address: Any, host: str | None, options: Options, before: Connection) -> Connection:
        """See L{SessionOwner.beginConnection}."""
        handshake = self.security.starting(host or address[0], self._randomBytes)
        return self._begin(address, handshake, self._within(options), before)

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
