"""
What a lane is.
"""

from __future__ import annotations

from typing import NamedTuple

from hypermail.errors import UsageError
from hypermail.options import Delivery
from hypermail.wire.packets import encode_lane

#: Lanes that applications may use; those above are hypermail's own.
APPLICATION_LANES = 240
PRIORITIES = 8
#: Copies of a message, at most.
MOST_REDUNDANCY = 3


class LaneProperties(NamedTuple):
    """
    Fixed at a lane's first use.

    @ivar ordered: whether messages are delivered in the order of sending.
    @ivar delivery: what is promised.
    @ivar priority: 0–7; greater goes first.
    @ivar durable: whether what is accepted for it outlives the process, in a session that does.
    @ivar redundancy: 0–3; how often a small message rides again before anybody has missed it. The receiver is not
        told: it drops what it has.
    """

    ordered: bool = True
    delivery: Delivery = Delivery.ACKED
    priority: int = 0
    redundancy: int = 0
    durable: bool = False

    @property
    def flags(self) -> int:
        """As told to the receiver with each packet."""
        return encode_lane(self.ordered, self.delivery, self.durable)

    def checked(self, number: int) -> LaneProperties:
        """Itself. @raise UsageError: when a lane can't be that."""
        if not 0 <= number < APPLICATION_LANES:
            raise UsageError(f"lanes have numbers from 0 to {APPLICATION_LANES - 1}, not {number}")
        if not 0 <= self.priority < PRIORITIES:
            raise UsageError(f"priorities go from 0 to {PRIORITIES - 1}, not {self.priority}")
        if not 0 <= self.redundancy <= MOST_REDUNDANCY:
            raise UsageError(f"redundancy goes from 0 to {MOST_REDUNDANCY}, not {self.redundancy}")
        if self.redundancy and self.delivery is Delivery.DIRECT:
            raise UsageError("direct messages have no redundancy: nobody could tell a copy from another message")
        if self.durable and not (self.ordered and self.delivery is Delivery.ACKED and not self.redundancy):
            raise UsageError("a durable lane is ordered and acked, and has no redundancy")
        return self


#: What a lane is that nobody has said anything of.
ORDINARY = LaneProperties()
