"""
What Twisted's programs ask of a transport besides what its interfaces promise, most of them without asking whether it
has TCP or TLS underneath.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL.crypto import X509
from twisted.internet.interfaces import ILoggingContext, IProtocol

from hypermail.internet.address import HypermailAddress

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from hypermail.connection import Connection


class StreamUser(Protocol):
    """What a transport needs of its session."""

    reactor: Any
    connection: Connection

    def touch(self) -> None:
        """The core has something new to send."""

    def flush(self) -> None:
        """Nothing more will be written soon: what is there to send need not wait for it."""

    def soon(self, call: Callable[[], object]) -> None:
        """Call when the events that are there have been dealt with, in this turn or the next."""

    def getHost(self) -> HypermailAddress:
        """Our address."""

    def getPeer(self) -> HypermailAddress:
        """The peer's address."""


class Likeness:
    """
    A stream's likeness to Twisted's own connections.

    It is none of L{ITCPTransport} or L{ISSLTransport}, and says so: there is no TCP underneath, nor TLS of its own, and
    a session may be in a mode that encrypts nothing. But what doing nothing can answer is answered, as Twisted's UNIX
    sockets do.
    """

    __slots__ = ()

    _session: StreamUser

    def getHost(self) -> HypermailAddress:
        """Our address."""
        return self._session.getHost()

    def getPeer(self) -> HypermailAddress:
        """The peer's address."""
        return self._session.getPeer()

    def peerCertificate(self) -> Certificate | None:
        """See L{hypermail.interfaces.ISession.peerCertificate}."""
        return self._session.connection.peer_certificate

    def getPeerCertificate(self) -> X509 | None:
        """As L{twisted.internet.interfaces.ISSLTransport}: C{peerCertificate} in the form that Twisted's TLS has."""
        certificate = self.peerCertificate()
        return None if certificate is None else X509.from_cryptography(certificate)

    def getTcpNoDelay(self) -> bool:
        """What is written goes out in this turn of the reactor, however little it is."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to be done: see L{getTcpNoDelay}."""

    def getTcpKeepAlive(self) -> bool:
        """A session looks after its peer, by C{Options.ping_interval}."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing to be done: see L{getTcpKeepAlive}."""


def logContext(protocol: IProtocol, peer: Any) -> dict[str, str]:
    """
    What the log says of whatever a protocol logs while it is told something, as with Twisted's own transports.

    @param peer: an address with a C{host}.
    """
    named = ILoggingContext(protocol, None)
    prefix = type(protocol).__name__ if named is None else named.logPrefix()
    return {"system": f"{prefix},hypermail,{peer.host}"}
