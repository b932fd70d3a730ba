"""
C{twistd hypermail-cell}: its options, and the service that they make.

The plugin names this module; it is imported when the command is used, and installs no reactor.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from math import isfinite
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import Logger
from twisted.python import usage

from hypermail.errors import UsageError
from hypermail.hive.cell.cell import DRAIN
from hypermail.hive.cell.queens import PORT, Queen
from hypermail.hive.cell.resource import MOST_BODY
from hypermail.hive.cell.wsgi import THREADS
from hypermail.hive.mounts import parse_mount
from hypermail.internet.credentials import readHiveKey, readPins, readTrustRoots
from hypermail.internet.security import StarterTLS
from hypermail.services.addresses import Destination, parse_destination, unescape

_log = Logger()

#: What answers requests; a cell has one of these.
_APPLICATIONS = ("serve", "proxy", "wsgi", "asgi")
#: Options that only some of these have a use for.
_ONLY = {"listing": "serve", "max-body": "wsgi", "threads": "wsgi"}
_HYPERMAIL = "hypermail:"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class CellCommand(usage.Options):
    """What C{twistd hypermail-cell} understands."""

    synopsis = "[options]"
    longdesc = (
        "Publishes a web application, or files, through a queen: connects to her from wherever it is, and answers what "
        "is asked for under the names and paths of --mount. One of --serve, --proxy, --wsgi and --asgi says what "
        "answers."
    )

    optParameters = [
        ["queen", "q", None, f"HOST[:PORT] of the queen [port {PORT}], or hypermail:host=HOST:port=PORT."],
        ["key-file", "k", None, "File with the key that cells log in with; see `hypermail hive-key`."],
        ["pin", None, None, "The pin of the queen's key, or a file of pins, in place of authorities."],
        [
            "trust-roots",
            None,
            None,
            "PEM file or directory of authorities that may have certified the queen [system's].",
        ],
        ["serve", None, None, "Directory whose files answer."],
        ["proxy", None, None, "Web server that answers: http://HOST:PORT, https://HOST:PORT or unix:PATH."],
        ["wsgi", None, None, "MODULE:NAME of a WSGI application that answers."],
        ["asgi", None, None, "MODULE:NAME of an ASGI application that answers."],
        ["max-body", None, None, "With --wsgi: bytes of the body of a request, as 500k or 1G [16M]."],
        ["threads", None, None, f"With --wsgi: requests that are answered at once [{THREADS}]."],
        ["drain", None, str(DRAIN), "Seconds that running requests may take when the cell stops."],
    ]

    optFlags = [["listing", None, "With --serve: show directories that have no index.html."]]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["mount"] = []

    def opt_mount(self, mount: str) -> None:
        """HOST/PATH whose requests it answers, as example.org/app/ or @/, which are the names that mean the queen's
        machine itself; may be given again."""
        self["mount"].append(mount)

    opt_m = opt_mount

    def postOptions(self) -> None:
        """
        Check what was given, and read what it names.

        @raise usage.UsageError: when it makes no sense.
        """
        for name, what in (("queen", "HOST[:PORT]"), ("key-file", "FILE")):
            if not self[name]:
                raise usage.UsageError(f"--{name} {what} is needed")
        if not self["mount"]:
            raise usage.UsageError("--mount HOST/PATH is needed, as --mount @/")
        self["patterns"] = [self._check("mount", parse_mount, one) for one in self["mount"]]
        self["key"] = self._check("key-file", readHiveKey, self["key-file"])
        self._trust()
        self["from"] = self._check("queen", self._parseQueen, self["queen"])
        self["drain"] = self._check("drain", _seconds, self["drain"])
        self["application"] = self._postApplication()

    def _check(self, name: str, parse: Callable[[Any], Any], value: Any) -> Any:
        try:
            return parse(value)
        except UsageError as error:
            raise usage.UsageError(f"--{name}: {error.text}") from None

    def _trust(self) -> None:
        if self["pin"] is not None and self["trust-roots"] is not None:
            raise usage.UsageError("--pin is trusted in place of --trust-roots: give one of them")
        self["pins"] = None if self["pin"] is None else self._check("pin", readPins, self["pin"])
        roots = self["trust-roots"]
        self["roots"] = None if roots is None else self._check("trust-roots", readTrustRoots, roots)

    def _parseQueen(self, text: str) -> Queen:
        if not text.startswith(_HYPERMAIL):
            host, port = parse_queen(text)
            return Queen.overTLS(host, port, trustRoots=self["roots"], pins=self["pins"])
        host, port = parse_hypermail(text)
        pins = self["pins"] or (None,)
        if len(pins) > 1:
            raise UsageError("over hypermail a queen has one pin, and --pin names several")
        [pin] = pins
        return Queen.overHypermail(host, port, security=StarterTLS(pin=pin, trustRoots=self["roots"]))

    def _postApplication(self) -> Any:
        given = [name for name in _APPLICATIONS if self[name] is not None]
        if len(given) != 1:
            what = "one of --serve DIR, --proxy URL, --wsgi MODULE:NAME and --asgi MODULE:NAME"
            raise usage.UsageError(f"{what} is needed" if not given else f"--{given[0]} and --{given[1]}: give {what}")
        [kind] = given
        for name, only in _ONLY.items():
            if self[name] and kind != only:
                raise usage.UsageError(f"--{name} is for --{only}, --{kind} has no use for it")
        make = {"serve": self._serve, "proxy": self._proxy, "wsgi": self._wsgi, "asgi": self._asgi}
        return self._check(kind, make[kind], self[kind])

    def _serve(self, directory: str) -> Any:
        from hypermail.hive.cell.files import FilesApplication

        return FilesApplication(directory, listing=bool(self["listing"]))

    def _proxy(self, url: str) -> Any:
        from hypermail.hive.cell.proxy import ProxyApplication
        from hypermail.hive.cell.upstream import Upstream

        return ProxyApplication(Upstream(url))

    def _wsgi(self, name: str) -> Any:
        from hypermail.hive.cell.wsgi import WsgiApplication

        most = MOST_BODY if self["max-body"] is None else self._check("max-body", _size, self["max-body"])
        threads = THREADS if self["threads"] is None else self._check("threads", _count, self["threads"])
        return WsgiApplication(load(name), threads=threads, most=most)

    def _asgi(self, name: str) -> Any:
        from hypermail.hive.cell.asgi import AsgiApplication

        if find_spec("wsproto") is None:
            raise UsageError("this needs wsproto: pip install 'hypermail[hive]'")
        return AsgiApplication(load(name))


Options = CellCommand  # the name that Twisted's plugins ask for


def parse_queen(text: str) -> Destination:
    """
    Read C{HOST[:PORT]}.

    @raise UsageError: when it is none.
    """
    alone = re.fullmatch(r"\[[^\[\]]*\]|[^\[\]:]*", text)
    return parse_destination(f"{text}:{PORT}" if alone else text)


def parse_hypermail(text: str) -> Destination:
    """
    Read C{hypermail:host=HOST:port=PORT}, as it is written in Twisted's endpoint strings.

    @raise UsageError: when it is none.
    """
    _, *arguments = (unescape(field) for field in re.split(r"(?<!\\):", text))
    values = dict(one.partition("=")[::2] for one in arguments)
    if set(values) != {"host", "port"} or len(arguments) != 2:
        raise UsageError(f"{text!r} is no queen: write hypermail:host=HOST:port=PORT (the colons of an address as \\:)")
    host = values["host"]
    return parse_destination(f"[{host}]:{values['port']}" if ":" in host else f"{host}:{values['port']}")


def load(text: str) -> Any:
    """
    Import an application.

    @param text: C{MODULE:NAME}, of a module that can be imported, also from the current directory.
    @raise UsageError: when there is none.
    """
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise UsageError(f"{text!r} is not MODULE:NAME, as app:app")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"there is no {name} in {module}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{text} is no application: it cannot be called")
    return found


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and seconds >= 0):
        raise UsageError(f"{text!r} is no number of seconds")
    return seconds


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})([kKmMgG]?)", text, re.ASCII)
    if match is None:
        raise UsageError(f"{text!r} is no number of bytes, as 500k, 16M or 1G")
    return int(match[1]) * _UNITS[match[2].lower()]


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not int(text):
        raise UsageError(f"{text!r} is no number from 1 to 9999")
    return int(text)


def makeService(options: CellCommand) -> IService:
    """
    The service that the options ask for.

    @param options: parsed.
    """
    from twisted.internet import reactor

    from hypermail.hive.cell.program import CellProgram
    from hypermail.services.hangup import HangupService

    program: Any = MultiService()
    program.addService(
        CellProgram(
            options["from"], options["key"], options["patterns"], options["application"], reactor, options["drain"]
        )
    )
    program.addService(HangupService(reactor, partial(_log.info, "there is nothing to read again: restart the cell")))
    service: IService = program
    return service
