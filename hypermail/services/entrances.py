"""
The starter's end of a tunnel: what connects where C{--listen} says goes through the session, by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, SessionTimedOut, UsageError
from hypermail.internet.address import HypermailAddress
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.services.addresses import describe
from hypermail.services.ending import cannotStart, causeOf, listening
from hypermail.services.flows import DatagramEntrance, Flows
from hypermail.services.keeping import StarterService
from hypermail.services.outbox import OutboxService
from hypermail.services.outbox_messages import MessageOutbox
from hypermail.services.passages import SERVER_EXAMPLE, Passage, endpoint_of, parse_udp_source
from hypermail.services.paths import printable
from hypermail.services.pipes import PipeEnd, PipeFactory
from hypermail.services.sockets import LARGEST
from hypermail.services.spool import Spool
from hypermail.services.status import Status
from hypermail.services.troubles import Trouble

#: s that a connection waits for a session before it is aborted.
PATIENCE = 30.0


class _Caller(PipeEnd):
    """A connection of somebody who wants through the tunnel."""

    def __init__(self, entrance: Entrance) -> None:
        super().__init__()
        self._entrance = entrance
        self._leading: Deferred[None] | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self._leading = Deferred.fromCoroutine(self._entrance.lead(self))
        self._leading.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not self.gone:
            self.transport.abortConnection()
        failure.trap(HypermailError, CancelledError)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._leading is not None:
            self._leading.cancel()


class Entrance(Factory):
    """
    Takes connections, and leads each through the session as a stream.

    @param starter: whose session it is.
    """

    noisy = False

    def __init__(self, reactor: Any, passage: Passage, starter: StarterService) -> None:
        self._reactor = reactor
        self._passage = passage
        self._starter = starter
        self._trouble = Trouble(reactor, f"--listen {passage}: a connection cannot go through the tunnel")

    def buildProtocol(self, addr: IAddress | None) -> _Caller:
        """See L{Factory}."""
        return _Caller(self)

    async def lead(self, caller: PipeEnd) -> None:
        """
        Open a stream for a connection, and join them.

        @raise HypermailError: when there is none; it was logged.
        """
        try:
            waiting = self._starter.whenOpened()
            waiting.addTimeout(PATIENCE, self._reactor, onTimeoutCancel=_outOfPatience)
            protocol = await waiting
            stream: Any = await protocol.session.openStream(PipeFactory(PipeEnd()), self._passage.name.encode())
        except HypermailError as error:
            self._trouble.say(printable(error.text))
            raise
        caller.join(stream)


def _outOfPatience(_: object, seconds: float) -> Failure:
    return Failure(SessionTimedOut(f"there was no session for {seconds:.0f} s"))


class _TunnelSession(SessionProtocol):
    """The starter's side of a tunnel's session."""

    def __init__(self, flows: Flows, status: Status | None) -> None:
        self._flows = flows
        self._status = status
        self._open = False

    def sessionOpened(self) -> None:
        """See L{ISessionProtocol}."""
        self._open = True
        if self._status is not None:
            self._status.add(self.session)

    def sessionLost(self, reason: Failure) -> None:
        """See L{ISessionProtocol}."""
        if self._open and self._status is not None:
            self._status.remove(self.session, reason)

    def datagramReceived(self, data: bytes) -> None:
        """See L{ISessionProtocol}."""
        self._flows.back(data)


class _TunnelSessions(SessionFactory):
    """Makes them."""

    noisy = False

    def __init__(self, flows: Flows, status: Status | None) -> None:
        self._flows = flows
        self._status = status

    def buildProtocol(self, address: HypermailAddress) -> _TunnelSession:
        """See L{ISessionFactory}."""
        return _TunnelSession(self._flows, self._status)


class TunnelService(MultiService):
    """
    C{twistd hypermail --connect HOST:PORT --listen ...}: entrances, and the session that they lead through.

    @ivar starter: keeps the session.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: Callable[..., SessionClientEndpoint],
        passages: Iterable[Passage],
        status: Status | None = None,
        spool: Spool | None = None,
    ) -> None:
        """
        @param spool: an outbox, whose files leave through the session, too.
        @param endpoint: makes the listener's endpoint: at the start, which ends with what it raises, and with each
            L{reload}; given a store, that of a durable session.
        @param status: is told of each session, when somebody may want to look.
        """
        MultiService.__init__(self)
        self._reactor = reactor
        self._endpoint = endpoint
        self._passages = tuple(passages)
        self._status = status
        self._spool = spool
        self.starter: StarterService | None = None
        self._flows = Flows(reactor, self._session)

    def _session(self) -> Any:
        protocol = None if self.starter is None else self.starter.protocol
        return None if protocol is None else protocol.session

    def startService(self) -> None:
        """
        Begin.

        @raise hypermail.services.ending.CannotStart: when it cannot.
        """
        try:
            starter = StarterService(self._reactor, self._endpoint(), _TunnelSessions(self._flows, self._status))
            services = [self._entrance(passage, starter) for passage in self._passages]
        except HypermailError as error:
            cannotStart(self._log, error.text)
        if self._spool is not None:
            services.append(OutboxService(self._reactor, self._spool, starter))
            services.append(MessageOutbox(self._reactor, self._spool.path, self._endpoint, remove=self._spool.remove))
        self.starter = starter
        for service in (*services, starter):
            service.setServiceParent(self)
        MultiService.startService(self)

    def reload(self) -> None:
        """
        Read identity and trust again, for the next session; one that is open goes on. What cannot be read is logged,
        and nothing changes.
        """
        if self.starter is None:
            return
        try:
            self.starter.endpoint = self._endpoint()
        except HypermailError as error:
            self._log.error("identity and trust stay as they were: {reason}", reason=error.text)
        else:
            self._log.info("identity and trust were read again")

    def _entrance(self, passage: Passage, starter: StarterService) -> Service:
        if passage.datagrams:
            return _DatagramEntranceService(self._reactor, passage, self._flows)
        parse = partial(serverFromString, self._reactor)
        endpoint = endpoint_of(passage, "--listen", parse, "to listen on", SERVER_EXAMPLE)
        return _EntranceService(self._reactor, endpoint, passage, Entrance(self._reactor, passage, starter))

    def stopService(self) -> Deferred[Any]:
        """See L{MultiService}."""
        self._flows.clear()
        Service.stopService(self)
        stopping = [maybeDeferred(service.stopService) for service in self]
        for service in list(self):  # others are made at the next start
            self.removeService(service)  # type: ignore[no-untyped-call]
        return gatherResults(stopping, consumeErrors=True)


class _EntranceService(Service):
    """Listens for one passage's connections."""

    _log = Logger()

    def __init__(self, reactor: Any, endpoint: IStreamServerEndpoint, passage: Passage, entrance: Entrance) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._passage = passage
        self._entrance = entrance
        self._listening: Deferred[IListeningPort | None] | None = None

    def startService(self) -> None:
        """@raise hypermail.services.ending.CannotStart: when it is known at once that it cannot be listened there."""
        Service.startService(self)
        begun = self._endpoint.listen(self._entrance)
        self._listening = listening(self._reactor, self._log, begun, self._bound, self._whyNot)

    def _bound(self, port: IListeningPort) -> IListeningPort:
        where = port.getHost()
        self._log.info(
            "{passage}: connections to {where} go through the tunnel", passage=self._passage, where=describe(where)
        )
        return port

    def _whyNot(self, failure: Failure) -> str:
        return f"--listen {self._passage}: {_reason(failure.value)}"

    async def _stop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            port = await listening
            if port is not None:
                await _stopped(port.stopListening())

    def stopService(self) -> Deferred[None]:
        """See L{Service}."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())


class _DatagramEntranceService(Service):
    """Takes one passage's datagrams."""

    _log = Logger()

    def __init__(self, reactor: Any, passage: Passage, flows: Flows) -> None:
        """@raise UsageError: when the description is none."""
        self._reactor = reactor
        self._passage = passage
        try:
            self._source = parse_udp_source(passage)
        except UsageError as error:
            raise UsageError(f"--listen {passage}: {error.text}") from error
        self._entrance = DatagramEntrance(passage.name, flows)
        self._port: Any = None

    def startService(self) -> None:
        """@raise hypermail.services.ending.CannotStart: when it cannot be listened there."""
        Service.startService(self)
        port, interface = self._source
        try:
            self._port = self._reactor.listenUDP(port, self._entrance, interface=interface, maxPacketSize=LARGEST)
        except CannotListenError as error:
            cannotStart(self._log, f"--listen {self._passage}: {_reason(error)}")
        where = describe(self._port.getHost())
        self._log.info("{passage}: datagrams to {where} go through the tunnel", passage=self._passage, where=where)

    def stopService(self) -> Deferred[None]:
        """See L{Service}."""
        Service.stopService(self)
        port, self._port = self._port, None
        return Deferred.fromCoroutine(_stopped(None if port is None else port.stopListening()))


async def _stopped(stopping: Deferred[Any] | None) -> None:
    if stopping is not None:
        await stopping


def _reason(error: BaseException | None) -> str:
    if isinstance(error, CannotListenError):
        return f"cannot listen on port {error.port}: {causeOf(error)}"
    return printable(str(error) or type(error).__name__)
