"""
For whom a proxy asks: C{Forwarded} and C{X-Forwarded-*} (RFC 7239).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from hypermail.hive.directives import Network
from hypermail.hive.fields import Lists

_FOR, _PROTO, _HOST = "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"
_FORWARDED = "forwarded"
#: Addresses that a request may say it has come through.
_MOST_HOPS = 32


class Client(NamedTuple):
    """
    Who asks.

    @ivar address: of the client, as far as those are trusted who say so.
    @ivar scheme: that the client has used.
    @ivar host: that the client has asked for, with its port.
    """

    address: str
    scheme: str
    host: str


def client_of(headers: Lists, peer: str, scheme: str, host: str, trusted: Sequence[Network]) -> Client:
    """
    Who asks.

    @param peer: the address that is connected; a trusted one is a proxy, whose word counts.
    @param scheme: of the connection.
    @param host: of the request.
    """
    if not _in(peer, trusted):
        return Client(peer, scheme, host)
    address = peer
    # Each proxy adds at the end whom it has been asked by: the last one who is no proxy of ours is the client.
    for one in reversed(_hops(headers.get(_FOR, ()))):
        if not _is_address(one):
            break
        address = one
        if not _in(one, trusted):
            break
    schemes, hosts = _hops(headers.get(_PROTO, ())), _hops(headers.get(_HOST, ()))
    if schemes and schemes[-1] in ("http", "https"):
        scheme = schemes[-1]
    return Client(address, scheme, hosts[-1] if hosts else host)


def passed_on(headers: Lists, peer: str, client: Client, trusted: Sequence[Network]) -> dict[str, tuple[str, ...]]:
    """The headers that the cell gets: who asks is said by us, and by trusted proxies before us."""
    found = dict(headers)
    hops = _hops(headers.get(_FOR, ())) if _in(peer, trusted) else []
    found[_FOR] = (", ".join([*hops, peer]),)
    found[_PROTO] = (client.scheme,)
    found[_HOST] = (client.host,)
    node = f'"[{client.address}]"' if ":" in client.address else client.address
    host = client.host.replace("\\", "\\\\").replace('"', '\\"')
    found[_FORWARDED] = (f'for={node};proto={client.scheme};host="{host}"',)
    return found


def _hops(values: Iterable[str]) -> list[str]:
    return [one for one in (part.strip(" \t") for value in values for part in value.split(",")) if one][-_MOST_HOPS:]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_address(text: str) -> bool:
    return _address(text) is not None


def _in(text: str, networks: Sequence[Network]) -> bool:
    if not networks:  # which most queens have; reading an address takes its time
        return False
    address = _address(text)
    return address is not None and any(address in network for network in networks)
