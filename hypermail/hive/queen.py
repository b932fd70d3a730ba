"""
The queen: the front and the cells, and what they need, as the configuration says (C{docs/protocol/hive}, "A queen's
life").
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, UsageError
from hypermail.hive.access import FORMATS, Access
from hypermail.hive.access_log import AccessLog
from hypermail.hive.aliases import Aliases
from hypermail.hive.certificates import Certificates, ServerCreator
from hypermail.hive.directives import Directives
from hypermail.hive.entrance import Entrance
from hypermail.hive.front.calls import Answerer, Call
from hypermail.hive.front.front import Front
from hypermail.hive.front.line import Timeouts
from hypermail.hive.keys import check_known, is_key_of
from hypermail.hive.leashes import Cells
from hypermail.hive.mounts import Pattern
from hypermail.hive.ports import Ports
from hypermail.hive.redirect import Redirects
from hypermail.hive.renewal import ShownCertificate
from hypermail.hive.routing import Router
from hypermail.hive.sticky import Sticky
from hypermail.internet.credentials import readIdentity
from hypermail.internet.endpoints import SessionServerEndpoint
from hypermail.internet.naming import NamedStreams
from hypermail.internet.security import ListenerTLS
from hypermail.services.ending import cannotStart, causeOf

#: s that requests which are running have when the queen stops.
GRACE = 30.0
#: s between looks for cells that are gone.
_LISTEN_PERIOD = 10.0

#: What streams of hypermail are called that are a leash, and a band.
LEASH, BAND = b"leash", b"band"

_HTTPS, _HTTP, _HLHV, _HYPERMAIL = "portHttps", "portHttp", "portHlhv", "portHypermail"


class Queen(Service):
    """
    @param read: gives the configuration, again at each L{reload}; raises L{HypermailError}.
    @param chance: so many random bytes.
    @ivar cells: hers.
    @ivar router: her requests.
    @ivar ports: where she listens.
    @ivar watchers: called with each request that is over, and what it was mounted on, None for nothing.
    """

    name = "hypermail-queen"
    _log = Logger()

    def __init__(self, reactor: Any, read: Callable[[], Directives], chance: Callable[[int], bytes]) -> None:
        self._reactor = reactor
        self._read = read
        self._directives: Directives | None = None
        self.ports = Ports()
        self.watchers: list[Callable[[Access, Pattern | None], object]] = []
        defaults = Directives()
        self.cells = Cells(
            reactor,
            self._isKey,
            chance,
            login_timeout=defaults.login_timeout,
            band_age=defaults.band_age,
            aliases=Aliases(defaults.aliases),
        )
        self.router = Router(self.cells, reactor.seconds, partial(datetime.now, UTC), self._finished)
        self._entrance = Entrance(self.cells)
        self._front = Front(reactor, self.router.serve, scheme="https")
        self._redirects: Redirects | None = None
        self._plainFront = Front(reactor, self._serveRedirect, scheme="http")
        self._certificates: Certificates | None = None
        self._accessLog: AccessLog | None = None
        self._pruning = LoopingCall(self.cells.prune)
        self._listening = LoopingCall(self.cells.listen)
        for loop in (self._pruning, self._listening):
            loop.clock = reactor

    # Her life

    def privilegedStartService(self) -> None:
        """Read what only root may, and listen; C{twistd} gives up its privileges afterwards."""
        self._begin()

    def startService(self) -> None:
        """
        Begin; C{twist} calls this alone.

        @raise hypermail.services.ending.CannotStart: when she cannot.
        """
        Service.startService(self)
        if self._directives is None:
            self._begin()
        self._listening.start(_LISTEN_PERIOD, now=False)

    def _begin(self) -> None:
        try:
            directives = self._read()
            self._obey(directives)
        except HypermailError as error:
            cannotStart(self._log, error.text)
        if directives.key_hash is None:
            self._log.warn("no cell can log in: the configuration has no connKey; `hypermail hive-key` makes one")
        self._log.info(
            "the queen serves HTTPS at port {https}, and cells at port {cells}",
            https=self.ports.number(_HTTPS),
            cells=self.ports.number(_HLHV),
        )

    def reload(self) -> None:
        """
        Read the configuration and the certificates again, and open the logs anew. Connections go on. What cannot be is
        logged, and stays as it was.
        """
        try:
            self._obey(self._read())
        except HypermailError as error:
            self._log.error("the configuration stays as it was: {reason}", reason=error.text)
        else:
            self._log.info("the configuration was read again")

    def stopService(self) -> Deferred[Any]:
        """
        Let requests that are running finish, for L{GRACE} at most, and begin no other.

        @return: fires when nothing is open any more.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.ports.close(_HTTPS, _HTTP)
        self.cells.leave()
        late = self._reactor.callLater(GRACE, self._abort)
        try:
            await DeferredList([self._front.stop(), self._plainFront.stop()])
        finally:
            if late.active():
                late.cancel()
        self._entrance.closed = True
        await self.ports.close()
        self.cells.close()
        for loop in (self._pruning, self._listening):
            if loop.running:
                loop.stop()
        if self._certificates is not None:
            self._certificates.stop()
        if self._accessLog is not None:
            await self._accessLog.close()

    def _abort(self) -> None:
        self._log.warn("requests that have run for {grace:.0f} s more are cut off", grace=GRACE)
        self._front.abort()
        self._plainFront.abort()

    # What the configuration says

    def _obey(self, said: Directives) -> None:
        """@raise HypermailError: when something of it cannot be; then nothing has changed, if it is not a port."""
        if said.key_hash is not None:
            check_known(said.key_hash)
        before = self._directives
        certificates = self._certified(said, before)
        self._logTo(said, before)
        self._certificates, self._directives = certificates, said
        self.cells.configure(login_timeout=said.login_timeout, band_age=said.band_age, aliases=Aliases(said.aliases))
        self.router.trusted = said.trusted_proxies
        self.router.sticky = None if said.sticky_cookie is None else Sticky(said.sticky_cookie)
        self.router.slash = said.slash
        timeouts = Timeouts(said.header_timeout, said.read_timeout, said.write_timeout, said.idle_timeout)
        self._front.timeouts = self._plainFront.timeouts = timeouts
        self._redirects = Redirects(self._reactor, said.port_https, said.webroot)
        if self._pruning.running:
            self._pruning.stop()
        self._pruning.start(said.garden_period, now=False)
        self._listen(said)

    def _certified(self, said: Directives, before: Directives | None) -> Certificates:
        """@raise CredentialError: when there are none."""
        names = (said.certificate_path, said.key_path, said.certificate_directory)
        current = self._certificates
        if current is not None and before is not None:
            if names == (before.certificate_path, before.key_path, before.certificate_directory):
                current.reload()
                return current
        made = Certificates(self._reactor, *names, now=partial(datetime.now, UTC))
        made.load()
        if current is not None:
            current.stop()
        made.start()
        return made

    def _logTo(self, said: Directives, before: Directives | None) -> None:
        where = (said.access_log, said.access_log_format)
        if before is not None and where == (before.access_log, before.access_log_format):
            if self._accessLog is not None:
                self._accessLog.reopen()
            return
        log = None
        if said.access_log is not None:
            log = AccessLog(self._reactor, said.access_log, FORMATS[said.access_log_format or "combined"])
        before_log, self._accessLog = self._accessLog, log
        if before_log is not None:
            before_log.close()

    def _listen(self, said: Directives) -> None:
        """@raise UsageError: when a port cannot be had; those before it can."""
        security = None if said.identity_path is None else ListenerTLS(readIdentity(said.identity_path))

        def hypermail() -> IListeningPort:
            assert security is not None
            return _listenHypermail(self._reactor, said, security, self._entrance)

        factories: Any = {
            _HLHV: TLSMemoryBIOFactory(ServerCreator(self._find, ()), False, self._entrance, self._reactor),
            _HTTPS: TLSMemoryBIOFactory(ServerCreator(self._find, ()), False, self._front, self._reactor),
            _HTTP: self._plainFront,
        }
        numbers = {_HLHV: said.port_hlhv, _HTTPS: said.port_https, _HTTP: said.port_http}
        for name, factory in factories.items():
            number = numbers[name]
            where = None if number is None else (number, said.bind)
            self._set(name, where, partial(_listenTCP, self._reactor, number or 0, factory, said.bind))
        where = None if said.port_hypermail is None else (said.port_hypermail, said.bind)
        if not self._set(_HYPERMAIL, where, hypermail) and where is not None:
            self.ports.port(_HYPERMAIL).renew(security)

    def _set(self, name: str, where: tuple[int, str | None] | None, listen: Callable[[], IListeningPort]) -> bool:
        try:
            return self.ports.set(name, where, listen)
        except CannotListenError as error:
            raise UsageError(f"cannot listen at {name} {where and where[0]}: {causeOf(error)}") from None

    # For her parts

    def _isKey(self, key: str) -> Deferred[bool]:
        hashed = None if self._directives is None else self._directives.key_hash
        if hashed is None:
            return succeed(False)
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), is_key_of, key, hashed)

    def _find(self, host: bytes | None) -> ShownCertificate:
        assert self._certificates is not None
        return self._certificates.find(host)

    def _serveRedirect(self, call: Call) -> Answerer:
        assert self._redirects is not None
        return self._redirects(call)

    def _finished(self, access: Access, pattern: Pattern | None) -> None:
        if self._accessLog is not None:
            self._accessLog.write(access)
        for watcher in self.watchers:
            watcher(access, pattern)


def _listenTCP(reactor: Any, port: int, factory: Any, bind: str | None) -> IListeningPort:
    """Of both families, where the machine has both."""
    found: IListeningPort
    try:
        found = reactor.listenTCP(port, factory, interface="::" if bind is None else bind)
    except CannotListenError as error:
        if bind is not None or getattr(error.socketError, "errno", None) not in (EAFNOSUPPORT, EADDRNOTAVAIL):
            raise
        found = reactor.listenTCP(port, factory)
    return found


def _listenHypermail(reactor: Any, said: Directives, security: ListenerTLS, entrance: Entrance) -> IListeningPort:
    """@raise CannotListenError: when that cannot be."""
    names = NamedStreams({LEASH: entrance, BAND: entrance})
    endpoint = SessionServerEndpoint(reactor, said.port_hypermail or 0, interface=said.bind or "", security=security)
    found: list[Any] = []
    endpoint.listen(names).addBoth(found.append)
    if not found:  # of several sockets, one could not be bound; the others are being closed
        raise CannotListenError(said.bind or "", said.port_hypermail, OSError("not on all addresses"))
    if isinstance(found[0], Failure):
        found[0].raiseException()
    port: IListeningPort = found[0]
    return port
