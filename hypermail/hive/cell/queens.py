"""
Where a queen is, how she is reached and trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from hypermail.errors import UsageError
from hypermail.internet.endpoints import HypermailClientEndpoint
from hypermail.internet.security import Security, StarterTLS
from hypermail.security.identity import parse_pin, pin_of
from hypermail.services.addresses import Destination

#: Where queens listen for leashes and bands.
PORT = 2001
#: s for a connection to open.
CONNECTING = 10.0
#: Names of the streams that leash and bands are, over hypermail.
LEASH, BAND = b"leash", b"band"
#: s that a hypermail session outlives its last stream.
_KEEP = 5.0

_Make = Callable[[Any], IStreamClientEndpoint]


class Queen:
    """
    A queen, and how to get there.

    @ivar name: for people.
    """

    def __init__(
        self, name: str, leash: _Make, band: _Make, sibling: Callable[[str, int], Queen] | None = None
    ) -> None:
        """
        @param leash: makes the endpoint of leashes, of a reactor.
        @param band: that of bands.
        @param sibling: another queen, by host and port, who is reached and trusted in the same way; None when none can
            be.
        """
        self.name = name
        self.leash = leash
        self.band = band
        self.sibling = sibling

    @classmethod
    def overTLS(
        cls,
        host: str,
        port: int = PORT,
        *,
        trustRoots: Iterable[Certificate] | None = None,
        pins: Iterable[str] | None = None,
    ) -> Queen:
        """
        A queen who takes leashes and bands with TLS, as all do.

        @param trustRoots: authorities, one of which has to have certified the queen for C{host}; None for the system's.
        @param pins: of the keys that she may have, in place of authorities and name.
        @raise UsageError: when no certificate could be for such a host, or a pin is none.
        """
        if pins is not None and trustRoots is not None:
            raise UsageError("pins are trusted in place of authorities: give one of both")
        roots = None if trustRoots is None else tuple(trustRoots)
        known = None if pins is None else frozenset(map(parse_pin, pins))
        where = Destination(host, port)
        creator = _trusting(host, roots) if known is None else _Pinned(host, known)

        def endpoint(reactor: Any) -> IStreamClientEndpoint:
            return wrapClientTLS(creator, HostnameEndpoint(reactor, host, port, timeout=CONNECTING))

        def sibling(host: str, port: int) -> Queen:
            return cls.overTLS(host, port, trustRoots=roots, pins=known)

        return cls(str(where), endpoint, endpoint, sibling)

    @classmethod
    def overHypermail(cls, host: str, port: int, *, security: Security | None = None) -> Queen:
        """
        A queen who takes leashes and bands as streams of a hypermail session, which survives that the cell's network
        changes.

        @param security: L{StarterTLS} and the like; None for C{StarterTLS()}: authorities of the system.
        @raise UsageError: when no certificate could be for such a host, or the port is none.
        """
        trusted = StarterTLS() if security is None else security

        def make(reactor: Any, stream: bytes) -> IStreamClientEndpoint:
            return HypermailClientEndpoint(reactor, host, port, stream=stream, keep=_KEEP, security=trusted)

        make(None, LEASH)  # what cannot be is known now
        return cls(
            f"hypermail:{Destination(host, port)}",
            lambda reactor: make(reactor, LEASH),
            lambda reactor: make(reactor, BAND),
            lambda host, port: cls.overHypermail(host, port, security=trusted),
        )

    @classmethod
    def at(cls, leash: IStreamClientEndpoint, band: IStreamClientEndpoint | None = None) -> Queen:
        """A queen at the end of endpoints of one's own. @param band: None for the same one."""
        return cls(repr(leash), lambda _: leash, lambda _: leash if band is None else band)


def _trusting(host: str, roots: tuple[Certificate, ...] | None) -> IOpenSSLClientConnectionCreator:
    trust = None
    if roots is not None:
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(c.public_bytes(Encoding.PEM)) for c in roots])
    try:
        creator: IOpenSSLClientConnectionCreator = ssl.optionsForClientTLS(host, trustRoot=trust)
    except (ValueError, UnicodeError) as error:
        raise UsageError(f"no certificate can be for the host {host!r}: {error}") from error
    return creator


@implementer(IOpenSSLClientConnectionCreator)
class _Pinned:
    """Trusts keys, whatever the certificate says besides."""

    _log = Logger()

    def __init__(self, host: str, pins: frozenset[str]) -> None:
        self._host = host
        self._pins = pins
        self._context = ssl.CertificateOptions().getContext()
        self._indicated = None if isIPAddress(host) or isIPv6Address(host) else host.encode("idna")

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See L{IOpenSSLClientConnectionCreator}."""
        connection = SSL.Connection(self._context, None)
        connection.set_verify(SSL.VERIFY_PEER, self._verify)
        if self._indicated:
            connection.set_tlsext_host_name(self._indicated)
        return connection

    def _verify(self, connection: SSL.Connection, shown: Any, number: int, depth: int, content: int) -> bool:
        if depth:
            return True  # the last word is spoken when the queen's own certificate is seen
        pin = pin_of(shown.to_cryptography())
        if pin not in self._pins:
            self._log.error("the queen at {host} shows a key whose pin is {pin}", host=self._host, pin=pin)
        return pin in self._pins
