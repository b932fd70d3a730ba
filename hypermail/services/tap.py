"""
C{twistd hypermail}: its options, and the service that they make.

The plugin names this module; it is imported when the command is used, and installs no reactor.
"""

from __future__ import annotations

from twisted.application.service import IService
from twisted.python import usage

from hypermail.errors import UsageError
from hypermail.services.addresses import parse_listening


class ListenerCommand(usage.Options):
    """What C{twistd hypermail} understands."""

    synopsis = "[options]"
    longdesc = (
        "Listens for hypermail sessions: what `hypermail send` sends lands in the directory of --inbox, "
        "with --echo everything is sent back. Without either it answers pings and refuses the rest."
    )

    optParameters = [
        ["port", "p", "4700", "UDP port, or a description: udp:4700:interface=127.0.0.1 (\\:\\:1 for ::1)."],
        ["inbox", "i", None, "Directory that files and messages land in; made when it is missing."],
        ["trace", None, None, "Directory for a structured event log (qlog), one file per connection."],
    ]

    optFlags = [
        ["echo", "e", "Send everything back to where it came from."],
        [
            "allow-remote-plain",
            None,
            "Listen on all addresses although mode plain neither encrypts nor authenticates.",
        ],
    ]

    def postOptions(self) -> None:
        """
        Check what was given.

        @raise usage.UsageError: when it makes no sense.
        """
        try:
            self["listening"] = parse_listening(self["port"])
        except UsageError as error:
            raise usage.UsageError(f"--port: {error.text}") from None
        for name in ("inbox", "trace"):
            if self[name] == "" or "\0" in (self[name] or ""):
                raise usage.UsageError(f"--{name} needs the name of a directory")


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
        allowRemotePlain=bool(options["allow-remote-plain"]),
        traceDirectory=options["trace"],
    )
    return ListenerService(reactor, doing)
