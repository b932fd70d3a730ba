"""
The stores of a listener's workers: each has one of its own, with the sessions that come to it.

A session comes to the worker that its byte says, and with another number of workers that is another one. So what was
left by as many others is moved when a listener starts, before anybody looks for it. A store is removed when all that it
had is elsewhere; when that is interrupted, it is done again.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from pathlib import Path

from hypermail.demux import Share
from hypermail.errors import StoreFailed
from hypermail.services.store import openedFile
from hypermail.services.store_file import StoreFile
from hypermail.services.store_sql import explained, sync_directory


def shareOf(path: Path, share: Share) -> Path:
    """
    The file of a worker.

    @param path: of the listener, if it has no workers.
    """
    return path if share.workers == 1 else path.with_name(f"{path.stem}.{share.worker}-of-{share.workers}{path.suffix}")


def share(path: Path, owner: bytes, workers: int) -> int:
    """
    Move sessions to where so many workers look for them.

    @param path: as of L{shareOf}.
    @param owner: see L{openedFile}.
    @return: how many stores were moved. Without any, nothing is done.
    @raise StoreFailed: when a store is in use, or not usable: as L{openedFile}.
    """
    shares = [Share(worker, workers) for worker in range(workers)]
    files = [shareOf(path, share) for share in shares]
    others = [other for other in _stores(path) if other not in files]
    if not others:
        return 0
    with ExitStack() as closing:

        def opened(file: Path) -> StoreFile:
            store = openedFile(file, owner, time.time)
            closing.callback(store.close)
            return store

        # All of them before anything is moved: while one of those workers runs nothing is taken from the others.
        sources = [opened(other) for other in others]
        targets = [opened(file) for file in files]
        for source in sources:
            for share, target in zip(shares, targets, strict=True):
                target.copy(source, share.has)
    for other in others:
        _remove(other)
    return len(others)


def _stores(path: Path) -> list[Path]:
    """All stores of a listener that are there, whatever number of workers they are for."""
    pattern = re.compile(rf"{re.escape(path.stem)}(\.\d+-of-\d+)?{re.escape(path.suffix)}", re.ASCII)
    try:
        return sorted(path.with_name(name) for name in os.listdir(path.parent) if pattern.fullmatch(name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise explained(str(path), error) from error


def _remove(path: Path) -> None:
    if os.path.lexists(f"{path}-wal"):  # nobody else has it open, so SQLite could not do what it does at closing
        raise StoreFailed(f"the store {path} could not be closed: look whether its disk is full, or failing")
    try:
        path.unlink()
        sync_directory(str(path.parent))  # it must not come back: it is older than what the workers will write
    except OSError as error:
        raise explained(str(path), error) from error
