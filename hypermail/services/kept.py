"""
Where a program keeps its durable sessions: a store in its state directory, open as long as the program runs.
"""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from hypermail.errors import HypermailError
from hypermail.internet.credentials import stateDirectory
from hypermail.internet.security import ListenerTLS, Security, SharedSecret
from hypermail.internet.settings import ListenerSettings
from hypermail.services.addresses import Listening
from hypermail.services.store import SessionStore, openNow
from hypermail.services.workers import Workers


def owner_of(security: Security) -> bytes | None:
    """What names the identity that sessions belong to; None where sessions cannot go on."""
    if isinstance(security, ListenerTLS) and security.identity is not None:
        return sha256(security.identity.pin.encode("ascii")).digest()
    if isinstance(security, SharedSecret):
        return sha256(b"hypermail/1 sessions" + security.secret).digest()
    return None


def file_of(settings: ListenerSettings, listening: Listening) -> Path | None:
    """
    The file with the sessions of a listener; None when its port is another one each time, so that nobody finds it.

    @raise HypermailError: when the user has no home, and no state directory was given.
    """
    if not listening.port:
        return None
    directory = Path(settings.state) if settings.state is not None else stateDirectory()
    interface = f"-{listening.interface.replace(':', '_')}" if listening.interface else ""
    return directory / f"sessions-{listening.port}{interface}.db"


class KeptSessions:
    """
    A store that is open.

    @ivar store: itself.
    """

    def __init__(self, reactor: Any, file: Path, owner: bytes) -> None:
        """
        Open it; this takes the time of a few waits for the disk.

        @raise StoreFailed: when that cannot be, with one clear line.
        """
        self._workers = Workers(reactor, threads=1, name="hypermail sessions")
        self.store: SessionStore = openNow(file, owner, run=self._workers.run, now=time.time)
        self._workers.start()

    def close(self) -> Deferred[None]:
        """Write what waits, and let go of the file; fires when that is done, whatever happens."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        try:
            await self.store.close()
        except HypermailError:
            pass  # who wrote was told
        await self._workers.stop()
