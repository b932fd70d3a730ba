"""
The scenarios of starters that are at another address than before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from hypermail.test.paths import CLEAN, SIZE, demand
from hypermail.testing import Pair, World

#: Where the starter is, one after the other.
PORTS = [("10.2.0.1", 50_000 + number) for number in range(100)]
HOSTS = [(f"10.2.{number}.1", 50_000) for number in range(100)]


def rebind_port(seed: int) -> World:
    """A NAT gives the starter another port after 1 s, then every 5 s."""
    return rebind(seed, PORTS)


def rebind_address(seed: int) -> World:
    """A NAT gives the starter another address after 1 s, then every 5 s."""
    return rebind(seed, HOSTS)


def change_address(seed: int) -> World:
    """The starter's host itself changes its address after 1 s, then every 5 s."""
    return move(seed, HOSTS, lambda pair, address: pair.starter.node.move(address))


def rebind(seed: int, publics: list[tuple[str, int]]) -> World:
    """With every second seed what was sent to the old address still arrives."""

    def change(pair: Pair, address: tuple[str, int]) -> None:
        pair.network.rebind(pair.starter.node.address, address, keep_old=bool(seed % 2))

    return move(seed, publics, change)


def move(seed: int, addresses: list[tuple[str, int]], change: Callable[[Pair, tuple[str, int]], object]) -> World:
    """
    Data flow both ways, and do so again within a round trip and, since a full queue may lose challenges, three probe
    timeouts after each move. Each move sends no more than the windows again in vain.
    """
    pair = Pair(seed, replace(CLEAN, bandwidth=2e6))
    change(pair, addresses[0])
    pair.open()
    random = Random(seed)
    data = random.randbytes(SIZE)
    forth, back = pair.starter.open_stream(b"forth", data), pair.listener.open_stream(b"back", data)
    streams = [(pair.listener.application.streams, forth.id), (pair.starter.application.streams, back.id)]

    def have() -> list[int]:
        return [len(found[id].data) if id in found else 0 for found, id in streams]

    def flows(before: list[int]) -> bool:
        return all(now > then or now == SIZE for now, then in zip(have(), before, strict=True))

    def figures() -> list[dict[str, Any]]:
        return [side.connection.statistics() for side in (pair.starter, pair.listener)]

    pair.run_for(random.uniform(0.9, 1.1))
    moves = again = 0
    while min(have()) < SIZE - 300_000:
        began, before = pair.now, figures()
        moves += 1
        address = addresses[moves]
        change(pair, address)
        rtt = max(each["rtt"] for each in before)
        most = rtt + 3 * (1.3 * rtt + 0.025)
        pair.run(lambda address=address: pair.listener.connection.address == address, limit=most)  # type: ignore[misc]
        pair.run(partial(flows, have()), limit=most)
        demand(pair.now - began <= most, f"it took {pair.now - began:.3f} s, {most:.3f} s are allowed", pair)
        again += sum(each["window"] for each in before)
        pair.run_for(max(0.0, began + 5 - pair.now))
    pair.run(lambda: min(have()) == SIZE, limit=120)
    demand(moves >= 2, "it was too fast for that", pair)
    demand(pair.listener.connection.statistics()["moves"] == moves, "the listener has counted other moves", pair)
    names = ("bytes_sent", "bytes_lost", "mtu_probes")
    sent, lost, probes = (sum(each[name] for each in figures()) for name in names)
    again += probes * 8_972  # the largest that is tried before Ethernet is known
    demand(sent <= 2.2 * SIZE + lost + again, f"{sent} bytes were sent, {lost} lost, {again} perhaps in vain", pair)
    pair.close()
    demand(all(bytes(found[id].data) == data for found, id in streams), "a stream has brought something else", pair)
    return pair


MOVES: dict[str, Callable[[int], World]] = {
    "rebind-port": rebind_port,
    "rebind-address": rebind_address,
    "change-address": change_address,
}
