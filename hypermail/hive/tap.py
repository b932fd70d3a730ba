"""
C{twistd hypermail-queen}: its options, and the service that they make.

The plugin names this module; it is imported when the command is used, and installs no reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.python import usage

from hypermail.errors import UsageError
from hypermail.hive.directives import PATH, Directives, parse_directives


class QueenCommand(usage.Options):
    """What C{twistd hypermail-queen} understands."""

    synopsis = "[options]"
    longdesc = (
        "Publishes web applications: terminates HTTPS and passes requests on to cells, which connect to it from "
        "wherever they are. What it does is in its configuration file, which SIGHUP has it read again."
    )

    optParameters = [["conf-path", "c", PATH, "The configuration file."]]

    def postOptions(self) -> None:
        """
        Read the configuration, so that what is wrong is said at once.

        @raise usage.UsageError: when it cannot be.
        """
        try:
            read_directives(self["conf-path"])
        except UsageError as error:
            raise usage.UsageError(error.text) from None


def read_directives(path: str) -> Directives:
    """
    Read a configuration file.

    @raise UsageError: when it cannot be read, or is wrong.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(f"cannot read the configuration {path!r}: {cause}; --conf-path names another file") from None
    return parse_directives(text, path)


Options = QueenCommand  # the name that Twisted's plugins ask for


def makeService(options: QueenCommand) -> IService:
    """
    The service that the options ask for.

    @param options: parsed.
    """
    return make_queen(options, lambda: None)


def make_queen(options: QueenCommand, reopen: Callable[[], object]) -> IService:
    """
    The service that the options ask for.

    @param reopen: called at each SIGHUP, besides.
    """
    from os import urandom

    from twisted.internet import reactor

    from hypermail.hive.descriptors import allow_many
    from hypermail.hive.queen import QueenService
    from hypermail.services.ending import reportInOneLine
    from hypermail.services.hangup import HangupService

    reportInOneLine()
    allow_many()
    queen = QueenService(reactor, partial(read_directives, options["conf-path"]), urandom)

    def reload() -> None:
        reopen()
        queen.reload()

    program: Any = MultiService()
    program.addService(queen)
    program.addService(HangupService(reactor, reload))
    together: IService = program
    return together
