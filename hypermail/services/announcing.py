"""
What a listener says at its start: what it does with what comes, and how others reach it.
"""

from __future__ import annotations

from socket import gethostname
from typing import TYPE_CHECKING

from twisted.logger import Logger

from hypermail.internet.security import ListenerTLS, Security
from hypermail.services.addresses import Destination
from hypermail.services.dialects import DialectSettings
from hypermail.services.taking import NEITHER

if TYPE_CHECKING:
    from hypermail.services.listener import Doing

UNSPECIFIED = ("", "0.0.0.0", "::")
"""Interfaces that are no address to send anything to."""


def announce(log: Logger, doing: Doing, security: Security | None, port: int) -> None:
    """
    Say all of it.

    @param security: None in a dialect.
    @param port: that is listened on.
    """
    announceWay(log, doing, security, port)
    if doing.inbox is not None:
        log.info("files and messages land in {inbox!r}", inbox=doing.inbox)
    if doing.echo:
        log.info("everything is sent back")
    for passage in doing.forwards:
        what = "datagrams" if passage.datagrams else "streams"
        log.info("{what} go on: {passage}", what=what, passage=passage)
    if doing.inbox is None and not doing.echo and not doing.forwards:
        log.info("only pings are answered: there is {neither}", neither=NEITHER)


def announceWay(log: Logger, doing: Doing, security: Security | None, port: int) -> None:
    """Say how others come: the command that they type, which is made of what they need to know."""
    if isinstance(doing.settings, DialectSettings):
        doing.settings.sayWhoMayCome()
        return
    if not isinstance(security, ListenerTLS) or security.identity is None:
        return
    interface = doing.listening.interface
    log.info(
        "others reach this listener with: hypermail send --pin {pin} {destination} FILE...",
        pin=security.identity.pin,
        destination=Destination(interface if interface not in UNSPECIFIED else gethostname(), port),
    )
    if security.allow is None and security.trustRoots is None:
        log.warn("anybody may send to it: --allow PIN lets in only starters with a certificate of that pin")
