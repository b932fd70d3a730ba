"""
Identities: a private key and its certificate, and the pin by which others know it.

A pin is the SHA-256 of the public key (DER, SubjectPublicKeyInfo) as in RFC 7469 §2.4, written
C{sha256/BASE64}; it stays when a certificate is renewed for the same key. Nothing here touches a file: that is
L{hypermail.internet.credentials}.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, PublicKeyAlgorithmOID

from hypermail.errors import CredentialError, UsageError

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey | RSAPrivateKey
"""The keys that sign handshakes of TLS 1.3."""

LIFETIME = timedelta(days=20 * 365 + 5)
"""How long a self-signed certificate is valid: who trusts it trusts its key, so its end only makes work."""

_EARLIER = timedelta(days=1)  # a peer's clock may be slow
_LEAST_RSA_BITS = 2048
_MOST_COMMON_NAME = 64  # RFC 5280, ub-common-name
_CURVES = {SECP256R1.name: "P-256", SECP384R1.name: "P-384", SECP521R1.name: "P-521"}
_USABLE = "TLS 1.3 needs EC P-256, P-384 or P-521, Ed25519, Ed448, or RSA with 2048 bits or more"
_STATELESS = b"hypermail/1 stateless"

_PIN = "sha256/"
_PIN_CHARACTERS = 44
_PIN_FORM = f"a pin is {_PIN} and {_PIN_CHARACTERS} characters of base64, as `hypermail identity --pin FILE` prints it"

# RFC 7468 §2; text between the blocks is allowed there, and OpenSSL writes some.
_BOUNDARY = re.compile(rb"^-----(BEGIN|END) ([A-Z0-9 ]{1,64})-----[ \t\r]*$", re.MULTILINE)
_CERTIFICATE = (b"CERTIFICATE", b"X509 CERTIFICATE")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_MOST_HOST = 253  # RFC 1035 §2.3.4, without the length octets

#: What cryptography raises for what it cannot read; not all of it is a ValueError.
_UNREADABLE = (ValueError, TypeError, KeyError, UnsupportedAlgorithm, x509.InvalidVersion)


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """
    Who one side is. Two are equal when their certificates are, which says the same of their keys.

    @ivar key: the private key.
    @ivar certificate: the certificate of this key.
    @ivar chain: the certificates that are sent after it.
    """

    key: PrivateKey = field(compare=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    def __post_init__(self) -> None:
        _check_key(self.key)
        if not _belongs(self.key, self.certificate):
            raise CredentialError("its key does not belong to its certificate")
        if self.certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
            # It looks like any RSA certificate up to the moment when OpenSSL has to use it.
            raise CredentialError("its certificate is for RSA-PSS only; make one for RSA, or EC P-256")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pin}>"

    @classmethod
    def from_pem(cls, data: bytes) -> Identity:
        """
        Read a key and its certificate, with any others that are to be sent, in any order.

        @param data: one PEM.
        @raise CredentialError: when there is no identity in it; the text says what is wrong, and leaves it
            to the caller to say where.
        """
        keys: list[PrivateKeyTypes] = []
        certificates: list[x509.Certificate] = []
        for label, block in _blocks(data):
            if label in _CERTIFICATE:
                certificates.append(_load_certificate(block, len(certificates) + 1))
            elif label.endswith(b"PRIVATE KEY"):
                keys.append(_load_key(label, block))
        if not keys:
            raise CredentialError("there is no private key in it; an identity is a PEM with a key and its certificate")
        if len(keys) > 1:
            raise CredentialError(f"there are {len(keys)} private keys in it; leave the one of its certificate")
        if not certificates:
            raise CredentialError("there is no certificate in it; an identity is a PEM with a key and its certificate")
        key = _check_key(keys[0])
        for certificate in certificates:
            if _belongs(key, certificate):
                chain = dict.fromkeys(other for other in certificates if other != certificate)
                return cls(key, certificate, tuple(chain))
        which = "its certificate" if len(certificates) == 1 else f"any of its {len(certificates)} certificates"
        raise CredentialError(f"its key does not belong to {which}")

    @classmethod
    def self_signed(cls, name: str, *, now: datetime) -> Identity:
        """
        Make an identity: EC P-256, with a certificate that nobody but itself vouches for.

        @param name: a host name or an IP address, which peers can then check, or any other name in ASCII.
        @param now: the time, with its zone; the certificate is valid from a day before for 20 years.
        @raise UsageError: when nothing can be called so.
        """
        common, alternative = _names(name)
        key = generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_SIGNING, critical=True)
            .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if alternative is not None:
            # RFC 5280 §4.2.1.6: without a subject, this name is the critical one.
            builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=not common)
        return cls(key, builder.sign(key, hashes.SHA256()))

    def to_pem(self) -> bytes:
        """The key (PKCS8, not encrypted), the certificate, and the chain."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return b"".join((key, *(each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.chain))))

    @property
    def pin(self) -> str:
        """The pin of its key."""
        return pin_of(self.certificate)

    def stateless_key(self) -> bytes:
        """
        32 secret bytes for the tokens of resets and retries, which are the same after a restart.

        HKDF-SHA-256 (RFC 5869) of the private key, PKCS8 in DER.
        """
        secret = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return HKDF(hashes.SHA256(), length=32, salt=None, info=_STATELESS).derive(secret)


_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_SIGNING = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@lru_cache(maxsize=16)  # whoever has many sessions with one peer sees the same certificate with each
def pin_of(certificate: x509.Certificate) -> str:
    """
    The pin of a certificate's public key.

    @raise CredentialError: when the certificate, which may be a peer's, has a key that cannot be read.
    """
    try:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        raise CredentialError("the certificate has a public key of an unknown kind") from None
    return _PIN + base64.b64encode(sha256(key).digest()).decode("ascii")


def parse_pin(text: str) -> str:
    """
    Read a pin, also with the two slashes that curl and HPKP's tools write.

    @return: the pin as L{pin_of} makes it.
    @raise UsageError: when it is none, with what one looks like.
    """
    found = text.strip()
    digest = found.removeprefix(_PIN)
    # A digest may begin with a slash itself, so that only its length tells whose slash it is.
    if len(digest) == _PIN_CHARACTERS + 1:
        digest = digest.removeprefix("/")
    try:
        decoded = base64.b64decode(digest, validate=True)
    except ValueError:
        decoded = b""
    if not found.startswith(_PIN) or len(digest) != _PIN_CHARACTERS or len(decoded) != 32:
        shown = text if len(text) <= 80 else f"{text[:80]}..."
        raise UsageError(f"{shown!r} is not a pin: {_PIN_FORM}")
    return _PIN + base64.b64encode(decoded).decode("ascii")


def kind_of(key: object) -> str:
    """The kind of a private key, for people: C{EC P-256}, C{RSA 3072}, C{Ed25519}."""
    if isinstance(key, EllipticCurvePrivateKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"
    if isinstance(key, RSAPrivateKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PrivateKey")


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """
    All certificates of a PEM, in order; whatever else is in it is ignored.

    @raise CredentialError: when the PEM, or a certificate in it, is damaged.
    """
    blocks = [block for label, block in _blocks(data) if label in _CERTIFICATE]
    return [_load_certificate(block, number) for number, block in enumerate(blocks, 1)]


def _blocks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The blocks of a PEM: label, and all from its BEGIN to its END."""
    found = []
    begun: re.Match[bytes] | None = None
    for boundary in _BOUNDARY.finditer(data):
        side, label = boundary.groups()
        if begun is None:
            if side == b"END":
                raise _alone(data, boundary)
            begun = boundary
        elif side == b"BEGIN" or label != begun[2]:
            raise _alone(data, begun)
        else:
            found.append((label, data[begun.start() : boundary.end()] + b"\n"))
            begun = None
    if begun is not None:
        raise _alone(data, begun)
    return found


def _alone(data: bytes, boundary: re.Match[bytes]) -> CredentialError:
    side, label = (part.decode("ascii") for part in boundary.groups())
    line = data.count(b"\n", 0, boundary.start()) + 1
    other = "BEGIN" if side == "END" else "END"
    return CredentialError(f"the PEM is damaged: line {line} is {side} {label}, and its {other} is missing")


def _load_certificate(block: bytes, number: int) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except _UNREADABLE:
        raise CredentialError(f"certificate {number} in it is damaged") from None


def _load_key(label: bytes, block: bytes) -> PrivateKeyTypes:
    if label == b"OPENSSH PRIVATE KEY":
        raise CredentialError("its key is one of OpenSSH, not of TLS; `hypermail identity --new` makes one")
    if label.startswith(b"ENCRYPTED") or b"\nProc-Type: 4,ENCRYPTED" in block:
        raise CredentialError(
            "its key is encrypted, and nobody is there to ask; `openssl pkey -in FILE` prints it without"
        )
    try:
        return load_pem_private_key(block, None)
    except UnsupportedAlgorithm:
        raise CredentialError(f"its key is of an unknown kind; {_USABLE}") from None
    except _UNREADABLE:
        raise CredentialError("its private key is damaged") from None


def _check_key(key: object) -> PrivateKey:
    """The same key, known to be one that TLS 1.3 can use."""
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, RSAPrivateKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    if isinstance(key, (Ed25519PrivateKey, Ed448PrivateKey)):
        return key
    raise CredentialError(f"its key is {kind_of(key)}; {_USABLE}")


def _belongs(key: PrivateKey, certificate: x509.Certificate) -> bool:
    try:
        return bool(key.public_key() == certificate.public_key())
    except _UNREADABLE:  # some other certificate's key, of a kind that we need not know
        return False


def _names(name: str) -> tuple[str, x509.GeneralName | None]:
    """Common name, empty where it would be too long, and the name that a peer can check."""
    if not name.strip():
        raise UsageError("the name of an identity is empty")
    if not (name.isascii() and name.isprintable()):
        form = "a name is printable ASCII (a host name in other letters is written as in DNS: xn--...)"
        raise UsageError(f"an identity cannot be called {name[:80]!r}: {form}")
    alternative: x509.GeneralName | None = None
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        if _is_host(name):
            alternative = x509.DNSName(name)
    else:
        if getattr(address, "scope_id", None):
            raise UsageError(f"an identity cannot be called {name!r}: a zone means nothing elsewhere")
        name, alternative = str(address), x509.IPAddress(address)
    if len(name) <= _MOST_COMMON_NAME:
        return name, alternative
    if alternative is None:
        most = f"{_MOST_COMMON_NAME} characters are the most, but for host names"
        raise UsageError(f"an identity cannot be called {name[:80]!r}: {most}")
    return "", alternative


def _is_host(name: str) -> bool:
    labels = name.split(".")
    # RFC 1123 §2.1: a name whose last label is a number is meant as an address.
    return len(name) <= _MOST_HOST and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
