"""
Datagram -> connection, for one socket; and what becomes of strangers.

Every datagram has its receiver's tag behind the first byte. What bears a known tag goes to its connection;
what a listener doesn't know it takes for a new connection, answers without keeping state (a retry, another
version, an unknown tag), or drops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypermail.admission import Admission, Verdict
from hypermail.connection import Connection, RandomBytes
from hypermail.errors import Reason, SessionRejected
from hypermail.link.congestion import CongestionFactory
from hypermail.link.newreno import NewReno
from hypermail.link.train import Train
from hypermail.options import ListenerOptions, Options, Role
from hypermail.security.handshake import Handshake, HandshakeFactory
from hypermail.security.keys import long_seals
from hypermail.security.tokens import ResetKey, RetryTokens
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire.header import Kind
from hypermail.wire.numbers import expand

#: Stateless answers to one read of the socket, at most.
MOST_REPLIES = 16

#: Makes a trace for a new connection: (role, what names it, now) -> trace.
TraceFactory = Callable[[Role, str, float], NullTrace]


def _no_trace(role: Role, name: str, now: float) -> NullTrace:
    return NullTrace()


class Demux:
    """
    The connections of one socket.

    @param options: of the sessions that strangers may open.
    @param handshake: makes the listener's side of a handshake; None when strangers may open nothing.
    @param secret: 32 bytes for tokens, the same after a restart; None for some that last as long as this.
    @param scope: tells the socket from others of the same secret.
    @ivar dropped: datagrams that belonged to nobody and got no answer.
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
        congestion: CongestionFactory = NewReno,
        trace_factory: TraceFactory = _no_trace,
    ) -> None:
        self._options = options
        self._listener_options = listener_options
        self._random_bytes = random_bytes
        self._handshake = handshake
        self._mode = None if handshake is None else handshake(Role.LISTENER).mode
        self._congestion = congestion
        self._trace_factory = trace_factory
        secret = secret or random_bytes(32)
        self._reset_key = ResetKey(secret, scope)
        self._admission = Admission(listener_options, RetryTokens(secret, random_bytes))
        self._by_tag: dict[int, Connection] = {}
        self._by_first_tag: dict[int, Connection] = {}
        self._replies: list[Train] = []
        self._touched_otherwise: list[Connection] = []
        self.dropped = 0

    @property
    def connections(self) -> Iterator[Connection]:
        """All that were not forgotten."""
        return iter(list(self._by_tag.values()))

    def __len__(self) -> int:
        return len(self._by_tag)

    def add(self, connection: Connection) -> None:
        """Give a starter's connection this socket."""
        self._by_tag[connection.local_tag] = connection

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._by_tag.pop(connection.local_tag, None)
        self._by_first_tag.pop(connection.first_tag, None)
        self._admission.gone(connection)

    def statistics(self) -> dict[str, int]:
        """Counters, for people to look at."""
        return {
            "connections": len(self),
            "opening": len(self._admission),
            "retries": self._admission.retries,
            "dropped": self.dropped,
        }

    def replies(self) -> list[Train]:
        """Answers that belong to no connection; empty after they were taken."""
        replies = self._replies
        self._replies = []
        return replies

    def receive(self, datagrams: list[memoryview], address: Any, *, now: float) -> list[Connection]:
        """
        Give the datagrams of one read from one address to their connections.

        @param datagrams: memoryviews that are valid during the call only.
        @param now: s, monotonic.
        @return: the connections that were touched, new ones included.
        """
        touched: dict[Connection, list[memoryview]] = {}
        for datagram in datagrams:
            connection = self._find(datagram, address, now)
            if connection is not None:
                touched.setdefault(connection, []).append(datagram)
        for connection, theirs in touched.items():
            connection.receive(theirs, address, now=now)
            self._admission.look(connection)
        for connection in self._touched_otherwise:
            touched.setdefault(connection, [])
        self._touched_otherwise.clear()
        return list(touched)

    def _find(self, datagram: memoryview, address: Any, now: float) -> Connection | None:
        if len(datagram) < header.SHORT.size:
            self.dropped += 1
            return None
        kind = datagram[0]
        tag = int.from_bytes(datagram[1:9], "big")
        connection = self._by_tag.get(tag)
        if kind & 0xFE == Kind.SHORT:
            if connection is None:
                self._reset(datagram, tag, address)
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
        if kind == Kind.RESET and self._handshake is None:
            reset = header.decode_reset(datagram)
            for candidate in self._by_tag.values():
                if reset is not None and candidate.remote_tag == reset.tag:
                    candidate.reset(reset.token, now=now)
                    self._touched_otherwise.append(candidate)
                    return
        self.dropped += 1

    def _reset(self, datagram: memoryview, tag: int, address: Any) -> None:
        """Tell somebody that its tag is unknown here: in less than it sent, so that two can't do it forever."""
        if self._handshake is not None and len(datagram) > header.RESET.size:
            self._reply(header.encode_reset(header.Reset(tag, self._reset_key.token(tag))), address)
        else:
            self.dropped += 1

    def _reply(self, datagram: bytes, address: Any) -> None:
        """Answer without keeping state, if this read has not brought too many that want it."""
        if len(self._replies) < MOST_REPLIES:
            self._replies.append(Train(address, [datagram]))
        else:
            self.dropped += 1

    def _stranger(self, datagram: memoryview, tag: int, address: Any, now: float) -> Connection | None:
        """A long datagram for nobody: the hello of a new starter, or not."""
        head = header.decode_long(datagram)
        if head is None or self._handshake is None or self._mode is None or len(datagram) < header.LEAST_HELLO:
            self.dropped += 1
            return None
        if head.version != header.VERSION or head.mode != self._mode:
            spoken = header.Versions(head.source, head.destination, (header.VERSION,), (self._mode,))
            self._reply(header.encode_versions(spoken), address)
            return None
        if head.token and not self._is_hello(datagram, head):  # before its token is spent
            self.dropped += 1
            return None
        verdict = self._admission.judge(head.token, address, tag, now)
        if verdict is Verdict.RETRY:
            token = self._admission.token(address, tag, now)
            self._reply(header.encode_retry(header.Retry(head.source, tag, token)), address)
            return None
        if verdict is Verdict.DROP or not (head.token or self._is_hello(datagram, head)):
            self.dropped += 1
            return None
        connection = self._begin(self._handshake(Role.LISTENER), head, address, now, verdict is Verdict.PROVED)
        self._admission.begun(connection, verdict is Verdict.PROVED)
        return connection

    def _is_hello(self, datagram: memoryview, head: header.Long) -> bool:
        """Whether a stranger's datagram, of our mode, has come as it was sent."""
        _, opening = long_seals(head.mode, Role.LISTENER, head.destination)
        return opening.open(datagram, head.length, expand(head.low, 0)) is not None

    def _begin(self, handshake: Handshake, head: header.Long, address: Any, now: float, proved: bool) -> Connection:
        most = self._listener_options.max_sessions
        full = SessionRejected(f"the listener has {most} sessions, no more", Reason.TOO_MANY_SESSIONS)
        local_tag = int.from_bytes(self._random_bytes(8), "big")
        connection = Connection(
            Role.LISTENER,
            handshake,
            options=self._options,
            address=address,
            local_tag=local_tag,
            first_tag=head.destination,
            remote_tag=head.source,
            reset_token=self._reset_key.token(local_tag),
            now=now,
            congestion=self._congestion,
            token=head.token if proved else b"",
            refusal=full if len(self) - len(self._admission) >= most else None,
            trace=self._trace_factory(Role.LISTENER, f"{head.destination:016x}", now),
        )
        self._by_tag[local_tag] = self._by_first_tag[head.destination] = connection
        return connection
