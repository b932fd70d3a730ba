"""
The scenarios of sessions that open through faults of the network.
"""

from __future__ import annotations

from collections.abc import Callable

from hypermail.options import Options
from hypermail.test.paths import all_opened, counted, demand
from hypermail.test.sealed import tls
from hypermail.testing import PLAIN, Conditions, Handshakes, Pair, World


def amplification(seed: int) -> World:
    """
    Datagrams 2 to 7 to the listener are lost: until it knows that the starter receives there, it sends at
    most three times what it got.
    """
    pair = Pair(seed, to_listener=Conditions(delay=0.02, lost_numbers=range(2, 8)), to_starter=Conditions(delay=0.02))
    forth, back = counted(pair, pair.starter)
    while forth.delivered < 2:
        pair.step()
        most = 3 * forth.delivered_bytes
        demand(back.sent_bytes <= most, f"the listener has sent {back.sent_bytes} bytes, {most} are allowed", pair)
    pair.open()
    transfer_some(pair)
    return pair


def handshake_loss(seed: int, handshakes: Handshakes = PLAIN) -> World:
    """30 % are lost both ways, in runs of up to three; 50 sessions open."""
    return fifty(seed, Conditions(delay=0.015, loss=0.30, longest_loss=3), handshakes)


def handshake_corruption(seed: int, handshakes: Handshakes = PLAIN) -> World:
    """30 % come with a byte changed; 50 sessions open, and TLS has nothing to complain of."""
    return fifty(seed, Conditions(delay=0.015, corruption=0.30), handshakes)


def fifty(seed: int, conditions: Conditions, handshakes: Handshakes, sessions: int = 50) -> World:
    """Open many sessions, send a message each way, close them."""
    options = Options(connection_timeout=30, ping_interval=20)
    world = World(seed, conditions, starters=sessions, options=options, handshakes=handshakes)
    world.run(lambda: all_opened(world, sessions), limit=30)
    for side in world.sides:
        side.send_message(b"hello")
    world.run(lambda: all(message.settled for side in world.sides for message in side.outgoing), limit=60)
    world.close()
    world.assert_delivered()
    return world


def transfer_some(pair: Pair) -> None:
    """A few messages each way, and the end."""
    for side in pair.sides:
        side.application.send_all((0, bytes(size)) for size in (0, 1_000, 100_000))
    pair.run(lambda: all(m.settled for side in pair.sides for m in side.outgoing), limit=60)
    pair.close()
    pair.assert_delivered()


OPENING: dict[str, Callable[[int], World]] = {
    "amplification": amplification,
    "handshake-loss": handshake_loss,
    "handshake-corruption": handshake_corruption,
    "handshake-loss-tls": lambda seed: handshake_loss(seed, tls()),
    "handshake-corruption-tls": lambda seed: handshake_corruption(seed, tls()),
}
