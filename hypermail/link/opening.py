"""
A link before it has session keys: the handshake, and the long datagrams that carry it.

It is gone once the session has been answered, with everything that the handshake held.
"""

from __future__ import annotations

from hypermail.errors import HandshakeFailed, HandshakeRefused, LimitExceeded
from hypermail.link.acks import Acks
from hypermail.link.flight import Flight
from hypermail.options import Role
from hypermail.security.handshake import Handshake, bind
from hypermail.security.keys import Keys, long_seals
from hypermail.wire import header
from hypermail.wire.packets import Handshake as HandshakePacket

#: Retries that a starter follows: more than one comes only when the first was forged, or outlived.
MOST_RETRIES = 3
#: Handshake packets of the peer's, repeated ones included: 64 KiB in ordinary ones are fewer than 60.
MOST_PACKETS = 512


class LinkOpening:
    """
    One side of the opening.

    @param token: by which a listener has admitted the starter; empty when by none.

    @ivar flight: what is said and heard of the handshake.
    @ivar acks: of long datagrams, which anybody who has seen the first tag can make: what they acknowledge, and which
        numbers they use up, must not count for the others (RFC 9000 §12.3).
    @ivar remote_tag: what is known of the peer's tag; the first tag before it has said it.
    @ivar failure: why the handshake has failed, once it has.
    """

    __slots__ = (
        "_answered",
        "_first_tag",
        "_keyed",
        "_local_tag",
        "_packets",
        "_role",
        "_token",
        "_tokens",
        "acks",
        "failure",
        "flight",
        "handshake",
        "opens",
        "remote_tag",
        "seals",
    )

    def __init__(
        self, role: Role, handshake: Handshake, *, local_tag: int, first_tag: int, remote_tag: int, token: bytes
    ) -> None:
        self._role = role
        self.handshake = handshake
        self.flight = Flight()
        self.acks = Acks()
        self.seals, self.opens = long_seals(handshake.mode, role, first_tag)
        self._local_tag = local_tag
        self._first_tag = first_tag
        self._answered = role is Role.LISTENER
        self._keyed = False
        self._packets = 0
        self._token = token
        self._tokens = [b""]
        self.remote_tag = remote_tag
        self.failure: HandshakeFailed | None = None

    @property
    def objects(self) -> bool:
        """Whether it is this side that has found fault with the other, which should know."""
        return self.failure is not None and not isinstance(self.failure, HandshakeRefused)

    # Datagrams

    @property
    def overhead(self) -> int:
        """Bytes of a long datagram that are not packets."""
        return header.LONG.size + len(self._token) + self.seals.overhead

    def head(self, number: int) -> bytes:
        """Of a long datagram of ours. A listener's has the token that has counted, so that both sides bind the same."""
        low = number & 0xFFFFFFFF
        mode = self.handshake.mode
        return header.encode_long(
            header.Long(mode, header.VERSION, self.remote_tag, self._local_tag, low, self._token, 0)
        )

    def open(self, datagram: memoryview, head: header.Long, number: int) -> bytes | None:
        """The content of a long datagram of the peer's, or None."""
        if self._answered and head.source != self.remote_tag:
            return None
        content = self.opens.open(datagram, head.length, number)
        if content is None:
            return None
        if not self._answered:  # the first answer settles it: RFC 9000 §7.2
            if head.token not in self._tokens:
                return None
            self._answered = True
            self.remote_tag = head.source
            self._token = head.token
        return content

    def retry(self, token: bytes) -> bool:
        """
        The listener wants to see a token, and has forgotten the rest.

        @return: whether everything is to be sent again, with it.
        """
        if self._answered or token in self._tokens or len(self._tokens) > MOST_RETRIES:
            return False
        self._tokens.append(token)
        self._token = token
        return True

    # The handshake

    def take(self, packet: HandshakePacket) -> Keys | None:
        """
        Take bytes of the peer's flight.

        @return: the session's keys, when it gives them. A handshake that fails leaves its reason in C{failure}.
        @raise LimitExceeded: for one that never ends.
        """
        self._packets += 1
        if self._packets > MOST_PACKETS:
            raise LimitExceeded(f"a handshake in more than {MOST_PACKETS} packets")
        for piece in self.flight.receive(packet):
            if self.failure is None:
                try:
                    self.handshake.receive(piece)
                except HandshakeFailed as error:
                    self._fail(error)
        return self.shake()

    def shake(self) -> Keys | None:
        """Let the handshake say what it can. @return: as L{take}."""
        keys = None
        handshake = self.handshake
        if self._packets and handshake.begun and self.failure is None and not self._keyed:
            starter, listener = self._local_tag, self.remote_tag
            if self._role is Role.LISTENER:
                starter, listener = listener, starter
            binding = bind(handshake.mode, header.VERSION, self._first_tag, starter, listener, self._token)
            try:
                keys = handshake.keys(binding)
                self._keyed = keys is not None
            except HandshakeFailed as error:
                self._fail(error)
        said = handshake.outgoing()
        if said is not None:
            self.flight.send(said)
        return keys

    def _fail(self, error: HandshakeFailed) -> None:
        """Keep the error, but not what its traceback keeps alive: applications may have it for long."""
        error.__context__ = None
        self.failure = error.with_traceback(None)
