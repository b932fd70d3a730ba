"""
What C{hypermail identity} does: make an identity, and tell what others need to know of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import TextIO

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from hypermail.internet.credentials import readIdentity, writeIdentity
from hypermail.security.identity import Identity, kind_of
from hypermail.services.paths import printable
from hypermail.services.progress import count

# What cryptography raises for names and extensions that it has not looked at before; KeyError is for types of strings.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def make(path: str, name: str, out: TextIO, *, now: datetime) -> None:
    """
    Make an identity, and tell how it is used.

    @param path: of its file, which must not be there.
    @param name: see L{Identity.self_signed}.
    @param now: the time, with its zone.
    @raise CredentialError: when the file cannot be made.
    @raise UsageError: when nothing can be called so.
    """
    identity = Identity.self_signed(name, now=now)
    writeIdentity(identity, path)
    word = shlex.quote(path) if path.isprintable() else "FILE"
    print(f"file      {printable(path)}", file=out)
    print(f"pin       {identity.pin}", file=out)
    print(f"listener  twistd hypermail --identity {word}", file=out)
    print(f"starter   hypermail send --pin {identity.pin} HOST:PORT FILE...", file=out)


def pin(path: str, out: TextIO) -> None:
    """
    Print the pin of an identity, and nothing else.

    @raise CredentialError: when the file cannot be used.
    """
    print(readIdentity(path).pin, file=out)


def describe(path: str, out: TextIO, *, now: datetime) -> None:
    """
    Print all about an identity but its key.

    @param now: the time, with its zone.
    @raise CredentialError: when the file cannot be used.
    """
    identity = readIdentity(path)
    certificate = identity.certificate
    for title, text in (
        ("file", path),
        ("name", ", ".join(dict.fromkeys(namesOf(certificate))) or "none"),
        ("pin", identity.pin),
        ("key", kind_of(identity.key)),
        ("valid", _validity(certificate, now)),
        ("issuer", _issuer(certificate)),
        ("SHA-256", certificate.fingerprint(SHA256()).hex(":").upper()),
        ("chain", count(len(identity.chain), "further certificate")),
    ):
        print(f"{title:8}  {printable(text)}", file=out)


def namesOf(certificate: x509.Certificate) -> Iterator[str]:
    """The names of a certificate, which may be a peer's, those that TLS looks at last."""
    try:
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            yield str(attribute.value)
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    except _UNREADABLE:
        yield "(unreadable)"
        return
    yield from alternative.get_values_for_type(x509.DNSName)
    yield from map(str, alternative.get_values_for_type(x509.IPAddress))


def hostsOf(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names that a certificate is for, in lower case, stars as they are (RFC 9525 §2); none if unreadable."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return ()
    return tuple(dict.fromkeys(name.lower() for name in alternative.get_values_for_type(x509.DNSName)))


def _validity(certificate: x509.Certificate, now: datetime) -> str:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    period = f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC"
    if now < begin:
        return f"{period}: not yet"
    return f"{period}: expired" if now > end else period


def _issuer(certificate: x509.Certificate) -> str:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (*_UNREADABLE, InvalidSignature):
        pass
    else:
        return "self-signed"
    try:
        return certificate.issuer.rfc4514_string() or "without a name"
    except _UNREADABLE:
        return "(unreadable)"
