"""
Direct messages on their way out: sent once, whatever becomes of them.
"""

from __future__ import annotations

from collections import deque

from hypermail.errors import MessageTooLarge
from hypermail.link.payload import Payload
from hypermail.wire.packets import DIRECT, Direct


class _Gone:
    """The source of direct messages."""

    def acked(self, start: int, stop: int) -> None:
        """Nothing follows."""

    def lost(self, start: int, stop: int) -> None:
        """Nothing follows."""


_GONE = _Gone()


class Directs:
    """
    Those that wait for a datagram.

    @param most: how many may wait; when there are more the oldest gives way.
    @ivar dropped: those that could not leave.
    """

    __slots__ = ("_most", "_waiting", "dropped")

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[bytes] = deque()
        self.dropped = 0

    @property
    def waiting(self) -> bool:
        """Whether there are any."""
        return bool(self._waiting)

    def send(self, data: bytes, room: int) -> None:
        """
        Queue one.

        @param room: bytes of an empty datagram.
        @raise MessageTooLarge: when it does not fit one datagram.
        """
        if len(data) > room - DIRECT.size:
            raise MessageTooLarge(
                f"a direct message of {len(data)} bytes: one datagram of this path takes {room - DIRECT.size}"
            )
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(data)

    def drop(self) -> None:
        """There is no link: those that wait are lost."""
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def fill(self, payload: Payload, whole_room: int) -> None:
        """
        Put as many into a datagram as fit.

        @param whole_room: bytes of an empty datagram.
        """
        while self._waiting:
            packet = Direct(self._waiting[0]).encode()
            if len(packet) > whole_room:  # the path's MTU has shrunk since
                self._waiting.popleft()
                self.dropped += 1
                continue
            if len(packet) > payload.room:
                payload.full = True
                return
            self._waiting.popleft()
            payload.add(packet)
            payload.contents.append((_GONE, 0, 0))
