"""
The queen, as a service (C{docs/protocol/hive}, "A queen's life").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hypermail.errors import HypermailError
from hypermail.hive.directives import Directives
from hypermail.hive.installation import HLHV, HTTPS, Installation
from hypermail.services.ending import cannotStart

#: s that requests which are running have when the queen stops.
GRACE = 30.0


class QueenService(Service):
    """
    @param read: gives the configuration, again at each L{reload}; raises L{HypermailError}.
    @param chance: so many random bytes.
    @ivar installation: what she consists of; None when she does not run.
    """

    name = "hypermail-queen"
    _log = Logger()

    def __init__(self, reactor: Any, read: Callable[[], Directives], chance: Callable[[int], bytes]) -> None:
        self._reactor = reactor
        self._read = read
        self._chance = chance
        self.installation: Installation | None = None

    def privilegedStartService(self) -> None:
        """Read what only root may, and listen; C{twistd} gives up its privileges afterwards."""
        self._begin()

    def startService(self) -> None:
        """
        Begin; C{twist} calls this alone.

        @raise hypermail.services.ending.CannotStart: when she cannot.
        """
        Service.startService(self)
        if self.installation is None:
            self._begin()

    def _begin(self) -> None:
        installation = Installation(self._reactor, self._chance)
        try:
            directives = self._read()
            installation.obey(directives)
        except HypermailError as error:
            Deferred.fromCoroutine(installation.close())
            cannotStart(self._log, error.text)
        self.installation = installation
        if directives.key_hash is None:
            self._log.warn("no cell can log in: the configuration has no connKey; `hypermail hive-key` makes one")
        self._log.info(
            "the queen serves HTTPS at port {https}, and cells connect at port {cells}",
            https=installation.ports.number(HTTPS),
            cells=installation.ports.number(HLHV),
        )

    def reload(self) -> None:
        """
        Read the configuration and all files again, and open the access log anew. Connections go on. What cannot be is
        logged, and stays as it was.
        """
        if self.installation is None:
            return
        try:
            self.installation.obey(self._read())
        except HypermailError as error:
            self._log.error("the configuration stays as it was: {reason}", reason=error.text)
        else:
            self._log.info("the configuration was read again")

    def stopService(self) -> Deferred[None]:
        """
        Let requests that are running finish, for L{GRACE} at most, and take no other.

        @return: fires when nothing is open any more.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        installation, self.installation = self.installation, None
        if installation is None:
            return
        late = self._reactor.callLater(GRACE, self._cut, installation)
        await installation.drain()
        if late.active():
            late.cancel()
        await installation.close()

    def _cut(self, installation: Installation) -> None:
        self._log.warn("requests that have gone on for {grace:.0f} s are cut off", grace=GRACE)
        installation.cut()
