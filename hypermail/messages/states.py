"""
The life of one outgoing message, as a table.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class State(Enum):
    """Where an outgoing message is in its life."""

    QUEUED = auto()  #: accepted here, nothing of it has been sent; it has no number yet
    BEGUN = auto()  #: numbered, and counted in the peer's allowance
    CLEARING = auto()  #: withdrawn after it was begun; the peer says whether in time
    SETTLED = auto()  #: its fate is known


#: The members that most messages pass through: to look one up in its class costs as much as all else that is done for a
#: small message.
QUEUED, BEGUN, SETTLED = State.QUEUED, State.BEGUN, State.SETTLED


class Input(Enum):
    """What moves an outgoing message."""

    BEGIN = auto()
    WITHDRAW = auto()
    SETTLE = auto()


OUTGOING = Table(
    "outgoing message",
    State.QUEUED,
    {
        (State.QUEUED, Input.BEGIN): State.BEGUN,
        (State.QUEUED, Input.WITHDRAW): State.SETTLED,
        (State.QUEUED, Input.SETTLE): State.SETTLED,
        (State.BEGUN, Input.WITHDRAW): State.CLEARING,
        (State.BEGUN, Input.SETTLE): State.SETTLED,
        (State.CLEARING, Input.WITHDRAW): State.CLEARING,
        (State.CLEARING, Input.SETTLE): State.SETTLED,
        (State.SETTLED, Input.WITHDRAW): State.SETTLED,
    },
)
