"""
The states of a link, of the search for the size of its datagrams, and of what is known of its path, as tables.
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


class EcnState(Enum):
    """What is known of explicit congestion notification on a path (RFC 9000 A.4)."""

    TESTING = auto()  #: the first datagrams leave marked
    UNKNOWN = auto()  #: enough have: none is marked until one of them is acknowledged
    CAPABLE = auto()  #: the path carries marks, so all datagrams leave marked
    FAILED = auto()  #: it doesn't, or the peer doesn't tell: none is marked


class EcnInput(Enum):
    """What moves it."""

    TESTED = auto()
    VALIDATED = auto()
    REFUTED = auto()


ECN = Table(
    "explicit congestion notification",
    EcnState.TESTING,
    {
        (EcnState.TESTING, EcnInput.TESTED): EcnState.UNKNOWN,
        (EcnState.TESTING, EcnInput.VALIDATED): EcnState.CAPABLE,
        (EcnState.UNKNOWN, EcnInput.VALIDATED): EcnState.CAPABLE,
        (EcnState.CAPABLE, EcnInput.VALIDATED): EcnState.CAPABLE,
        (EcnState.TESTING, EcnInput.REFUTED): EcnState.FAILED,
        (EcnState.UNKNOWN, EcnInput.REFUTED): EcnState.FAILED,
        (EcnState.CAPABLE, EcnInput.REFUTED): EcnState.FAILED,
    },
)


class Search(Enum):
    """Where the search for a path's MTU is (RFC 8899 §5.2; the opening has shown that the base passes)."""

    BASE = auto()  #: nothing larger than the base is known to pass
    SEARCHING = auto()  #: probes are sent
    SEARCH_COMPLETE = auto()  #: the limit is known, until it is time to look again


class SearchInput(Enum):
    """What moves a search."""

    BEGIN = auto()
    FITS = auto()
    TOO_LARGE = auto()
    EXHAUSTED = auto()
    BLACK_HOLE = auto()


SEARCH = Table(
    "path MTU",
    Search.BASE,
    {
        (Search.BASE, SearchInput.BEGIN): Search.SEARCHING,
        (Search.SEARCHING, SearchInput.FITS): Search.SEARCHING,
        (Search.SEARCHING, SearchInput.TOO_LARGE): Search.SEARCHING,
        (Search.SEARCHING, SearchInput.EXHAUSTED): Search.SEARCH_COMPLETE,
        (Search.SEARCHING, SearchInput.BLACK_HOLE): Search.BASE,
        (Search.SEARCH_COMPLETE, SearchInput.BEGIN): Search.SEARCHING,
        (Search.SEARCH_COMPLETE, SearchInput.BLACK_HOLE): Search.BASE,
    },
)
