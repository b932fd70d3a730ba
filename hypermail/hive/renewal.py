"""
A certificate and its key, in files that another program renews while the queen runs (C{docs/protocol/hive},
"Certificates").
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions

from hypermail.errors import CredentialError
from hypermail.internet.contexts import build_context
from hypermail.internet.credentials import readPair
from hypermail.security.identity import Identity, read_certificates
from hypermail.services.identities import hostsOf

#: Certificates in one directory.
MOST = 1_000

_CHAIN, _KEY, _BOTH = "fullchain.pem", "privkey.pem", ".pem"  # the first two are certbot's


class ShownCertificate:
    """
    A certificate that clients get to see.

    @ivar hosts: that it is for, in lower case, stars as they are.
    @ivar begin: of its validity.
    @ivar end: likewise.
    @raise CredentialError: when OpenSSL does not take it.
    """

    def __init__(self, identity: Identity) -> None:
        self.hosts = hostsOf(identity.certificate)
        self.begin = identity.certificate.not_valid_before_utc
        self.end = identity.certificate.not_valid_after_utc
        self._identity = identity
        self._contexts: dict[tuple[bytes, ...], SSL.Context] = {}
        self._make()

    def context(self, protocols: tuple[bytes, ...], named: Callable[[SSL.Connection], None]) -> SSL.Context:
        """
        How connections show it.

        @param protocols: of ALPN, the preferred one first; none for no ALPN.
        @param named: called with each connection that names a host, or does not, before it is shown anything.
        """
        found = self._contexts.get(protocols)
        if found is None:
            found = self._contexts[protocols] = self._make()
            found.set_tlsext_servername_callback(named)
            found.set_alpn_select_callback(lambda connection, offered: _select(protocols, offered))
        return found

    def wrong(self, now: datetime) -> str:
        """Why clients will not take it; empty when they may."""
        if now < self.begin:
            return f"is not valid before {self.begin:%Y-%m-%d %H:%M:%S} UTC: is the clock right?"
        return f"has expired at {self.end:%Y-%m-%d %H:%M:%S} UTC: renew it" if now > self.end else ""

    def _make(self) -> SSL.Context:
        own: Any = self._identity
        options = {"privateKey": own.key, "certificate": own.certificate, "extraCertChain": list(own.chain)}
        made: SSL.Context = build_context(CertificateOptions(**options).getContext)
        return made


def _select(protocols: tuple[bytes, ...], offered: list[bytes]) -> Any:
    if not protocols:
        return SSL.NO_OVERLAPPING_PROTOCOLS  # as if nobody had offered any
    # Nothing in common ends the handshake (RFC 7301 §3.2); an empty name makes OpenSSL do that.
    return next((protocol for protocol in protocols if protocol in offered), b"")


class CertificateFiles:
    """
    A certificate and its key in files. What is read later takes the place of what was read before if it can be used.

    @param certificate_path: PEM, certificates above it behind it.
    @param key_path: PEM; it may be the same file.
    @param of_hosts: whether it has to be for a host.
    @ivar shown: the certificate that is to be used; None before there was one.
    @ivar complaint: what is wrong with what is in the files; empty when nothing is.
    """

    def __init__(self, certificate_path: str, key_path: str, *, of_hosts: bool) -> None:
        self.certificate_path = certificate_path
        self.shown: ShownCertificate | None = None
        self.complaint = ""
        self._key_path = key_path
        self._of_hosts = of_hosts
        self._newest: ShownCertificate | None = None
        self._unusable = ""
        self._seen: object = None
        self._digest = b""

    @property
    def outdated(self) -> bool:
        """Whether there is something else in the files by now."""
        return self.shown is not None and (bool(self._unusable) or self.shown is not self._newest)

    def look(self, now: datetime, *, again: bool = False) -> None:
        """
        Read the files if they have changed, or could not be used the last time.

        @param again: read them even if they look the same.
        """
        seen = (_status(self.certificate_path), _status(self._key_path))  # first: what changes now is seen next time
        if again or self._unusable or seen != self._seen:
            self._seen = seen
            try:
                self._read()
            except CredentialError as error:
                self._unusable = error.text
            else:
                self._unusable = ""
        self.complaint = self._unusable
        if not self._unusable and self._newest is not None:
            wrong = self._newest.wrong(now)
            if not wrong or self.shown is None:
                self.shown = self._newest
            self.complaint = wrong and f"the certificate {self.certificate_path!r} {wrong}"

    def _read(self) -> None:
        certificates, key = readPair(self.certificate_path, self._key_path)
        digest = sha256(certificates + b"\0" + key).digest()
        if digest == self._digest:
            return  # what is known of an RSA key takes 40 ms to find out
        try:
            newest = ShownCertificate(self._identity(certificates, key))
            if self._of_hosts and not newest.hosts:
                raise CredentialError("it is for no host name")
        except CredentialError as error:
            raise CredentialError(f"the certificate {self.certificate_path!r} cannot be used: {error.text}") from None
        self._newest, self._digest = newest, digest

    def _identity(self, certificates: bytes, key: bytes) -> Identity:
        if self._key_path == self.certificate_path:
            return Identity.from_pem(key)
        chain = b"".join(one.public_bytes(Encoding.PEM) for one in read_certificates(certificates))
        if not chain:
            raise CredentialError("there is no certificate in it")
        try:
            return Identity.from_pem(key + b"\n" + chain)
        except CredentialError as error:
            raise CredentialError(f"with the key {self._key_path!r}, {error.text}") from None


def _status(path: str) -> object:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # reading it tells why
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def list_directory(directory: str) -> dict[str, str]:
    """
    The certificates of a directory: C{NAME.pem}, and C{NAME/fullchain.pem} with C{NAME/privkey.pem}, as certbot leaves
    them in C{/etc/letsencrypt/live}. Others, and hidden ones, are passed over.

    @return: paths of keys by those of certificates.
    @raise CredentialError: when it can't be read, or has more than L{MOST}.
    """
    what = f"the certificates in {directory!r} cannot be used"
    found = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    chain, key = (os.path.join(entry.path, name) for name in (_CHAIN, _KEY))
                    if os.path.lexists(chain) or os.path.lexists(key):
                        found[chain] = key
                elif entry.name.endswith(_BOTH):
                    found[entry.path] = entry.path
                if len(found) > MOST:
                    raise CredentialError(f"{what}: there are more than {MOST:,}")
    except OSError as error:
        raise CredentialError(f"{what}: {error.strerror or type(error).__name__}") from error
    return found
