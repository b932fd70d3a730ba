"""
The states of a band, of the queen's end and of the cell's, as tables.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.machine import Table


class Asking(Enum):
    """Where the queen's end of a band is."""

    IDLE = auto()
    ASKED = auto()  #: the head of a request was sent
    SENDING = auto()  #: its body is wanted
    SENT = auto()  #: all of that was sent
    ANSWERED = auto()  #: the head of the response came, no body is on its way
    ANSWERED_EARLY = auto()  #: it came while the body was being sent
    OVER = auto()  #: this end and the other one may disagree on where they are


class AskingInput(Enum):
    """What moves it."""

    ASK = auto()
    WANT_RECEIVED = auto()
    BODY_SENT = auto()
    HEAD_RECEIVED = auto()
    BODY_RECEIVED = auto()
    END_RECEIVED = auto()


ASKING = Table(
    "band, the queen's end",
    Asking.IDLE,
    {
        (Asking.IDLE, AskingInput.ASK): Asking.ASKED,
        (Asking.ASKED, AskingInput.WANT_RECEIVED): Asking.SENDING,
        (Asking.ASKED, AskingInput.HEAD_RECEIVED): Asking.ANSWERED,
        (Asking.ASKED, AskingInput.END_RECEIVED): Asking.IDLE,
        (Asking.SENDING, AskingInput.BODY_SENT): Asking.SENT,
        (Asking.SENDING, AskingInput.HEAD_RECEIVED): Asking.ANSWERED_EARLY,
        (Asking.SENDING, AskingInput.END_RECEIVED): Asking.OVER,
        (Asking.SENT, AskingInput.HEAD_RECEIVED): Asking.ANSWERED,
        (Asking.SENT, AskingInput.END_RECEIVED): Asking.IDLE,
        (Asking.ANSWERED, AskingInput.BODY_RECEIVED): Asking.ANSWERED,
        (Asking.ANSWERED, AskingInput.END_RECEIVED): Asking.IDLE,
        (Asking.ANSWERED_EARLY, AskingInput.BODY_RECEIVED): Asking.ANSWERED_EARLY,
        (Asking.ANSWERED_EARLY, AskingInput.BODY_SENT): Asking.ANSWERED,
        (Asking.ANSWERED_EARLY, AskingInput.END_RECEIVED): Asking.OVER,
    },
)


class Answering(Enum):
    """Where the cell's end of a band is."""

    IDLE = auto()
    ASKED = auto()  #: the head of a request came
    READING = auto()  #: its body was asked for
    READ = auto()  #: all of that came
    ANSWERED = auto()  #: the head of the response was sent, no body is to come
    ANSWERED_EARLY = auto()  #: it was sent while the body was coming
    DRAINING = auto()  #: the response was sent; what still comes of the body is nobody's


class AnsweringInput(Enum):
    """What moves it."""

    HEAD_RECEIVED = auto()
    WANT = auto()
    BODY_RECEIVED = auto()
    END_RECEIVED = auto()
    ANSWER = auto()
    WRITE = auto()
    END = auto()


ANSWERING = Table(
    "band, the cell's end",
    Answering.IDLE,
    {
        (Answering.IDLE, AnsweringInput.HEAD_RECEIVED): Answering.ASKED,
        (Answering.ASKED, AnsweringInput.WANT): Answering.READING,
        (Answering.ASKED, AnsweringInput.ANSWER): Answering.ANSWERED,
        (Answering.READING, AnsweringInput.BODY_RECEIVED): Answering.READING,
        (Answering.READING, AnsweringInput.END_RECEIVED): Answering.READ,
        (Answering.READING, AnsweringInput.ANSWER): Answering.ANSWERED_EARLY,
        (Answering.READ, AnsweringInput.ANSWER): Answering.ANSWERED,
        (Answering.ANSWERED, AnsweringInput.WRITE): Answering.ANSWERED,
        (Answering.ANSWERED, AnsweringInput.END): Answering.IDLE,
        (Answering.ANSWERED_EARLY, AnsweringInput.WRITE): Answering.ANSWERED_EARLY,
        (Answering.ANSWERED_EARLY, AnsweringInput.BODY_RECEIVED): Answering.ANSWERED_EARLY,
        (Answering.ANSWERED_EARLY, AnsweringInput.END_RECEIVED): Answering.ANSWERED,
        (Answering.ANSWERED_EARLY, AnsweringInput.END): Answering.DRAINING,
        (Answering.DRAINING, AnsweringInput.BODY_RECEIVED): Answering.DRAINING,
        (Answering.DRAINING, AnsweringInput.END_RECEIVED): Answering.IDLE,
    },
)
