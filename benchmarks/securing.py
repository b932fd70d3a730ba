"""
How the two sides of a benchmark are secured: hypermail's sessions by mode, and Twisted's TLS over TCP beside them.

Each benchmark makes an L{identity} when it begins. The starter trusts its pin, or takes its certificate as the only
authority and checks the name, as everybody else's TLS does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from twisted.internet import ssl

from hypermail import Identity, ListenerTLS, Plain, SharedSecret, StarterTLS

MODES = ("tls", "secret", "plain")

#: That of mode C{secret}; it is for benchmarks only, so everybody may know it.
SECRET = bytes(range(32))


def identity(name: str) -> Identity:
    """A self-signed one, with a P-256 key."""
    return Identity.self_signed(name, now=datetime.now(UTC))


def pem(certificate: Certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def listening(mode: str, shown: Identity) -> Any:
    """A listener's security."""
    if mode == "tls":
        return ListenerTLS(shown)
    return SharedSecret(SECRET) if mode == "secret" else Plain()


def starting(mode: str, **trust: Any) -> Any:
    """
    A starter's security.

    @param trust: of L{StarterTLS}, where the mode is C{tls}: C{pin} or C{trustRoots}.
    """
    if mode == "tls":
        return StarterTLS(**trust)
    return SharedSecret(SECRET) if mode == "secret" else Plain()


def listeningTCP(shown: Identity) -> Any:
    """The context factory of a listener of Twisted's TLS 1.3 over TCP."""
    return ssl.CertificateOptions(
        privateKey=shown.key, certificate=shown.certificate, raiseMinimumTo=ssl.TLSVersion.TLSv1_3
    )


def startingTCP(name: str, trusted: str) -> Any:
    """
    The connection creator of a starter of Twisted's TLS 1.3 over TCP.

    @param name: that the certificate has to be for.
    @param trusted: a certificate (PEM), the only authority.
    """
    return ssl.optionsForClientTLS(
        name,
        trustRoot=ssl.Certificate.loadPEM(trusted),
        extraCertificateOptions={"raiseMinimumTo": ssl.TLSVersion.TLSv1_3},
    )
