"""
Session keys in use: when a key is updated, and which one opens what (RFC 9001 §6).

Each direction has its own phase: who sends updates, and who receives follows. The phase's lowest bit is in every short
header. Packet numbers go on through all phases.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from hypermail.security.seal import Seal

#: s without a datagram after which the keys are put aside.
REST = 0.2

_number = itemgetter(0)


class SendingKeys:
    """
    Our side of one direction: seals, and goes on to the next key when half of what the current one bears is used.

    @ivar left: how many datagrams may still be sealed.
    @ivar phase: of the key, 0 or 1.
    @ivar overhead: bytes that sealing adds.
    @ivar updates: how often the key was updated.
    @ivar wants_ack: whether an update waits for an acknowledgement under this key, which has to be asked for then.
    """

    __slots__ = (
        "_confirmed",
        "_first",
        "_half",
        "_seal",
        "left",
        "overhead",
        "phase",
        "updates",
        "wants_ack",
    )

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self.left = seal.sealings
        self._half = seal.sealings >> 1
        self._first = 0
        self._confirmed = False
        self.phase = 0
        self.overhead = seal.overhead
        self.updates = 0
        self.wants_ack = False

    def prepare(self, number: int, count: int = 1) -> int:
        """
        Datagrams are about to be sealed: update the key first, if it is time and allowed (RFC 9001 §6.1).

        @param number: of the first of them; the others follow.
        @return: how many of them may be sealed before this is to be asked again: at least one.
        """
        if self.left - count < self._half:
            count = 1
        self.left -= count
        if self.left < self._half:
            if self._confirmed:
                self._update(number)
            else:
                self.wants_ack = True
        return count

    def _update(self, number: int) -> None:
        self._seal = self._seal.next()
        self.left = self._seal.sealings - 1
        self._first = number
        self._confirmed = False
        self.phase ^= 1
        self.updates += 1

    @property
    def cipher(self) -> str:
        """The cipher's name; empty when nothing is encrypted."""
        return self._seal.cipher

    def seal(self, header: bytes, parts: Sequence[bytes], number: int) -> bytes:
        """A whole datagram; L{prepare} went before."""
        return self._seal.seal(header, parts, number)

    def seal_train(self, prefix: bytes, number: int, contents: Sequence[Sequence[bytes]]) -> list[bytes]:
        """See L{Seal.seal_train}; L{prepare} went before."""
        return self._seal.seal_train(prefix, number, contents)

    @property
    def awake(self) -> bool:
        """Whether L{rest} would free anything."""
        return self._seal.awake

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
    @ivar overhead: bytes that sealing has added.
    @ivar phase: of the key that the newest datagrams were sealed with.
    """

    __slots__ = ("_first", "_next", "_previous", "_seal", "_until", "forged", "overhead", "phase")

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self.overhead = seal.overhead
        self._next: Seal | None = None
        self._previous: Seal | None = None
        self._until = 0.0
        self._first = 0
        self.phase = 0
        self.forged = 0

    @property
    def spent(self) -> bool:
        """Whether so many datagrams were forged that one may succeed (RFC 9001 §6.6)."""
        return self.forged >= self._seal.forgeries

    @property
    def awake(self) -> bool:
        """Whether L{rest} would free anything."""
        previous = self._previous
        return self._seal.awake or self._next is not None or (previous is not None and previous.awake)

    def rest(self) -> None:
        """The link is idle."""
        self._seal.rest()
        self._next = None
        if self._previous is not None:
            self._previous.rest()

    def open_train(
        self, prefix: bytes, datagrams: Sequence[memoryview], expected: int
    ) -> tuple[list[tuple[int, bytes]], int]:
        """
        Open datagrams of the current phase, up to the first that is not as usual.

        @param prefix: as of L{Seal.open_train}, and so the rest.
        @return: numbers and contents of those that are authentic; how many were tried.
        """
        found = self._seal.open_train(prefix, datagrams, expected)
        authentic = [(number, content) for number, content in found if content is not None]
        self.forged += len(found) - len(authentic)
        if self._first and authentic:
            self._first = min(self._first, min(map(_number, authentic)))
        return authentic, len(found)

    def open(
        self, datagram: memoryview, length: int, number: int, phase: int, now: float, patience: float
    ) -> bytes | None:
        """
        The content of a datagram, or None.

        @param phase: of its header.
        @param patience: s for which the key before is kept after an update; a datagram that was sent before it may
            come later.
        """
        if phase == self.phase:
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

    def _open_previous(self, datagram: memoryview, length: int, number: int, now: float) -> bytes | None:
        if self._previous is not None and now >= self._until:
            self._previous = None
        return None if self._previous is None else self._previous.open(datagram, length, number)

    def _open_next(self, datagram: memoryview, length: int, number: int, until: float) -> bytes | None:
        if self._next is None:
            self._next = self._seal.next()
        content = self._next.open(datagram, length, number)
        if content is not None:
            self._previous, self._until = self._seal, until
            self._seal, self._next = self._next, None
            self.phase ^= 1
            self._first = number
        return content


class Usage:
    """
    When the keys of a link are used: what is costly of them is put aside while they are not.

    @ivar at: s when one was used last.
    @ivar keys: of both directions; None while there are none.
    """

    __slots__ = ("at", "keys")

    def __init__(self, now: float) -> None:
        self.at = now
        self.keys: tuple[SendingKeys, ReceivingKeys] | None = None

    def used(self, now: float) -> None:
        """Something is sealed or opened; it is the first after a rest, perhaps."""
        if now >= self.at + REST:
            self.rest()
        self.at = now

    @property
    def awake(self) -> bool:
        """Whether L{rest} would free anything."""
        if self.keys is None:
            return False
        sending, receiving = self.keys
        return sending.awake or receiving.awake

    def rest(self) -> None:
        """The link is idle."""
        if self.keys is not None:
            sending, receiving = self.keys
            sending.rest()
            receiving.rest()
