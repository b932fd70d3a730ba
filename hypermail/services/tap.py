"""
C{twistd hypermail}: its options, and the service that they make.

The plugin names this module; it is imported when the command is used, and installs no reactor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService
from twisted.python import usage

from hypermail.errors import UsageError
from hypermail.internet.settings import ListenerSettings, StarterSettings
from hypermail.link.congestion import controller, names
from hypermail.options import Options as SessionOptions
from hypermail.services.addresses import parse_destination, parse_listening, parse_status_port
from hypermail.services.dialect_usage import DialectUsage
from hypermail.services.dialects import DialectSettings
from hypermail.services.files import NAME as FILES
from hypermail.services.passages import parse_forwards, parse_listens
from hypermail.services.processes.counting import parse_workers
from hypermail.services.rates import parse_rate

if TYPE_CHECKING:
    from hypermail.interfaces import ISessionStore
    from hypermail.services.listener import Doing, Place
    from hypermail.services.processes.overview import Overview
    from hypermail.services.status import Status

_DIRECTORIES = ("inbox", "outbox", "trace", "state")
_NAMES = ("inbox", "outbox", "trace", "state", "identity", "trust-roots", "secret-file", "secrets")
_PORT = "4700"
#: Options that only a listener, or only a starter, has a use for.
_LISTENERS = ("port", "workers", "inbox", "echo", "state", "allow", "forward")
_STARTERS = ("listen", "pin", "outbox", "outbox-remove")


class Command(DialectUsage):
    """What C{twistd hypermail} understands."""

    synopsis = "[options]"
    longdesc = (
        "Listens for hypermail sessions: what `hypermail send` sends lands in the directory of --inbox, streams go on "
        "to where --forward says, with --echo everything is sent back. Without any of them it answers pings and "
        "refuses the rest. With --connect it is the other end of a tunnel: what connects where --listen says goes "
        "through a session. Sessions are TLS; at its start a listener says what others have to type to reach it. With "
        "--dialect it serves devices that speak an older protocol, which is not encrypted."
    )

    optParameters = [
        ["port", "p", None, "UDP port, or a description: udp:4700:interface=127.0.0.1 (\\:\\:1 for ::1) [4700]."],
        [
            "workers",
            "w",
            None,
            "Processes that share the port and its sessions: a number, or auto for one for each core [1]. Linux only.",
        ],
        ["inbox", "i", None, "Directory that files and messages land in; made when it is missing."],
        ["connect", "c", None, "HOST:PORT of a listener, to keep a session with; see --listen and --outbox."],
        ["outbox", "o", None, "With --connect: directory whose files leave for the listener's inbox when it is there."],
        ["pin", None, None, "With --connect: the pin of the listener's key; what its log says at the start."],
        ["identity", None, None, "PEM file with the own key and certificate; see `hypermail identity`."],
        ["state", None, None, "Directory of durable sessions, and of identities made [$XDG_STATE_HOME/hypermail]."],
        [
            "trust-roots",
            None,
            None,
            "PEM file or directory of authorities: only peers with their certificates are trusted.",
        ],
        [
            "secret-file",
            None,
            None,
            "File with 32 secret bytes or more, as the peer has: mode secret, no TLS. With --dialect digest: the own.",
        ],
        ["congestion", None, SessionOptions().congestion, f"Congestion control of what is sent: {', '.join(names())}."],
        [
            "max-rate",
            None,
            None,
            "Bits per second, as 800k, 2.5M or 1G, that each session may send at most [no limit].",
        ],
        ["status-port", None, None, "TCP port, or ADDRESS:PORT, that `hypermail status` and Prometheus ask [none]."],
        ["trace", None, None, "Directory for a structured event log (qlog), one file per connection."],
    ]

    optFlags = [
        ["outbox-remove", None, "Remove what has left the outbox, instead of moving it to `sent` in there."],
        ["echo", "e", "Send everything back to where it came from."],
        ["plain", None, "Mode plain: neither encrypted nor authenticated, for this machine only."],
        ["allow-remote-plain", None, "With --plain: listen on all addresses all the same."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        for name in ("allow", "forward", "listen"):
            self[name] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the words of a command line.

        @param options: None for those of this process; they are kept as C{given}.
        """
        self.given = list(sys.argv[1:] if options is None else options)
        super().parseOptions(options)  # type: ignore[no-untyped-call]

    def opt_allow(self, pin: str) -> None:
        """Let in only starters with a certificate of this pin, or of a FILE of pins; may be given again."""
        self["allow"].append(pin)

    def opt_forward(self, passage: str) -> None:
        """[NAME=]ENDPOINT, as ssh=tcp:127.0.0.1:22 or dns=udp:127.0.0.1:53: streams (with udp: direct messages) of that
        name go on there; may be given again."""
        self["forward"].append(passage)

    def opt_listen(self, passage: str) -> None:
        """[NAME=]ENDPOINT, as ssh=tcp:2222:interface=127.0.0.1 or dns=udp:5353: with --connect, what connects (with
        udp: what is sent) there goes through the session to the --forward of that name; may be given again."""
        self["listen"].append(passage)

    def postOptions(self) -> None:
        """
        Check what was given.

        @raise usage.UsageError: when it makes no sense.
        """
        for name in _NAMES:
            if self[name] == "" or "\0" in (self[name] or ""):
                raise usage.UsageError(
                    f"--{name} needs the name of a {'directory' if name in _DIRECTORIES else 'file'}"
                )
        self._check("congestion", controller)
        for name, parse in (("max-rate", parse_rate), ("status-port", parse_status_port), ("workers", parse_workers)):
            self[name] = None if self[name] is None else self._check(name, parse)
        self["forward"] = self._check("forward", parse_forwards)
        self["listen"] = self._check("listen", parse_listens)
        dialect = self.parseDialect(SessionOptions().congestion)
        if dialect is not None:
            self._postDialect(dialect)
            return
        if self["connect"] is None:
            self._postListener()
        else:
            self._postStarter()
        try:
            self["settings"].check()
        except UsageError as error:
            raise usage.UsageError(error.text) from None

    def _check(self, name: str, parse: Callable[[Any], Any]) -> Any:
        try:
            return parse(self[name])
        except UsageError as error:
            raise usage.UsageError(f"--{name}: {error.text}") from None

    def _postDialect(self, settings: DialectSettings) -> None:
        self["settings"] = settings
        if self["connect"] is None:
            self["port"] = _PORT if self["port"] is None else self["port"]
            self["listening"] = self._check("port", parse_listening)
            return
        if self["port"] is not None:
            raise usage.UsageError("--port is for a listener, --connect makes a starter: leave out one of them")
        if self["inbox"] is None and not self["echo"]:
            raise usage.UsageError(
                "--connect with --dialect needs --inbox DIR, to store what the listener sends, or --echo, to return it"
            )
        self["destination"] = self._check("connect", parse_destination)

    def _postListener(self) -> None:
        for name in _STARTERS:
            if self[name]:
                raise usage.UsageError(f"--{name} is for a starter: give --connect HOST:PORT, too")
        for passage in self["forward"]:
            if self["inbox"] is not None and passage.name.encode() == FILES and not passage.datagrams:
                raise usage.UsageError(
                    f"--forward {passage}: with --inbox this name is that of files: give another one"
                )
        self["port"] = _PORT if self["port"] is None else self["port"]
        self["listening"] = self._check("port", parse_listening)
        self["settings"] = ListenerSettings(state=self["state"], allow=tuple(self["allow"]), **self._settings())

    def _postStarter(self) -> None:
        for name in _LISTENERS:
            if self[name]:
                raise usage.UsageError(f"--{name} is for a listener, --connect makes a starter: leave out one of them")
        if not self["listen"] and self["outbox"] is None:
            raise usage.UsageError(
                "--connect needs --listen [NAME=]ENDPOINT, to take connections, or --outbox DIR, to send its files"
            )
        if self["outbox-remove"] and self["outbox"] is None:
            raise usage.UsageError("--outbox-remove is for an outbox: give --outbox DIR, too")
        self["destination"] = self._check("connect", parse_destination)
        self["settings"] = StarterSettings(pin=self["pin"], **self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "identity": self["identity"],
            "trustRoots": self["trust-roots"],
            "secretFile": self["secret-file"],
            "plain": bool(self["plain"]),
            "allowRemotePlain": bool(self["allow-remote-plain"]),
        }


Options = Command  # the name that Twisted's plugins ask for


def makeService(options: Command) -> IService:
    """
    The service that the options ask for.

    @param options: parsed.
    """
    from twisted.internet import reactor

    from hypermail.services.ending import reportInOneLine
    from hypermail.services.hangup import HangupService
    from hypermail.services.processes.overview import Overview
    from hypermail.services.status import Status
    from hypermail.services.status_site import StatusService

    reportInOneLine()
    several = (options["workers"] or 1) > 1
    status: Any = None
    if options["status-port"] is not None:
        status = (Overview if several else Status)(monotonic, partial(datetime.now, UTC))
    make = _starter if options["connect"] is not None else _workers if several else _listener
    service = make(reactor, options, status)
    program: Any = MultiService()
    if status is not None:  # first: when it cannot start, nothing else does
        program.addService(StatusService(reactor, status, options["status-port"]))
    program.addService(service)
    program.addService(HangupService(reactor, service.reload))
    together: IService = program
    return together


def doingOf(options: Command, status: Status | None, place: Place | None = None) -> Doing:
    """
    What a listener does.

    @param options: parsed.
    @param status: what is told of its sessions, if it is.
    @param place: of a worker, which is one of several.
    """
    from hypermail.services.listener import Doing

    return Doing(
        listening=options["listening"],
        inbox=options["inbox"],
        echo=bool(options["echo"]),
        forwards=options["forward"],
        settings=options["settings"],
        traceDirectory=options["trace"],
        options=_sessionOptions(options),
        status=status,
        place=place,
    )


def _sessionOptions(options: Command) -> SessionOptions:
    return SessionOptions(congestion=options["congestion"], max_rate=options["max-rate"])


def _listener(reactor: Any, options: Command, status: Status | None) -> Any:
    from hypermail.services.listener import ListenerService

    return ListenerService(reactor, doingOf(options, status))


def _workers(reactor: Any, options: Command, overview: Overview | None) -> Any:
    from hypermail.services.processes.service import WorkersService

    return WorkersService(reactor, doingOf(options, None), options["workers"], options.given, overview)


def _starter(reactor: Any, options: Command, status: Status | None) -> Any:
    if options["dialect"] is not None:
        from hypermail.services.dialect_starter import DialectStarterService

        return DialectStarterService(
            reactor,
            options["destination"],
            options["settings"],
            inbox=options["inbox"],
            echo=bool(options["echo"]),
            status=status,
        )
    from hypermail.internet.endpoints import SessionClientEndpoint
    from hypermail.services.directory import check_trace_directory
    from hypermail.services.entrances import TunnelService
    from hypermail.services.outbox_messages import SESSION as OUTBOX_SESSION
    from hypermail.services.spool import Spool

    def endpoint(store: ISessionStore | None = None) -> SessionClientEndpoint:
        check_trace_directory(options["trace"])
        host, port = options["destination"]
        security = options["settings"].security()
        return SessionClientEndpoint(
            reactor,
            host,
            port,
            options=_sessionOptions(options),
            security=security,
            traceDirectory=options["trace"],
            store=store,
            name=OUTBOX_SESSION,
        )

    outbox = options["outbox"]
    spool = None if outbox is None else Spool(outbox, remove=bool(options["outbox-remove"]))
    return TunnelService(reactor, endpoint, options["listen"], status, spool)
