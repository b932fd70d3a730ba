"""
How the sessions of an endpoint are secured: what is passed to it as C{security}.

TLS is the default, and nothing falls back to anything else.

=====================  ============================================================================
L{StarterTLS}          TLS 1.3, asking: who the listener has to be
L{ListenerTLS}         TLS 1.3, listening: who we are, and who may come
L{SharedSecret}        both sides know a secret; no certificates
L{Plain}               nothing but a checksum, for this machine only
=====================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs
from cryptography.x509 import Certificate

from hypermail.errors import Reason, SessionRejected, UsageError
from hypermail.events import SessionRequested
from hypermail.internet.address import refuseRemote
from hypermail.internet.contexts import listenerContext, listenerCreator, starterContext, starterCreator
from hypermail.options import Mode, Role
from hypermail.security.handshake import HandshakeFactory, PlainHandshake
from hypermail.security.identity import Identity, parse_pin, pin_of
from hypermail.security.keys import expand
from hypermail.security.secret import SecretHandshake, check_secret
from hypermail.security.tls import TlsHandshake

RandomBytes = Callable[[int], bytes]
#: Hosts for which one L{StarterTLS} keeps a context; with more of them all are made anew.
MOST_CONTEXTS = 64


class Security(Protocol):
    """What L{Plain}, L{SharedSecret}, L{StarterTLS} and L{ListenerTLS} have in common."""

    @property
    def mode(self) -> Mode:
        """How sessions are sealed."""

    @property
    def allowRemote(self) -> bool:
        """Whether sessions may leave this machine."""

    @property
    def stateless(self) -> bytes | None:
        """32 secret bytes for tokens that outlive a restart; None when nothing does."""

    def starting(self, host: str, randomBytes: RandomBytes) -> HandshakeFactory:
        """What makes handshakes with a host. @raise UsageError: when this is for listeners."""

    def listening(self, randomBytes: RandomBytes) -> HandshakeFactory:
        """What makes a listener's handshakes. @raise UsageError: when this is for starters."""

    def admit(self, request: SessionRequested) -> None:
        """Whether a stranger may ask the application. @raise SessionRejected: when not."""


def refuseToLeave(security: Security, host: str, purpose: str) -> None:
    """@raise RemoteAddressRefused: when sessions may not go there; C{purpose} as of L{refuseRemote}."""
    if not security.allowRemote:
        refuseRemote(host, purpose)


def _certificates(certificates: Iterable[Certificate] | None) -> tuple[Certificate, ...] | None:
    if certificates is None:
        return None
    found = tuple(certificates)
    if not all(isinstance(certificate, Certificate) for certificate in found):
        raise UsageError(
            f"trustRoots are certificates, as readTrustRoots(FILE) gives them, not {type(certificates).__name__}"
        )
    return found


def _identity(identity: Identity | None) -> Identity | None:
    if identity is not None and not isinstance(identity, Identity):
        raise UsageError(
            f"an identity is what readIdentity(FILE) or Identity.self_signed gives, not {type(identity).__name__}"
        )
    return identity


def _pins(texts: Iterable[str] | None) -> frozenset[str] | None:
    if isinstance(texts, str):
        raise UsageError(f"allow is for several pins, as readPins gives them: write [{texts!r}]")
    return None if texts is None else frozenset(map(parse_pin, texts))


def _checkSecret(_: object, __: object, secret: bytes) -> None:
    if not isinstance(secret, bytes):
        raise UsageError(f"a shared secret is bytes, as readSecret(FILE) gives them, not {type(secret).__name__}")
    check_secret(secret)


def _pin(text: str | None) -> str | None:
    return None if text is None else parse_pin(text)


@attrs.frozen
class Plain:
    """
    Mode C{plain}: neither encrypted nor authenticated. For loopback, and for measuring.

    @param allowRemote: whether it may leave this machine all the same.
    """

    allowRemote: bool = False

    mode = Mode.PLAIN
    stateless = None

    def starting(self, host: str, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}."""
        return PlainHandshake

    def listening(self, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}."""
        return PlainHandshake

    def admit(self, request: SessionRequested) -> None:
        """See L{Security}: everybody."""


@attrs.frozen
class SharedSecret:
    """
    Mode C{secret}: encrypted, with forward secrecy; whoever has the secret may be either side.

    @param secret: at least 32 unpredictable bytes, the same on both sides.
    """

    secret: bytes = attrs.field(repr=False, validator=_checkSecret)

    mode = Mode.SECRET
    allowRemote = True

    @property
    def stateless(self) -> bytes:
        """See L{Security}."""
        return expand(self.secret, b"stateless")

    def starting(self, host: str, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}."""
        return lambda role: SecretHandshake(role, self.secret, randomBytes)

    def listening(self, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}."""
        return self.starting("", randomBytes)

    def admit(self, request: SessionRequested) -> None:
        """See L{Security}: everybody, as everybody has the secret."""


@attrs.frozen(kw_only=True)
class StarterTLS:
    """
    Mode C{tls} of a starter: whom it trusts to be the listener.

    Without C{pin}, C{trustRoots} and C{contextFactory} the listener's certificate has to come from one of the system's
    authorities, and be for the host that is asked.

    @param pin: of the listener's key, C{sha256/...}; in place of authorities and name.
    @param trustRoots: authorities in place of the system's; the name is checked.
    @param identity: shown to listeners that want to see one.
    @param contextFactory: an C{IOpenSSLClientConnectionCreator} in place of all that; it has to agree on TLS 1.3 and
        the protocol C{hypermail/1}, and is not told which host is asked.
    @raise UsageError: when they don't fit together.
    """

    pin: str | None = attrs.field(default=None, converter=_pin)
    trustRoots: tuple[Certificate, ...] | None = attrs.field(default=None, converter=_certificates)
    identity: Identity | None = attrs.field(default=None, converter=_identity)
    contextFactory: Any = None
    _contexts: dict[str, Any] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    mode = Mode.TLS
    allowRemote = True
    stateless = None

    def __attrs_post_init__(self) -> None:
        if self.pin is not None and self.trustRoots is not None:
            raise UsageError("a pin is trusted in place of authorities: give one of pin and trustRoots")
        if self.contextFactory is not None:
            if (self.pin, self.trustRoots, self.identity) != (None, None, None):
                raise UsageError("a contextFactory decides alone: give no pin, trustRoots or identity with it")
            starterCreator(self.contextFactory)

    def starting(self, host: str, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}. A context is made once for each host, while they are not too many."""
        connect = self._contexts.get(host)
        if connect is None:
            if self.contextFactory is not None:
                connect = starterCreator(self.contextFactory)
            else:
                connect = starterContext(host, self.pin, self.trustRoots, self.identity)
            if len(self._contexts) >= MOST_CONTEXTS:
                self._contexts.clear()
            self._contexts[host] = connect
        made = connect
        return lambda role: TlsHandshake(role, made)

    def listening(self, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}."""
        raise UsageError("StarterTLS is for starters: a listener needs ListenerTLS(identity)")

    def admit(self, request: SessionRequested) -> None:
        """See L{Security}: nobody asks a starter."""


@attrs.frozen
class ListenerTLS:
    """
    Mode C{tls} of a listener: who it is, and who may come.

    Starters may show a certificate of their own, which proves that they have its key; the application finds it in
    C{request.certificate} and C{session.peerCertificate()}. Without C{allow} and C{trustRoots} anybody may come.

    @param identity: its key and certificate; None with a C{contextFactory}.
    @param allow: pins of the starters that may come; others are rejected with a text that tells them theirs.
    @param trustRoots: authorities; only starters whose certificate comes from one of them may come.
    @param contextFactory: an C{IOpenSSLServerConnectionCreator} or C{CertificateOptions} in place of identity and
        trustRoots; it has to agree on TLS 1.3 and the protocol C{hypermail/1}.
    @raise UsageError: when they don't fit together.
    """

    identity: Identity | None = attrs.field(default=None, converter=_identity)
    allow: frozenset[str] | None = attrs.field(default=None, kw_only=True, converter=_pins)
    trustRoots: tuple[Certificate, ...] | None = attrs.field(default=None, kw_only=True, converter=_certificates)
    contextFactory: Any = attrs.field(default=None, kw_only=True)

    mode = Mode.TLS
    allowRemote = True

    def __attrs_post_init__(self) -> None:
        if (self.identity is None) == (self.contextFactory is None):
            raise UsageError("a listener shows either an identity or what its contextFactory has")
        if self.contextFactory is not None and self.trustRoots is not None:
            raise UsageError("a contextFactory decides alone on certificates: give no trustRoots with it")

    @property
    def stateless(self) -> bytes | None:
        """See L{Security}."""
        return None if self.identity is None else self.identity.stateless_key()

    def starting(self, host: str, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}."""
        raise UsageError("ListenerTLS is for listeners: a starter needs StarterTLS()")

    def listening(self, randomBytes: RandomBytes) -> HandshakeFactory:
        """See L{Security}."""
        if self.identity is not None:
            accept = listenerContext(self.identity, self.trustRoots)
        else:
            accept = listenerCreator(self.contextFactory)

        def make(role: Role) -> TlsHandshake:
            return TlsHandshake(role, accept)

        return make

    def admit(self, request: SessionRequested) -> None:
        """See L{Security}."""
        if self.allow is None:
            return
        if request.certificate is None:
            raise SessionRejected(
                "this listener lets in only starters that show a certificate it knows, and none was shown (--identity)",
                Reason.NOT_ALLOWED,
            )
        pin = pin_of(request.certificate)
        if pin not in self.allow:
            raise SessionRejected(
                f"this listener does not know the starter's certificate; its operator can let it in with --allow {pin}",
                Reason.NOT_ALLOWED,
            )
