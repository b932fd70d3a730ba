"""
Where hypermail's time goes: one work under a profiler, and its hottest functions by room.

    python -m benchmarks.profile bulk [--size 64M] [--datagram 1400] [--side starter|listener|both] [--top 5]
    python -m benchmarks.profile messages [--size 100] [--seconds 3] [--each] [--sessions 1]
    python -m benchmarks.profile asks [--size 100] [--seconds 3] [--outstanding 64]

The works are those of C{benchmarks.compare}, with both sides in processes of their own; one of them is profiled, or
both. A room is a package of hypermail's, or a module beside them; other packages count as one each. What is built in
counts to the room that has called it, and waiting for the network to none. Times are shares: under a profiler all is
slower, small functions most, so nothing here is a rate. C{--keep} keeps the profiles, for C{python -m pstats}.
"""

from __future__ import annotations

import argparse
import pstats
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypermail
from benchmarks.comparing.cases import MIB
from benchmarks.comparing.measuring import measure, write_identity
from benchmarks.comparing.work import Asks, Bulk, Messages, Work
from benchmarks.network.__main__ import size
from benchmarks.peers import PEERS

SIDES = ("starter", "listener")
#: The room of reactors that wait.
WAITING = "waiting"
#: Functions, built in, that do nothing but wait.
WAITS = ("<method 'poll' of 'select.epoll' objects>", "<method 'poll' of 'select.poll' objects>")
#: Share of all time below which a function is not shown.
LEAST = 0.002

#: (file, line, name), as C{pstats} has them.
Function = tuple[str, int, str]
_PACKAGE = Path(hypermail.__file__).parent


@dataclass(slots=True)
class Room:
    """
    @ivar seconds: in its functions, without those that these have called.
    @ivar functions: of each, seconds and calls.
    """

    seconds: float = 0.0
    functions: dict[str, tuple[float, int]] = field(default_factory=lambda: defaultdict(lambda: (0.0, 0)))

    def add(self, name: str, seconds: float, calls: int) -> None:
        """So much of a function."""
        before, count = self.functions[name]
        self.functions[name] = (before + seconds, count + calls)
        self.seconds += seconds


def room_of(file: str) -> str:
    """What room a file is in."""
    path = Path(file)
    if path.is_relative_to(_PACKAGE):
        inside = path.relative_to(_PACKAGE)
        return f"hypermail.{inside.parts[0].removesuffix('.py')}"
    parts = path.parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    return "benchmarks" if "benchmarks" in parts else "Python's library"


def rooms(stats: Mapping[Function, Sequence[Any]]) -> dict[str, Room]:
    """
    The rooms, hottest first.

    @param stats: of each function calls, calls that are not recursive, own seconds, seconds in all, and the same
        of each caller, as C{pstats.Stats.stats} has them.
    """
    found: dict[str, Room] = defaultdict(Room)
    for (file, line, name), (_, calls, own, _, callers) in stats.items():
        if file != "~":
            found[room_of(file)].add(f"{Path(file).name}:{line} {name}", own, calls)
        elif name in WAITS:
            found[WAITING].add(name, own, calls)
        else:
            for (calling, _, _), (_, count, share, _) in callers.items():
                found["Python's library" if calling == "~" else room_of(calling)].add(name, share, count)
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def report(found: Mapping[str, Room], top: int) -> str:
    """
    For people. Shares are of the time that was not spent waiting.

    @param top: functions of each room, at most.
    """
    waiting = found[WAITING].seconds if WAITING in found else 0.0
    busy = sum(room.seconds for room in found.values()) - waiting
    lines = [f"{busy:.2f} s, and {waiting:.2f} s waiting"]
    for name, room in found.items():
        if name == WAITING or room.seconds < LEAST * busy:
            continue
        lines.append(f"{room.seconds / busy:6.1%}  {name}")
        hottest = sorted(room.functions.items(), key=lambda item: -item[1][0])[:top]
        for function, (seconds, calls) in hottest:
            if seconds >= LEAST * busy:
                each = seconds / max(calls, 1) * 1e6
                lines.append(f"    {seconds / busy:6.1%}  {calls:11,} × {each:8.2f} µs  {function}")
    return "\n".join([*lines, ""])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    peers = [key for key, peer in PEERS.items() if peer.room == "sessions" and not key.endswith("-each")]
    parser.add_argument("work", choices=("bulk", "messages", "asks"))
    parser.add_argument("--side", choices=(*SIDES, "both"), default="both", help="that is profiled [both]")
    parser.add_argument("--peer", choices=peers, default=peers[0], help=f"[{peers[0]}]")
    parser.add_argument("--size", type=size, help="bytes: of all [64M], or of each message or ask [100]")
    parser.add_argument("--seconds", type=float, default=3.0, help="for which messages and asks are sent [3]")
    parser.add_argument("--datagram", type=int, help="bytes of the largest datagrams of bulk [as large as they may be]")
    parser.add_argument("--each", action="store_true", help="a Deferred for each message")
    parser.add_argument("--sessions", type=int, default=1, help="that share the messages [1]")
    parser.add_argument("--outstanding", type=int, default=64, help="asks at once [64]")
    parser.add_argument("--top", type=int, default=5, help="functions of each room [5]")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="for the profiles: starter.pstats, listener.pstats")
    return parser.parse_args(argv)


def work_of(arguments: argparse.Namespace) -> Work:
    """What is to be done."""
    if arguments.work == "bulk":
        return Bulk(arguments.size or 64 * MIB, arguments.datagram)
    if arguments.work == "messages":
        return Messages(arguments.size or 100, arguments.seconds, arguments.sessions)
    return Asks(arguments.size or 100, arguments.seconds, arguments.outstanding)


def main() -> None:
    """Run from the command line."""
    arguments = parse()
    sides = SIDES if arguments.side == "both" else (arguments.side,)
    peer = f"{arguments.peer}-each" if arguments.each else arguments.peer
    with tempfile.TemporaryDirectory() as directory:
        write_identity(Path(directory))
        kept = arguments.keep or Path(directory)
        kept.mkdir(parents=True, exist_ok=True)
        profiles = {side: str(kept / f"{side}.pstats") for side in sides}
        found = measure(peer, work_of(arguments), directory, profiles)
        print(f"{found['done']:,} in {found['seconds']:.2f} s under the profiler")
        for side, path in profiles.items():
            print(f"\n{side}: ", end="")
            stats: Any = pstats.Stats(path)
            print(report(rooms(stats.stats), arguments.top), end="")


if __name__ == "__main__":
    main()
