"""
TLS contexts for mode C{tls}: Twisted's own, and what their handshakes find out about certificates.

OpenSSL says no more than "verify failed" to its caller; what it has found is told to a callback only. The
callbacks here leave word on the L{TlsHandshake<hypermail.security.tls.TlsHandshake>}, so that people learn of it. A
context has one such callback: ours takes the place of Twisted's, and checks the name as that does. It is the context's,
and not set for each connection, since libffi would make one anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from OpenSSL import SSL
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator

from hypermail.errors import CredentialError, HandshakeFailed, UsageError
from hypermail.security.identity import Identity, pin_of
from hypermail.security.tls import ALPN, CIPHERS, MOST_SHARED, Connect, TlsHandshake
from hypermail.security.verification import problem

#: A verification callback: of connection, certificate, number of the error, depth, and whether OpenSSL is content.
_Verify = Callable[[SSL.Connection, Any, int, int, int], bool]


#: The suites that hypermail has ciphers for; some systems' OpenSSL offers others.
_SUITES = ":".join(CIPHERS).encode("ascii")


def _own(identity: Identity | None) -> dict[str, Any]:
    """How a context shows an identity."""
    options: dict[str, Any] = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_3}
    if identity is not None:
        options |= {"privateKey": identity.key, "certificate": identity.certificate}
        if identity.chain:
            options["extraCertChain"] = list(identity.chain)
    return options


def _roots(certificates: Iterable[Certificate]) -> Any:
    """Twisted's form of the authorities that are trusted."""
    return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(c.public_bytes(Encoding.PEM)) for c in certificates])


def _context(**options: Any) -> SSL.Context:
    """Twisted's context for these C{CertificateOptions}, of TLS 1.3 and hypermail."""
    context: SSL.Context = build_context(lambda: ssl.CertificateOptions(**options).getContext())
    context.set_tls13_ciphersuites(_SUITES)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def build_context(make: Callable[[], Any]) -> Any:
    """
    Make what knows an identity.

    @return: what C{make} returns.
    @raise CredentialError: when OpenSSL does not take the identity.
    """
    try:
        return make()
    except SSL.Error as error:
        reasons = "; ".join(str(entry[-1]) for entry in (error.args[0] if error.args else ()))
        raise CredentialError(f"OpenSSL does not take this identity: {reasons or 'it gives no reason'}") from error


def _checking(pin: str | None, is_for: Callable[[Certificate], bool] = lambda shown: True) -> _Verify:
    """
    Check the peer's certificate, and leave word of what is wrong.

    @param pin: what its key must have; None when OpenSSL's own verdict counts.
    @param is_for: says whether a certificate that OpenSSL is content with is for who should have it.
    """

    def verify(connection: SSL.Connection, shown: Any, number: int, depth: int, content: int) -> bool:
        handshake = connection.get_app_data()
        if pin is None and not content and handshake.complaint is None:
            handshake.complaint = problem(number)
        if depth == 0:
            handshake.unchecked = False
            handshake.shown = shown.to_cryptography()
            if pin is not None and pin_of(handshake.shown) != pin:
                handshake.complaint = f"its pin should be {pin}"
            elif handshake.complaint is None and not is_for(handshake.shown):
                handshake.complaint = "it is not for the name that was asked for"
            return handshake.complaint is None
        return True  # so that the last word is spoken when the peer's own certificate is seen

    return verify


def _taking() -> _Verify:
    """Take any certificate: who it belongs to is known then, and somebody else decides whether that is welcome."""
    return lambda connection, shown, number, depth, content: True


def starterContext(
    host: str, pin: str | None, trustRoots: tuple[Certificate, ...] | None, identity: Identity | None
) -> Connect:
    """
    What makes a starter's connections.

    @param host: that was asked for; the listener's certificate must be for it, unless there is a pin.
    @param pin: of the listener's key, in place of authorities and name.
    @param trustRoots: the authorities; None for the system's.
    @param identity: to be shown when the listener wants to see one.
    @raise UsageError: when no certificate could be for such a host.
    """
    name = host.partition("%")[0]
    if pin is not None:
        indicated = None if isIPAddress(name) or isIPv6Address(name) else _idna(name)
        context, verify = _context(**_own(identity)), _checking(pin)
    else:
        trusted = ssl.platformTrust() if trustRoots is None else _roots(trustRoots)
        context, verify = _context(trustRoot=trusted, **_own(identity)), _checking(None, partial(_is_for, name))
        indicated = _indicated(host)
    context.set_alpn_protos([ALPN])
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)

    def connect(handshake: Any) -> SSL.Connection:
        connection = SSL.Connection(context, None)
        if indicated:
            connection.set_tlsext_host_name(indicated)
        handshake.unchecked = True
        return _connecting(connection, handshake)

    return connect


def _indicated(host: str) -> bytes | None:
    """
    What a listener is told of the name that is asked for (SNI), as Twisted would; nothing of an address.

    @raise UsageError: when no certificate could be for it.
    """
    try:
        creator = ssl.optionsForClientTLS(host.partition("%")[0], ssl.trustRootFromCertificates(()))
    except (ValueError, UnicodeError) as error:
        raise UsageError(f"no certificate can be for the host {host!r}: {error}") from error
    anybody: Any = _Anybody()
    return creator.clientConnectionForTLS(anybody).get_servername()


class _Anybody:
    """A C{TLSMemoryBIOProtocol} of which nothing is wanted."""

    factory = TlsHandshake.factory


@lru_cache(maxsize=MOST_SHARED)  # it is the same certificate with nearly every session
def _is_for(name: str, shown: Certificate) -> bool:
    """Whether a certificate is for a host name or an IP address (RFC 9525)."""
    try:
        if isIPAddress(name) or isIPv6Address(name):
            verify_certificate_ip_address(shown, name)
        else:
            verify_certificate_hostname(shown, _idna(name).decode("ascii"))
    except Exception:  # it is not, has no names at all, or names that can't be read: each has an error of its own
        return False
    return True


def _idna(name: str) -> bytes:
    try:
        return name.encode("idna")
    except UnicodeError as error:
        raise UsageError(f"no certificate can be for the host {name!r}: {error}") from error


def listenerContext(identity: Identity, trustRoots: tuple[Certificate, ...] | None) -> Connect:
    """
    What makes a listener's connections.

    @param trustRoots: the authorities of starters' certificates, which are demanded then; None for taking any
        certificate, or none.
    """
    options: dict[str, Any] = _own(identity)
    mode, verify = SSL.VERIFY_PEER, _taking()
    if trustRoots is not None:
        options["trustRoot"] = _roots(trustRoots)
        mode, verify = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _checking(None)
    context = _context(**options)
    context.set_alpn_select_callback(_select)
    context.set_verify(mode, verify)
    return lambda handshake: _accepting(SSL.Connection(context, None), handshake)


def _select(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """What is spoken, of what a starter offers; the handshake looks at it when there is nothing."""
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def starterCreator(creator: Any) -> Connect:
    """
    The connections of a program's own C{IOpenSSLClientConnectionCreator}.

    @raise UsageError: when it is none.
    """
    if not IOpenSSLClientConnectionCreator.providedBy(creator):
        raise UsageError(f"{creator!r} makes no TLS connections: it does not provide IOpenSSLClientConnectionCreator")
    return lambda handshake: _connecting(_made(creator.clientConnectionForTLS, handshake), handshake)


def listenerCreator(creator: Any) -> Connect:
    """
    The connections of a program's own C{IOpenSSLServerConnectionCreator}, or C{CertificateOptions}.

    @raise UsageError: when it is neither.
    """
    if IOpenSSLServerConnectionCreator.providedBy(creator):
        return lambda handshake: _accepting(_made(creator.serverConnectionForTLS, handshake), handshake)
    if not hasattr(creator, "getContext"):
        raise UsageError(f"{creator!r} makes no TLS connections: it does not provide IOpenSSLServerConnectionCreator")
    context = creator.getContext()
    return lambda handshake: _accepting(SSL.Connection(context, None), handshake)


def _made(make: Callable[[Any], SSL.Connection], handshake: Any) -> SSL.Connection:
    """@raise HandshakeFailed: when a program's own factory fails, so that nothing fails but this handshake."""
    try:
        return make(handshake)
    except Exception as error:
        raise HandshakeFailed(f"this side's contextFactory has failed: {error!r:.200}") from error


def _connecting(connection: SSL.Connection, handshake: Any) -> SSL.Connection:
    connection.set_connect_state()
    connection.set_app_data(handshake)  # Twisted's callbacks look for it there
    return connection


def _accepting(connection: SSL.Connection, handshake: Any) -> SSL.Connection:
    connection.set_accept_state()
    connection.set_app_data(handshake)
    return connection
