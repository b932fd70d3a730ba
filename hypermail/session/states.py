"""
The states of a session, and of what carries it, as tables.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class State(Enum):
    """Where a session is in its life."""

    NEW = auto()  #: there is a link, and nothing was asked
    OPENING = auto()  #: starter: C{SessionOpen} is on its way
    DECIDING = auto()  #: listener: the application has not answered
    OPEN = auto()
    CLOSING = auto()  #: this side wants to close, and has things to deliver before
    CLOSE_SENT = auto()  #: this side has delivered everything and waits for C{SessionCloseAck}
    CLOSE_RECEIVED = auto()  #: the peer has delivered everything and waits; this side has things to deliver
    ENDED = auto()


class Input(Enum):
    """What moves a session."""

    ASK = auto()
    ASKED = auto()
    ACCEPT = auto()
    CLOSE = auto()
    DRAINED = auto()
    CLOSE_ASKED = auto()
    CLOSE_ACKED = auto()
    END = auto()


SESSION = Table(
    "session",
    State.NEW,
    {
        (State.NEW, Input.ASK): State.OPENING,
        (State.NEW, Input.ASKED): State.DECIDING,
        (State.OPENING, Input.ACCEPT): State.OPEN,
        (State.DECIDING, Input.ACCEPT): State.OPEN,
        (State.OPEN, Input.CLOSE): State.CLOSING,
        (State.OPEN, Input.CLOSE_ASKED): State.CLOSE_RECEIVED,
        (State.CLOSING, Input.CLOSE): State.CLOSING,
        (State.CLOSING, Input.CLOSE_ASKED): State.CLOSE_RECEIVED,
        (State.CLOSING, Input.DRAINED): State.CLOSE_SENT,
        (State.CLOSE_SENT, Input.CLOSE): State.CLOSE_SENT,
        (State.CLOSE_SENT, Input.CLOSE_ASKED): State.CLOSE_SENT,
        (State.CLOSE_SENT, Input.CLOSE_ACKED): State.ENDED,
        (State.CLOSE_RECEIVED, Input.CLOSE): State.CLOSE_RECEIVED,
        (State.CLOSE_RECEIVED, Input.CLOSE_ASKED): State.CLOSE_RECEIVED,
        (State.CLOSE_RECEIVED, Input.DRAINED): State.ENDED,
        **{(state, Input.END): State.ENDED for state in State},
    },
)


class Carriage(Enum):
    """Whether a session has a link (C{docs/protocol/sessions.rst}, Reopening)."""

    LINKED = auto()
    SUSPENDED = auto()  #: it waits for another one
    CLAIMING = auto()  #: a new link is being made, or the claim is being answered


class CarriageInput(Enum):
    """What moves it."""

    LINK_LOST = auto()
    CLAIM = auto()
    RESUME = auto()


CARRIAGE = Table(
    "session, carriage",
    Carriage.LINKED,
    {
        (Carriage.LINKED, CarriageInput.LINK_LOST): Carriage.SUSPENDED,
        (Carriage.LINKED, CarriageInput.CLAIM): Carriage.CLAIMING,
        (Carriage.SUSPENDED, CarriageInput.CLAIM): Carriage.CLAIMING,
        (Carriage.CLAIMING, CarriageInput.LINK_LOST): Carriage.SUSPENDED,
        (Carriage.CLAIMING, CarriageInput.CLAIM): Carriage.CLAIMING,  # again, before the first claim was written down
        (Carriage.CLAIMING, CarriageInput.RESUME): Carriage.LINKED,
    },
)
