"""
Sessions by way of C{twisted.cred}: a portal decides who a starter is, by the certificate that it has shown.

L{PortalSessionFactory} logs every starter in; the avatars of its realm are session protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from cryptography.x509 import Certificate
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import Anonymous, ICredentials
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure
from zope.interface import Attribute, implementer

from hypermail.errors import Reason, SessionRejected
from hypermail.events import SessionRequested
from hypermail.interfaces import ISessionProtocol
from hypermail.internet.protocol import SessionFactory
from hypermail.security.identity import parse_pin, pin_of


class ICertificateCredentials(ICredentials):
    """A certificate whose key the peer has proved to hold, which is all that is known of it."""

    certificate: Certificate = Attribute("The certificate.")
    pin: str = Attribute("The pin of its key, C{sha256/...}.")


@implementer(ICertificateCredentials)
@attrs.frozen
class CertificateCredentials:
    """
    See L{ICertificateCredentials}.

    @raise CredentialError: when the certificate's key cannot be read.
    """

    certificate: Certificate
    pin: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "pin", pin_of(self.certificate))


@implementer(ICredentialsChecker)
class PinChecker:
    """Knows starters by the pins of their keys."""

    credentialInterfaces = (ICertificateCredentials,)

    def __init__(self, pins: Mapping[str, bytes] | Iterable[str]) -> None:
        """
        @param pins: avatar ids by pin; or pins alone, each of which is the id of its avatar, in ASCII.
        @raise UsageError: when one is no pin.
        """
        if isinstance(pins, Mapping):
            self._avatars = {parse_pin(pin): avatar for pin, avatar in pins.items()}
        else:
            self._avatars = {pin: pin.encode("ascii") for pin in map(parse_pin, pins)}

    def requestAvatarId(self, credentials: ICertificateCredentials) -> Deferred[bytes | tuple[()]]:
        """See L{ICredentialsChecker.requestAvatarId}."""
        return maybeDeferred(self._find, credentials.pin)

    def _find(self, pin: str) -> bytes | tuple[()]:
        if pin not in self._avatars:
            raise UnauthorizedLogin(f"nobody has the pin {pin}")
        return self._avatars[pin]


class _LoggedIn(proxyForInterface(ISessionProtocol, "avatar")):  # type: ignore[misc]
    """An avatar, which is logged out after its last call."""

    _log = Logger()

    def __init__(self, avatar: ISessionProtocol, logout: Callable[[], object]) -> None:
        super().__init__(avatar)
        self._logout = logout

    def __repr__(self) -> str:
        return repr(self.avatar)

    def sessionLost(self, reason: Failure) -> Deferred[None]:
        """See L{ISessionProtocol.sessionLost}."""
        return maybeDeferred(lambda: self.avatar.sessionLost(reason)).addBoth(self.leave)

    def leave(self, result: Any = None) -> Deferred[Any]:
        """Log out. @return: a Deferred of the result."""
        leaving = maybeDeferred(self._logout)
        leaving.addErrback(
            lambda failure: self._log.failure("the logout of {avatar!r} has failed", failure, avatar=self)
        )
        return leaving.addCallback(lambda _: result)


class PortalSessionFactory(SessionFactory):
    """
    Asks a portal for the protocol of each session.

    A starter that has shown a certificate is logged in with L{CertificateCredentials}, any other one with
    L{twisted.cred.credentials.Anonymous}. The realm is asked for an L{ISessionProtocol}; its logout is called
    once, after the avatar's C{sessionLost} is done, also when the session never opens.
    """

    def __init__(self, portal: Portal, mind: object = None) -> None:
        """
        @param mind: what the realm is told.
        """
        self._portal = portal
        self._mind = mind

    def sessionRequested(self, request: SessionRequested) -> Deferred[ISessionProtocol | None]:
        """See L{ISessionFactory.sessionRequested}."""
        certificate = request.certificate
        credentials = Anonymous() if certificate is None else CertificateCredentials(certificate)
        # A login is not cancelled, as it may have happened all the same: who has given up is logged out again.
        answer: Deferred[ISessionProtocol | None] = Deferred()
        login = maybeDeferred(self._portal.login, credentials, self._mind, ISessionProtocol)
        login.addCallback(self._loggedIn, answer)
        login.addErrback(self._refused, certificate)
        login.addErrback(self._failed, answer)
        return answer

    def _loggedIn(self, found: tuple[Any, Any, Any], answer: Deferred[ISessionProtocol | None]) -> Deferred[Any] | None:
        _, avatar, logout = found
        protocol = _LoggedIn(avatar, logout)
        if answer.called:
            return protocol.leave()
        answer.callback(protocol)
        return None

    def _refused(self, failure: Failure, certificate: Certificate | None) -> None:
        failure.trap(LoginFailed)
        if certificate is None:
            text = "this listener lets in only starters that show a certificate it knows, and none was shown"
        else:
            text = f"this listener does not let in the starter's certificate, whose pin is {pin_of(certificate)}"
        raise SessionRejected(text, Reason.NOT_ALLOWED) from failure.value

    def _failed(self, failure: Failure, answer: Deferred[ISessionProtocol | None]) -> None:
        if not answer.called:
            answer.errback(failure)
        elif not failure.check(SessionRejected):
            self._log.failure("the login of a starter that has given up has failed", failure)
