"""
The scenarios of single network faults and of load, on the sans-I/O core: one function each, run to the end.

Each asserts at least that everything was delivered exactly once, in order, byte-identical, and that nothing is left
when the sessions have closed; then what its network makes interesting, and how fast it must go with the default
congestion control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from hypermail.errors import PeerSilent
from hypermail.options import ListenerOptions, Options
from hypermail.test.sealed import tls
from hypermail.testing import (
    PLAIN,
    Application,
    Blackhole,
    Conditions,
    Counters,
    GatheredStream,
    Handshakes,
    Node,
    Pair,
    Side,
    World,
)

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


# Rates and delays


def clean(seed: int) -> World:
    """A good network."""
    pair = Pair(seed, CLEAN)
    rate = transfer(pair)
    demand(rate >= 0.9 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def long_round_trip(seed: int) -> World:
    """1.5 s there and back."""
    pair = Pair(seed, Conditions(delay=0.75))
    transfer(pair, 256 * KIB)
    demand(pair.starter.connection.statistics()["bytes_lost"] == 0, "something was taken for lost", pair)
    return pair


def jitter(seed: int) -> World:
    """1 to 10 ms of it; with every second seed, datagrams overtake each other. It costs at most a fifth."""
    pair = Pair(seed, replace(CLEAN, delay=0.006, jitter=0.009, jitter_overtakes=bool(seed % 2)))
    rate = transfer(pair)
    demand(rate >= 0.8 * 0.92 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def asymmetric(seed: int) -> World:
    """A hundred times as much there as back."""
    narrow = replace(CLEAN, bandwidth=100e3)
    pair = Pair(seed, to_listener=CLEAN, to_starter=narrow, listener_options=Options(discover_mtu=False))
    transfer(pair, SIZE // 2)
    forth, back = counted(pair, pair.starter)
    acknowledgements = back.sent_bytes - sum(len(message.data) for message in pair.listener.outgoing)
    demand(acknowledgements <= 0.02 * forth.sent_bytes, f"acknowledgements of {acknowledgements} bytes", pair)
    return pair


def deep_buffer(seed: int) -> World:
    """A queue ten times as long as what is on the way."""
    pair = Pair(seed, replace(CLEAN, queue_datagrams=None, queue_bytes=375_000))
    rate = transfer(pair)
    demand(rate >= 0.8 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def shallow_buffer(seed: int) -> World:
    """A queue a tenth as long as what is on the way."""
    pair = Pair(seed, replace(CLEAN, queue_datagrams=3))
    rate = transfer(pair, 2 * SIZE)
    demand(rate >= 0.8 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def marks(seed: int) -> World:
    """
    A bottleneck that marks from a third of its queue on: it fills no further than that plus what is under way when the
    sender hears of it, so nothing is dropped, and the rate is used. On paths that clear or mangle marks, or drop what
    bears them, the transfer goes on, and marks are sent no more.
    """
    queue = 100 * DATAGRAM
    conditions = replace(CLEAN, jitter=0.003, queue_datagrams=None, queue_bytes=queue, mark_bytes=queue // 3)
    pair = Pair(seed, conditions)
    pair.open()
    data = Random(f"marks {seed}").randbytes(2 * SIZE)
    stream = pair.starter.open_stream(b"marked", data)
    arrived = pair.listener.application.streams
    slowest, began = 0.0, pair.now
    while not (stream.id in arrived and arrived[stream.id].finished):
        pair.run_for(0.01)
        told = pair.starter.connection.statistics()
        if pair.now - began > 1:  # slow start has overshot, and is over
            slowest = max(slowest, told["rtt"])
    rate = len(data) * 8 / (pair.now - began)
    there, _ = counted(pair, pair.starter)
    full = 2 * CLEAN.delay + queue * 8 / 10e6
    demand(bytes(arrived[stream.id].data) == data, "the stream has brought something else", pair)
    demand(rate >= 0.8 * 10e6, f"{rate:.0f} bit/s", pair)
    demand(there.marked > 0 and not there.overflowed and not told["bytes_lost"], "it was dropped, not marked", pair)
    demand(slowest <= 0.6 * full, f"a round trip of {slowest:.3f} s; {full:.3f} s with a full queue", pair)
    demand(told["ecn"] == "capable" and told["ecn_marked"] == there.marked, f"{told}", pair)
    pair.close()
    for codepoints in ((0, 0, 0, 0), (0, 3, 3, 3), (0, None, None, None), (0, 2, 1, 3)):
        pair = Pair(seed, replace(conditions, codepoints=codepoints, loss=0.001))
        transfer(pair, SIZE // 4)
        states = [side.connection.statistics()["ecn"] for side in pair.sides]
        demand(states == ["failed", "failed"], f"{states} where {codepoints} come out", pair)
    return pair


def large_window(seed: int, bandwidth: float = 250e6) -> World:
    """A product of rate and round trip of 6 MB: within 20 s of the start 80 % of the rate is reached, and kept."""
    round_trip = 0.2
    product = bandwidth / 8 * round_trip
    queue = int(Random(seed).uniform(0.5, 1.5) * product)
    pair = Pair(seed, Conditions(delay=round_trip / 2, bandwidth=bandwidth, queue_bytes=queue))
    pair.open()
    began = pair.now
    piece = Random(seed).randbytes(int(product))
    pieces = 16
    stream = pair.starter.open_stream(b"", piece * pieces)
    listener = pair.listener.application
    whole = len(piece) * pieces
    pair.run(lambda: stream.id in listener.streams and len(listener.streams[stream.id].data) >= whole // 2, limit=20)
    half, already = pair.now, len(listener.streams[stream.id].data)
    pair.run(lambda: listener.streams[stream.id].finished, limit=20 - (half - began))
    rate = (whole - already) * 8 / (pair.now - half)
    demand(rate >= 0.8 * bandwidth, f"{rate:.0f} bit/s", pair)
    pair.close()
    demand(bytes(listener.streams[stream.id].data) == piece * pieces, "the stream has brought something else", pair)
    return pair


def cross_traffic(seed: int) -> World:
    """Two sessions share a bottleneck; each gets 30 to 70 % of it."""
    pair = Pair(seed, CLEAN)
    host, _ = pair.starter.node.address
    second = Node(pair.network, (host, 40_001))
    pair.starter_nodes.append(second)
    other = second.start(pair.listener_node.address)
    sides = (pair.starter, other)
    pair.run(lambda: all(side.application.opened for side in sides))
    data = Random(seed).randbytes(SIZE)
    streams = [side.open_stream(b"", data) for side in sides]
    peers = [pair.peer(side) for side in sides]

    def arrived(number: int) -> int:
        peer = peers[number]
        streams_there = peer.application.streams if peer is not None else {}
        return len(streams_there[streams[number].id].data) if streams[number].id in streams_there else 0

    pair.run(lambda: max(arrived(0), arrived(1)) == SIZE, limit=120)
    slower = min(arrived(0), arrived(1))
    demand(slower >= 3 / 7 * SIZE, f"one session has brought {SIZE} bytes, the other {slower}", pair)
    pair.run(lambda: arrived(0) == arrived(1) == SIZE, limit=120)
    pair.close()
    return pair


# Faults


def transfer_loss(seed: int) -> World:
    """2 %, in runs of up to three; what is sent again is at most twice what was lost."""
    pair = Pair(seed, replace(CLEAN, loss=0.02, longest_loss=3))
    transfer(pair)
    forth, _ = counted(pair, pair.starter)
    again = pair.starter.connection.statistics()["bytes_lost"]
    lost = forth.lost_bytes + forth.overflowed * 1_200
    demand(again <= 2 * lost + 20 * 1_200, f"{lost} bytes were lost, {again} were sent again", pair)
    return pair


def transfer_corruption(seed: int) -> World:
    """2 % come with a byte changed; none of those is taken, each is counted."""
    pair = Pair(seed, replace(CLEAN, corruption=0.02))
    transfer(pair)
    corrupted = sum(counters.corrupted for counters in counted(pair, pair.starter))
    dropped = sum(side.connection.statistics()["datagrams_dropped"] for side in pair.sides)
    dropped += sum(node.demux.dropped for node in pair.nodes)
    demand(corrupted > 0, "nothing was corrupted", pair)
    # A changed tag or kind makes a listener answer rather than count; then at least nothing was taken.
    demand(dropped >= 0.5 * corrupted, f"{corrupted} datagrams were corrupted, {dropped} were counted as such", pair)
    return pair


def reordering(seed: int) -> World:
    """30 % are held up by 5 to 30 ms; of what is sent, one percent at most was sent before without need."""
    pair = Pair(seed, replace(CLEAN, reordering=0.30))
    rate = transfer(pair, SIZE)
    late = pair.starter.connection.statistics()["datagrams_late"]
    sent = counted(pair, pair.starter)[0].sent
    demand(late <= 0.01 * sent, f"{late} of {sent} datagrams were sent again without need", pair)
    demand(rate >= 0.7 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def duplication(seed: int) -> World:
    """20 % come twice."""
    pair = Pair(seed, replace(CLEAN, duplication=0.20))
    transfer(pair)
    demand(counted(pair, pair.starter)[0].duplicated > 0, "nothing came twice", pair)
    return pair


def blackhole(seed: int) -> World:
    """5 s on, 2 s off, again and again: each time it goes on within a round trip and 300 ms of the network's return."""
    every, dark = 7.0, 2.0
    # Another phase for each seed, so that it does not always begin at the same point of the transfer.
    phase = Random(seed).uniform(0.5, every - dark)
    hole = Blackhole(phase, phase + dark, every=every)
    pair = Pair(seed, replace(CLEAN, bandwidth=1e6, blackholes=(hole,)))
    pair.open()
    data = Random(seed).randbytes(SIZE)
    stream = pair.starter.open_stream(b"", data)
    listener = pair.listener.application
    pair.run(lambda: stream.id in listener.streams, limit=20)
    here = listener.streams[stream.id]

    def finished() -> bool:
        return here.finished

    elapsed = pair.now - pair.network.start
    back = phase + dark if elapsed < phase + dark else phase + dark + every
    while not finished():
        pair.run_for(max(0.0, back - pair.now))
        if finished():
            break
        at = pair.now
        heard = [side.connection.statistics()["datagrams_received"] for side in pair.sides]
        # Its estimate of the round trip knows of the queue that it had filled.
        most = pair.starter.connection.statistics()["rtt"] + 0.300
        pair.run(partial(both_heard, pair, heard), limit=10)
        demand(pair.now - at <= most, f"it took {pair.now - at:.3f} s to go on, {most:.3f} s are allowed", pair)
        back += every
    pair.close()
    demand(bytes(here.data) == data, "the stream has brought something else", pair)
    return pair


def both_heard(pair: Pair, before: list[int]) -> bool:
    """Whether each side has had datagrams from the other since."""
    now = [side.connection.statistics()["datagrams_received"] for side in pair.sides]
    return all(count > earlier for count, earlier in zip(now, before, strict=True))


def mtu_shrinks(seed: int) -> World:
    """
    1,500 to 1,280 bytes of IP packet in the middle of a transfer: the sender finds out without being told, and goes on
    within 2 s; nothing is sent again but what was in flight, and what its acknowledgements have let follow.
    """
    pair = Pair(seed, CLEAN)
    pair.open()
    data = Random(seed).randbytes(SIZE)
    stream = pair.starter.open_stream(b"", data)
    listener = pair.listener.application
    pair.run(lambda: stream.id in listener.streams)
    here = listener.streams[stream.id]
    some = Random(f"shrinks {seed}").randrange(SIZE // 8, SIZE // 2)
    pair.run(lambda: len(here.data) >= some)
    before = pair.starter.connection.statistics()
    demand(before["mtu"] == 1_472, f"Ethernet carries 1,472 bytes, {before['mtu']} were found", pair)
    pair.network.set_conditions(replace(CLEAN, mtu=1_280))
    at, flight = pair.now, before["in_flight"]
    pair.run_for(0.05)  # what was on its way or in the queue arrives
    arrived = len(here.data)
    pair.run(lambda: len(here.data) > arrived + 10_000, limit=1.95)
    after = pair.starter.connection.statistics()
    demand(
        after["black_holes"] == 1, f"{after['black_holes']} black holes were found after {pair.now - at:.2f} s", pair
    )
    again = after["bytes_lost"] - before["bytes_lost"]
    demand(again <= 3 * flight, f"{flight} bytes were in flight, {again} were sent again", pair)
    pair.run(lambda: here.finished, limit=30.0)
    pair.run_for(5.0)
    found = pair.starter.connection.statistics()
    demand(1_280 - 28 - 8 < found["mtu"] <= 1_280 - 28, f"{found['mtu']} were found", pair)
    demand(found["black_holes"] == 1, f"{found['black_holes']} black holes were found", pair)
    pair.close()
    demand(bytes(here.data) == data, "the stream has brought something else", pair)
    return pair


def mtu_grows(seed: int) -> World:
    """
    1,228 to 9,000 bytes of IP packet: when it is time to look again, ten minutes later, the probes find it. None of
    them is taken for a loss of the network's.
    """
    narrow = replace(CLEAN, mtu=1_228)
    pair = Pair(seed, narrow)
    pair.open()
    first, second = (Random(f"{seed} {half}").randbytes(SIZE // 2) for half in range(2))
    listener = pair.listener.application
    stream = pair.starter.open_stream(b"", first)
    pair.run(lambda: stream.id in listener.streams and listener.streams[stream.id].finished, limit=30.0)
    pair.run_for(3.0)
    demand(pair.starter.connection.statistics()["mtu"] == 1_200, "something larger than the path has passed", pair)
    pair.network.set_conditions(replace(CLEAN, mtu=9_000))
    pair.run_for(600.0)
    lost = pair.starter.connection.statistics()["datagrams_lost"]
    overflowed = pair.network.counters().overflowed
    other = pair.starter.open_stream(b"", second)
    pair.run(lambda: other.id in listener.streams and listener.streams[other.id].finished, limit=30.0)
    found = pair.starter.connection.statistics()
    demand(9_000 - 28 - 8 < found["mtu"] <= 9_000 - 28, f"{found['mtu']} were found", pair)
    overflowed = pair.network.counters().overflowed - overflowed
    lost = found["datagrams_lost"] - lost
    demand(lost <= overflowed, f"{overflowed} datagrams did not fit the queue, {lost} were taken for lost", pair)
    demand(found["black_holes"] == 0, "a black hole was found", pair)
    pair.close()
    for number, data in ((stream.id, first), (other.id, second)):
        demand(bytes(listener.streams[number].data) == data, "a stream has brought something else", pair)
    return pair


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


def all_opened(world: World, sessions: int) -> bool:
    """Whether both sides of so many sessions have opened."""
    listeners = world.listener_node.sides
    return (
        len(listeners) >= sessions
        and all(node.sides[0].application.opened for node in world.starter_nodes)
        and sum(side.application.opened for side in listeners) >= sessions
    )


def transfer_some(pair: Pair) -> None:
    """A few messages each way, and the end."""
    for side in pair.sides:
        side.application.send_all((0, bytes(size)) for size in (0, 1_000, 100_000))
    pair.run(lambda: all(m.settled for side in pair.sides for m in side.outgoing), limit=60)
    pair.close()
    pair.assert_delivered()


# Moving

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
        return all(now > then for now, then in zip(have(), before, strict=True))

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


# Load


def many_streams(seed: int, count: int = 2_000) -> World:
    """Many streams at once, all in both directions; those of one length take the same time, within 20 % of the median."""
    pair = Pair(seed, Conditions(delay=0.015, bandwidth=100e6, queue_datagrams=250, loss=0.002))
    pair.open()
    random = Random(seed)
    sent = {}
    longest = 20_000
    for _ in range(count):
        data = random.randbytes(random.choice((100, 1_000, 5_000, longest)))
        sent[pair.starter.open_stream(b"s", data)] = data
    listener = pair.listener.application
    began = pair.now
    long = [stream.id for stream, data in sent.items() if len(data) == longest]

    def finished() -> int:
        return sum(id in listener.streams and listener.streams[id].finished for id in long)

    times = []
    for wanted in (1, len(long) // 2, len(long)):
        pair.run(lambda wanted=wanted: finished() >= wanted, limit=60)  # type: ignore[misc]
        times.append(pair.now - began)
    first, median, last = times
    fair = first >= 0.8 * median and last <= 1.2 * median
    demand(fair, f"streams have taken {first:.3f} s at least, {last:.3f} s at most, {median:.3f} s in the middle", pair)
    pair.run(lambda: sum(stream.finished for stream in listener.streams.values()) == count, limit=60)
    pair.close()
    for stream, data in sent.items():
        demand(bytes(listener.streams[stream.id].data) == data, f"stream {stream.id} has brought something else", pair)
    return pair


def stalled_reader(seed: int) -> World:
    """
    The listener's application pauses one stream and its messages for 30 s: what it holds meanwhile is bounded,
    another stream flows, nothing is lost.
    """
    options = Options(stream_pool=256 * KIB, stream_pool_max=256 * KIB, max_message=64 * KIB, allowance_bytes=256 * KIB)
    pair = Pair(seed, Conditions(delay=0.015, loss=0.01), options=options)
    pair.open()
    random = Random(seed)
    starter, listener = pair.starter, pair.listener.application
    data = random.randbytes(SIZE)
    stalled = starter.open_stream(b"stalled", data)
    pair.run(lambda: stalled.id in listener.streams)
    listener.pause()
    flowing = starter.open_stream(b"flowing", data)
    pair.run(lambda: flowing.id in listener.streams)
    listener.streams[flowing.id].stream.resume()
    starter.application.send_all((0, random.randbytes(50_000)) for _ in range(40))
    until = pair.now + 30
    before = len(listener.streams[stalled.id].data)
    while pair.now < until:
        pair.run_for(1)
        held = pair.listener.connection.statistics()
        demand(len(listener.streams[stalled.id].data) <= before + 64 * KIB, "a paused stream goes on", pair)
        demand(sum(len(m.data) for m in listener.received.get(0, ())) <= 256 * KIB, f"too much is held: {held}", pair)
    demand(listener.streams[flowing.id].finished, "the other stream has waited", pair)
    listener.resume()
    pair.run(lambda: listener.streams[stalled.id].finished, limit=120)
    pair.run(lambda: not starter.application.busy and all(m.settled for m in starter.outgoing), limit=120)
    pair.close()
    pair.assert_delivered()
    demand(all(bytes(listener.streams[s.id].data) == data for s in (stalled, flowing)), "other bytes came", pair)
    return pair


def idle(seed: int) -> World:
    """Ten minutes of nothing but pings; then the network goes, and four unanswered pings end the session."""
    conditions = Conditions(delay=0.015)
    pair = Pair(seed, conditions)
    pair.open()
    pair.run_to_quiescence()
    forth, back = counted(pair, pair.starter)
    before = forth.sent + back.sent
    pair.run_for(600)
    pings = 600 / pair.starter.connection.options.ping_interval
    demand(forth.sent + back.sent - before <= 3 * pings + 3, f"{forth.sent + back.sent} datagrams while idle", pair)
    demand(all(not side.application.error for side in pair.sides), "an idle session has ended", pair)
    at = pair.now
    pair.network.set_conditions(replace(conditions, loss=1.0))
    pair.run(lambda: not any(node.live for node in pair.nodes), limit=60)
    for side in pair.sides:
        demand(isinstance(side.application.error, PeerSilent), f"{side!r}: {side.application.error!r}", pair)
    demand(pair.now - at <= 40, f"it took {pair.now - at:.1f} s to notice", pair)
    pair.run_to_quiescence()
    pair.assert_clean()
    return pair


def many_sessions(seed: int, count: int = 10_000) -> World:
    """Very many sessions on one listener, all open at once."""
    strangers = ListenerOptions(max_sessions=count, max_opening=count)
    world = World(seed, Conditions(delay=0.015, loss=0.01), strangers=strangers, options=Options(ping_interval=60))
    while len(world.starter_nodes) < count:
        for _ in range(min(100, count - len(world.starter_nodes))):
            world.start(Application())
        world.run_for(0.05)
    world.run_for(10)
    demand(all_opened(world, count), "not all have opened", world)
    demand(len(world.listener_node.demux) == count, f"{len(world.listener_node.demux)} connections", world)
    world.close()
    return world


PATHS: dict[str, Callable[[int], World]] = {
    "clean": clean,
    "long-rtt": long_round_trip,
    "handshake-loss": handshake_loss,
    "handshake-corruption": handshake_corruption,
    "handshake-loss-tls": lambda seed: handshake_loss(seed, tls()),
    "handshake-corruption-tls": lambda seed: handshake_corruption(seed, tls()),
    "transfer-loss": transfer_loss,
    "transfer-corruption": transfer_corruption,
    "reordering": reordering,
    "duplication": duplication,
    "jitter": jitter,
    "blackhole": blackhole,
    "rebind-port": rebind_port,
    "rebind-address": rebind_address,
    "change-address": change_address,
    "mtu-shrinks": mtu_shrinks,
    "mtu-grows": mtu_grows,
    "amplification": amplification,
    "asymmetric": asymmetric,
    "deep-buffer": deep_buffer,
    "shallow-buffer": shallow_buffer,
    "ecn": marks,
    "large-window": large_window,
    "cross-traffic": cross_traffic,
    "many-streams": many_streams,
    "stalled-reader": stalled_reader,
    "idle": idle,
    "many-sessions": many_sessions,
}
