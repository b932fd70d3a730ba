"""
What one side remembers of the other as a sender, over all of its lives: what has come of it, and when it said so.

Packets with a timestamp tell lives apart. In each life the order count begins at 0 and rises with time, so what is
newer and has a lower count, or one that another packet has had, is of a new life, and what has a timestamp of before
the life began is a replay from an earlier one. Data bears no timestamp: the digests of what was delivered last are
remembered from one life to the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypermail.dialects.digest.dialect import MOST_UNSETTLED
from hypermail.dialects.digest.packets import DigestPacket, PacketType
from hypermail.dialects.digest.timestamps import Timestamp
from hypermail.dialects.digest.window import DigestMemory, OrderWindow

#: Ranges of order counts of messages. A sender of ours begins none when one in flight is so far behind that it might
#: fall out (C{MOST_BEHIND}).
MESSAGE_RANGES = 1_024
#: Ranges of order counts of all else, of which nothing is repeated.
OTHER_RANGES = 256
#: Digests of messages that were settled; and of what was given to the application, and never settled: direct messages,
#: and the messages that a session has left behind.
SETTLED = MOST_UNSETTLED
GIVEN = 512


class PeerMemory:
    """
    Of one sender.

    @param secret: the sender's; None for plain digests.
    @ivar uuid: 16 bytes.
    @ivar stamped: the highest order count of this life that came with a timestamp, and once it has ended of all; -1
        before the first.
    @ivar newest: ns since 1970; the newest timestamp of all lives.
    @ivar born: ns since 1970; when this life began, at the latest.
    @ivar lived: whether there was a life before this one.
    """

    __slots__ = (
        "_asked",
        "_given",
        "_messages",
        "_others",
        "_settled",
        "born",
        "lived",
        "newest",
        "secret",
        "stamped",
        "uuid",
    )

    def __init__(self, uuid: bytes, secret: bytes | None) -> None:
        self.uuid = uuid
        self.secret = secret
        self.stamped = -1
        self.newest = -1
        self.born = -1
        self.lived = False
        self._asked = -1  # up to this order count nothing has come but what has asked for a session, or agreed
        self._messages = OrderWindow(MESSAGE_RANGES)
        self._others = OrderWindow(OTHER_RANGES)
        self._settled = DigestMemory(SETTLED)
        self._given = DigestMemory(GIVEN)

    # Lives.

    def newer(self, moment: Timestamp) -> bool:
        """Whether a timestamp is newer than any before: only such a packet may open a session."""
        return moment.first > self.newest

    @property
    def highest(self) -> int:
        """The highest order count of this life."""
        return max(self.stamped, self._messages.highest, self._others.highest)

    def restarted(self, packet: DigestPacket, moment: Timestamp, *, elsewhere: bool = False) -> bool:
        """
        Whether a packet with a timestamp shows that the sender has begun a new life.

        A count below that of data that has come is no sign, since data may overtake what asks for a session, or agrees;
        but it does not come from another address then.

        @param elsewhere: whether it comes from another address than what has come before.
        """
        order = packet.order
        if not self.newer(moment):
            return False
        if order <= self.stamped or order in self._messages or order in self._others:
            return True
        return elsewhere and (order < self.highest or self.highest == self._asked)

    def begin(self, packet: DigestPacket, moment: Timestamp) -> None:
        """
        A session opens. Nothing that has a lower count belongs to it.

        @param packet: with which the sender has asked for it, or agreed.
        """
        self.lived = self.stamped >= 0
        self._messages = OrderWindow(MESSAGE_RANGES, packet.order)
        self._others = OrderWindow(OTHER_RANGES, packet.order)
        self.stamped = -1
        self.born = moment.first
        self.see(packet, moment)
        self._asked = packet.order

    # What has come.

    def see(self, packet: DigestPacket, moment: Timestamp | None = None) -> bool:
        """
        A packet that is no message has come.

        @param moment: its timestamp, if it has one.
        @return: whether it is new, and of this life.
        """
        if moment is not None and moment.last < self.born:
            return False
        asking = packet.type is PacketType.HELLO and self.highest == self._asked
        if not self._others.add(packet.order):
            return False
        self._messages.add(packet.order, alone=False)  # it closes a gap between messages, perhaps
        if moment is not None:
            self.stamped = max(self.stamped, packet.order)
            self.newest = max(self.newest, moment.last)
            if asking:
                self._asked = max(self._asked, packet.order)
        return True

    def see_direct(self, packet: DigestPacket) -> bool:
        """A direct message has come. @return: whether it is new."""
        if (self.lived and packet.digest in self._given) or not self.see(packet):
            return False
        self._given.add(packet.digest)
        return True

    def knows(self, packet: DigestPacket) -> bool:
        """Whether a message has come before."""
        if packet.order in self._messages:
            return True
        return self.lived and (packet.digest in self._settled or packet.digest in self._given)

    def take(self, packet: DigestPacket) -> None:
        """A message is given to the application."""
        self._messages.add(packet.order)

    def settle(self, digest: bytes) -> None:
        """The application has settled a message."""
        self._settled.add(digest)

    def settled(self, digest: bytes) -> bool:
        """Whether the application has settled this message, as far back as is remembered."""
        return digest in self._settled

    def rest(self, unsettled: Iterable[bytes]) -> None:
        """
        The session has ended: what is only of use during one is forgotten.

        @param unsettled: digests of messages that the application has, and will not settle any more.
        """
        for digest in unsettled:
            self._given.add(digest)
        self.stamped = self.highest  # nothing is on its way any more that data could have overtaken
        self._messages = OrderWindow(MESSAGE_RANGES)
        self._others = OrderWindow(OTHER_RANGES)
