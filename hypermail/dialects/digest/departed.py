"""
Peers that have no session any more, and what is remembered of them: replays of what they said open none.
"""

from __future__ import annotations

from collections import OrderedDict

from hypermail.dialects.digest.memory import PeerMemory

#: How many are remembered.
MOST_DEPARTED = 4_096


class Departed:
    """
    Of one socket.

    @ivar horizon: ns since 1970; what is no newer may be a replay of what a peer has said that was forgotten.
    """

    __slots__ = ("_known", "_refused", "horizon")

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, PeerMemory] = OrderedDict()
        self._refused: dict[bytes, float] = {}
        self.horizon = -1

    def __len__(self) -> int:
        return len(self._known)

    def bury(self, memory: PeerMemory, refuse_until: float) -> None:
        """
        A session has ended.

        @param refuse_until: s; a client's: until when it is to be told so when it asks for one without having been
            restarted. A server's: until when a REJECT of its answers what was said in this session, perhaps.
        """
        known = self._known
        known[memory.uuid] = memory
        known.move_to_end(memory.uuid)
        self._refused[memory.uuid] = refuse_until
        if len(known) > MOST_DEPARTED:
            uuid, oldest = known.popitem(last=False)
            del self._refused[uuid]
            if oldest.secret is not None:  # anybody can make plain digests: nothing is gained by being strict
                self.horizon = max(self.horizon, oldest.newest)

    def find(self, uuid: bytes) -> PeerMemory | None:
        """What is remembered of a peer."""
        return self._known.get(uuid)

    def refused(self, uuid: bytes, now: float) -> bool:
        """Whether it is not yet so late as C{bury} was told."""
        return now < self._refused.get(uuid, now)

    def wake(self, memory: PeerMemory) -> None:
        """A peer has a session again."""
        self._known.pop(memory.uuid, None)
        self._refused.pop(memory.uuid, None)
