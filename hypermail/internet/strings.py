"""
Endpoint strings: C{hypermail:4700} (server), C{hypermail:host=example.org:port=4700} (client).
"""

from __future__ import annotations

from typing import Any

from hypermail.errors import UsageError
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint

_SERVER = "hypermail:PORT[:interface=ADDRESS][:allowRemotePlain=yes]"
_CLIENT = "hypermail:host=HOST:port=PORT[:bindAddress=ADDRESS][:allowRemotePlain=yes]"

_YES = ("yes", "true", "1")
_NO = ("no", "false", "0")


def parseServer(reactor: Any, *args: str, **kwargs: str) -> HypermailServerEndpoint:
    """
    The endpoint of C{hypermail:PORT[:interface=ADDRESS][:allowRemotePlain=yes]}.

    @raise ValueError: when the string is not of this form, with what is wrong.
    """
    given = _collect(_SERVER, ("port", "interface"), ("port", "interface", "allowRemotePlain"), args, kwargs)
    return HypermailServerEndpoint(
        reactor,
        _port(_SERVER, given),
        interface=given.get("interface", ""),
        allowRemotePlain=_flag(_SERVER, "allowRemotePlain", given),
    )


def parseClient(reactor: Any, *args: str, **kwargs: str) -> HypermailClientEndpoint:
    """
    The endpoint of C{hypermail:host=HOST:port=PORT[:bindAddress=ADDRESS][:allowRemotePlain=yes]}.

    @raise ValueError: when the string is not of this form, with what is wrong.
    """
    given = _collect(_CLIENT, ("host", "port"), ("host", "port", "bindAddress", "allowRemotePlain"), args, kwargs)
    if not given.get("host"):
        raise UsageError(f"the host is missing: {_CLIENT}")
    return HypermailClientEndpoint(
        reactor,
        given["host"],
        _port(_CLIENT, given),
        bindAddress=given.get("bindAddress") or None,
        allowRemotePlain=_flag(_CLIENT, "allowRemotePlain", given),
    )


def _collect(
    form: str, positions: tuple[str, ...], names: tuple[str, ...], args: tuple[str, ...], kwargs: dict[str, str]
) -> dict[str, str]:
    """All arguments by their names."""
    if len(args) > len(positions):
        raise UsageError(f"{args[len(positions)]!r} is one argument too many: {form}")
    given = dict(zip(positions, args))
    for name, value in kwargs.items():
        if name not in names:
            raise UsageError(f"there is no argument {name!r}: {form}")
        if name in given:
            raise UsageError(f"{name} is given twice: {form}")
        given[name] = value
    return given


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
