"""
What a queen consists of, made and changed as her configuration says (C{docs/protocol/hive}, "Configuration").
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from hypermail.hive.access import Access
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
from hypermail.hive.overview import Overview
from hypermail.hive.ports import Ports, listen_hypermail, listen_tcp
from hypermail.hive.redirect import Redirects
from hypermail.hive.renewal import ShownCertificate
from hypermail.hive.routing import Router
from hypermail.hive.status_page import StatusPage
from hypermail.hive.sticky import Sticky
from hypermail.internet.credentials import readIdentity
from hypermail.internet.deadlines import clockOf
from hypermail.internet.security import ListenerTLS
from hypermail.services.addresses import Destination
from hypermail.services.workers import Workers

#: s between looks for cells that are gone.
_LISTEN_PERIOD = 10.0

HTTPS, HTTP, HLHV, HYPERMAIL, STATUS = "portHttps", "portHttp", "portHlhv", "portHypermail", "statusPort"

#: Where the status is shown, to whoever is on this machine.
_LOOPBACK = "127.0.0.1"

Watcher = Callable[[Access, Pattern | None], object]
"""Called with each request that is over, and what it was for is mounted on; None when nothing is."""


class Installation:
    """
    Begins with L{obey}.

    @param chance: so many random bytes.
    @ivar directives: what is obeyed; None before any.
    @ivar ports: where she listens.
    @ivar front: connections of clients.
    @ivar watchers: see L{Watcher}.
    @ivar status: what shows her, while there is a port for that.
    """

    _log = Logger()

    def __init__(self, reactor: Any, chance: Callable[[int], bytes]) -> None:
        self._reactor = reactor
        self.directives: Directives | None = None
        defaults = Directives()
        self.cells = Cells(
            reactor,
            self._is_key,
            chance,
            login_timeout=defaults.login_timeout,
            band_age=defaults.band_age,
            aliases=Aliases(defaults.aliases),
        )
        self.router = Router(self.cells, self.cells.seconds, partial(datetime.now, UTC), self._finished)
        self.front = Front(reactor, self.router.serve, scheme="https")
        self.ports = Ports()
        self.watchers: list[Watcher] = []
        self.status: StatusPage | None = None
        self._entrance = Entrance(self.cells)
        self._redirecting = Front(reactor, self._redirect, scheme="http")
        self._redirects: Redirects | None = None
        self._certificates: Certificates | None = None
        self._access_log: AccessLog | None = None
        self._workers = Workers(reactor, name="hypermail queen")
        # One thread, since anybody can have keys looked at: the other cores, and the access log, are not for that.
        self._checkers = Workers(reactor, threads=1, name="hypermail queen keys")
        self._loops = {call: LoopingCall(call) for call in (self.cells.prune, self.cells.listen)}
        for loop in self._loops.values():
            loop.clock = reactor
        self._workers.start()
        self._checkers.start()

    # What the configuration says

    def obey(self, said: Directives) -> None:
        """
        Become what a configuration says; connections go on.

        @raise hypermail.errors.HypermailError: when something of it cannot be. Files that cannot be used change
            nothing; ports are changed one after the other until one cannot be had.
        """
        if said.key_hash is not None:
            check_known(said.key_hash)
        security = None if said.identity_path is None else ListenerTLS(readIdentity(said.identity_path))
        certificates = self._certified(said)
        log = self._opened(said)
        # What can fail now are ports.
        self._show(certificates)
        self._log_to(log)
        self.directives = said
        self.cells.configure(
            login_timeout=said.login_timeout,
            band_age=said.band_age,
            aliases=Aliases(said.aliases),
            queens=said.queens,
        )
        self.router.trusted = said.trusted_proxies
        self.router.sticky = None if said.sticky_cookie is None else Sticky(said.sticky_cookie)
        self.router.slash = said.slash
        self.front.timeouts = self._redirecting.timeouts = Timeouts(
            said.header_timeout, said.read_timeout, said.write_timeout, said.idle_timeout
        )
        self._redirects = Redirects(self._reactor, said.port_https, said.webroot)
        self._repeat(self.cells.prune, said.garden_period)
        self._repeat(self.cells.listen, _LISTEN_PERIOD)
        self._listen(said, security)

    def _certified(self, said: Directives) -> Certificates:
        """@raise CredentialError: when there are none."""

        def names(of: Directives) -> tuple[str, str, str | None]:
            return of.certificate_path, of.key_path, of.certificate_directory

        current = self._certificates
        if current is not None and self.directives is not None and names(self.directives) == names(said):
            return current
        made = Certificates(self._reactor, *names(said), now=partial(datetime.now, UTC))
        made.load()
        return made

    def _show(self, certificates: Certificates) -> None:
        before, self._certificates = self._certificates, certificates
        if before is certificates:
            before.reload()
            return
        certificates.start()
        if before is not None:
            before.stop()

    def _opened(self, said: Directives) -> AccessLog | None:
        """@raise UsageError: when that cannot be."""

        def names(of: Directives | None) -> tuple[str | None, str | None]:
            return (None, None) if of is None else (of.access_log, of.access_log_format)

        if said.access_log is None:
            return None
        if names(self.directives) == names(said):
            return self._access_log
        made = AccessLog(self._reactor, said.access_log, said.access_log_format or "combined", self._workers.run)
        made.open()
        return made

    def _log_to(self, log: AccessLog | None) -> None:
        before, self._access_log = self._access_log, log
        if before is None:
            return
        if before is log:
            before.reopen()
        else:
            before.close()

    def _listen(self, said: Directives, security: ListenerTLS | None) -> None:
        creator = ServerCreator(self._find, ())  # by ALPN the front's protocols are offered, and no others
        factories: dict[str, Any] = {
            HLHV: TLSMemoryBIOFactory(creator, False, self._entrance, self._reactor),
            HTTPS: TLSMemoryBIOFactory(creator, False, self.front, self._reactor),
            HTTP: self._redirecting,
        }
        numbers = {HLHV: said.port_hlhv, HTTPS: said.port_https, HTTP: said.port_http}
        for name, number in numbers.items():
            where = None if number is None else (number, said.bind)
            self.ports.set(name, where, partial(listen_tcp, self._reactor, factories[name]))
        where = None if said.port_hypermail is None else (said.port_hypermail, said.bind)

        def hypermail(number: int, bind: str | None) -> IListeningPort:
            assert security is not None
            return listen_hypermail(self._reactor, self._entrance, security, number, bind)

        if not self.ports.set(HYPERMAIL, where, hypermail) and where is not None:
            self.ports.port(HYPERMAIL).renew(security)
        self._watch(said)

    def _watch(self, said: Directives) -> None:
        """Requests are counted while that can be seen somewhere."""
        number = said.status_port
        if number is None:
            self.ports.set(STATUS, None, partial(listen_tcp, self._reactor, None))
            self._unwatch()
            return
        if self.status is None:
            overview = Overview(self.router, self.front, self.ports, clockOf(self._reactor), partial(datetime.now, UTC))
            self.status = StatusPage(self._reactor, overview)
            self.watchers.append(overview.figures.record)
        listen = partial(listen_tcp, self._reactor, self.status.front)
        if self.ports.set(STATUS, (number, _LOOPBACK), listen):
            where = Destination(_LOOPBACK, self.ports.number(STATUS))
            self._log.info("the status is at http://{where}/", where=where)

    def _unwatch(self) -> Deferred[None]:
        status, self.status = self.status, None
        if status is not None:
            self.watchers.remove(status.overview.figures.record)
            return status.close()
        return succeed(None)

    def _repeat(self, call: Callable[[], None], period: float) -> None:
        loop = self._loops[call]
        if not loop.running or loop.interval != period:
            self._rest(loop)
            loop.start(period, now=False)

    # Its end

    def drain(self) -> Deferred[Any]:
        """Take no more requests, and have cells go elsewhere. @return: fires when those that are running are over."""
        closing = self.ports.close(HTTPS, HTTP)
        self.cells.leave()
        return DeferredList([closing, self.front.stop(), self._redirecting.stop()], consumeErrors=True)

    def cut(self) -> None:
        """Those that are running are over now."""
        self.front.abort()
        self._redirecting.abort()

    async def close(self) -> None:
        """Close what is left."""
        self._entrance.closed = True
        await self.ports.close()
        await self._unwatch()
        self.cells.close()
        for loop in self._loops.values():
            self._rest(loop)
        if self._certificates is not None:
            self._certificates.stop()
        if self._access_log is not None:
            await self._access_log.close()
        await self._checkers.stop()
        await self._workers.stop()

    def _rest(self, loop: LoopingCall) -> None:
        if loop.running:
            loop.stop()

    # For its parts

    def _is_key(self, key: str) -> Deferred[bool]:
        hashed = None if self.directives is None else self.directives.key_hash
        return succeed(False) if hashed is None else self._checkers.run(partial(is_key_of, key, hashed))

    def _find(self, host: bytes | None) -> ShownCertificate:
        assert self._certificates is not None
        return self._certificates.find(host)

    def _redirect(self, call: Call) -> Answerer:
        assert self._redirects is not None
        return self._redirects(call)

    def _finished(self, access: Access, pattern: Pattern | None) -> None:
        if self._access_log is not None:
            self._access_log.write(access)
        for watcher in self.watchers:
            watcher(access, pattern)
