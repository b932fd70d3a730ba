"""
Where a program keeps its durable sessions: a store in its state directory, open as long as the program runs.
"""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from hypermail.internet.credentials import stateDirectory
from hypermail.internet.security import ListenerTLS, Security, SharedSecret
from hypermail.internet.settings import ListenerSettings
from hypermail.services.addresses import Listening
from hypermail.services.store import SessionStore, openedFile
from hypermail.services.store_file import StoreFile
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


class OwnStore(SessionStore):
    """A store with a thread of its own; L{openStore} opens it."""

    def __init__(self, file: StoreFile, workers: Workers) -> None:
        super().__init__(file, workers.run)
        self._workers = workers

    def close(self) -> Deferred[None]:
        """
        See L{ISessionStore.close}; fires when the thread has ended, too.

        @return: a L{Deferred} that errbacks with L{StoreFailed} when what waited could not be written.
        """
        return super().close().addBoth(self._stop)

    def _stop(self, result: Any) -> Deferred[Any]:
        return self._workers.stop().addCallback(lambda _: result)


def openStore(reactor: Any, path: str | os.PathLike[str], owner: bytes) -> Deferred[OwnStore]:
    """
    Open the store of durable sessions in a file; it is made, with its directory, when it is not there.

    @param path: of the file, on a disk of this machine.
    @param owner: whom its sessions belong to, as C{identity.pin.encode()}: it is not opened for another one.
    @return: a L{Deferred} of the store, an L{ISessionStore} for the endpoints of this process; close it when they are.
        It errbacks with L{StoreFailed}, whose text is one line that says what to do, when the file is in use, damaged,
        of another owner, of a newer version, no store at all, or cannot be written.
    """
    workers = _thread(reactor)
    workers.start()
    opening = workers.run(lambda: openedFile(path, owner, time.time))
    return opening.addCallbacks(
        lambda file: OwnStore(file, workers), lambda failure: workers.stop().addCallback(lambda _: failure)
    )


def openNow(reactor: Any, path: str | os.PathLike[str], owner: bytes) -> OwnStore:
    """
    The same in this thread, for a program that has not started its reactor.

    @raise StoreFailed: as L{openStore}.
    """
    workers = _thread(reactor)
    file = openedFile(path, owner, time.time)
    workers.start()
    return OwnStore(file, workers)


def _thread(reactor: Any) -> Workers:
    return Workers(reactor, threads=1, name="hypermail sessions")
