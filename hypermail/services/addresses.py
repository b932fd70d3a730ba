"""
The addresses that people write: C{HOST:PORT} of a command line, C{udp:PORT:interface=ADDRESS} of C{--port}.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from hypermail.errors import UsageError

LOOPBACK = "127.0.0.1"

DEFAULT_STATUS_PORT = 4701
"""Where C{hypermail status} asks when it is not told."""


class Destination(NamedTuple):
    """Whom to call."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listening(NamedTuple):
    """Where to listen; the interface is empty for all that the mode allows."""

    port: int
    interface: str


def parse_destination(text: str, *, least: int = 1) -> Destination:
    """
    Read C{HOST:PORT}; the host is a name, an IPv4 address, or an IPv6 address in brackets.

    @param least: the smallest port.
    @raise UsageError: when it is none, with what is wrong.
    """
    match = re.fullmatch(r"\[([^\[\]]*)\]:([^:]*)|([^\[\]:]*):([^:]*)", text)
    if match is None:
        raise UsageError(f"{text!r} is not HOST:PORT (an IPv6 address goes into brackets: [::1]:4700)")
    host = match[1] or match[3] or ""
    port = match[2] if match[3] is None else match[4]
    if not host or not _is_printable_word(host):
        raise UsageError(f"{text!r} has no host before its colon")
    return Destination(host, parse_port(port, least=least))


def parse_port(text: str, *, least: int = 0) -> int:
    """
    Read a port.

    @raise UsageError: when it is no number from C{least} to 65535.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or not least <= int(text) <= 65_535:
        raise UsageError(f"{text!r} is not a port: a number from {least} to 65535")
    return int(text)


def parse_listening(text: str) -> Listening:
    """
    Read a port to listen on: a number, or a description like Twisted's endpoint strings.

    C{udp:4700}, C{udp:4700:interface=127.0.0.1}, C{udp:port=4700:interface=\\:\\:1}; colons within
    a value are escaped with backslashes, as there.

    @raise UsageError: when it is neither.
    """
    if ":" not in text:
        return Listening(parse_port(text), "")
    kind, *arguments = (unescape(field) for field in re.split(r"(?<!\\):", text))
    if kind != "udp":
        raise UsageError(f"{text!r}: only udp:PORT can be listened on, not {kind!r}")
    values = {"port": "", "interface": ""}
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not equals and position == 0:
            name, value = "port", argument
        elif not equals or name not in values:
            raise UsageError(f"{text!r}: {argument!r} is neither port=PORT nor interface=ADDRESS")
        values[name] = value
    return Listening(parse_port(values["port"]), _parse_interface(values["interface"]))


def parse_status_port(text: str) -> Destination:
    """
    Read C{--status-port}: C{PORT} of 127.0.0.1, or C{ADDRESS:PORT}, an IPv6 address in brackets.

    @raise UsageError: when it is neither, with what is wrong.
    """
    if ":" not in text:
        return Destination(LOOPBACK, parse_port(text))
    host, port = parse_destination(text, least=0)
    if host == "localhost":
        return Destination(LOOPBACK, port)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(f"{host!r} is not an IP address: give PORT or ADDRESS:PORT") from None
    return Destination(host, port)


def _parse_interface(text: str) -> str:
    try:
        if text:
            ipaddress.ip_address(text)
    except ValueError:
        raise UsageError(f"the interface {text!r} is not an IP address") from None
    return text


def unescape(field: str) -> str:
    """A field of a description without its backslashes."""
    return re.sub(r"\\(.)", r"\1", field)


def _is_printable_word(text: str) -> bool:
    return text.isprintable() and not re.search(r"\s", text)


def describe(address: object) -> str:
    """
    An address in a log: C{127.0.0.1:4700}, C{[::1]:4700}.

    @param address: an object with C{host} and C{port}, as all of Twisted's IP addresses and L{ISession}'s.
    """
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        return str(address)
    return str(Destination(str(host), int(port)))
