"""
How long small messages take that are sent at a steady rate through a network that loses some: the clock is virtual.
"""

from __future__ import annotations

from hypermail.messages.incoming import IncomingLane
from hypermail.testing import Application, Conditions, Pair

#: Messages a second, bytes of each, and s of one way.
RATE = 100
SIZE = 200
ONE_WAY = 0.025


class Timed(Application):
    """Notes when messages arrive; the first bytes of each tell its serial."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: dict[int, float] = {}

    def settle(self, lane: IncomingLane, first: int, messages: list[bytes]) -> None:
        super().settle(lane, first, messages)
        for message in messages:
            self.arrivals[int.from_bytes(message[:4], "big")] = self.side.network.now


def latencies(
    seed: int, loss: float, redundancy: int, seconds: float = 60.0, *, longest_loss: int | None = None
) -> tuple[list[float], Pair]:
    """
    Send messages at L{RATE} for some time.

    @param longest_loss: see L{Conditions}.
    @return: s that each took, ascending; and the pair, for its statistics.
    """
    listener = Timed()
    pair = Pair(seed, Conditions(loss=loss, longest_loss=longest_loss, delay=ONE_WAY), listener=lambda: listener)
    pair.open()
    side = pair.starter
    side.configure_lane(0, redundancy=redundancy)
    count = int(RATE * seconds)
    began = pair.now

    def send(serial: int) -> None:
        side.send_message(serial.to_bytes(4, "big") + bytes(SIZE - 4))

    for serial in range(count):
        pair.network.call_at(began + serial / RATE, lambda serial=serial: send(serial))  # type: ignore[misc]
    pair.run(lambda: len(listener.arrivals) == count, limit=seconds + 60)
    return sorted(listener.arrivals[serial] - began - serial / RATE for serial in range(count)), pair


def percentile(values: list[float], percent: float) -> float:
    """Of values that ascend, the least that so many percent of them do not exceed."""
    return values[max(0, -(-len(values) * percent // 100).__int__() - 1)]
