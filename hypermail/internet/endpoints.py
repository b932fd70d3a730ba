"""
Endpoints: where sessions are listened for and asked for, and the same for single streams.

L{SessionServerEndpoint} and L{SessionClientEndpoint} are about sessions. L{HypermailServerEndpoint} and
L{HypermailClientEndpoint} are Twisted's stream endpoints over them, for programs that know nothing of
sessions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from socket import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.dialects.dialect import Dialect
from hypermail.errors import HypermailError, NotSupported, SessionAborted, Unreachable, UsageError
from hypermail.interfaces import ISessionFactory, ISessionProtocol, ISessionStore
from hypermail.internet.address import HypermailAddress, isLoopback
from hypermail.internet.attempts import HostAddress, interleaved
from hypermail.internet.claiming import NameInUse, useName
from hypermail.internet.deadlines import clockOf
from hypermail.internet.dialects import UNSECURED
from hypermail.internet.endpoint_settings import (
    EndpointSettings,
    checkDialect,
    checkInterface,
    checkPort,
    interfacesOf,
)
from hypermail.internet.inhabited import SocketSessions
from hypermail.internet.life import NOT_WANTED
from hypermail.internet.listening import adoptPorts, openPorts
from hypermail.internet.naming import NamedStreams
from hypermail.internet.request import SessionRequest
from hypermail.internet.residents import residentsOf
from hypermail.internet.resolution import resolve
from hypermail.internet.security import Security, StarterTLS, refuseToLeave
from hypermail.internet.shared import sharedSession
from hypermail.internet.sockets import Lease, StarterSocket, starterSocket
from hypermail.internet.strays import Worker
from hypermail.internet.whereabouts import Whereabouts
from hypermail.options import ListenerOptions, Options


class SessionServerEndpoint:
    """Listens for sessions."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        port: int,
        *,
        security: Security | None = None,
        interface: str = "",
        options: Options = Options(),
        listenerOptions: ListenerOptions = ListenerOptions(),
        traceDirectory: str | Path | None = None,
        seconds: Callable[[], float] | None = None,
        randomBytes: Callable[[int], bytes] = os.urandom,
        store: ISessionStore | None = None,
        dialect: Dialect | None = None,
        sockets: Sequence[socket] = (),
        worker: Worker | None = None,
    ) -> None:
        """
        @param port: 0–65535; 0 for one that is free.
        @param security: L{ListenerTLS}, L{SharedSecret} or L{Plain}; has to be given, unless there is a dialect.
        @param interface: an IP address; empty for all addresses of both families, or, where the security may not leave
            this machine, for the loopback addresses of both.
        @param options: what each session wants and bears.
        @param listenerOptions: what each socket bears from strangers.
        @param traceDirectory: where every connection writes a trace; None for nowhere.
        @param seconds: the time that the core is told, in s, never going back; None for
            L{time.monotonic}, or a L{Clock}'s own time.
        @param randomBytes: makes so many random bytes.
        @param store: where sessions are kept over restarts, for starters that want it; see
            L{hypermail.services.store.openStore}. None for nowhere.
        @param dialect: L{Batch} or L{Digest}, to serve peers that speak an older wire format, in place of security,
            options, store and traces; None for the native protocol.
        @param sockets: UDP sockets that are bound, to listen on in place of port and interface. The endpoint has
            descriptors of its own as soon as it listens: these may be closed then.
        @param worker: what this process has of a listener that has several; with the sockets that it has of it.
        @raise UsageError: when port or interface cannot be, the security is a starter's, or the dialect has no use for
            what is given, or misses something.
        """
        checkPort(port, 0)
        checkInterface(interface)
        if dialect is not None:
            others = {"security": security, "options": options, "traceDirectory": traceDirectory}
            checkDialect(dialect, True, **others, store=store, worker=worker)
            security = UNSECURED
        elif security is None:
            raise UsageError("a listener needs its security: ListenerTLS(identity), SharedSecret(...) or Plain()")
        security.listening(randomBytes)
        self._reactor = reactor
        self._port = port
        self._interface = interface
        self._sockets = sockets
        self._worker = worker
        self._listenerOptions = listenerOptions
        self._settings = EndpointSettings(
            security, dialect or options, traceDirectory, seconds or clockOf(reactor), randomBytes, store
        )

    def listen(self, factory: ISessionFactory) -> Deferred[IListeningPort]:
        """
        Begin to listen.

        @return: a Deferred of one port for all sockets; its C{getHosts} names their addresses. It errbacks
            with L{CannotListenError} when an address cannot be bound, and with L{RemoteAddressRefused}.
        """
        return Deferred.fromCoroutine(self._listen(factory))

    async def _listen(self, factory: ISessionFactory) -> IListeningPort:
        security, sockets = self._settings.security, self._sockets
        interfaces = interfacesOf(security.allowRemote, self._interface)
        if sockets:
            interfaces = [bound.getsockname()[0] for bound in sockets]
        for interface in interfaces:
            refuseToLeave(security, interface, "listen on")

        residents = residentsOf(self._listenerOptions, self._settings.randomBytes)

        def make() -> SocketSessions:
            return self._settings.protocol(self._reactor, factory, self._listenerOptions, residents, self._worker)

        if sockets:
            ports = adoptPorts(self._reactor, sockets, make)
        else:
            ports = await openPorts(self._reactor, self._port, interfaces, make)
        self._log.info(
            "listening on {addresses} in {manner}",
            addresses=" and ".join(map(str, ports.getHosts())),
            manner=self._settings.manner,
        )
        return ports


class SessionClientEndpoint:
    """Asks a listener for sessions."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        *,
        security: Security | None = None,
        options: Options = Options(),
        traceDirectory: str | Path | None = None,
        bindAddress: str | None = None,
        seconds: Callable[[], float] | None = None,
        randomBytes: Callable[[int], bytes] = os.urandom,
        store: ISessionStore | None = None,
        name: str | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        """
        @param host: the listener's name or IP address.
        @param port: 1–65535.
        @param security: L{StarterTLS}, L{SharedSecret} or L{Plain}; None for C{StarterTLS()}: the listener needs a
            certificate for C{host} from one of the system's authorities.
        @param options: what the session wants and bears; C{connection_timeout} is for all addresses together.
        @param traceDirectory: where every connection writes a trace; None for nowhere.
        @param bindAddress: the IP address to ask from; None for any that fits.
        @param seconds: the time that the core is told, in s, never going back; None for
            L{time.monotonic}, or a L{Clock}'s own time.
        @param randomBytes: makes so many random bytes.
        @param store: where the session is kept over restarts: it is durable then, and the listener has to keep it, too.
            None for a session that ends with its process.
        @param name: of the session in the store; None for C{HOST:PORT}.
        @param dialect: L{Batch} or L{Digest}, to reach a listener that speaks an older wire format, in place of
            security, options, store and traces; None for the native protocol.
        @raise UsageError: when port or bind address cannot be, the security is a listener's, or the dialect has no use
            for what is given, or misses something.
        """
        checkPort(port, 1)
        checkInterface(bindAddress or "")
        if dialect is not None:
            others = {"security": security, "options": options, "traceDirectory": traceDirectory}
            checkDialect(dialect, False, **others, store=store, name=name)
            security = UNSECURED
        security = security or StarterTLS()
        security.starting(host, randomBytes)
        self.host = host
        self.port = port
        self._name = f"{host}:{port}" if name is None else name
        self._reactor = reactor
        self._bindAddress = bindAddress
        self._settings = EndpointSettings(
            security, dialect or options, traceDirectory, seconds or clockOf(reactor), randomBytes, store
        )
        self._finding = self._resolveAgain, self._socket  # made once for all sessions, which keep them

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for endpoints whose sessions are interchangeable."""
        return (self.host, self.port, self._bindAddress, self._settings)

    def connect(self, factory: ISessionFactory) -> Deferred[ISessionProtocol]:
        """
        Open a session. Of several addresses of the host each is asked a moment after the one before, or when that has
        failed, the families in turns (RFC 8305); the first session that opens is it, and the others are withdrawn.

        @return: a Deferred of the factory's protocol, after its C{sessionOpened}. It errbacks with the
            L{SessionLost} of the last address that has failed (L{Unreachable}, also for unknown hosts,
            L{SessionTimedOut}, L{SessionRejected}, L{PeerUntrusted}, L{HandshakeFailed}, ...), and with
            L{RemoteAddressRefused}. When a listener says no, no other address is asked. Cancelling it withdraws the
            request; it then fails once the socket is closed. A session that the store has is open at once, and looks
            for its listener as long as it may: C{sessionResumed} tells of success. Of one that may not have opened
            before a restart the listener is asked first; as long as it does not answer, the store keeps it.
            L{StoreFailed} when the store fails, L{UsageError} when this process has the session of that name already.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: ISessionFactory) -> ISessionProtocol:
        addresses = await self._addresses()
        protocol = factory.buildProtocol(HypermailAddress(*addresses[0]))
        if protocol is None:
            raise NoProtocol()
        settings = self._settings
        store = settings.store
        use = None if store is None else useName(store, self._name)
        try:
            await self._ask(factory, protocol, addresses, store, use)
        finally:
            if use is not None:
                use.leave()
        return protocol

    async def _ask(
        self,
        factory: ISessionFactory,
        protocol: ISessionProtocol,
        addresses: list[HostAddress],
        store: ISessionStore | None,
        use: NameInUse | None,
    ) -> None:
        settings = self._settings
        factory.doStart()
        request = SessionRequest(
            self.host,
            addresses,
            settings.options,
            settings.seconds,
            self._socket,
            protocol,
            factory,
            self._whereabouts,
        )
        try:
            if store is None or use is None:
                await request.session(self._reactor)
            else:
                await request.durableSession(self._reactor, store, self._name, use)
        except BaseException as error:
            if not request.opened:
                lost = error if isinstance(error, HypermailError) else SessionAborted(NOT_WANTED)
                maybeDeferred(protocol.sessionLost, Failure(lost)).addErrback(self._failed, protocol)
            raise
        finally:
            factory.doStop()

    def _whereabouts(self, address: HostAddress, lease: Lease) -> Whereabouts:
        return Whereabouts(self.host, address, *self._finding, lease, self._settings.options.connection_timeout)

    def _resolveAgain(self) -> Deferred[list[HostAddress]]:
        return Deferred.fromCoroutine(self._addresses())

    async def _addresses(self) -> list[HostAddress]:
        return interleaved(self._allowed(await resolve(self._reactor, self.host, self.port)))

    def _failed(self, failure: Failure, protocol: ISessionProtocol) -> None:
        self._log.failure("sessionLost of {protocol!r} has failed", failure, protocol=protocol)

    def _allowed(self, addresses: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those addresses that may be asked, and can be from the bind address."""
        security = self._settings.security
        if not security.allowRemote:
            local = [address for address in addresses if isLoopback(address[0])]
            if not local:
                refuseToLeave(security, addresses[0][0], "connect to")
            addresses = local
        bind = self._bindAddress
        if bind is not None:
            addresses = [address for address in addresses if (":" in address[0]) == (":" in bind)]
            if not addresses:
                raise Unreachable(f"{self.host} has no address of the family of {bind}")
        return addresses

    def _socket(self, host: str) -> StarterSocket:
        """
        The socket that asks C{host}, an IP address.

        @raise CannotListenError: when the bind address is not this machine's.
        """
        settings = self._settings
        interface = self._bindAddress or _any(host)
        return starterSocket(self._reactor, settings, interface, partial(settings.protocol, self._reactor))


def _any(host: str) -> str:
    """What to bind for asking C{host}: nothing that others can reach when it is this machine."""
    if ":" in host:
        return "::1" if isLoopback(host) else "::"
    return "127.0.0.1" if isLoopback(host) else "0.0.0.0"


def _refuseDialect(settings: dict[str, Any]) -> None:
    """@raise NotSupported: when streams are wanted of a dialect."""
    dialect = settings.get("dialect")
    if dialect is not None:
        raise NotSupported(f"dialect {dialect.name} has no streams")


@implementer(IStreamServerEndpoint)
class HypermailServerEndpoint:
    """
    Listens for streams, as other endpoints do for connections.

    Every stream of one name, of any session, becomes a protocol of the factory; for several names there is
    L{NamedStreams}.
    """

    def __init__(self, reactor: Any, port: int, *, stream: bytes = b"", **settings: Any) -> None:
        """
        @param stream: the name; streams of others are rejected.
        @param settings: as of L{SessionServerEndpoint}.
        @raise NotSupported: when they name a dialect.
        """
        _refuseDialect(settings)
        self._stream = stream
        self._sessions = SessionServerEndpoint(reactor, port, **settings)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See L{IStreamServerEndpoint.listen}."""
        return self._sessions.listen(NamedStreams({self._stream: protocolFactory}))


@implementer(IStreamClientEndpoint)
class HypermailClientEndpoint:
    """
    Opens streams, as other endpoints do connections.

    All streams to one destination share one session, which opens with the first and closes with the last, or some time
    after it.
    """

    def __init__(
        self, reactor: Any, host: str, port: int, *, stream: bytes = b"", keep: float = 0.0, **settings: Any
    ) -> None:
        """
        @param stream: the name of the streams, which the listener has to serve.
        @param keep: s that the session stays open for further streams when the last one is over.
        @param settings: as of L{SessionClientEndpoint}.
        @raise UsageError: when C{keep} is negative or no number, and as L{SessionClientEndpoint}.
        @raise NotSupported: when the settings name a dialect.
        """
        if not 0 <= keep < inf:
            raise UsageError(f"keep is a number of seconds, 0 or more, not {keep!r}")
        _refuseDialect(settings)
        self._reactor = reactor
        self._stream = stream
        self._keep = keep
        self._sessions = SessionClientEndpoint(reactor, host, port, **settings)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See L{IStreamClientEndpoint.connect}.

        @return: a Deferred that errbacks with Twisted's L{ConnectError}s, whose C{__cause__} is the
            L{HypermailError}, with L{RemoteAddressRefused}, or, when it was cancelled,
            L{ConnectingCancelledError}.
        """
        return sharedSession(self._reactor, self._sessions).connect(protocolFactory, self._stream, self._keep)
