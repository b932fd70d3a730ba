"""
The head of a client's request, and what a cell is told of it (C{docs/protocol/hive}, "Targets").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from hypermail.hive.aliases import bare
from hypermail.hive.directives import Network
from hypermail.hive.errors import FrameInvalid, RequestRefused
from hypermail.hive.fields import Lists
from hypermail.hive.forwarded import Client, client_of, passed_on
from hypermail.hive.frames import BODY, NO_BODY, RequestHead
from hypermail.hive.headers import checked, content_length, elements, end_to_end
from hypermail.hive.mounts import Pattern
from hypermail.hive.targets import RequestTarget, check_fields, cookies_of, fields_of, parse_target

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")
#: What a host with its port is made of (RFC 3986 §3.2); which one it is nobody has to know.
_AUTHORITY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]+(:[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{0,5})?")

#: Protocols that are about the connection to the queen, not about what is asked for: HTTP/2, and TLS.
_OF_CONNECTION = ("h2c", "http/", "tls/")

_LARGEST_PORT = 65_535
_PORTS = {"http": 80, "https": 443}


class RequestArrival(NamedTuple):
    """
    What the queen knows of a request, whatever the client says.

    @ivar peer: the address that is connected.
    @ivar peer_port: its port.
    @ivar scheme: C{http} or C{https}.
    @ivar version: of HTTP, major and minor.
    """

    peer: str
    peer_port: int
    scheme: str
    version: tuple[int, int]


class Head(NamedTuple):
    """
    One request.

    @ivar headers: by names in lower case, those of the connection left out.
    @ivar host: that the client has asked for, with its port.
    @ivar upgrade: the protocol that the client would like to go on in, in lower case; empty when none.
    @ivar length: bytes of its body, None when that is not known.
    """

    arrival: RequestArrival
    method: str
    target: RequestTarget
    client: Client
    headers: dict[str, tuple[str, ...]]
    host: str
    upgrade: str
    length: int | None

    def told(self, pattern: Pattern, *, extended: bool = True, has_body: bool = False) -> RequestHead:
        """
        What a cell is told that has mounted this.

        @param extended: whether it knows the extensions.
        @param has_body: whether there is a body.
        """
        major, minor = self.arrival.version
        below = self.target.below(pattern.path)
        _, colon, port = self.client.host.rpartition(":")
        return RequestHead(
            remote_address_real=_with_port(self.arrival.peer, self.arrival.peer_port),
            remote_address=self.client.address,
            method=self.method,
            scheme=self.client.scheme,
            host=bare(self.client.host),
            port=int(port) if colon and port.isdigit() else _PORTS[self.client.scheme],
            path=below.path,
            query=fields_of(self.target.query),
            protocol=f"HTTP/{major}.{minor}",
            protocol_major=major,
            protocol_minor=minor,
            headers=self.headers,
            cookies=cookies_of(self.headers.get("cookie", ())),
            target=str(below) if extended else "",
            mount=pattern.path if extended else "",
            body=(BODY if has_body else NO_BODY) if extended else 0,
        )


def read_head(arrival: RequestArrival, method: str, target: bytes, headers: Lists, trusted: Sequence[Network]) -> Head:
    """
    Read the head of a request.

    @param trusted: whose word counts on behalf of others.
    @raise RequestRefused: when it is wrong, or others might read it differently: 400, or 501 for methods that are not
        for gateways of this kind.
    """
    if not _METHOD.fullmatch(method):
        raise RequestRefused(400, "the method is none")
    if method in ("CONNECT", "TRACE"):
        raise RequestRefused(501, f"{method} goes no further than this")
    found = parse_target(target)
    try:
        fields = checked(headers)
        length = content_length(fields)
    except FrameInvalid as error:
        raise RequestRefused(400, error.text) from None
    check_fields(found.query, fields.get("cookie", ()))
    host = _host(arrival, found, fields)
    if "transfer-encoding" in fields:
        if length is not None:  # RFC 9112 §6.1: this is how requests are smuggled
            raise RequestRefused(400, "the body has a length, and is chunked")
        if elements(fields["transfer-encoding"]) != ["chunked"]:
            raise RequestRefused(501, "of transfer codings there is chunked only")
    upgrade = ""
    if arrival.version == (1, 1) and "upgrade" in elements(fields.get("connection", ())):
        upgrade = ", ".join(one for one in elements(fields.get("upgrade", ())) if not one.startswith(_OF_CONNECTION))
    client = client_of(fields, arrival.peer, arrival.scheme, host, trusted)
    _check_host(client.host)
    onwards = passed_on({**end_to_end(fields), "host": (host,)}, arrival.peer, client, trusted)
    onwards["via"] = (*fields.get("via", ()), f"{_version(arrival)} hypermail")  # RFC 9110 §7.6.3
    if upgrade:
        onwards |= {"connection": ("upgrade",), "upgrade": (upgrade,)}
    return Head(arrival, method, found, client, onwards, host, upgrade, length)


def _host(arrival: RequestArrival, target: RequestTarget, headers: Lists) -> str:
    said = headers.get("host", ())
    if len(said) > 1 or (not said and arrival.version >= (1, 1) and not target.authority):  # RFC 9112 §3.2
        raise RequestRefused(400, "there has to be one Host")
    host = target.authority or (said[0] if said else "")
    _check_host(host)
    return host


def _check_host(host: str) -> None:
    """A cell would break off its band at a port that is none."""
    found = _AUTHORITY.fullmatch(host)
    if host and (found is None or int((found[1] or found[2] or "")[1:] or 0) > _LARGEST_PORT):
        raise RequestRefused(400, "the Host is none")


def _version(arrival: RequestArrival) -> str:
    """As headers have it: without a zero that says nothing."""
    major, minor = arrival.version
    return f"{major}.{minor}" if major < 2 else str(major)


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
