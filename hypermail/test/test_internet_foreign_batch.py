"""
Our endpoints against L{the foreign program<hypermail.test.foreign_batch>} of dialect C{batch} on real sockets, in both
roles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.threads import deferToThread

from hypermail.dialects.batch import Batch
from hypermail.errors import MessageUndelivered, SessionClosed
from hypermail.test.foreign_batch import ForeignBatchListener, ForeignBatchNode, ForeignBatchStarter
from hypermail.test.foreign_batch_connection import ForeignBatchConnection, ForeignBatchOptions, ForeignBatchState
from hypermail.test.foreign_batch_packets import CONNECT, CONNECT_ACK, DIRECT_PAYLOAD
from hypermail.test.meetings import MeetingCase, MetProtocol, bad_link, messages

HARM = ("too early to acknowledge", "other flags", "reused batch numbers")
"""What a foreign connection counts when it was not treated with care."""

QUICK = replace(ForeignBatchOptions().at_scale(0.004), connection_timeout=10.0, ping_interval=5.0)
"""Scans every 20 ms in place of 5 s; pings as seldom as ever, as a thread may have to wait for its turn."""

OURS = Batch(delivery_timeout=0.25)
"""In proportion: what is lost several times is not waited for in vain, nor a batch number in quarantine."""


def handshake(data: bytes) -> bool:
    """Whether a datagram is Connect or its ack; see the tests in virtual time for why these are spared."""
    return data[0] in (CONNECT, CONNECT_ACK)


class Meeting:
    """What holds in both roles; mixed into L{MeetingCase}."""

    async def meet(self: Any, **faults: Any) -> None:
        """
        Open a session; C{ours} and C{theirs} are its ends, C{node} is the foreign program, and C{early} what it has
        sent already.
        """
        raise NotImplementedError

    async def exchange(self: Any, mine: list[bytes], yours: list[bytes]) -> None:
        """Exchange messages, and see that none is lost, none comes twice, and nothing does harm."""
        node: ForeignBatchNode = self.node
        theirs: ForeignBatchConnection = self.theirs
        acknowledged = self.say(self.ours, mine)
        node.send(theirs, yours)
        await self.until(node, lambda core: theirs.acknowledged == theirs.sent)
        await acknowledged
        self.assertEqual(sorted(theirs.delivered), sorted(mine))
        self.assertEqual(sorted(self.ours.messages), sorted([*self.early, *yours]))
        self.unharmed()

    def unharmed(self: Any) -> None:
        """Nothing was sent that the foreign program bears badly, or to where it does not receive."""
        self.assertEqual({name: self.theirs.counts[name] for name in HARM}, dict.fromkeys(HARM, 0))
        self.assertEqual(self.node.stray(), [])

    async def closed(self: Any) -> None:
        """We close, and both ends are over."""
        await self.ours.session.close()
        self.assertIsInstance(await self.ours.lost, SessionClosed)
        await self.until(self.node, lambda core: self.theirs.state is ForeignBatchState.CLOSED)
        self.assertEqual(self.theirs.why, "there")

    async def test_lossy(self: Any) -> None:
        """500 messages each way under 20 % loss and duplication each way: none lost, none twice."""
        await self.meet(**bad_link(1, handshake))
        await self.exchange([b"", *messages(1, 499, 1_500)], [b"", *messages(2, 499, 1_500)])
        await self.ours.session.close()

    async def test_large(self: Any) -> None:
        """Messages of hundreds of packets, both ways, and then the end of the session."""
        await self.meet()
        mine, yours = ([bytes([seed]) + one * 100 for one in messages(seed, 4, 2_000)] for seed in (3, 4))
        await self.exchange(mine, yours)
        await self.closed()

    async def test_large_lossy(self: Any) -> None:
        """Messages of some dozens of packets where a fifth is lost, and a fifth doubled."""
        await self.meet(**bad_link(7, handshake))
        await self.exchange(messages(5, 10, 50_000), messages(6, 10, 50_000))
        await self.ours.session.close()

    async def test_directs(self: Any) -> None:
        """Direct messages go both ways, empty ones and the largest, too."""
        await self.meet()
        said = [b"", b"x", bytes(DIRECT_PAYLOAD)]
        arrived = self.ours.directs(len(said))
        for one in said:
            self.ours.session.sendDatagram(one)
            self.node.call(lambda core, now, one=one: self.theirs.direct(one))
        await arrived
        await self.until(self.node, lambda core: len(self.theirs.directs) == len(said))
        self.assertEqual((self.ours.datagrams, self.theirs.directs), (said, said))
        self.unharmed()
        await self.closed()

    async def test_closed_by_us(self: Any) -> None:
        """What was sent before we close is delivered first."""
        await self.meet()
        acknowledged = self.say(self.ours, messages(1, 100, 3_000))
        await self.closed()
        await acknowledged
        self.assertEqual(sorted(self.theirs.delivered), sorted(messages(1, 100, 3_000)))
        self.unharmed()

    async def test_closed_by_them(self: Any) -> None:
        """When they close, our session ends at once, and what they had in flight is acknowledged all the same."""
        await self.meet()

        def leave(core: object, now: float) -> None:
            for one in messages(2, 5, 500):
                self.theirs.send(now, one)
            self.theirs.close()

        self.node.call(leave)
        self.assertIsInstance(await self.ours.lost, SessionClosed)
        self.assertEqual(sorted(self.ours.messages), sorted([*self.early, *messages(2, 5, 500)]))
        await self.until(self.node, lambda core: self.theirs.acknowledged == self.theirs.sent)
        error = await self.assertFailure(self.ours.session.sendMessage(b"late"), MessageUndelivered)
        self.assertIn("closed", str(error))

    async def test_ping(self: Any) -> None:
        """Both ends answer pings."""
        await self.meet()
        self.assertGreater(await self.ours.session.ping(), 0)
        await self.closed()


class ListeningTests(Meeting, MeetingCase):
    """
    We listen, and the foreign program connects to us. It says something at once: the one Ping that shows it to us may
    be lost, and it would be 15 s until its own comes.
    """

    early = (b"first",)

    async def meet(self: Any, **faults: Any) -> None:
        """See L{Meeting.meet}."""
        address = await self.listen(OURS)
        node: ForeignBatchStarter = self.keep(ForeignBatchStarter(QUICK, **faults))
        self.theirs = await deferToThread(node.connected, address)
        node.send(self.theirs, self.early)
        self.ours: MetProtocol = await self.opened.get()
        self.node = node


class StartingTests(Meeting, MeetingCase):
    """The foreign program listens, and we connect to it."""

    early = ()

    async def meet(self: Any, **faults: Any) -> None:
        """See L{Meeting.meet}."""
        node: ForeignBatchListener = self.keep(ForeignBatchListener(QUICK, **faults))
        self.ours = await self.connect(node.address, OURS)
        await deferToThread(node.accepted)
        peer_id = self.ours.session.connection.peer_id  # there is one more when a Connect was answered late
        [self.theirs] = [one for one in node.core.accepted if one.id == peer_id]
        self.node = node
