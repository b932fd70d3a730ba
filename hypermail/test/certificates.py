"""
Certificates for tests: authorities, what they issue, and everything odd that C{Identity.self_signed} never makes.

Nothing here looks at a clock: C{now} is the test's, and what is valid is so from a day before to a year after it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hypermail.security.identity import Identity, PrivateKey

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
"""A time for tests that nobody else tells the time."""

DAY = timedelta(days=1)
YEAR = timedelta(days=365)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, which is slow to make, so it is the same each time."""
    return rsa.generate_private_key(65537, bits)


def p256_key() -> ec.EllipticCurvePrivateKey:
    """An elliptic curve key."""
    return ec.generate_private_key(ec.SECP256R1())


#: Keys that TLS 1.3 can use, by what people call them.
USABLE: dict[str, Callable[[], PrivateKey]] = {
    "EC P-256": p256_key,
    "EC P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EC P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": Ed25519PrivateKey.generate,
    "Ed448": Ed448PrivateKey.generate,
    "RSA 2048": rsa_key,
}


@dataclass(frozen=True, slots=True)
class Authority:
    """
    Who issues certificates.

    @ivar chain: of an intermediate one: what has to be sent for peers that trust only the root.
    """

    key: PrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    def to_pem(self) -> bytes:
        """Its certificate, as trust roots are kept."""
        return self.certificate.public_bytes(Encoding.PEM)


def authority(
    name: str = "an authority",
    now: datetime = NOW,
    *,
    issuer: Authority | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Authority:
    """
    Make an authority.

    @param issuer: who vouches for it; by default it does so itself.
    """
    key = p256_key()
    made = _certificate(
        key,
        name,
        issuer,
        (now - DAY if not_before is None else not_before, now + YEAR if not_after is None else not_after),
        [
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (_usage(key_cert_sign=True, crl_sign=True), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        ],
    )
    return Authority(key, made, () if issuer is None else (made, *issuer.chain))


def issue(
    authority: Authority,
    name: str,
    *,
    now: datetime = NOW,
    client: bool = False,
    key: PrivateKey | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Identity:
    """
    Make an identity that an authority vouches for.

    @param name: a host name or an IP address becomes an alternative name, too.
    @param client: whether it is for clients only; otherwise it is for servers only.
    @param key: by default a new one, EC P-256.
    """
    key = p256_key() if key is None else key
    certificate = _leaf(key, name, authority, now, not_before, not_after, client=client)
    return Identity(key, certificate, authority.chain)


def self_signed(
    name: str = "example.org",
    *,
    now: datetime = NOW,
    client: bool = False,
    key: PrivateKey | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Identity:
    """Make an identity that only itself vouches for; see L{issue}."""
    key = p256_key() if key is None else key
    return Identity(key, _leaf(key, name, None, now, not_before, not_after, client=client))


def expired(issuer: Authority | None = None, name: str = "example.org", *, now: datetime = NOW) -> Identity:
    """An identity that was valid until a minute ago."""
    end = now - timedelta(minutes=1)
    if issuer is None:
        return self_signed(name, now=now, not_after=end)
    return issue(issuer, name, now=now, not_after=end)


def not_yet_valid(issuer: Authority | None = None, name: str = "example.org", *, now: datetime = NOW) -> Identity:
    """An identity that is valid from tomorrow."""
    begin = now + DAY
    if issuer is None:
        return self_signed(name, now=now, not_before=begin)
    return issue(issuer, name, now=now, not_before=begin)


def certificate_of(key: PrivateKey, name: str = "example.org", *, now: datetime = NOW) -> x509.Certificate:
    """A self-signed certificate, also of keys that make no identity."""
    return _leaf(key, name, None, now, None, None, client=False)


def rsa_pss_certificate() -> x509.Certificate:
    """
    A certificate of L{rsa_key} that says that this key signs with RSA-PSS only.

    cryptography makes none, so this is an ordinary one with another algorithm (RFC 4055 §3.1); its signature is wrong.
    """
    content = certificate_of(rsa_key()).public_bytes(Encoding.DER)
    ordinary, pss = bytes.fromhex("06092a864886f70d0101010500"), bytes.fromhex("06092a864886f70d01010a3000")
    assert content.count(ordinary) == 1
    return x509.load_der_x509_certificate(content.replace(ordinary, pss))


def pem(*parts: object, password: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """
    One PEM of keys and certificates, in the order given.

    @param password: of the keys; by default they are not encrypted.
    """
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    texts = []
    for part in parts:
        if isinstance(part, x509.Certificate):
            texts.append(part.public_bytes(Encoding.PEM))
        else:
            assert hasattr(part, "private_bytes")
            texts.append(part.private_bytes(Encoding.PEM, form, encryption))
    return b"".join(texts)


def encrypted_pem(identity: Identity, password: bytes = b"a password") -> bytes:
    """An identity with an encrypted key, which no program reads without a person."""
    return pem(identity.key, identity.certificate, *identity.chain, password=password)


def _leaf(
    key: PrivateKey,
    name: str,
    issuer: Authority | None,
    now: datetime,
    not_before: datetime | None,
    not_after: datetime | None,
    *,
    client: bool,
) -> x509.Certificate:
    begin = now - DAY if not_before is None else not_before
    if not_after is not None and not_before is None:
        begin = min(begin, not_after - DAY)
    end = max(begin, now) + YEAR if not_after is None else not_after
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([purpose]), False),
    ]
    alternative = _alternative(name)
    if alternative is not None:
        extensions.append((x509.SubjectAlternativeName([alternative]), False))
    return _certificate(key, name, issuer, (begin, end), extensions)


def _alternative(name: str) -> x509.GeneralName | None:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return None if " " in name else x509.DNSName(name)


def _certificate(
    key: PrivateKey,
    name: str,
    issuer: Authority | None,
    validity: tuple[datetime, datetime],
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, None if isinstance(signer, (Ed25519PrivateKey, Ed448PrivateKey)) else hashes.SHA256())


def _usage(**uses: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: uses.get(name, False) for name in names})
