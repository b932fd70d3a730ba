"""
The table of C{hypermail status} on a terminal. Importing this needs the extra C{cli}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hypermail.services.watching import INTERVAL, LEFT, row, summaries, titles

_AROUND = 6  # lines: the summary, which may take two or three, an empty one, the titles, the rest

NARROW = 120
"""Columns of a terminal below which it shows L{LESS} less."""

LESS = frozenset(("cipher", "state", "window", "control", "MTU"))
"""Titles of what is left out first."""


def drawn(snapshot: dict[str, Any], width: int, height: int) -> Group:
    """
    A status as a table.

    @param width: columns of the terminal.
    @param height: its lines; of sessions for which there is no room only the number is told.
    """
    columns = titles(snapshot)
    shown = [at for at, title in enumerate(columns) if width >= NARROW or title not in LESS]
    sessions = snapshot["sessions"]
    parts: list[Any] = [Text(line) for line in summaries(snapshot)]
    rows = max(height - _AROUND - len(parts) + 1, 1)
    if sessions:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for at in shown:
            table.add_column(columns[at], justify="left" if at < LEFT else "right", no_wrap=True)
        for session in sessions[:rows]:
            cells = row(session, columns)
            # Text, so that nothing a peer calls itself is taken for markup.
            table.add_row(*(Text(cells[at]) for at in shown))
        parts += [Text(), table]
    if len(sessions) > rows:
        parts.append(Text(f"... and {len(sessions) - rows:,} more (--once shows all)"))
    return Group(*parts)


def watch(ask: Callable[[], dict[str, Any]], out: TextIO, sleep: Callable[[float], object]) -> None:
    """
    Show a status, and keep it up to date until an interrupt (Ctrl-C).

    @param ask: looks once.
    @param sleep: waits for so many s.
    @raise hypermail.services.watching.NoStatus: when there is none, or none any more.
    """
    console = Console(file=out)
    snapshot = ask()
    with Live(console=console, auto_refresh=False, screen=False, vertical_overflow="crop") as live:
        try:
            while True:
                live.update(drawn(snapshot, console.width, console.height), refresh=True)
                sleep(INTERVAL)
                snapshot = ask()
        except KeyboardInterrupt:
            return
