"""
Session keys in use: when a key is updated, and which one opens what (RFC 9001 §6).

Each direction has its own phase: who sends updates, and who receives follows. The phase's lowest bit is in every short
header. Packet numbers go on through all phases.
"""

from __future__ import annotations

from hypermail.security.seal import Seal


class SendingKeys:
    """
    Our side of one direction: seals, and goes on to the next key when half of what the current one bears is used.

    @ivar phase: of the key, 0 or 1.
    @ivar overhead: bytes that sealing adds.
    @ivar rests: whether an idle link can free anything here.
    @ivar updates: how often the key was updated.
    @ivar wants_ack: whether an update waits for an acknowledgement under this key, which has to be asked for then.
    """

    __slots__ = (
        "_confirmed",
        "_first",
        "_half",
        "_left",
        "_seal",
        "overhead",
        "phase",
        "rests",
        "updates",
        "wants_ack",
    )

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._left = seal.sealings
        self._half = seal.sealings >> 1
        self._first = 0
        self._confirmed = False
        self.phase = 0
        self.overhead = seal.overhead
        self.rests = seal.rests
        self.updates = 0
        self.wants_ack = False

    def prepare(self, number: int) -> int:
        """
        A datagram is about to be sealed: update the key first, if it is time and allowed (RFC 9001 §6.1).

        @return: the phase.
        """
        self._left -= 1
        if self._left < self._half:
            if self._confirmed:
                self._update(number)
            else:
                self.wants_ack = True
        return self.phase

    def _update(self, number: int) -> None:
        self._seal = self._seal.next()
        self._left = self._seal.sealings - 1
        self._first = number
        self._confirmed = False
        self.phase ^= 1
        self.updates += 1

    @property
    def cipher(self) -> str:
        """The cipher's name; empty when nothing is encrypted."""
        return self._seal.cipher

    def spent(self) -> bool:
        """Whether nothing more may be sealed."""
        return self._left <= 0

    def seal(self, header: bytes, parts: list[bytes], number: int) -> bytes:
        """A whole datagram; L{prepare} went before."""
        return self._seal.seal(header, parts, number)

    def rest(self) -> None:
        """The link is idle."""
        self._seal.rest()

    def acknowledged(self, largest: int) -> None:
        """The peer has opened our short datagram C{largest}."""
        if largest >= self._first and not self._confirmed:
            self._confirmed = True
            self.wants_ack = False


class ReceivingKeys:
    """
    The other direction: opens with the key that the phase and the number point to.

    @ivar forged: datagrams that did not open, under all keys.
    """

    __slots__ = ("_first", "_next", "_phase", "_previous", "_seal", "_until", "forged")

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._next: Seal | None = None
        self._previous: Seal | None = None
        self._until = 0.0
        self._phase = 0
        self._first = 0
        self.forged = 0

    @property
    def spent(self) -> bool:
        """Whether so many datagrams were forged that one may succeed (RFC 9001 §6.6)."""
        return self.forged >= self._seal.forgeries

    def rest(self) -> None:
        """The link is idle."""
        self._seal.rest()
        self._next = None
        if self._previous is not None:
            self._previous.rest()

    def open(
        self, datagram: memoryview, length: int, number: int, phase: int, now: float, patience: float
    ) -> memoryview | None:
        """
        The content of a datagram, or None.

        @param phase: of its header.
        @param patience: s for which the key before is kept after an update; a datagram that was sent before it may
            come later.
        """
        if phase == self._phase:
            content = self._seal.open(datagram, length, number)
            if content is not None and number < self._first:
                self._first = number
        elif number < self._first:
            content = self._open_previous(datagram, length, number, now)
        else:
            content = self._open_next(datagram, length, number, now + patience)
        if content is None:
            self.forged += 1
        return content

    def _open_previous(self, datagram: memoryview, length: int, number: int, now: float) -> memoryview | None:
        if self._previous is not None and now >= self._until:
            self._previous = None
        return None if self._previous is None else self._previous.open(datagram, length, number)

    def _open_next(self, datagram: memoryview, length: int, number: int, until: float) -> memoryview | None:
        if self._next is None:
            self._next = self._seal.next()
        content = self._next.open(datagram, length, number)
        if content is not None:
            self._previous, self._until = self._seal, until
            self._seal, self._next = self._next, None
            self._phase ^= 1
            self._first = number
        return content
