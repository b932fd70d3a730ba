"""
The states of a stream: of its opening, and of each of its two directions, as tables.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class Opening(Enum):
    """Whether a stream has come about."""

    WAITING = auto()  #: ours; the peer's limit of open streams does not allow it yet
    REQUESTED = auto()  #: ours, C{StreamOpen} is on its way
    UNSEEN = auto()  #: the peer's; data came before C{StreamOpen}
    OFFERED = auto()  #: the peer's; our application has not answered
    ACCEPTED = auto()
    OVER = auto()


class OpeningInput(Enum):
    """What moves the opening."""

    ALLOWED = auto()
    OPEN_RECEIVED = auto()
    ACCEPT = auto()
    END = auto()


OPENING = Table(
    "stream opening",
    Opening.WAITING,
    {
        (Opening.WAITING, OpeningInput.ALLOWED): Opening.REQUESTED,
        (Opening.REQUESTED, OpeningInput.ACCEPT): Opening.ACCEPTED,
        (Opening.UNSEEN, OpeningInput.OPEN_RECEIVED): Opening.OFFERED,
        (Opening.OFFERED, OpeningInput.ACCEPT): Opening.ACCEPTED,
        (Opening.WAITING, OpeningInput.END): Opening.OVER,
        (Opening.REQUESTED, OpeningInput.END): Opening.OVER,
        (Opening.UNSEEN, OpeningInput.END): Opening.OVER,
        (Opening.OFFERED, OpeningInput.END): Opening.OVER,
        (Opening.ACCEPTED, OpeningInput.END): Opening.OVER,
    },
)


class Sending(Enum):
    """Where the direction that we send in is."""

    WRITING = auto()  #: the application may write
    FINISHING = auto()  #: the application has finished; not everything has left yet
    FLUSHING = auto()  #: everything and C{StreamFlush} were sent
    FLUSHED = auto()  #: the peer has it all
    CLEARED = auto()


class SendingInput(Enum):
    """What moves it."""

    FINISH = auto()
    ALL_SENT = auto()
    FLUSH_ACKED = auto()
    CLEAR = auto()


SENDING = Table(
    "stream, sending",
    Sending.WRITING,
    {
        (Sending.WRITING, SendingInput.FINISH): Sending.FINISHING,
        (Sending.FINISHING, SendingInput.ALL_SENT): Sending.FLUSHING,
        (Sending.FLUSHING, SendingInput.FLUSH_ACKED): Sending.FLUSHED,
        (Sending.WRITING, SendingInput.CLEAR): Sending.CLEARED,
        (Sending.FINISHING, SendingInput.CLEAR): Sending.CLEARED,
        (Sending.FLUSHING, SendingInput.CLEAR): Sending.CLEARED,
        (Sending.FLUSHED, SendingInput.CLEAR): Sending.FLUSHED,
        (Sending.CLEARED, SendingInput.CLEAR): Sending.CLEARED,
    },
)


class Receiving(Enum):
    """Where the direction that we receive in is."""

    READING = auto()  #: its length isn't known
    FLUSHED = auto()  #: its length is known, bytes are missing
    COMPLETE = auto()  #: all bytes are here, not all are with the application
    DELIVERED = auto()  #: the application has it all
    CLEARED = auto()


class ReceivingInput(Enum):
    """What moves it."""

    FLUSH = auto()
    ALL_RECEIVED = auto()
    ALL_DELIVERED = auto()
    CLEAR = auto()


RECEIVING = Table(
    "stream, receiving",
    Receiving.READING,
    {
        (Receiving.READING, ReceivingInput.FLUSH): Receiving.FLUSHED,
        (Receiving.FLUSHED, ReceivingInput.FLUSH): Receiving.FLUSHED,
        (Receiving.COMPLETE, ReceivingInput.FLUSH): Receiving.COMPLETE,
        (Receiving.DELIVERED, ReceivingInput.FLUSH): Receiving.DELIVERED,
        (Receiving.FLUSHED, ReceivingInput.ALL_RECEIVED): Receiving.COMPLETE,
        (Receiving.COMPLETE, ReceivingInput.ALL_DELIVERED): Receiving.DELIVERED,
        (Receiving.READING, ReceivingInput.CLEAR): Receiving.CLEARED,
        (Receiving.FLUSHED, ReceivingInput.CLEAR): Receiving.CLEARED,
        (Receiving.COMPLETE, ReceivingInput.CLEAR): Receiving.CLEARED,
        (Receiving.DELIVERED, ReceivingInput.CLEAR): Receiving.DELIVERED,
        (Receiving.CLEARED, ReceivingInput.CLEAR): Receiving.CLEARED,
    },
)
