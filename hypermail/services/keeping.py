"""
A session that is there: opened, and opened again whenever it has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, PeerUntrusted, SessionAborted, UsageError
from hypermail.interfaces import Answer, ISessionFactory, ISessionProtocol
from hypermail.internet.address import HypermailAddress
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.protocol import SessionFactory
from hypermail.services.paths import printable
from hypermail.session.states import State

#: s that an open session has to close when the service stops.
CLOSING = 2.0
#: Who may wait for a session at one time.
MOST_WAITING = 1_024

_OPEN = State.OPEN.name.lower()


class StarterService(Service):
    """
    Keeps a session with one listener.

    When it is lost, or does not open, the next attempt follows after a pause that grows and is never the same twice, so
    that a listener that comes back is not asked by all at once.

    @ivar protocol: of the session that is open; None when there is none.
    @ivar endpoint: of the listener; another one is for the next session.
    """

    name = "hypermail"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: SessionClientEndpoint,
        factory: ISessionFactory,
        *,
        pauses: Callable[[int], float] | None = None,
    ) -> None:
        """
        @param factory: makes a protocol for each session.
        @param pauses: s before the next attempt, given how many have failed since a session was open; None for
            Twisted's L{backoffPolicy}: 1 s at first, half as much again each time, at most a minute, and random parts.
        """
        self._reactor = reactor
        self.endpoint = endpoint
        self._factory = factory
        self._pauses = pauses or backoffPolicy()
        self._keeping: Deferred[None] | None = None
        self._waiting: dict[Deferred[ISessionProtocol], None] = {}
        self.protocol: ISessionProtocol | None = None

    def startService(self) -> None:
        """Begin to keep a session."""
        Service.startService(self)
        if self._keeping is None:
            self._keeping = Deferred.fromCoroutine(self._keep())
            self._keeping.addErrback(self._stopped)

    def _stopped(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("the session is kept no more", failure)

    def stopService(self) -> Deferred[None]:
        """
        Keep none any more.

        @return: fires when the session is closed, which takes L{CLOSING} at most; cancelled, it is aborted at once.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
        while self._waiting:
            self._waiting.popitem()[0].errback(SessionAborted("the service has stopped"))
        protocol = self.protocol
        if protocol is not None and protocol.session.durable:
            protocol.session.park("the service has stopped; the session is kept")
        elif protocol is not None:
            closing = protocol.session.close()
            closing.addTimeout(CLOSING, self._reactor)
            closing.addErrback(lambda _: None)
            await closing
        if keeping is not None:
            await keeping

    def whenOpened(self) -> Deferred[ISessionProtocol]:
        """
        Wait for a session.

        @return: a Deferred of the protocol, at once when a session is open, has a link and is not being closed. It
            errbacks with L{SessionLost} when the service stops or does not run, with L{UsageError} when too many wait;
            it may be cancelled.
        """
        if self.protocol is not None and self.protocol.session.statistics()["state"] == _OPEN:
            return succeed(self.protocol)
        if self._keeping is None:
            return fail(SessionAborted("the service does not run"))
        if len(self._waiting) >= MOST_WAITING:
            return fail(UsageError(f"{MOST_WAITING} wait for the session already"))
        waiting: Deferred[ISessionProtocol] = Deferred(lambda gone: self._waiting.pop(gone, None))
        self._waiting[waiting] = None
        return waiting

    # Keeping

    async def _keep(self) -> None:
        failed = 0
        while True:
            keeping = _Keeping(self._factory, self)
            try:
                await self.endpoint.connect(keeping)
            except HypermailError as error:
                reason = error.text
                if isinstance(error, PeerUntrusted) and error.pin:
                    reason += f" (if {error.pin} is what its operator tells you, give it as the pin)"
            except Exception as error:  # the application's, as of its factory: it may do better the next time
                if not self.running:  # cancelled
                    raise
                self._log.failure("the application has failed to open its session")
                reason = f"{type(error).__name__}: {error}"
            else:
                failed = 0
                reason = await keeping.lost
            pause = self._pauses(failed)
            failed += 1
            self._log.warn(
                "no session with {host}:{port}: {reason}; the next attempt is in {pause:.1f} s",
                host=self.endpoint.host,
                port=self.endpoint.port,
                reason=printable(reason),
                pause=pause,
            )
            await deferLater(self._reactor, pause)

    def opened(self, protocol: ISessionProtocol) -> None:
        """For L{_Kept}: the session is open."""
        self.protocol = protocol
        self._log.info("session with {peer} is open", peer=protocol.session.getPeer())
        self.resumed(protocol)

    def resumed(self, protocol: ISessionProtocol) -> None:
        """For L{_Kept}: the session has a link, and whoever has waited for that has it."""
        while self._waiting:  # whose callbacks may cancel others
            one = next(iter(self._waiting))
            del self._waiting[one]
            one.callback(protocol)

    def over(self, protocol: ISessionProtocol) -> None:
        """For L{_Kept}: the session is over, or has never opened."""
        if self.protocol is protocol:
            self.protocol = None


class _Kept(proxyForInterface(ISessionProtocol, "original")):  # type: ignore[misc]
    """A protocol whose service is told of its session's beginning and end."""

    def __init__(self, original: ISessionProtocol, service: StarterService, lost: Deferred[str]) -> None:
        self.original = original
        self._service = service
        self._lost = lost

    def sessionOpened(self) -> Answer[None]:
        answer = self.original.sessionOpened()
        self._service.opened(self.original)
        return answer

    def sessionResumed(self) -> Answer[None]:
        answer = self.original.sessionResumed()
        self._service.resumed(self.original)
        return answer

    def sessionLost(self, reason: Failure) -> Answer[None]:
        self._service.over(self.original)
        try:
            return self.original.sessionLost(reason)
        finally:
            self._lost.callback(reason.getErrorMessage())


class _Keeping(SessionFactory):
    """
    Makes the protocol of one attempt: wraps that of another factory.

    @ivar lost: fires with the reason when its session is over, or has never opened.
    """

    noisy = False

    def __init__(self, factory: ISessionFactory, service: StarterService) -> None:
        self._factory = factory
        self._service = service
        self.lost: Deferred[str] = Deferred()

    def startFactory(self) -> None:
        """See L{SessionFactory}."""
        self._factory.doStart()

    def stopFactory(self) -> None:
        """See L{SessionFactory}."""
        self._factory.doStop()

    def buildProtocol(self, address: HypermailAddress) -> ISessionProtocol | None:
        """See L{ISessionFactory}."""
        protocol = self._factory.buildProtocol(address)
        return None if protocol is None else cast(ISessionProtocol, _Kept(protocol, self._service, self.lost))
