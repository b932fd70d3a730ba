"""
How far the two sides of a connection in dialect C{batch} have come, as a table.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class Greeting(Enum):
    """What a side knows of the other."""

    CONNECTING = auto()  #: starter: Connects are on their way
    RESTING = auto()  #: starter: a Connect ack has come, and the listener needs a moment to get ready
    UNPROVED = auto()  #: listener: a Connect has come, and may be forged
    TALKING = auto()  #: each has heard the other
    OVER = auto()


class GreetingInput(Enum):
    """What moves it."""

    ANSWERED = auto()
    RESTED = auto()
    PROVED = auto()
    END = auto()


GREETING = Table(
    "batch, greeting",
    Greeting.CONNECTING,
    {
        (Greeting.CONNECTING, GreetingInput.ANSWERED): Greeting.RESTING,
        (Greeting.RESTING, GreetingInput.RESTED): Greeting.TALKING,
        (Greeting.UNPROVED, GreetingInput.PROVED): Greeting.TALKING,
        **{(greeting, GreetingInput.END): Greeting.OVER for greeting in Greeting},
    },
)
