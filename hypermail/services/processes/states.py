"""
The life of a worker, over all of its processes.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class Life(Enum):
    """Where a worker is in its life."""

    WAITING = auto()  #: it has no process, but will have one
    STARTING = auto()  #: it has one, which does not listen yet
    SERVING = auto()  #: which listens
    ENDING = auto()  #: which was told to end
    OVER = auto()  #: it has none, and will not have another


class LifeInput(Enum):
    """What happens to a worker."""

    START = auto()  #: its process was started
    READY = auto()  #: which says that it listens
    DIED = auto()  #: which has ended, or could not be started
    END = auto()  #: the parent ends


LIFE: Table[Life, LifeInput] = Table(
    "worker",
    Life.WAITING,
    {
        (Life.WAITING, LifeInput.START): Life.STARTING,
        (Life.WAITING, LifeInput.END): Life.OVER,
        (Life.STARTING, LifeInput.READY): Life.SERVING,
        (Life.STARTING, LifeInput.DIED): Life.WAITING,
        (Life.STARTING, LifeInput.END): Life.ENDING,
        (Life.SERVING, LifeInput.DIED): Life.WAITING,
        (Life.SERVING, LifeInput.END): Life.ENDING,
        (Life.ENDING, LifeInput.READY): Life.ENDING,
        (Life.ENDING, LifeInput.DIED): Life.OVER,
    },
)
"""Who is told to end while it starts may say that it listens before it has heard that."""
