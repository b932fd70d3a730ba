"""
Datagram -> session, for one socket of a dialect: what every dialect's has in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hypermail.admission import prefix_of
from hypermail.dialects.connection import DialectConnection
from hypermail.dialects.dialect import Dialect
from hypermail.dialects.strangers import Strangers
from hypermail.link.train import Train
from hypermail.options import ListenerOptions

C = TypeVar("C", bound=DialectConnection[Any, Any])

#: Answers to strangers in one read of the socket, at most.
MOST_REPLIES = 16


@dataclass(frozen=True, slots=True)
class Inquiry(Generic[C]):
    """
    Something that the application has to be asked before datagrams can be looked at.

    @ivar question: called without arguments, gives the answer, or a Deferred of it.
    @ivar answer: called with it and the time, or with None when asking has failed; gives the connections touched.
    """

    question: Callable[[], object]
    answer: Callable[[Any, float], list[C]]


class DialectDemux(Generic[C]):
    """
    The sessions of one socket.

    Subclasses implement C{_take}, C{start} and C{_gone}.

    @param options: the dialect.
    @param listening: whether strangers may open sessions.
    @ivar dropped: datagrams that were dropped, by cause.
    """

    def __init__(self, options: Dialect, *, listening: bool, listener_options: ListenerOptions) -> None:
        self.listening = listening
        self.listener_options = listener_options
        self.dropped: Counter[str] = Counter()
        self.inquiries: list[Inquiry[C]] = []
        self._connections: dict[C, None] = {}
        self._strangers: Strangers[C] = Strangers(options.max_unproved, options.max_unproved_per_prefix)
        self._replies: list[Train] = []
        self._faults: list[tuple[C, Exception]] = []

    def __len__(self) -> int:
        return len(self._connections)

    # What a dialect implements.

    def _take(self, datagram: memoryview, address: Any, now: float) -> C | None:
        """
        Look at one datagram.

        @param datagram: valid during the call only.
        @return: the connection that it is for, when it was told of it.
        """
        raise NotImplementedError

    def start(self, address: Any, *, options: Any, now: float) -> C:
        """
        Ask a listener for a session; C{_enter} keeps it.

        @param address: of the listener.
        @param options: the dialect again, perhaps with another C{connection_timeout}.
        @raise HypermailError: when that is not possible.
        """
        raise NotImplementedError

    def _gone(self, connection: C) -> None:
        """A connection was forgotten: nobody is to find it any more."""
        raise NotImplementedError

    # What the socket does.

    def receive(self, datagrams: list[memoryview], address: Any, *, now: float, ecn: int = 0) -> list[C]:
        """
        Take the datagrams of one read from one address.

        @param now: s, monotonic.
        @param ecn: dialects have no use for it.
        @return: the connections that were touched, new ones included.
        """
        touched: dict[C, None] = {}
        for datagram in datagrams:
            connection = self._take(datagram, address, now)
            if connection is not None:
                touched[connection] = None
        for connection in touched:
            if connection.credit is None:
                self._proved(connection)
        return list(touched)

    def faults(self) -> list[tuple[C, Exception]]:
        """Connections on which the core has failed, and how, which must be ended; empty after they were taken."""
        faults, self._faults = self._faults, []
        return faults

    def replies(self) -> list[Train]:
        """Answers that belong to no connection; empty after they were taken."""
        replies, self._replies = self._replies, []
        return replies

    def forget(self, connection: C) -> None:
        """A connection has ended."""
        if connection in self._connections:
            del self._connections[connection]
            self._proved(connection)
            self._gone(connection)

    def statistics(self) -> dict[str, int]:
        """Counters, for people to look at."""
        found = {"connections": len(self), "opening": len(self._strangers), "dropped": self.dropped.total()}
        return found | {f"dropped_{cause}": count for cause, count in sorted(self.dropped.items())}

    # For subclasses.

    def _drop(self, cause: str) -> None:
        """A datagram is dropped. @param cause: a word or two with underscores."""
        self.dropped[cause] += 1

    def _reply(self, datagram: bytes, address: Any, heard: int) -> None:
        """
        Answer without a connection, if this read has not brought too many that want one.

        @param heard: bytes of what is answered: an answer is never longer.
        """
        if len(datagram) <= heard and len(self._replies) < MOST_REPLIES:
            self._replies.append(Train(address, [datagram]))

    def _enter(self, connection: C) -> None:
        """One connection more, a starter's, or a listener's whose peer has a place."""
        self._connections[connection] = None

    def _full(self) -> bool:
        """Whether there are as many sessions as there may be."""
        return len(self._connections) - len(self._strangers) >= self.listener_options.max_sessions

    def _enter_stranger(self, connection: C) -> C | None:
        """
        One more whose address is not proved; when there is no place, the one that has not shown itself for the longest
        time gives way, of the same prefix if that has too many.

        @return: who gave way, and has to end.
        """
        self._enter(connection)
        return self._strangers.enter(connection, prefix_of(connection.address))

    def _proved(self, connection: C) -> None:
        """A stranger is where it says, or gone."""
        self._strangers.leave(connection)

    def _tell(self, connection: C, receive: Callable[..., None], *arguments: Any) -> C:
        """
        Give a connection something that came for it. A fault of ours ends it, and harms no other.

        @return: the connection.
        """
        try:
            receive(*arguments)
        except Exception as error:
            self._faults.append((connection, error))
        return connection
