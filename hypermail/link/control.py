"""
Control packets: small, never waiting for data, sent again until they are acknowledged or outdated.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import islice
from typing import Protocol

from hypermail.errors import LimitExceeded
from hypermail.link.payload import Payload


class Encodable(Protocol):
    """A packet."""

    def encode(self) -> bytes: ...


class Control:
    """
    The control packets of one session.

    Each packet stands under a key, and a newer packet under the same key takes the place of the older
    one, which is then never sent (again): limits, watermarks and offsets are cumulative. It is a
    L{hypermail.link.payload.Source} whose ranges are the serial numbers of packets.

    @ivar waiting: packets that should leave, encoded, by their serial numbers.
    """

    __slots__ = ("_current", "_serial", "_unacked", "waiting")

    #: Packets that may wait for the peer's acknowledgement before it counts as broken.
    MOST_UNACKED = 32_768

    def __init__(self) -> None:
        self._serial = 0
        self.waiting: dict[int, bytes] = {}
        self._unacked: dict[int, tuple[Hashable, bytes, Callable[[], None] | None]] = {}
        self._current: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """How many packets are not acknowledged."""
        return len(self._unacked)

    @property
    def crowded(self) -> bool:
        """Whether so many wait that the peer counts as broken, while there is still room for what one turn adds."""
        return len(self._unacked) > self.MOST_UNACKED // 2

    def put(self, key: Hashable, packet: Encodable, acked: Callable[[], None] | None = None) -> None:
        """
        Send a packet reliably.

        @param acked: called once the peer's link has this very packet; never when it was replaced.
        @raise LimitExceeded: when the peer acknowledges none of too many.
        """
        if key in self._current:
            self.withdraw(key)
        if len(self._unacked) >= self.MOST_UNACKED:
            raise LimitExceeded(f"the peer leaves {len(self._unacked)} control packets unacknowledged")
        serial = self._serial = self._serial + 1
        data = packet.encode()
        self._current[key] = serial
        self._unacked[serial] = (key, data, acked)
        self.waiting[serial] = data

    def withdraw(self, key: Hashable) -> None:
        """Forget the packet under a key: it does not matter any more whether it arrives."""
        serial = self._current.pop(key, None)
        if serial is not None:
            del self._unacked[serial]
            self.waiting.pop(serial, None)

    def retain(self, keys: tuple[Hashable, ...]) -> None:
        """Forget every packet but those under C{keys}."""
        for key in [key for key in self._current if key not in keys]:
            self.withdraw(key)

    def when_acked(self, key: Hashable, callback: Callable[[], None]) -> bool:
        """
        Have C{callback} called once the packet under a key is acknowledged.

        @return: whether there is such a packet.
        """
        serial = self._current.get(key)
        if serial is None:
            return False
        _, data, _ = self._unacked[serial]
        self._unacked[serial] = (key, data, callback)
        return True

    def fill(self, payload: Payload) -> None:
        """Put as many waiting packets into a datagram as fit, oldest first."""
        waiting, parts, contents, room = self.waiting, payload.parts, payload.contents, payload.room
        taken = 0
        for serial, data in waiting.items():
            if len(data) > room:
                payload.full = True
                break
            room -= len(data)
            parts.append(data)
            contents.append((self, serial, serial + 1))
            taken += 1
        payload.room = room
        if taken == len(waiting):
            waiting.clear()
            return
        for serial in list(islice(waiting, taken)):
            del waiting[serial]

    def acked(self, start: int, stop: int) -> None:
        """A packet has arrived."""
        entry = self._unacked.pop(start, None)
        if entry is None:
            return
        key, _, callback = entry
        self.waiting.pop(start, None)
        del self._current[key]
        if not self._unacked:  # nothing is left: give back the room that it took
            self._unacked.clear()
            self.waiting.clear()
            self._current.clear()
        if callback is not None:
            callback()

    def lost(self, start: int, stop: int) -> None:
        """A packet has to be sent again, unless a newer one says it better."""
        entry = self._unacked.get(start)
        if entry is not None:
            self.waiting[start] = entry[1]
