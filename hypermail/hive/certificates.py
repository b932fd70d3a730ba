"""
The certificates of HTTPS and of leashes: which one a client gets to see (C{docs/protocol/hive}, "Certificates").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolNegotiationFactory
from twisted.logger import Logger
from zope.interface import implementer

from hypermail.errors import CredentialError
from hypermail.hive.renewal import CertificateFiles, ShownCertificate, list_directory

#: s between looks for files that were renewed.
PERIOD = 60.0


class Certificates:
    """
    The default certificate, and those of a directory for hosts that clients name (RFC 6066 §3), in files that somebody
    renews. Which hosts they are for is in them. What can't be used, or has expired, replaces nothing.

    @param reactor: L{twisted.internet.interfaces.IReactorTime}.
    @param certificate_path: of the default one, PEM, certificates above it behind it.
    @param key_path: of its key, PEM; it may be the same file.
    @param directory: see L{list_directory}.
    @param now: the time, with its zone.
    @param period: s between looks for files that were renewed.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        certificate_path: str,
        key_path: str,
        directory: str | None = None,
        *,
        now: Callable[[], datetime],
        period: float = PERIOD,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._period = period
        self._default = CertificateFiles(certificate_path, key_path, of_hosts=False)
        self._directory = directory
        self._others: dict[str, CertificateFiles] = {}  # by the paths of the certificates
        self._complaint = ""  # of the directory
        self._by_host: dict[str, ShownCertificate] = {}
        self._next: Any = None

    def load(self) -> None:
        """
        Read all of them for the first time. It blocks.

        @raise CredentialError: when one can't be used; the text names its file. One that is not valid now is only
            complained of in the log.
        """
        now = self._now()
        self._list()
        for files in self._all():
            files.look(now)
            if files.shown is None:
                raise CredentialError(files.complaint)
            if files.complaint:
                self._log.warn("{complaint}", complaint=files.complaint)
        self._choose(now)

    def reload(self) -> None:
        """
        Read all of them again, for connections that come; those that are there go on. It blocks. What can't be used is
        logged.
        """
        self._look(again=True)

    def start(self) -> None:
        """Begin to look now and then which files have changed."""
        self._next = self._reactor.callLater(self._period, self._due)

    def stop(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def contextFactory(self, protocols: Sequence[bytes] = ()) -> ServerCreator:
        """
        What makes connections for C{listenSSL} and the like, with TLS 1.2 or later.

        @param protocols: of ALPN, the preferred one first; empty for those that the factory of the connections has, if
            it is an L{IProtocolNegotiationFactory}.
        """
        return ServerCreator(self.find, tuple(protocols))

    def find(self, host: bytes | None) -> ShownCertificate:
        """
        What is shown to a client.

        @param host: that it has named, or None.
        """
        name = (host or b"").decode("ascii", "replace").lower().removesuffix(".")
        found = self._by_host.get(name) or self._by_host.get("*." + name.partition(".")[2]) or self._default.shown
        assert found is not None, "nothing was loaded"
        return found

    def _due(self) -> None:
        self._next = self._reactor.callLater(self._period, self._due)
        self._look(again=False)

    def _look(self, *, again: bool) -> None:
        now = self._now()
        said, self._complaint = "" if again else self._complaint, ""
        try:
            self._list()
        except CredentialError as error:
            self._complaint = error.text
            if error.text != said:
                self._log.warn("{complaint}; those that were there go on", complaint=error.text)
        for files in self._all():
            before, said = files.shown, "" if again else files.complaint
            files.look(now, again=again)
            if files.shown is not None and files.shown is not before:
                self._renewed(files.certificate_path, files.shown)
            if files.complaint and files.complaint != said:
                goes_on = "; the one before goes on" if files.outdated else ""
                self._log.warn("{complaint}{goes_on}", complaint=files.complaint, goes_on=goes_on)
        self._choose(now)

    def _renewed(self, path: str, shown: ShownCertificate) -> None:
        self._log.info(
            "the certificate {path!r} is new: for {hosts}, until {end}",
            path=path,
            hosts=", ".join(shown.hosts[:10]) or "no host",
            end=f"{shown.end:%Y-%m-%d %H:%M:%S} UTC",
        )

    def _all(self) -> Iterable[CertificateFiles]:
        return (self._default, *(self._others[path] for path in sorted(self._others)))

    def _list(self) -> None:
        if self._directory is not None:
            self._others = {
                path: self._others.get(path) or CertificateFiles(path, key, of_hosts=True)
                for path, key in list_directory(self._directory).items()
            }

    def _choose(self, now: datetime) -> None:
        """Of several certificates for one host, one that is valid, and of these the one that is so the longest."""
        chosen: dict[str, ShownCertificate] = {}

        def worth(shown: ShownCertificate) -> tuple[bool, datetime]:
            return not shown.wrong(now), shown.end

        for files in self._all():
            if (shown := files.shown) is not None:
                for host in shown.hosts:
                    chosen[host] = max(chosen.get(host, shown), shown, key=worth)  # the first one of equals
        self._by_host = chosen


@implementer(IOpenSSLServerConnectionCreator)
class ServerCreator:
    """
    Makes connections that show what clients ask for.

    @param find: see L{Certificates.find}.
    @param protocols: see L{Certificates.contextFactory}.
    """

    def __init__(self, find: Callable[[bytes | None], ShownCertificate], protocols: tuple[bytes, ...]) -> None:
        self._find = find
        self._protocols = protocols

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See L{IOpenSSLServerConnectionCreator}."""
        protocols = self._protocols
        if not protocols:
            negotiating = IProtocolNegotiationFactory(protocol.factory.wrappedFactory, None)
            protocols = () if negotiating is None else tuple(negotiating.acceptableProtocols())
        return SSL.Connection(self._context(protocols, None), None)

    def _context(self, protocols: tuple[bytes, ...], host: bytes | None) -> SSL.Context:
        return self._find(host).context(protocols, partial(self._named, protocols))

    def _named(self, protocols: tuple[bytes, ...], connection: SSL.Connection) -> None:
        host = connection.get_servername()
        if host is not None:
            connection.set_context(self._context(protocols, host))
