"""
What the scenarios have in common that run over one path: they are in L{hypermail.test.rates},
L{hypermail.test.faults}, L{hypermail.test.handshaking}, L{hypermail.test.moves} and L{hypermail.test.load}, on the
sans-I/O core, one function each, run to the end.

Each asserts at least that everything was delivered exactly once, in order, byte-identical, and that nothing is left
when the sessions have closed; then what its network makes interesting, and how fast it must go with the default
congestion control.
"""

from __future__ import annotations

from random import Random

from hypermail.testing import Conditions, Counters, GatheredStream, Pair, Side, World

KIB = 1 << 10
MIB = 1 << 20
SIZE = 2 * MIB

#: 10 Mbit/s with 30 ms of round trip, and a queue of two thirds of what is on the way then.
CLEAN = Conditions(delay=0.015, bandwidth=10e6, queue_datagrams=25)
#: Bytes on the wire of a full datagram, about.
DATAGRAM = 1_250


def counted(world: World, side: Side) -> tuple[Counters, Counters]:
    """What has happened to what a side has sent, and to what it was sent."""
    here, there = side.node.address[0], side.connection.address[0]
    return world.network.direction(here, there).counters, world.network.direction(there, here).counters


def demand(true: bool, what: str, world: World) -> None:
    """Assert, whatever the interpreter's flags."""
    if not true:
        raise AssertionError(f"{what}\n{world.describe()}")


def gathered(side: Side, id: int) -> GatheredStream:
    """What a side has of a stream."""
    return side.application.streams[id]


def transfer(pair: Pair, size: int = SIZE, limit: float = 600.0) -> float:
    """
    Bring messages, one of them large, and a stream of the same size to the listener, some messages back, and end.

    @return: bit/s, of the two large ones together.
    """
    pair.open()
    random = Random(f"transfer {pair.network.seed}")
    starter, listener = pair.starter, pair.listener
    began = pair.now
    data = random.randbytes(size)
    messages = [random.randbytes(length) for length in (0, 1, 100, 1_500, 20_000)]
    stream = starter.open_stream(b"the same", data)
    starter.application.send_all((number % 2, message) for number, message in enumerate([*messages, data, *messages]))
    listener.application.send_all((0, message) for message in messages)

    def arrived() -> bool:
        streams = listener.application.streams
        whole = stream.id in streams and streams[stream.id].finished
        sent = starter.outgoing and not starter.application.busy
        return bool(whole and sent and all(message.settled for side in pair.sides for message in side.outgoing))

    pair.run(arrived, limit=limit)
    rate = 2 * size * 8 / (pair.now - began)
    pair.close()
    pair.assert_delivered()
    demand(bytes(gathered(listener, stream.id).data) == data, "the stream has brought something else", pair)
    return rate


def all_opened(world: World, sessions: int) -> bool:
    """Whether both sides of so many sessions have opened."""
    listeners = world.listener_node.sides
    return (
        len(listeners) >= sessions
        and all(node.sides[0].application.opened for node in world.starter_nodes)
        and sum(side.application.opened for side in listeners) >= sessions
    )
