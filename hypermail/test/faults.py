"""
The scenarios of single faults of a network, of one that carries smaller or larger datagrams than before, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

from hypermail.test.paths import CLEAN, SIZE, counted, demand, transfer
from hypermail.testing import Blackhole, Pair, World


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
    within 2 s; nothing is sent again but what could be in flight, and what its acknowledgements have let follow.
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
    at, flight = pair.now, max(before["in_flight"], before["window"])  # just after losses less is in flight than may be
    pair.run_for(0.05)  # what was on its way or in the queue arrives
    arrived = len(here.data)
    pair.run(lambda: len(here.data) > arrived + 10_000, limit=1.95)
    after = pair.starter.connection.statistics()
    demand(
        after["black_holes"] == 1, f"{after['black_holes']} black holes were found after {pair.now - at:.2f} s", pair
    )
    again = after["bytes_lost"] - before["bytes_lost"]
    demand(again <= 3 * flight, f"{flight} bytes could be in flight, {again} were sent again", pair)
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
    pair.run_for(3.0)  # the search may take longer than the stream
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


FAULTS: dict[str, Callable[[int], World]] = {
    "transfer-loss": transfer_loss,
    "transfer-corruption": transfer_corruption,
    "reordering": reordering,
    "duplication": duplication,
    "blackhole": blackhole,
    "mtu-shrinks": mtu_shrinks,
    "mtu-grows": mtu_grows,
}
