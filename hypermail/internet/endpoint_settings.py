"""
What both kinds of session endpoint are told, and what of it makes no sense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from hypermail.dialects.dialect import Dialect
from hypermail.errors import UsageError
from hypermail.interfaces import ISessionFactory, ISessionStore
from hypermail.internet.address import isAddress
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.dialects import DialectDatagramProtocol
from hypermail.internet.inhabited import SocketSessions
from hypermail.internet.residents import Residents
from hypermail.internet.security import ListenerTLS, Security
from hypermail.internet.strays import Worker
from hypermail.options import ListenerOptions, Mode, Options

#: Interfaces to listen on when none is named: both families, apart.
EVERYWHERE = ("0.0.0.0", "::")
THIS_MACHINE = ("127.0.0.1", "::1")

_REACH = {
    (Mode.PLAIN, False): ", for this machine only",
    (Mode.PLAIN, True): ", which anyone on the path can read and forge",
}


@attrs.frozen(cache_hash=True)  # each session asks for its socket by it
class EndpointSettings:
    """What both kinds of session endpoint have in common; equal settings can share a session."""

    security: Security
    options: Options | Dialect
    traceDirectory: str | Path | None
    seconds: Callable[[], float]
    randomBytes: Callable[[int], bytes]
    store: ISessionStore | None = None

    @property
    def manner(self) -> str:
        """What the log says of who can reach a listener, and how."""
        if isinstance(self.options, Dialect):
            return f"dialect {self.options.name}, which does not encrypt: anyone on the path can read"
        return mannerOf(self.security)

    def protocol(
        self,
        reactor: Any,
        factory: ISessionFactory | None = None,
        listenerOptions: ListenerOptions | None = None,
        residents: Residents | None = None,
        worker: Worker | None = None,
    ) -> SocketSessions:
        """The sessions of a new socket."""
        if isinstance(self.options, Dialect):
            return DialectDatagramProtocol(
                factory,
                dialect=self.options,
                listenerOptions=listenerOptions,
                reactor=reactor,
                seconds=self.seconds,
                randomBytes=self.randomBytes,
            )
        return HypermailDatagramProtocol(
            factory,
            security=self.security,
            options=self.options,
            listenerOptions=listenerOptions,
            traceDirectory=self.traceDirectory,
            reactor=reactor,
            seconds=self.seconds,
            randomBytes=self.randomBytes,
            residents=residents,
            store=self.store,
            worker=worker,
        )


def mannerOf(security: Security) -> str:
    """What the log says of who can reach a listener that is secured so."""
    mode = f"mode {security.mode.name.lower()}"
    if isinstance(security, ListenerTLS) and security.identity is not None:
        return f"{mode} with the pin {security.identity.pin}"
    return mode + _REACH.get((security.mode, security.allowRemote), "")


def checkDialect(dialect: Dialect, listening: bool, **others: object) -> None:
    """@raise UsageError: when something is given that dialects have no use for, or the dialect misses something."""
    for name, value in others.items():
        if value is not None and value != Options():
            raise UsageError(f"dialect {dialect.name} has no use for {name}{_WHY_NOT.get(name, '')}")
    dialect.check(listening)


_WHY_NOT = {
    "security": ": it does not encrypt",
    "options": ": what its sessions want and bear is said in the dialect itself",
    "store": ": its sessions end with their process",
    "name": ": its sessions end with their process",
    "worker": ": its datagrams do not say whose they are",
}


def interfacesOf(allowRemote: bool, interface: str) -> Sequence[str]:
    """
    What to listen on.

    @param allowRemote: see L{Security.allowRemote}.
    @param interface: an IP address, or empty for all that are allowed.
    """
    if interface:
        return (interface,)
    return EVERYWHERE if allowRemote else THIS_MACHINE


def checkPort(port: int, least: int) -> None:
    """@raise UsageError: when it is no port."""
    if not isinstance(port, int) or not least <= port <= 65_535:
        raise UsageError(f"a port is a number from {least} to 65535, not {port!r}")


def checkInterface(interface: str) -> None:
    """@raise UsageError: when it is neither an IP address nor empty."""
    if interface and not isAddress(interface):
        raise UsageError(f"an interface is an IP address of this machine, not {interface!r}")
