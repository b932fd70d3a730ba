"""
C{twistd hypermail}: its options, and the service that they make.

The plugin names this module; it is imported when the command is used, and installs no reactor.
"""

from __future__ import annotations

from twisted.application.service import IService
from twisted.python import usage

from hypermail.errors import UsageError
from hypermail.internet.settings import ListenerSettings
from hypermail.link.congestion import controller, names
from hypermail.options import Options as SessionOptions
from hypermail.services.addresses import parse_listening
from hypermail.services.rates import parse_rate

_DIRECTORIES = ("inbox", "trace", "state")


class ListenerCommand(usage.Options):
    """What C{twistd hypermail} understands."""

    synopsis = "[options]"
    longdesc = (
        "Listens for hypermail sessions: what `hypermail send` sends lands in the directory of --inbox, "
        "with --echo everything is sent back. Without either it answers pings and refuses the rest. "
        "Sessions are TLS; at its start it says what others have to type to reach it."
    )

    optParameters = [
        ["port", "p", "4700", "UDP port, or a description: udp:4700:interface=127.0.0.1 (\\:\\:1 for ::1)."],
        ["inbox", "i", None, "Directory that files and messages land in; made when it is missing."],
        ["identity", None, None, "PEM file with the listener's key and certificate; see `hypermail identity`."],
        ["state", None, None, "Directory of the identity that is made without --identity [$XDG_STATE_HOME/hypermail]."],
        [
            "trust-roots",
            None,
            None,
            "PEM file or directory of authorities: only starters with their certificates come in.",
        ],
        ["secret-file", None, None, "File with at least 32 secret bytes, the same on both sides: mode secret, no TLS."],
        ["congestion", None, SessionOptions().congestion, f"Congestion control of what is sent: {', '.join(names())}."],
        [
            "max-rate",
            None,
            None,
            "Bits per second, as 800k, 2.5M or 1G, that each session may send at most [no limit].",
        ],
        ["trace", None, None, "Directory for a structured event log (qlog), one file per connection."],
    ]

    optFlags = [
        ["echo", "e", "Send everything back to where it came from."],
        ["plain", None, "Mode plain: neither encrypted nor authenticated, for this machine only."],
        ["allow-remote-plain", None, "With --plain: listen on all addresses all the same."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["allow"] = []

    def opt_allow(self, pin: str) -> None:
        """Let in only starters with a certificate of this pin, or of a FILE of pins; may be given again."""
        self["allow"].append(pin)

    def postOptions(self) -> None:
        """
        Check what was given.

        @raise usage.UsageError: when it makes no sense.
        """
        try:
            self["listening"] = parse_listening(self["port"])
        except UsageError as error:
            raise usage.UsageError(f"--port: {error.text}") from None
        try:
            controller(self["congestion"])
        except UsageError as error:
            raise usage.UsageError(f"--congestion: {error.text}") from None
        try:
            self["max-rate"] = None if self["max-rate"] is None else parse_rate(self["max-rate"])
        except UsageError as error:
            raise usage.UsageError(f"--max-rate: {error.text}") from None
        for name in ("inbox", "trace", "state", "identity", "trust-roots", "secret-file"):
            if self[name] == "" or "\0" in (self[name] or ""):
                raise usage.UsageError(
                    f"--{name} needs the name of a {'directory' if name in _DIRECTORIES else 'file'}"
                )
        self["settings"] = ListenerSettings(
            identity=self["identity"],
            state=self["state"],
            allow=tuple(self["allow"]),
            trustRoots=self["trust-roots"],
            secretFile=self["secret-file"],
            plain=bool(self["plain"]),
            allowRemotePlain=bool(self["allow-remote-plain"]),
        )
        try:
            self["settings"].check()
        except UsageError as error:
            raise usage.UsageError(error.text) from None


Options = ListenerCommand  # the name that Twisted's plugins ask for


def makeService(options: ListenerCommand) -> IService:
    """
    The service that the options ask for.

    @param options: parsed.
    """
    from twisted.internet import reactor

    from hypermail.services.ending import reportInOneLine
    from hypermail.services.listener import Doing, ListenerService

    reportInOneLine()
    doing = Doing(
        listening=options["listening"],
        inbox=options["inbox"],
        echo=bool(options["echo"]),
        settings=options["settings"],
        traceDirectory=options["trace"],
        options=SessionOptions(congestion=options["congestion"], max_rate=options["max-rate"]),
    )
    return ListenerService(reactor, doing)
