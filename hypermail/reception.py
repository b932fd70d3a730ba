"""
A listener's reception: what becomes of a datagram that belongs to no connection.

It begins a connection, or answers without keeping state: with a retry, with another version, with a reset. All else is
dropped.
"""

from __future__ import annotations

from typing import Any

from hypermail.admission import Admission, Ruling
from hypermail.connection import Connection, RandomBytes, TraceFactory
from hypermail.errors import Reason, SessionRejected, UsageError
from hypermail.link.congestion import controller
from hypermail.options import ListenerOptions, Options, Role
from hypermail.security.handshake import HandshakeFactory
from hypermail.security.keys import long_seals
from hypermail.security.tokens import ResetKey, RetryTokens
from hypermail.wire import header
from hypermail.wire.numbers import expand


class Reception:
    """
    Of one socket.

    @param options: of the sessions that strangers may open.
    @param listener_options: what is borne from them.
    @param handshake: makes the listener's side of one.
    @param secret: 32 bytes for tokens.
    @param scope: tells the socket from others with the same secret.

    @ivar mode: that is served.
    @ivar admission: who has been let in, and not opened yet.
    """

    def __init__(
        self,
        options: Options,
        listener_options: ListenerOptions,
        *,
        handshake: HandshakeFactory,
        random_bytes: RandomBytes,
        secret: bytes,
        scope: bytes,
        trace_factory: TraceFactory,
    ) -> None:
        controller(options.congestion)  # rather than with the first stranger
        self._options = options
        self._most = listener_options.max_sessions
        self._handshake = handshake
        self._random_bytes = random_bytes
        self._trace_factory = trace_factory
        self._reset_key = ResetKey(secret, scope)
        self.mode = handshake(Role.LISTENER).mode
        self.admission = Admission(listener_options, RetryTokens(secret, random_bytes))

    def renew(self, handshake: HandshakeFactory) -> None:
        """
        Make the handshakes that begin from now on another way; those that run, and connections, go on.

        @raise UsageError: when that would be another mode.
        """
        mode = handshake(Role.LISTENER).mode
        if mode is not self.mode:
            raise UsageError(f"a socket in mode {self.mode.name.lower()} cannot go on in mode {mode.name.lower()}")
        self._handshake = handshake

    def unknown(self, datagram: memoryview, tag: int) -> bytes | None:
        """
        Tell somebody that its tag is unknown here: in less than it has sent, so that two can't do it forever.

        @return: the answer, or None.
        """
        if len(datagram) <= header.RESET.size:
            return None
        return header.encode_reset(header.Reset(tag, self._reset_key.token(tag)))

    def stranger(
        self, datagram: memoryview, tag: int, address: Any, connections: int, now: float
    ) -> Connection | bytes | None:
        """
        A long datagram for nobody: the hello of a new starter, or not.

        @param connections: how many there are on this socket.
        @return: a new connection, which the datagram is for; an answer; or None.
        """
        head = header.decode_long(datagram)
        if head is None or len(datagram) < header.LEAST_HELLO:
            return None
        if head.version != header.VERSION or head.mode != self.mode:
            spoken = header.Versions(head.source, head.destination, (header.VERSION,), (self.mode,))
            return header.encode_versions(spoken)
        if head.token and not self._is_hello(datagram, head):  # before its token is spent
            return None
        verdict = self.admission.judge(head.token, address, tag, now)
        if verdict is Ruling.RETRY:
            return header.encode_retry(header.Retry(head.source, tag, self.admission.token(address, tag, now)))
        if verdict is Ruling.DROP or not (head.token or self._is_hello(datagram, head)):
            return None
        connection = self._begin(head, address, verdict is Ruling.PROVED, connections, now)
        self.admission.begun(connection, verdict is Ruling.PROVED)
        return connection

    def _is_hello(self, datagram: memoryview, head: header.Long) -> bool:
        """Whether a stranger's datagram, of our mode, has come as it was sent."""
        _, opening = long_seals(head.mode, Role.LISTENER, head.destination)
        return opening.open(datagram, head.length, expand(head.low, 0)) is not None

    def _begin(self, head: header.Long, address: Any, proved: bool, connections: int, now: float) -> Connection:
        full = None
        if connections - len(self.admission) >= self._most:
            full = SessionRejected(f"the listener has {self._most} sessions, no more", Reason.TOO_MANY_SESSIONS)
        # It begins as the starter's first one does: all that is ever sent to the session comes to one worker so.
        local_tag = head.destination >> 56 << 56 | int.from_bytes(self._random_bytes(8)[1:], "big")
        return Connection(
            Role.LISTENER,
            self._handshake(Role.LISTENER),
            options=self._options,
            address=address,
            local_tag=local_tag,
            first_tag=head.destination,
            remote_tag=head.source,
            reset_token=self._reset_key.token(local_tag),
            incarnation=int.from_bytes(self._random_bytes(8), "big"),
            now=now,
            token=head.token if proved else b"",
            refusal=full,
            trace=self._trace_factory(Role.LISTENER, f"{head.destination:016x}", now),
            skips=self._random_bytes(32),
        )
