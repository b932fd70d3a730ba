"""
The cases: which works, of whom, how large, and how often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.comparing.work import Asks, Bulk, Idle, Messages, Openings, Work
from benchmarks.peers import ASKS, BULK, IDLE, MESSAGES, OPENINGS, PEERS

MIB = 1 << 20

#: Bytes of UDP payload where datagrams are to be as on most paths.
DATAGRAM = 1_400


@dataclass(frozen=True, slots=True)
class Case:
    """
    What is measured beside each other.

    @ivar title: of its tables and plots.
    @ivar kind: of its works.
    @ivar works: all of which each peer does in each round.
    @ivar peers: whom it is about; empty for all that can do it.
    @ivar rounds: at most; 0 for as many as are asked for.
    """

    title: str
    kind: str
    works: tuple[Work, ...]
    peers: tuple[str, ...] = ()
    rounds: int = 0

    def contestants(self, chosen: Sequence[str]) -> list[str]:
        """Who of those takes part."""
        return [key for key in chosen if self.kind in PEERS[key].kinds and (not self.peers or key in self.peers)]


def cases(quick: bool) -> dict[str, Case]:
    """All cases. @param quick: small sizes, for a first look."""
    seconds = 0.3 if quick else 2.0
    rest = 1.0 if quick else 5.0
    size = (16 if quick else 256) * MIB
    own = ("hypermail", "hypermail-compiled")
    found = {
        "bulk-1400": Case("Bulk, datagrams of 1,400 bytes", BULK, (Bulk(size, DATAGRAM),)),
        "bulk": Case("Bulk, datagrams as large as they may be", BULK, (Bulk(size),)),
        "messages-100": Case("Messages of 100 bytes", MESSAGES, (Messages(100, seconds),)),
        "messages-1000": Case("Messages of 1,000 bytes", MESSAGES, (Messages(1_000, seconds),)),
        "asks-1": Case("Request and response, one outstanding", ASKS, (Asks(100, seconds, 1),)),
        "asks-64": Case("Request and response, 64 outstanding", ASKS, (Asks(100, seconds, 64),)),
        "openings": Case("Connections", OPENINGS, (Openings(seconds),)),
        "memory-1000": Case("Memory of 1,000 idle connections", IDLE, (Idle(200 if quick else 1_000, rest),)),
        "memory-10000": Case("Memory of 10,000 idle connections", IDLE, (Idle(10_000, rest),), rounds=3),
        "idle-5": Case("Idle sessions, pinged every 5 s", IDLE, (Idle(10_000, 10.0, 20.0, 5.0),), own, 3),
        "idle-60": Case("Idle sessions, pinged every 60 s", IDLE, (Idle(10_000, 10.0, 60.0, 60.0),), own, 3),
        "scale": Case(
            "Sessions that send at once",
            MESSAGES,
            tuple(Messages(100, 2 * seconds, sessions, 6 * seconds) for sessions in (1, 10, 100, 1_000)),
            own,
        ),
    }
    if quick:
        for name in ("memory-10000", "idle-5", "idle-60"):
            del found[name]
    return found
