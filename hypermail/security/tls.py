"""
Mode C{tls}: TLS 1.3 by OpenSSL, through memory.

TLS's bytes travel in C{Handshake} packets; of its keys only the exporter's are used (RFC 8446 §7.5). Whoever makes the
connection decides on certificates and trust: L{hypermail.internet.contexts} does so with Twisted's context factories,
for which L{TlsHandshake} stands in as the C{TLSMemoryBIOProtocol} that they expect.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from hypermail.errors import HandshakeFailed, HandshakeRefused, HypermailError, PeerUntrusted
from hypermail.options import Mode, Role
from hypermail.security.keys import AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, SECRET, Keys, derive_keys
from hypermail.security.verification import complain

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: What both sides must say that they speak (RFC 7301).
ALPN = b"hypermail/1"
#: Of the exported secret (RFC 5705 §4; a name of our own needs no registration while it is a draft).
EXPORTER = b"EXPORTER-hypermail-1"

CIPHERS = {
    "TLS_AES_128_GCM_SHA256": AES_128_GCM,
    "TLS_AES_256_GCM_SHA384": AES_256_GCM,
    "TLS_CHACHA20_POLY1305_SHA256": CHACHA20_POLY1305,
}

#: Bytes of a TLS record's header; its first says what is in it (RFC 8446 §5.1).
_RECORD = 5
_HANDSHAKE_RECORD = 22
#: Bytes of a handshake message's header; its first says which it is (RFC 8446 §4).
_MESSAGE = 4
_CLIENT_HELLO = 1
#: Bytes that are taken from OpenSSL at once.
_READ = 1 << 13
#: Peers' certificates that are kept for their next sessions.
MOST_SHARED = 16

#: Makes the C{SSL.Connection} of one handshake, whose application data is its argument.
Connect = Callable[[Any], SSL.Connection]


class _NoFactory:
    """What Twisted looks at for protocols to negotiate; the context has ours already."""

    wrappedFactory = None


class TlsHandshake:
    """
    One side of mode C{tls}.

    @param connect: makes the connection, in the state (connecting, accepting) of this role; a listener's is not made
        before a whole hello has arrived.

    Who checks the peer's certificate while OpenSSL is at work leaves word here:

    @ivar shown: the certificate that the peer has shown.
    @ivar complaint: what is wrong with it. With a complaint no handshake succeeds, whatever OpenSSL says.
    @ivar unchecked: whether a certificate has to be checked and was not yet; no handshake succeeds with that either.
    """

    mode = Mode.TLS
    factory = _NoFactory()

    def __init__(self, role: Role, connect: Connect) -> None:
        self._role = role
        self._connect: Connect | None = connect
        self._connection: SSL.Connection | None = None
        self._incoming = bytearray()
        self._outgoing = b""
        self._exported = False
        self.begun = role is Role.STARTER
        self.complete = False
        self.shown: Certificate | None = None
        self.complaint: str | None = None
        self.unchecked = False
        self.peer_certificate: Certificate | None = None
        if role is Role.STARTER:
            self._drive(b"")

    # What Twisted's context factories call

    def failVerification(self, reason: object) -> None:
        """The peer's certificate has another name."""
        self.complaint = "it is not for the name that was asked for"

    def abortConnection(self) -> None:
        """A callback of the context has failed, and logged that."""
        self.complaint = "this side's TLS context has failed on it"

    # What the link calls

    def receive(self, data: bytes) -> None:
        """See L{Handshake.receive}."""
        if self._connect is None:
            return
        self._incoming += data
        end = self._whole()
        if not self.begun:
            if not self._has_hello():
                return
            self.begun = True
        if end:
            whole = bytes(self._incoming[:end])
            del self._incoming[:end]
            self._drive(whole)

    def _whole(self) -> int:
        """Bytes of the whole records that have arrived: OpenSSL is called for no less, so that pieces cost nothing."""
        incoming, end = self._incoming, 0
        while len(incoming) >= end + _RECORD:
            following = end + _RECORD + int.from_bytes(incoming[end + 3 : end + _RECORD], "big")
            if following > len(incoming):
                break
            end = following
        return end

    def _has_hello(self) -> bool:
        """Whether the ClientHello is whole: what is not doesn't cost an SSL object, and has less time."""
        hello = self._incoming
        if (hello and hello[0] != _HANDSHAKE_RECORD) or (len(hello) > _RECORD and hello[_RECORD] != _CLIENT_HELLO):
            raise HandshakeFailed("the starter has sent something that is no TLS handshake")
        start = _RECORD + _MESSAGE
        if len(hello) < start:
            return False
        # A hello in several records, which RFC 8446 §5.1 allows, is a little longer than this.
        return self._whole() > 0 and len(hello) >= start + int.from_bytes(hello[_RECORD + 1 : start], "big")

    def _drive(self, data: bytes) -> None:
        """Let OpenSSL go on."""
        connection = self._connection
        if connection is None:
            assert self._connect is not None
            connection = self._connection = self._connect(self)
        if data:
            connection.bio_write(data)
        try:
            if not self.complete:
                connection.do_handshake()
                self._check_agreement(connection)
                self.peer_certificate = self.shown or connection.get_peer_certificate(as_cryptography=True)
                if self.complaint is not None or self.unchecked:
                    raise complain(self._role, self.shown, self.complaint or "it was never checked")
                self.peer_certificate = _once(self.peer_certificate)
                self.complete = True
                if self._role is Role.LISTENER:
                    return  # what OpenSSL would say now are tickets, which nobody uses
            connection.recv(1)
            raise HandshakeFailed("the peer has sent data within its handshake")
        except (SSL.WantReadError, SSL.ZeroReturnError):
            self._collect(connection)
        except SSL.Error as error:
            self._collect(connection)  # the alert for the peer
            raise self._failure(error) from None
        except HypermailError:
            raise
        except Exception as error:  # of a context's callback, or on a certificate that can't be read
            raise HandshakeFailed(f"the TLS handshake has failed here: {str(error)[:200]!r}") from error

    def _collect(self, connection: SSL.Connection) -> None:
        try:
            while True:
                read = connection.bio_read(_READ)
                self._outgoing += read
                if len(read) < _READ:
                    return
        except SSL.WantReadError:
            pass

    def _check_agreement(self, connection: SSL.Connection) -> None:
        """What a context that is not ours may not have seen to."""
        version = connection.get_protocol_version_name()
        if version != "TLSv1.3":
            raise HandshakeFailed(
                f"{version} was agreed on, and TLS 1.3 is needed; a context factory of one's own says so with "
                "raiseMinimumTo"
            )
        if connection.get_alpn_proto_negotiated() != ALPN:
            raise HandshakeFailed(
                "the peer does not say that it speaks hypermail/1; a context factory of one's own names it among its "
                "acceptableProtocols"
            )

    def _failure(self, error: SSL.Error) -> HandshakeFailed:
        reasons = [str(entry[-1]) for entry in (error.args[0] if error.args else ())]
        reason = "; ".join(reasons) or "no reason given"
        if self.complaint is not None:
            return complain(self._role, self.shown, self.complaint)
        _, alert, what = reason.partition(" alert ")
        if alert:
            peer = "listener" if self._role is Role.STARTER else "starter"
            return HandshakeRefused(f"the {peer} broke off the handshake: {_ALERTS.get(what, what)} (TLS alert)")
        if "did not return a certificate" in reason:
            return PeerUntrusted("the starter has shown no certificate, and this listener demands one")
        return HandshakeFailed(f"the TLS handshake failed: {reason}")

    def outgoing(self) -> bytes | None:
        """See L{Handshake.outgoing}."""
        said, self._outgoing = self._outgoing, b""
        return said or None

    def keys(self, binding: bytes) -> Keys | None:
        """See L{Handshake.keys}: a starter's when the listener is verified, a listener's right after its own flight."""
        connection = self._connection
        if connection is None or self._exported or not (self.complete or self._role is Role.LISTENER):
            return None
        try:
            secret = connection.export_keying_material(EXPORTER, SECRET, binding)
        except SSL.Error:  # a listener that has asked for another key share has none yet
            return None
        self._check_agreement(connection)
        self._exported = True
        cipher = CIPHERS.get(str(connection.get_cipher_name()))
        if cipher is None:
            raise HandshakeFailed(f"TLS has agreed on {connection.get_cipher_name()}, which hypermail does not use")
        return derive_keys(self._role, cipher, secret)

    def close(self) -> None:
        """See L{Handshake.close}: an SSL object holds some 30 KiB."""
        self._connection = None
        self._connect = None


#: What an alert of the peer's means for people, where its name does not say it.
_ALERTS = {
    "unknown ca": "it does not trust this side's certificate",
    "bad certificate": "it does not trust this side's certificate",
    "certificate unknown": "it does not trust this side's certificate",
    "certificate expired": "this side's certificate has expired, or is not valid yet",
    "certificate revoked": "this side's certificate was revoked",
    "decrypt error": "it does not trust this side's certificate, or finds a signature wrong",
    "unsupported certificate": "this side's certificate is not for this purpose",
    "certificate required": "it demands a certificate of this side",
    "no application protocol": "it does not speak hypermail/1",
    "internal error": "it does not trust this side's certificate (for its name, perhaps), or has failed",
}


@lru_cache(maxsize=MOST_SHARED)
def _once(certificate: Certificate | None) -> Certificate | None:
    """
    The same object for the same certificate: whoever has many sessions with one peer has it once, not kilobytes with
    each.
    """
    return certificate
