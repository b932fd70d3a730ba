"""
The scenarios that hypermail must stand, between namespaces and in real time. Their rules are those of the simulated
ones (C{hypermail/test/scenarios.py}) as far as they make sense on a machine's own clock; content is compared in each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks.netemu import BadNetwork
from benchmarks.network.figures import first_after, runs_at
from benchmarks.network.measuring import BEGINNING, PORT, Flow, Program, measure
from benchmarks.network.suites import Case, Choice, beside
from benchmarks.network.work import Bulk, Messages, Openings

#: Mbit/s and ms one way, where a scenario doesn't say otherwise.
RATE = 20
DELAY = 20
BYTES_PER_SECOND = RATE * 1e6 / 8

TRANSFER = Bulk(8 << 20, 60)
#: s of a stream whose rate is looked at.
STEADY = 15.0

SESSIONS = 50
#: s that each may take to open where the network is bad.
PATIENT = {"connection_timeout": 30.0}

#: Packets of the longest run of losses.
LONGEST_RUN = 3

#: s of network and of none, and how often.
ON, OFF, TIMES = 5.0, 2.0, 3
#: s beyond a round trip in which a stream has to go on after a blackhole.
RESUMED = 0.3

#: s from the start of the starter's process to the first move of its address, and from one to the next.
FIRST_MOVE, MOVE = 2.0, 5.0
#: Other addresses of the starter's host.
ELSEWHERE = ("10.77.0.1", "10.77.0.2", "10.77.0.3")


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a scenario has shown.

    @ivar found: the figure.
    @ivar needed: what it has to be.
    @ivar passed: whether it is, and every byte was right.
    """

    found: str
    needed: str
    passed: bool


def _network(seed: int, **conditions: Any) -> dict[str, Any]:
    return {"rate": RATE, "delay": DELAY, "seed": seed, **conditions}


def _transferred(found: dict[str, Any], *, whole: bool = True) -> bool:
    return bool(found["intact"] and (found["whole"] or not whole))


def _rate(found: dict[str, Any], share: float, of: float, **whole: bool) -> Outcome:
    reached = found["rate"] / of
    return Outcome(f"{reached:.0%}", f"≥ {share:.0%}", _transferred(found, **whole) and reached >= share)


def clean(peer: str, seed: int) -> Outcome:
    """15 ms, 10 Mbit/s, a queue of 25 datagrams of 1,200 bytes."""
    rate = 10
    queue = 25 * 1_200 * 8 / rate / 1e3
    found = measure(peer, TRANSFER, _network(seed, rate=rate, delay=15, queue=queue))
    return _rate(found, 0.9, rate * 1e6 / 8)


def long_round_trip(peer: str, seed: int) -> Outcome:
    """750 ms one way."""
    found = measure(peer, Bulk(1 << 20, 60), _network(seed, delay=750), options=PATIENT)
    return Outcome(f"{found['seconds']:.1f} s for 1 MiB", "opens, transfers", _transferred(found))


def _opens(peer: str, seed: int, **faults: Any) -> Outcome:
    found = measure(peer, Openings(SESSIONS, PATIENT["connection_timeout"]), _network(seed, **faults), options=PATIENT)
    return Outcome(f"{found['opened']} opened", f"{SESSIONS} opened", found["opened"] == SESSIONS)


def handshake_loss(peer: str, seed: int) -> Outcome:
    """30 % lost each way, in runs of 1 to 3."""
    return _opens(peer, seed, loss=runs_at(0.3, LONGEST_RUN), burst=LONGEST_RUN)


def handshake_corruption(peer: str, seed: int) -> Outcome:
    """30 % of datagrams with a flipped bit."""
    return _opens(peer, seed, corrupt=30)


def transfer_loss(peer: str, seed: int) -> Outcome:
    """2 % lost each way, in runs of 1 to 3."""
    found = measure(peer, TRANSFER, _network(seed, loss=runs_at(0.02, LONGEST_RUN), burst=LONGEST_RUN))
    # what is declared lost is sent again, and so is what a probe carries
    known = found["starter"]["statistics"]
    again = known["datagrams_lost"] + known["probe_timeouts"]
    lost = found["forth"]["lost"] + found["forth"]["overflowed"]
    passed = _transferred(found) and again <= 2 * lost
    return Outcome(f"{again} datagrams sent again, {lost} lost", "≤ 2 × lost", passed)


def transfer_corruption(peer: str, seed: int) -> Outcome:
    """2 % of datagrams with a flipped bit."""
    found = measure(peer, TRANSFER, _network(seed, corrupt=2))
    corrupted = found["forth"]["corrupted"] + found["back"]["corrupted"]
    statistics = [found[side]["statistics"] for side in ("starter", "listener")]
    counted = sum(known["datagrams_dropped"] for known in statistics)
    # one whose tag was hit is no connection's, and counted elsewhere; of acks, which are small, that is one in ten
    passed = _transferred(found) and 0.85 * corrupted <= counted <= corrupted
    return Outcome(f"{counted} counted of {corrupted}", "≥ 85 % counted, none delivered", passed)


def reordering(peer: str, seed: int) -> Outcome:
    """30 % held for 5 to 30 ms more than the others."""
    found = measure(peer, TRANSFER, _network(seed, reorder=30, queue=1_000))
    known = found["starter"]["statistics"]
    # nothing is lost here but what a queue drops
    spurious = max(0, known["datagrams_lost"] - found["forth"]["overflowed"]) / known["datagrams_sent"]
    passed = _transferred(found) and spurious <= 0.01
    return Outcome(f"{spurious:.1%} sent again for nothing", "≤ 1 %", passed)


def jitter(peer: str, seed: int) -> Outcome:
    """1 to 10 ms of jitter at about 20 ms of round trip, beside the same round trip without."""
    steady = measure(peer, TRANSFER, _network(seed, delay=10.5))
    found = measure(peer, TRANSFER, _network(seed, delay=6, jitter=9))
    outcome = _rate(found, 0.8, steady["rate"])
    return Outcome(f"{outcome.found} of clean", outcome.needed, outcome.passed)


def blackhole(peer: str, seed: int) -> Outcome:
    """5 s of network and 2 s of none, again and again."""
    work = Bulk(0, TIMES * (ON + OFF) + ON)
    returns = []
    with BadNetwork(**_network(seed)) as network, Flow(network, peer, work) as flow:
        for _ in range(TIMES):
            time.sleep(ON)
            network.change(on=0, off=1)
            time.sleep(OFF)
            network.change(off=0)
            returns.append(time.monotonic())
        found = flow.result()
    resumed = [first_after(found["samples"], at) for at in returns]
    waits = [arrived - at for arrived, at in zip(resumed, returns) if arrived is not None]
    limit = 2 * DELAY / 1e3 + RESUMED
    passed = _transferred(found, whole=False) and len(waits) == TIMES and max(waits) <= limit
    return Outcome(f"{max(waits, default=0) * 1e3:.0f} ms at most", f"≤ {limit * 1e3:.0f} ms after its return", passed)


def _moves(peer: str, seed: int, addresses: tuple[str, ...]) -> Outcome:
    work = Messages(round((FIRST_MOVE + MOVE * len(addresses)) / 0.01), 0.01)
    with BadNetwork(**_network(seed)) as network:
        for address in ELSEWHERE:
            network.run("a", ["ip", "addr", "add", f"{address}/32", "dev", "tun0"], check=True)
            network.run("b", ["ip", "route", "add", address, "dev", "tun0"], check=True)
        with Program(network, "a", "relay", "relay", "0", network.b.address, str(PORT)) as relay:
            through = ("127.0.0.1", relay.read(BEGINNING))
            with Flow(network, peer, work, through=through) as flow:
                time.sleep(FIRST_MOVE)
                for number, address in enumerate(addresses):
                    if number:
                        time.sleep(MOVE)
                    host, port = relay.ask(address or network.a.address)
                found = flow.result()
    followed = found["listener"]["statistics"]["peer"] == f"{host}:{port}"
    slowest = f"{max(found['latencies']) * 1e3:.0f} ms at most" if found["latencies"] else "nothing arrived"
    shown = f"{found['missing']} missing, {slowest}" + ("" if followed else ", not followed")
    return Outcome(shown, "followed, none missing", followed and found["intact"] and not found["missing"])


def rebind_port(peer: str, seed: int) -> Outcome:
    """A NAT takes another port, after 1 s and then every 5 s."""
    return _moves(peer, seed, ("", "", ""))


def rebind_address(peer: str, seed: int) -> Outcome:
    """A NAT takes another address, after 1 s and then every 5 s."""
    return _moves(peer, seed, ELSEWHERE)


def _buffer(peer: str, seed: int, products: float) -> Outcome:
    found = measure(peer, Bulk(0, STEADY), _network(seed, queue=products * 2 * DELAY))
    outcome = _rate(found, 0.8, BYTES_PER_SECOND, whole=False)
    smoothed = found["starter"]["statistics"]["rtt"] * 1e3
    return Outcome(f"{outcome.found}, round trip {smoothed:.0f} ms", outcome.needed, outcome.passed)


def deep_buffer(peer: str, seed: int) -> Outcome:
    """A queue of 10 times bandwidth times round trip."""
    return _buffer(peer, seed, 10)


def shallow_buffer(peer: str, seed: int) -> Outcome:
    """A queue of a tenth of bandwidth times round trip."""
    return _buffer(peer, seed, 0.1)


def cross_traffic(peer: str, seed: int) -> Outcome:
    """A TCP CUBIC flow beside it."""
    found = beside(peer, "tcp-cubic", **_network(seed, queue=2 * DELAY))
    return Outcome(f"{found['share']:.0%}", "30–70 %", found["intact"] and 0.3 <= found["share"] <= 0.7)


SCENARIOS: dict[str, Callable[[str, int], Outcome]] = {
    "clean": clean,
    "long round trip": long_round_trip,
    "handshake loss": handshake_loss,
    "handshake corruption": handshake_corruption,
    "transfer loss": transfer_loss,
    "transfer corruption": transfer_corruption,
    "reordering": reordering,
    "jitter": jitter,
    "blackhole": blackhole,
    "rebind port": rebind_port,
    "rebind address": rebind_address,
    "deep buffer": deep_buffer,
    "shallow buffer": shallow_buffer,
    "cross traffic": cross_traffic,
}

#: Only CUBIC has to share with CUBIC.
ONLY_CUBIC = {"cross traffic"}


def _kept(run: Callable[[str, int], Outcome], peer: str, seed: int) -> dict[str, Any]:
    return asdict(run(peer, seed))


def matrix(choice: Choice) -> list[Case]:
    """Each scenario with each of hypermail's congestion controllers."""
    return [
        Case(
            {"scenario": name, "peer": key},
            partial(_kept, run, key),
        )
        for name, run in SCENARIOS.items()
        for key in ("hypermail-cubic", "hypermail-bbr")
        if key in choice.peers and (key == "hypermail-cubic" or name not in ONLY_CUBIC)
    ]
