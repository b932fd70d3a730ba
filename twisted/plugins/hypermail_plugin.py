"""
What hypermail adds to every Twisted program on this machine.

Nothing of hypermail is imported before it is used: this file is loaded by each C{twist} and C{twistd}, and
an import error here, or a reactor installed here, would be theirs.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import ServiceMaker
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class HypermailServerParser:
    """C{hypermail:PORT}: a stream server over hypermail sessions."""

    prefix = "hypermail"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """See L{hypermail.internet.strings.parseServer}."""
        from hypermail.internet.strings import parseServer

        return parseServer(reactor, *args, **kwargs)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class HypermailClientParser:
    """C{hypermail:host=HOST:port=PORT}: streams of one hypermail session per destination."""

    prefix = "hypermail"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """See L{hypermail.internet.strings.parseClient}."""
        from hypermail.internet.strings import parseClient

        return parseClient(reactor, *args, **kwargs)


hypermail = ServiceMaker(
    "hypermail", "hypermail.services.tap", "Messages, files and streams over UDP: a listener.", "hypermail"
)
queen = ServiceMaker(
    "hypermail-queen",
    "hypermail.hive.tap",
    "Web applications, published over HTTPS: the queen of a hive.",
    "hypermail-queen",
)
cell = ServiceMaker(
    "hypermail-cell",
    "hypermail.hive.cell.tap",
    "Web applications, published through a queen: the cell of a hive.",
    "hypermail-cell",
)
serverParser = HypermailServerParser()
clientParser = HypermailClientParser()
