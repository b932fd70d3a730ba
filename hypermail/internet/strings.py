"""
Endpoint strings: C{hypermail:4700} (server), C{hypermail:host=example.org:port=4700} (client). Without arguments about
security they are TLS: a server shows the identity of L{stateDirectory}, a client trusts the system's authorities.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from hypermail.errors import UsageError
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.internet.settings import ListenerSettings, StarterSettings

_SERVER = (
    "hypermail:PORT[:interface=ADDRESS][:identity=FILE][:allow=PIN-OR-FILE][:trustRoots=FILE]"
    "[:secretFile=FILE][:plain=yes[:allowRemotePlain=yes]][:stream=NAME]"
)
_CLIENT = (
    "hypermail:host=HOST:port=PORT[:pin=PIN][:trustRoots=FILE][:identity=FILE]"
    "[:secretFile=FILE][:plain=yes[:allowRemotePlain=yes]][:bindAddress=ADDRESS][:stream=NAME][:keep=SECONDS]"
)

_YES = ("yes", "true", "1")
_NO = ("no", "false", "0")

#: What must not be empty: who forgets to fill it in would trust, or let in, more than was meant.
_TRUST = ("pin", "allow", "identity", "trustRoots", "secretFile")
_SHARED = ("identity", "trustRoots", "secretFile", "plain", "allowRemotePlain", "stream")


def parseServer(reactor: Any, *args: str, **kwargs: str) -> HypermailServerEndpoint:
    """
    The endpoint of C{hypermail:PORT...}; the arguments are those of L{ListenerSettings}.

    @raise ValueError: when the string is not of the form that the message shows, or a file can't be used.
    """
    given = _collect(_SERVER, ("port", "interface"), ("port", "interface", "allow", *_SHARED), args, kwargs)
    allow = given.get("allow")
    return HypermailServerEndpoint(
        reactor,
        _port(_SERVER, given),
        interface=given.get("interface", ""),
        stream=given.get("stream", "").encode(),
        security=ListenerSettings(allow=(allow,) if allow else (), **_settings(_SERVER, given)).security(),
    )


def parseClient(reactor: Any, *args: str, **kwargs: str) -> HypermailClientEndpoint:
    """
    The endpoint of C{hypermail:host=HOST:port=PORT...}; the arguments are those of L{StarterSettings}.

    @raise ValueError: when the string is not of the form that the message shows, or a file can't be used.
    """
    given = _collect(_CLIENT, ("host", "port"), ("host", "port", "bindAddress", "keep", "pin", *_SHARED), args, kwargs)
    if not given.get("host"):
        raise UsageError(f"the host is missing: {_CLIENT}")
    return HypermailClientEndpoint(
        reactor,
        given["host"],
        _port(_CLIENT, given),
        bindAddress=given.get("bindAddress") or None,
        stream=given.get("stream", "").encode(),
        keep=_seconds(_CLIENT, "keep", given),
        security=StarterSettings(pin=given.get("pin"), **_settings(_CLIENT, given)).security(),
    )


def _settings(form: str, given: dict[str, str]) -> dict[str, Any]:
    """The settings that both kinds have."""
    files = {name: given.get(name) for name in ("identity", "trustRoots", "secretFile")}
    return files | {name: _flag(form, name, given) for name in ("plain", "allowRemotePlain")}


def _collect(
    form: str, positions: tuple[str, ...], names: tuple[str, ...], args: tuple[str, ...], kwargs: dict[str, str]
) -> dict[str, str]:
    """All arguments by their names."""
    if len(args) > len(positions):
        raise UsageError(f"{args[len(positions)]!r} is one argument too many{_hint(args)}: {form}")
    given = dict(zip(positions, args))
    for name, value in kwargs.items():
        if name not in names:
            raise UsageError(f"there is no argument {name!r}{_meant(name, names)}: {form}")
        if name in given:
            raise UsageError(f"{name} is given twice, as {given[name]!r} and as {value!r}{_hint(args)}: {form}")
        if name in _TRUST and not value:
            raise UsageError(f"{name} is empty: {form}")
        given[name] = value
    return given


def _hint(args: tuple[str, ...]) -> str:
    """For who has written an IPv6 address as it is; Twisted has taken it apart."""
    if all(args):
        return ""
    return r" (the colons of an IPv6 address are written \:, so that ::1 becomes \:\:1)"


def _meant(name: str, names: tuple[str, ...]) -> str:
    """The argument that a misspelt one may have meant."""
    known = {each.lower(): each for each in names}
    found = get_close_matches(name.lower(), known, 1)
    return f"; do you mean {known[found[0]]}?" if found else ""


def _port(form: str, given: dict[str, str]) -> int:
    text = given.get("port", "")
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{text!r} is no port: {form}" if text else f"the port is missing: {form}")
    return int(text)


def _flag(form: str, name: str, given: dict[str, str]) -> bool:
    text = given.get(name, "no").lower()
    if text not in _YES + _NO:
        raise UsageError(f"{name} is yes or no, not {text!r}: {form}")
    return text in _YES


def _seconds(form: str, name: str, given: dict[str, str]) -> float:
    text = given.get(name, "0")
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} is a number of seconds, not {text!r}: {form}") from None
