"""
Where a client is with its server, as a table. A server has no states of its own: its clients do all the asking.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class ClientPhase(Enum):
    """Where a client is."""

    GREETING = auto()  #: it says HELLO, and nothing else
    ALIVE = auto()  #: it was accepted, and says PING
    MISSING = auto()  #: too many PINGs went unanswered: it says HELLO again, and its session stays
    PARTING = auto()  #: it says DISCONNECT
    OVER = auto()  #: it says nothing any more


class ClientInput(Enum):
    """What moves it."""

    ACCEPTED = auto()
    SILENCE = auto()
    HEARD = auto()
    PART = auto()
    END = auto()


CLIENT = Table(
    "digest, client",
    ClientPhase.GREETING,
    {
        (ClientPhase.GREETING, ClientInput.ACCEPTED): ClientPhase.ALIVE,
        (ClientPhase.ALIVE, ClientInput.ACCEPTED): ClientPhase.ALIVE,  # of a HELLO that was said again
        (ClientPhase.ALIVE, ClientInput.HEARD): ClientPhase.ALIVE,
        (ClientPhase.ALIVE, ClientInput.SILENCE): ClientPhase.MISSING,
        (ClientPhase.ALIVE, ClientInput.PART): ClientPhase.PARTING,
        (ClientPhase.MISSING, ClientInput.ACCEPTED): ClientPhase.ALIVE,
        (ClientPhase.MISSING, ClientInput.HEARD): ClientPhase.ALIVE,  # strangers are told REJECT: it knows us
        (ClientPhase.MISSING, ClientInput.PART): ClientPhase.PARTING,
        (ClientPhase.PARTING, ClientInput.ACCEPTED): ClientPhase.PARTING,
        (ClientPhase.PARTING, ClientInput.HEARD): ClientPhase.PARTING,
        **{(phase, ClientInput.END): ClientPhase.OVER for phase in ClientPhase},
    },
)
