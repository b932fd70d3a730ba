"""
The states of a link, as a table.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class State(Enum):
    """Where a link is in its life."""

    OPENING = auto()  #: the handshake is under way
    KEYED = auto()  #: session keys are known here; the peer has not shown that it has them
    OPEN = auto()  #: a short datagram was opened: both sides have the keys, and the address is proved
    ENDED = auto()  #: nothing is sent any more


class Input(Enum):
    """What moves a link."""

    KEYS_DERIVED = auto()
    SHORT_OPENED = auto()
    END = auto()


LINK = Table(
    "link",
    State.OPENING,
    {
        (State.OPENING, Input.KEYS_DERIVED): State.KEYED,
        (State.KEYED, Input.SHORT_OPENED): State.OPEN,
        (State.OPEN, Input.SHORT_OPENED): State.OPEN,
        (State.OPENING, Input.END): State.ENDED,
        (State.KEYED, Input.END): State.ENDED,
        (State.OPEN, Input.END): State.ENDED,
        (State.ENDED, Input.END): State.ENDED,
    },
)
