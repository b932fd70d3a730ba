"""
For tests of what is sealed: handshakes of mode C{tls} with certificates of our own, and what only who has a session's
keys can make and read.

The certificates are valid, or not, whatever the time: from 2000 to 2100, or only before or after that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from hypermail.connection import Connection
from hypermail.internet.contexts import listenerContext, starterContext
from hypermail.options import Role
from hypermail.security.identity import Identity
from hypermail.security.keys import long_seals
from hypermail.security.seal import Seal
from hypermail.security.tls import TlsHandshake
from hypermail.test.certificates import Authority, authority, issue
from hypermail.testing.modes import Handshakes
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.codec import decode

NAME = "listener.example"
LONG_AGO, BEGIN, END, FAR_AHEAD = (datetime(year, 1, 1, tzinfo=UTC) for year in (1990, 2000, 2100, 2150))


@cache
def root() -> Authority:
    """The authority that both sides trust; always the same."""
    return authority(not_before=BEGIN, not_after=END)


@cache
def stranger() -> Authority:
    """Another authority; always the same."""
    return authority("another authority", not_before=BEGIN, not_after=END)


@cache
def namesake() -> Authority:
    """Another authority that calls itself as L{root} does; always the same."""
    return authority(not_before=BEGIN, not_after=END)


@cache
def certified() -> Identity:
    """The listener's identity, with which all is well; always the same."""
    return issue(root(), NAME, not_before=BEGIN, not_after=END)


@cache
def client() -> Identity:
    """A starter's identity; always the same."""
    return issue(root(), "starter.example", client=True, not_before=BEGIN, not_after=END)


@cache
def chained(intermediates: int) -> Identity:
    """An identity of L{NAME} with so many certificates between it and the authority, some 450 bytes each."""
    issuer = root()
    for number in range(intermediates):
        issuer = authority(f"intermediate {number}", issuer=issuer, not_before=BEGIN, not_after=END)
    return issue(issuer, NAME, not_before=BEGIN, not_after=END)


def tls(
    listener: Identity | None = None,
    *,
    host: str = NAME,
    pin: str | None = None,
    trust: Authority | None = None,
    starter: Identity | None = None,
    clients: Authority | None = None,
) -> Handshakes:
    """
    Mode C{tls}, as the endpoints do it.

    @param listener: the listener's identity; by default one that all is well with.
    @param host: that the starter asks for.
    @param pin: of the listener's key, in place of authorities.
    @param trust: the starter's authority; by default the one that L{certified} uses.
    @param starter: the starter's identity, when it has one.
    @param clients: the authority of starters' certificates, which are demanded then.
    """
    roots = None if pin is not None else ((trust or root()).certificate,)
    ask = starterContext(host, pin, roots, starter)
    answer = listenerContext(listener or certified(), None if clients is None else (clients.certificate,))
    return Handshakes(lambda role: TlsHandshake(role, ask), lambda role: TlsHandshake(role, answer))


def _sealing(connection: Connection) -> Seal:
    keys = connection._link.outbound.keys
    assert keys is not None, "there are no keys yet"
    return keys._seal


def short(connection: Connection, *packets: p.Packet | bytes, number: int | None = None) -> bytes:
    """
    An authentic short datagram, as if one side had said so.

    @param connection: the side that seems to say it, which has keys.
    @param number: of the datagram; by default one that the side itself will not use.
    """
    link = connection._link
    if number is None:
        number = link.recovery.take_number()
    head = header.encode_short(link.remote_tag, number, 0 if link.outbound.keys is None else link.outbound.keys.phase)
    parts = [packet if isinstance(packet, bytes) else packet.encode() for packet in packets]
    return _sealing(connection).seal(head, parts, number)


def long(connection: Connection, *packets: p.Packet | bytes, number: int | None = None) -> bytes:
    """An authentic long datagram; see L{short}."""
    link = connection._link
    opening = link._opening
    assert opening is not None, "the opening is over"
    if number is None:
        number = link.recovery.take_number()
    parts = [packet if isinstance(packet, bytes) else packet.encode() for packet in packets]
    return opening.seals.seal(opening.head(number), parts, number)


def inside(sender: Connection, datagram: bytes) -> list[p.Packet]:
    """The packets of a datagram that a side has sent under its present key; none when it can't be opened."""
    view = memoryview(datagram)
    link = sender._link
    if view[0] & 0xF0 == header.Kind.LONG:
        head = header.decode_long(view)
        if head is None:
            return []
        content = long_seals(link.mode, sender.role, link.first_tag)[0].open(view, head.length, head.low)
    elif view[0] & 0xFE == header.Kind.SHORT and link.outbound.keys is not None:
        content = _sealing(sender).open(view, header.SHORT.size, header.SHORT.unpack_from(view)[2])
    else:
        return []
    return [] if content is None else decode(content)


def other(role: Role) -> Role:
    """The peer's role."""
    return Role(1 - role)
