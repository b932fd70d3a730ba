"""
What each suite measures. A suite is a list of cases for each round; a case is measured when its turn comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.netemu import BadNetwork
from benchmarks.network.figures import delivered, percentile
from benchmarks.network.measuring import PORT, Flow, counted, measure
from benchmarks.network.peers import PEERS
from benchmarks.network.work import Bulk, Messages

#: The path: Mbit/s, ms one way, and ms of queue: bandwidth times one round trip.
RATE = 100
DELAY = 25
QUEUE = 50

LOSSES = (0, 1, 5)
ROUND_TRIPS = (10, 50, 200)

#: The messages: s between two, and bytes.
INTERVAL = 0.01
MESSAGE = 200

#: Undisturbed, and ms of network and of none in turn.
_BLACKOUTS: tuple[dict[str, float], ...] = ({}, {"on": 990, "off": 10})

#: s for which C{blackout} and C{fairness} run, and by how much the second flow of C{fairness} begins later.
BLACKOUT_SECONDS = 20
FAIRNESS_SECONDS = 40
LATER = 2.0
#: s after the beginning of the work that the blackouts begin, when slow start is over: one that ends it by chance says
#: nothing of who answers it how. Rounds differ by a third of the time between two: a sawtooth may just have begun.
UNDISTURBED = 4.0
PHASES = 3

#: s for each bulk stream and for the messages of C{roundtrip}, and its loss in percent.
ROUND_TRIP_BULK = 15
ROUND_TRIP_MESSAGES = 20
ROUND_TRIP_LOSS = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """
    What the user wants.

    @ivar peers: keys, in order.
    @ivar size: bytes of a bulk stream of C{goodput}.
    @ivar seconds: that it may take.
    @ivar duration: s for which messages are sent in C{latency}.
    """

    peers: Sequence[str]
    size: int
    seconds: float
    duration: float


@dataclass(frozen=True, slots=True)
class Case:
    """
    One measurement to be made.

    @ivar labels: what tells it from others.
    @ivar run: makes it, with a C{seed} for the network's chance; what it returns is kept.
    """

    labels: dict[str, Any]
    run: Callable[..., dict[str, Any]]


def path(round_trip: float = 2 * DELAY, **faults: Any) -> dict[str, Any]:
    """Conditions of the path, with a queue of one round trip."""
    return {"rate": RATE, "delay": round_trip / 2, "queue": round_trip, **faults}


def _sides(found: dict[str, Any]) -> dict[str, Any]:
    kept = {f"{side}_processor": round(found[side]["processor"], 3) for side in ("starter", "listener")}
    return {**kept, "forth": found["forth"], "back": found["back"]}


def _bulk(peer: str, work: Bulk, changes: dict[str, float] | None = None, **conditions: Any) -> dict[str, Any]:
    found = measure(peer, work, conditions, changes, UNDISTURBED + conditions["seed"] % PHASES / PHASES)
    kept = {name: found[name] for name in ("rate", "bytes", "seconds", "intact")}
    return {**kept, "cut": bool(work.size) and not found["whole"], **_sides(found)}


def latencies(found: dict[str, Any]) -> dict[str, Any]:
    """What is kept of many: percentiles in ms, and None where one is beyond what arrived."""
    values, missing = found["latencies"], found["missing"]
    kept: dict[str, Any] = {"missing": missing, "intact": found["intact"]}
    for name, percent in {"p50": 50, "p90": 90, "p99": 99, "max": 100}.items():
        value = percentile(values, percent, missing)
        kept[name] = round(value * 1e3, 2) if value != float("inf") else None
    return kept


def _messages(peer: str, seconds: float, **conditions: Any) -> dict[str, Any]:
    found = measure(peer, Messages(round(seconds / INTERVAL), INTERVAL, MESSAGE), conditions)
    return {**latencies(found), **_sides(found)}


def _streaming(choice: Choice) -> list[str]:
    return [key for key in choice.peers if not PEERS[key].only_messages]


def goodput(choice: Choice) -> list[Case]:
    """A bulk stream at each loss."""
    work = Bulk(choice.size, choice.seconds)
    return [
        Case(
            {"peer": key, "loss": loss},
            partial(_bulk, key, work, **path(loss=loss)),
        )
        for loss in LOSSES
        for key in _streaming(choice)
    ]


def latency(choice: Choice) -> list[Case]:
    """Messages at each loss."""
    return [
        Case(
            {"peer": key, "loss": loss},
            partial(_messages, key, choice.duration, **path(loss=loss)),
        )
        for loss in LOSSES
        for key in choice.peers
    ]


def roundtrip(choice: Choice) -> list[Case]:
    """Both at each round trip."""
    work = Bulk(0, ROUND_TRIP_BULK)
    cases = []
    for milliseconds in ROUND_TRIPS:
        conditions = path(milliseconds, loss=ROUND_TRIP_LOSS)
        for key in choice.peers:
            labels = {"peer": key, "round_trip": milliseconds}
            if not PEERS[key].only_messages:
                cases.append(Case({**labels, "what": "bulk"}, partial(_bulk, key, work, **conditions)))
            messages = partial(_messages, key, ROUND_TRIP_MESSAGES, **conditions)
            cases.append(Case({**labels, "what": "messages"}, messages))
    return cases


def blackout(choice: Choice) -> list[Case]:
    """A bulk stream with and without short failures."""
    work = Bulk(0, BLACKOUT_SECONDS)
    return [
        Case(
            {"peer": key, "off": faults.get("off", 0)},
            partial(_bulk, key, work, faults, **path()),
        )
        for key in _streaming(choice)
        if PEERS[key].room in ("sessions", "tls")
        for faults in _BLACKOUTS
    ]


def fairness(choice: Choice) -> list[Case]:
    """Two bulk streams through one bottleneck, each of hypermail's controllers beside the same of TCP's."""
    pairs = [(f"hypermail-{name}", f"tcp-{name}") for name in ("cubic", "bbr")]
    return [
        Case(
            {"peer": first, "beside": second},
            partial(beside, first, second, **path()),
        )
        for pair in pairs
        if set(pair) <= set(choice.peers)
        for first, second in (pair, pair[::-1])
    ]


def beside(first: str, second: str, **conditions: Any) -> dict[str, Any]:
    """
    Two flows through one network; the second begins a little later.

    @return: the rates of both in bytes/s, and the share of the first, over the second half of the time.
    """
    work = Bulk(0, FAIRNESS_SECONDS)
    with BadNetwork(**conditions) as network, Flow(network, first, work) as one:
        time.sleep(LATER)
        with Flow(network, second, work, port=PORT + 1) as other:
            found = [one.result(), other.result()]
        forth, _ = network.count()
    half = FAIRNESS_SECONDS / 2
    start = found[0]["began"] + half
    rates = [delivered(result["samples"], start, start + half) / half for result in found]
    return {
        "rates": rates,
        "share": rates[0] / (sum(rates) or 1),
        "intact": all(result["intact"] for result in found),
        "forth": counted(forth),
    }


SUITES: dict[str, Callable[[Choice], list[Case]]] = {
    "goodput": goodput,
    "latency": latency,
    "roundtrip": roundtrip,
    "blackout": blackout,
    "fairness": fairness,
}
