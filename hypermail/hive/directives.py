"""
The queen's configuration file (C{docs/protocol/hive}, "Configuration"): that of the seed's authors, and what is ours.

Lines of C{key value}, and C{alias HOST -> HOST} and C{unalias HOST}; what begins with C{#} is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from hypermail.errors import UsageError
from hypermail.hive.access import FORMATS
from hypermail.hive.aliases import DEFAULT
from hypermail.services.addresses import parse_destination

#: Where it is, unless the command line says otherwise.
PATH = "/etc/hlhv/hlhv.conf"

Network = IPv4Network | IPv6Network

_HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}|\$argon2id\$v=\d+\$\S+\$\S+\$\S+")
_ALIAS = re.compile(r"(\S+)\s*->\s*(\S+)")


def _path(value: str) -> str:
    return value


def _hash(value: str) -> str:
    if not _HASH.fullmatch(value):
        raise UsageError("it takes a hash of bcrypt or Argon2id; `hypermail hive-key` makes one")
    return value


def _port(value: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", value) or not 1 <= int(value) <= 65_535:
        raise UsageError(f"{value!r} is no port, 1 to 65535")
    return int(value)


def _seconds(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) or not float(value) > 0:
        raise UsageError(f"{value!r} are no seconds, as 5 or 0.5")
    return float(value)


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise UsageError(f"{value!r} is no address, as 127.0.0.1 or ::") from None


def _queens(value: str) -> tuple[str, ...]:
    return tuple(str(parse_destination(one)) for one in re.split(r"[\s,]+", value))


def _cookie(value: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_-]{1,64}", value):
        raise UsageError(f"{value!r} is no name of a cookie: letters, digits, _ and -")
    return value


def _switch(value: str) -> bool:
    if value not in ("on", "off"):
        raise UsageError(f"it takes on or off, not {value!r}")
    return value == "on"


def _format(value: str) -> str:
    if value not in FORMATS:
        raise UsageError(f"there is no format {value!r}; there is {' and '.join(FORMATS)}")
    return value


def _networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(one) for one in re.split(r"[\s,]+", value))
    except ValueError as error:
        raise UsageError(f"{error}; it takes addresses or networks, as 10.0.0.0/8") from None


def _said(key: str, read: Callable[[str], Any], default: Any = None) -> Any:
    return field(default=default, metadata={"key": key, "read": read})


@dataclass(frozen=True)
class Directives:
    """
    What the file says. What is None is off.

    @ivar key_path: the private key of HTTPS and of the leashes, PEM.
    @ivar certificate_path: its certificate and those above it, PEM.
    @ivar key_hash: of the key that cells log in with; None lets nobody in.
    @ivar port_hlhv: TCP port for leashes and bands.
    @ivar port_https: TCP port.
    @ivar garden_period: s between looks for bands that are too old.
    @ivar band_age: s that a band may be idle.
    @ivar login_timeout: s for TLS and C{IAm}.
    @ivar header_timeout: s for the head of a request.
    @ivar read_timeout: s in which some of a body has to come.
    @ivar write_timeout: s in which some of a response has to be taken.
    @ivar idle_timeout: s between requests.
    @ivar port_http: TCP port from which requests are redirected to HTTPS.
    @ivar webroot: what ACME's client writes its answers below; served at C{port_http}.
    @ivar certificate_directory: of C{NAME.pem}, or C{NAME/fullchain.pem} and C{NAME/privkey.pem}, for other hosts.
    @ivar port_hypermail: UDP port for leashes and bands.
    @ivar identity_path: what the queen proves there who she is with.
    @ivar access_log: file of a line for each request.
    @ivar access_log_format: one of L{hypermail.hive.access.FORMATS}.
    @ivar status_port: TCP port on loopback.
    @ivar trusted_proxies: who may say for whom he asks.
    @ivar bind: the address of all ports but that of the status; None for all addresses.
    @ivar queens: C{HOST:PORT} of others, to whom cells are to keep a leash, too.
    @ivar sticky_cookie: by which the requests of one client go to one cell.
    @ivar slash: whether paths without an extension are redirected to end with a slash.
    @ivar aliases: hosts by other names of theirs.
    """

    key_path: str = _said("keyPath", _path, "/var/hlhv/cert/key.pem")
    certificate_path: str = _said("certPath", _path, "/var/hlhv/cert/cert.pem")
    key_hash: str | None = _said("connKey", _hash)
    port_hlhv: int = _said("portHlhv", _port, 2001)
    port_https: int = _said("portHttps", _port, 443)
    garden_period: float = _said("gardenFreq", _seconds, 120.0)
    band_age: float = _said("maxBandAge", _seconds, 60.0)
    login_timeout: float = _said("timeout", _seconds, 1.0)
    header_timeout: float = _said("timeoutReadHeader", _seconds, 5.0)
    read_timeout: float = _said("timeoutRead", _seconds, 10.0)
    write_timeout: float = _said("timeoutWrite", _seconds, 15.0)
    idle_timeout: float = _said("timeoutIdle", _seconds, 120.0)
    port_http: int | None = _said("portHttp", _port)
    webroot: str | None = _said("webroot", _path)
    certificate_directory: str | None = _said("certDir", _path)
    port_hypermail: int | None = _said("portHypermail", _port)
    identity_path: str | None = _said("identityPath", _path)
    access_log: str | None = _said("accessLog", _path)
    access_log_format: str | None = _said("accessLogFormat", _format)
    status_port: int | None = _said("statusPort", _port)
    trusted_proxies: tuple[Network, ...] = _said("trustedProxies", _networks, ())
    bind: str | None = _said("bind", _address)
    queens: tuple[str, ...] = _said("queens", _queens, ())
    sticky_cookie: str | None = _said("stickyCookie", _cookie)
    slash: bool = _said("trailingSlash", _switch, False)
    aliases: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT))


_BY_KEY = {one.metadata["key"]: one for one in fields(Directives) if one.metadata}
#: What makes no sense without another, and that.
_WITH = (("webroot", "portHttp"), ("portHypermail", "identityPath"), ("accessLogFormat", "accessLog"))
_TCP = ("portHlhv", "portHttps", "portHttp", "statusPort")


def parse_directives(text: str, where: str = PATH) -> Directives:
    """
    Read the file.

    @param where: its name, for errors.
    @raise UsageError: when a line is wrong, or contradicts others; the text names it.
    """
    return _Reading(where).read(text)


class _Reading:
    def __init__(self, where: str) -> None:
        self._where = where
        self._said: dict[str, int] = {}  # the lines that they are in, by key
        self._found: dict[str, Any] = {}
        self._aliases = dict(DEFAULT)

    def read(self, text: str) -> Directives:
        for number, line in enumerate(text.split("\n"), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            key, _, value = line.replace("\t", " ").partition(" ")
            try:
                self._take(key, value.strip(), number)
            except UsageError as error:
                raise UsageError(f"{self._where}, line {number}: {error.text}") from None
        found = Directives(**self._found, aliases=self._aliases)
        self._check(found)
        return found

    def _take(self, key: str, value: str, number: int) -> None:
        if key == "alias":
            named = _ALIAS.fullmatch(value)
            if named is None:
                raise UsageError("it takes two hosts, as alias www.example.org -> example.org")
            self._aliases[named[1].lower()] = named[2].lower()
        elif key == "unalias":
            if self._aliases.pop(value.lower(), None) is None:
                raise UsageError(f"there is no alias {value!r}")
        elif key not in _BY_KEY:
            near = get_close_matches(key, (*_BY_KEY, "alias", "unalias"), 1)
            raise UsageError(f"there is no {key!r}" + (f"; is it {near[0]}?" if near else ""))
        elif key in self._said:
            raise UsageError(f"{key} is in line {self._said[key]} already")
        elif not value:
            raise UsageError(f"{key} has no value")
        else:
            self._said[key] = number
            one = _BY_KEY[key]
            try:
                self._found[one.name] = one.metadata["read"](value)
            except UsageError as error:
                raise UsageError(f"{key}: {error.text}") from None

    def _check(self, found: Directives) -> None:
        for key, needed in _WITH:
            if key in self._said and needed not in self._said:
                raise UsageError(f"{self._where}, line {self._said[key]}: {key} needs {needed}")
        taken: dict[int, str] = {}
        for key in _TCP:
            port = getattr(found, _BY_KEY[key].name)
            if port in taken:
                raise UsageError(f"{self._where}: {taken[port]} and {key} are both {port}")
            if port is not None:
                taken[port] = key
