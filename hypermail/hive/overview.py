"""
What a queen tells of herself, as her status shows it (C{docs/guide/hive-status}, "As JSON").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Any, TypeVar

from hypermail._version import __version__
from hypermail.hive.access import Access
from hypermail.hive.figures import WINDOWS, Figures, Moment, Series
from hypermail.hive.front.front import Front
from hypermail.hive.leashes import Cells, Member
from hypermail.hive.mounts import Pattern
from hypermail.hive.ports import Ports
from hypermail.hive.routing import Router
from hypermail.internet.address import HypermailAddress
from hypermail.services.addresses import describe

#: Cells that are named with a mount, and mounts with a cell; of more there is the number.
MOST_NAMED = 20

_WINDOW = WINDOWS[1]  # s: who was asked most often in these is told first

R = TypeVar("R")


class Overview:
    """
    @param router: of her requests.
    @param front: where they come from.
    @param ports: where she listens.
    @param now: the time, with its zone.
    @ivar seconds: the clock, which does not go back.
    @ivar figures: of the requests that are over, once somebody gives them to it.
    """

    def __init__(
        self,
        router: Router,
        front: Front,
        ports: Ports,
        seconds: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self.figures = Figures(seconds)
        self.router = router
        self.front = front
        self._ports = ports
        self.seconds = seconds
        self._now = now
        self._began = seconds()
        self._since = now()

    @property
    def cells(self) -> Cells:
        """The queen's."""
        return self.router.cells

    @property
    def uptime(self) -> float:
        """s since the figures began."""
        return self.seconds() - self._began

    def snapshot(self, most: int) -> dict[str, Any]:
        """
        What there is to tell now.

        @param most: mounts, and cells, that are told of: those with the most requests in the last seconds, in the order
            of their names, or in which they came.
        """
        second = int(self.seconds())
        mounts = list(self.cells.mounted())
        cells = list(self.cells)
        table = self.figures.mounts
        return {
            "queen": {
                "version": __version__,
                "since": _written(self._since),
                "uptime": round(self.uptime, 3),
                "now": _written(self._now()),
                "ports": self._ports.numbers(),
            },
            "totals": {
                **self.figures.read(self.figures.total),
                "running": self.router.running,
                "connections": self.front.connections,
                "connections_refused": self.front.refused,
            },
            "history": _columns(self.figures.history.read(second)),
            "mounts": {
                "count": len(mounts),
                "shown": [
                    self._mount(pattern, members)
                    for pattern, members in sorted(
                        _busiest(mounts, most, lambda mount: _lately(table.get(mount[0]), second)),
                        key=lambda mount: mount[0],
                    )
                ],
                "other": self.figures.read(table.other),
            },
            "cells": {
                "count": len(cells),
                "shown": [self._cell(member) for member in self._busy_cells(cells, most, second)],
                "other": self.figures.read(self.figures.cells.other),
            },
            "requests": [_told(access) for access in reversed(self.figures.recent)],
            "errors": [_told(access) for access in reversed(self.figures.failed)],
        }

    def _busy_cells(self, cells: list[Member], most: int, second: int) -> list[Member]:
        table = self.figures.cells
        found = set(_busiest(cells, most, lambda member: _lately(table.get(member.name), second)))
        return [member for member in cells if member in found]

    def _mount(self, pattern: Pattern, members: tuple[Member, ...]) -> dict[str, Any]:
        return {
            "mount": str(pattern),
            "cells": [member.name for member in members[:MOST_NAMED]],
            "cell_count": len(members),
            **self.figures.read(self.figures.mounts.get(pattern)),
        }

    def _cell(self, member: Member) -> dict[str, Any]:
        now = self.cells.seconds()
        peer = member.connection.transport.getPeer()
        garden = member.garden
        busy = garden.outstanding - garden.waiting
        return {
            "name": member.name,
            "address": describe(peer),
            "over": "hypermail" if isinstance(peer, HypermailAddress) else "TLS",
            "extended": member.extended,
            "since": _written(self._now() - timedelta(seconds=now - member.since)),
            "age": round(now - member.since, 3),
            "mounts": [str(pattern) for pattern in list(member.mounts)[:MOST_NAMED]],
            "mount_count": len(member.mounts),
            "bands": {"idle": garden.bands - busy, "busy": busy, "waiting": garden.waiting},
            "rests": round(max(member.health.rests_until - now, 0.0), 3),
            **self.figures.read(self.figures.cells.get(member.name)),
        }


def _busiest(found: Iterable[R], most: int, requests: Callable[[R], int]) -> list[R]:
    return nlargest(most, found, key=requests)


def _lately(series: Series | None, second: int) -> int:
    return 0 if series is None else series.within(second, _WINDOW)


def _columns(moments: list[Moment]) -> dict[str, Any]:
    """By what they are, which takes less room than by the second."""
    return {name: [getattr(moment, name) for moment in moments] for name in Moment._fields}


def _told(access: Access) -> dict[str, Any]:
    return access._asdict() | {"when": access.when.isoformat(), "seconds": round(access.seconds, 6)}


def _written(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
