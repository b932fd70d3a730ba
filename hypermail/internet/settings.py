"""
Security as people write it, in options of a command or arguments of an endpoint string: names of files, pins, flags.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from hypermail.errors import UsageError
from hypermail.internet.credentials import (
    IDENTITY_FILE,
    identityIn,
    readIdentity,
    readPins,
    readSecret,
    readTrustRoots,
    stateDirectory,
)
from hypermail.internet.security import ListenerTLS, Plain, Security, SharedSecret, StarterTLS
from hypermail.security.identity import Identity, parse_pin

#: What an identity is called on a machine whose own name can't be one's.
_NAMELESS = "hypermail"


@attrs.frozen(kw_only=True)
class StarterSettings:
    """
    What a starter may be told.

    @ivar pin: of the listener's key.
    @ivar trustRoots: file or directory of authorities.
    @ivar identity: file of the starter's own.
    @ivar secretFile: file of the shared secret, for mode C{secret}.
    @ivar plain: for mode C{plain}.
    @ivar allowRemotePlain: mode C{plain} may leave this machine.
    """

    pin: str | None = None
    trustRoots: str | None = None
    identity: str | None = None
    secretFile: str | None = None
    plain: bool = False
    allowRemotePlain: bool = False

    def check(self) -> None:
        """@raise UsageError: when the settings don't fit together."""
        _check(self, ("pin", "trustRoots", "identity"))
        if self.pin is not None:
            parse_pin(self.pin)
            if self.trustRoots is not None:
                raise UsageError("a pin is trusted in place of authorities: give one of --pin and --trust-roots")

    def security(self) -> Security:
        """
        Read what the settings name.

        @raise UsageError: when they don't fit together; L{CredentialError}, which is one, when a file can't be used.
        """
        self.check()
        return _withoutTLS(self) or StarterTLS(
            pin=self.pin,
            trustRoots=None if self.trustRoots is None else readTrustRoots(self.trustRoots),
            identity=None if self.identity is None else readIdentity(self.identity),
        )


@attrs.frozen(kw_only=True)
class ListenerSettings:
    """
    What a listener may be told.

    @ivar identity: file of its own; None for the one in the state directory.
    @ivar state: that directory; None for the usual one.
    @ivar allow: pins, and files of pins, of the starters that may come; empty for all.
    @ivar trustRoots: file or directory of the authorities of starters that may come.
    @ivar secretFile: as of L{StarterSettings}, and so the rest.
    """

    identity: str | None = None
    state: str | None = None
    allow: Sequence[str] = ()
    trustRoots: str | None = None
    secretFile: str | None = None
    plain: bool = False
    allowRemotePlain: bool = False

    def check(self) -> None:
        """@raise UsageError: when the settings don't fit together."""
        _check(self, ("identity", "allow", "trustRoots"))

    def security(self, *, again: bool = False) -> Security:
        """
        Read what the settings name; a listener's own identity is made when there is none.

        @param again: it was read before, so that nothing is made: whoever trusts the old identity knows no other one.
        @raise UsageError: as of L{StarterSettings.security}.
        """
        self.check()
        return _withoutTLS(self) or ListenerTLS(
            self._identity(again),
            allow=frozenset().union(*map(readPins, self.allow)) if self.allow else None,
            trustRoots=None if self.trustRoots is None else readTrustRoots(self.trustRoots),
        )

    def _identity(self, again: bool) -> Identity:
        if self.identity is not None:
            return readIdentity(self.identity)
        directory = Path(self.state) if self.state is not None else stateDirectory()
        if again:
            return readIdentity(directory / IDENTITY_FILE)
        return identityIn(directory, _ownName(), now=datetime.now(UTC))[0]


def _ownName() -> str:
    """What to call an identity that is made for this machine."""
    name = socket.gethostname()
    return name if name.isascii() and name.isprintable() and name.strip() else _NAMELESS


def _check(settings: StarterSettings | ListenerSettings, tls: tuple[str, ...]) -> None:
    """@param tls: names of what has to do with certificates."""
    if settings.allowRemotePlain and not settings.plain:
        raise UsageError("--allow-remote-plain (allowRemotePlain) only says where mode plain may go: give --plain, too")
    if not settings.plain and settings.secretFile is None:
        return
    mode = "plain" if settings.plain else "secret"
    for name in (*tls, "secretFile") if settings.plain else tls:
        if getattr(settings, name):
            raise UsageError(f"mode {mode} has no use for {_OPTIONS[name]} ({name}): leave out one or the other")


def _withoutTLS(settings: StarterSettings | ListenerSettings) -> Security | None:
    """The security that has nothing to do with certificates, if it is asked for."""
    if settings.plain:
        return Plain(settings.allowRemotePlain)
    return None if settings.secretFile is None else SharedSecret(readSecret(settings.secretFile))


_OPTIONS = {
    "pin": "--pin",
    "trustRoots": "--trust-roots",
    "identity": "--identity",
    "allow": "--allow",
    "secretFile": "--secret-file",
}
