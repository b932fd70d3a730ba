"""
Datagram -> connection, for one socket.

Every datagram has its receiver's tag behind the first byte. What bears a known tag goes to its connection; what bears
none goes to a listener's L{Reception}, or is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

from hypermail.connection import Connection, RandomBytes, TraceFactory
from hypermail.errors import UsageError
from hypermail.link.train import Train
from hypermail.options import ListenerOptions, Options, Role
from hypermail.reception import Reception
from hypermail.security.handshake import HandshakeFactory
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire.header import Kind

#: Kind and tag of a short datagram, which has more.
_BEGINS = Struct(">BQ4x")
_SHORT = int(Kind.SHORT)

#: Stateless answers to one read of the socket, at most.
MOST_REPLIES = 16


def _no_trace(role: Role, name: str, now: float) -> NullTrace:
    return NullTrace()


class Share(NamedTuple):
    """
    Which tags are a worker's, of a listener that has several: those that begin with a byte that is C{worker} modulo
    C{workers}.
    """

    worker: int = 0
    workers: int = 1

    def has(self, byte: int) -> bool:
        """Whether tags are this worker's that begin so."""
        return byte % self.workers == self.worker


#: Of a listener without workers.
ALONE = Share()


class Demux:
    """
    The connections of one socket.

    @param options: of the sessions that strangers may open.
    @param listener_options: what is borne from strangers.
    @param handshake: makes the listener's side of a handshake; None when strangers may open nothing.
    @param secret: 32 bytes for tokens, the same after a restart; None for some that last as long as this.
    @param scope: tells the socket from others with the same secret.
    @param share: of a worker, which shares the address with others; what is for them is theirs to answer.
    @ivar dropped: datagrams that belonged to nobody and got no answer.
    @ivar astray: datagrams that were for other workers.
    """

    def __init__(
        self,
        *,
        options: Options,
        listener_options: ListenerOptions = ListenerOptions(),
        handshake: HandshakeFactory | None,
        random_bytes: RandomBytes,
        secret: bytes | None = None,
        scope: bytes = b"",
        share: Share = ALONE,
        trace_factory: TraceFactory = _no_trace,
    ) -> None:
        self._share = share
        self._reception: Reception | None = None
        if handshake is not None:
            self._reception = Reception(
                options,
                listener_options,
                handshake=handshake,
                random_bytes=random_bytes,
                secret=secret or random_bytes(32),
                scope=scope,
                trace_factory=trace_factory,
            )
        self._by_tag: dict[int, Connection] = {}
        self._by_first_tag: dict[int, Connection] = {}  # a listener's
        self._by_remote_tag: dict[int, Connection] = {}  # a starter's
        self._replies: list[Train] = []
        self._faults: list[tuple[Connection, Exception]] = []
        self._touched_otherwise: list[Connection] = []
        self._strays: list[bytes] = []
        self.dropped = 0
        self.astray = 0

    def renew(self, handshake: HandshakeFactory) -> None:
        """A listener's: see L{Reception.renew}."""
        if self._reception is None:
            raise UsageError("strangers may open nothing here: there is no handshake to renew")
        self._reception.renew(handshake)

    @property
    def connections(self) -> Iterator[Connection]:
        """All that were not forgotten."""
        return iter(list(self._by_tag.values()))

    def __len__(self) -> int:
        return len(self._by_tag)

    def add(self, connection: Connection) -> None:
        """Give a starter's connection this socket."""
        self._by_tag[connection.local_tag] = self._by_remote_tag[connection.remote_tag] = connection

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._by_tag.pop(connection.local_tag, None)
        for tag in (connection.first_tag, connection.remote_tag):
            self._by_remote_tag.pop(tag, None)
        if self._reception is not None:
            self._by_first_tag.pop(connection.first_tag, None)
            self._reception.admission.gone(connection)

    def statistics(self) -> dict[str, int]:
        """Counters, for people to look at."""
        found = {"connections": len(self), "dropped": self.dropped}
        if self._reception is not None:
            admission = self._reception.admission
            found |= {"opening": len(admission), "retries": admission.retries}
        if self._share.workers > 1:
            found["astray"] = self.astray
        return found

    def replies(self) -> list[Train]:
        """Answers that belong to no connection; empty after they were taken."""
        replies = self._replies
        self._replies = []
        return replies

    def strays(self) -> list[bytes]:
        """
        Datagrams of the last read that are for other workers; empty after they were taken.

        A system that joins datagrams of one address sees the first one's tag only when it looks whose they are.
        """
        strays, self._strays = self._strays, []
        return strays

    def faults(self) -> list[tuple[Connection, Exception]]:
        """Connections on which the core has failed, and how, which must be ended; empty after they were taken."""
        faults, self._faults = self._faults, []
        return faults

    def receive(self, datagrams: list[memoryview], address: Any, *, now: float, ecn: int = 0) -> list[Connection]:
        """
        Give the datagrams of one read from one address to their connections.

        @param datagrams: memoryviews that are valid during the call only.
        @param now: s, monotonic.
        @param ecn: see L{Connection.receive}.
        @return: the connections that were touched, new ones included.
        """
        if self._strays:
            self._strays.clear()
        whole = self._whole(datagrams)
        if whole is not None:
            self._give(whole, datagrams, address, now, ecn)
            return [whole]
        touched: dict[Connection, list[memoryview]] = {}
        for datagram in datagrams:
            connection = self._find(datagram, address, now)
            if connection is not None:
                touched.setdefault(connection, []).append(datagram)
        for connection, theirs in touched.items():
            self._give(connection, theirs, address, now, ecn)
        for connection in self._touched_otherwise:
            touched.setdefault(connection, [])
        self._touched_otherwise.clear()
        return list(touched)

    def _give(self, connection: Connection, datagrams: list[memoryview], address: Any, now: float, ecn: int) -> None:
        """Datagrams of one read are a connection's."""
        try:
            connection.receive(datagrams, address, now=now, ecn=ecn)
        except Exception as error:  # a fault of ours must not hold a place for ever, nor harm the others
            self._faults.append((connection, error))
        if self._reception is not None:
            self._reception.admission.look(connection)
        else:
            self._by_remote_tag[connection.remote_tag] = connection

    def _whole(self, datagrams: list[memoryview]) -> Connection | None:
        """The connection that all of these short datagrams belong to, as is usual; None when there is no such one."""
        if len(datagrams) == 1:
            datagram = datagrams[0]
            if len(datagram) < _BEGINS.size:
                return None
            kind, tag = _BEGINS.unpack_from(datagram)
            return self._by_tag.get(tag) if kind & 0xFE == _SHORT else None
        try:
            begins = list(map(_BEGINS.unpack_from, datagrams))
        except StructError:  # one is too short
            return None
        if not begins:
            return None
        kind, tag = first = begins[0]
        return self._by_tag.get(tag) if kind & 0xFE == _SHORT and begins.count(first) == len(begins) else None

    def _find(self, datagram: memoryview, address: Any, now: float) -> Connection | None:
        if len(datagram) < header.SHORT.size:
            self.dropped += 1
            return None
        kind = datagram[0]
        tag = int.from_bytes(datagram[1:9], "big")
        connection = self._by_tag.get(tag)
        if connection is None and not self._share.has(datagram[1]):
            self._strays.append(bytes(datagram))
            self.astray += 1
            return None
        if kind & 0xFE == _SHORT:
            if connection is None:
                self._reply(None if self._reception is None else self._reception.unknown(datagram, tag), address)
            return connection
        if kind & 0xF0 == Kind.LONG:
            return connection or self._by_first_tag.get(tag) or self._stranger(datagram, tag, address, now)
        self._stateless(datagram, kind, connection, now)
        return None

    def _stateless(self, datagram: memoryview, kind: int, connection: Connection | None, now: float) -> None:
        """A datagram from somebody who keeps no state about us: retry, reset or version."""
        if kind == Kind.RETRY and connection is not None:
            retry = header.decode_retry(datagram)
            if retry is not None:
                connection.retry(retry, now=now)
                self._touched_otherwise.append(connection)
                return
        if kind == Kind.VERSION and connection is not None:
            versions = header.decode_versions(datagram)
            if versions is not None:
                connection.versions(versions, now=now)
                self._touched_otherwise.append(connection)
                return
        if kind == Kind.RESET and self._reception is None:
            reset = header.decode_reset(datagram)
            reported = None if reset is None else self._by_remote_tag.get(reset.tag)
            if reset is not None and reported is not None:
                reported.reset(reset.token, now=now)
                self._touched_otherwise.append(reported)
                return
        self.dropped += 1

    def _reply(self, datagram: bytes | None, address: Any) -> None:
        """Answer without keeping state, if there is an answer, and this read has not brought too many that want one."""
        if datagram is not None and len(self._replies) < MOST_REPLIES:
            self._replies.append(Train(address, [datagram]))
        else:
            self.dropped += 1

    def _stranger(self, datagram: memoryview, tag: int, address: Any, now: float) -> Connection | None:
        answer = None
        if self._reception is not None:
            answer = self._reception.stranger(datagram, tag, address, len(self), now)
        if isinstance(answer, Connection):
            self._by_tag[answer.local_tag] = self._by_first_tag[tag] = answer
            return answer
        self._reply(answer, address)
        return None
