"""
Messages in a session whose peer was restarted: what it has forgotten is not kept for it, what it knows is told again.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import SessionReset, UsageError
from hypermail.events import AsksReceived, MessagesReceived
from hypermail.link.control import Control
from hypermail.messages import clearing
from hypermail.messages.asks import ASKS, PROPERTIES
from hypermail.messages.journal import Journal
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.receiving import DURABLE, Receiving
from hypermail.options import Options
from hypermail.test.test_messages_outgoing import SendingCase
from hypermail.wire import packets as p

LANE = 1
RESTARTED = SessionReset("the peer was restarted")


class SendingTests(SendingCase):
    """L{Sending}."""

    def setUp(self) -> None:
        super().setUp()
        self.journal = self.sending.journal = Journal()
        self.journal.id = b"i" * 16
        self.sending.configure(LANE, LaneProperties(durable=True))

    def restarted(self) -> None:
        """The peer was restarted: what was on its way to it is not."""
        self.control.retain(())
        self.sending.peer_restarted(RESTARTED)

    def known(self, *numbers: int) -> None:
        """The peer is to hear that the fates of these messages are known here."""
        for number in numbers:
            self.sending._tell_known(p.MessageClear(LANE, DURABLE, number, True))

    def told(self) -> list[int]:
        """The numbers of which it was told so, or asked, since the last time."""
        found: list[int] = []
        while clears := self.clears():
            found += [clear.number for clear in clears]
        return found

    def test_asked(self) -> None:
        """Withdrawn messages are asked about again, as if nobody had been asked yet."""
        self.patch(clearing, "MOST_CLEARS", 1)
        message = self.send(b"a", LANE)
        self.journal.take()
        self.journal.tell(True, 0.0)
        self.all()
        self.sending.cancel(message)
        self.restarted()
        self.assertEqual(self.told(), [0])

    def test_known(self) -> None:
        """What was being told when the peer was restarted may be told again; and so may what was told before."""
        self.known(0)
        self.restarted()
        self.known(0)
        self.assertEqual(self.told(), [0])
        self.known(0)
        self.assertEqual(self.told(), [0])

    def test_knownOnce(self) -> None:
        """It is told once at a time, of few messages at a time, and not of any number."""
        self.patch(clearing, "MOST_CLEARS", 2)
        self.patch(clearing, "MOST_KNOWN", 3)
        self.known(0, 0)
        self.assertEqual(len(self.control), 1)
        self.known(1, 2)
        self.assertEqual(len(self.control), 2)
        self.known(3, 4, 5)
        self.assertEqual(self.told(), [0, 1, 2, 3, 4])

    def test_replies(self) -> None:
        """Who has forgotten what was asked gets no reply."""
        self.sending.reply([0], [b"yes"])
        self.restarted()
        self.assertEqual(self.all(), [])
        self.assertTrue(self.sending.idle)
        self.sending.reply([0], [b"yes"])
        (reply,) = self.all()
        assert isinstance(reply, p.StreamBlocks)
        self.assertEqual(reply.first, 0)

    def test_notDurable(self) -> None:
        """Lanes are durable in durable sessions only, and notes are for durable lanes."""
        with self.assertRaises(UsageError):
            self.sending.send(b"a", 2, None, True, b"note")
        self.sending.journal = None
        with self.assertRaises(UsageError):
            self.sending.configure(3, LaneProperties(durable=True))


class ReceivingTests(SynchronousTestCase):
    """L{Receiving}."""

    def setUp(self) -> None:
        self.receiving = Receiving(Options(), Control())

    def test_others(self) -> None:
        """Lanes that are not durable begin anew. What the application has of them it may settle, and counts apart."""
        receiving, flags = self.receiving, LaneProperties().flags
        receiving.receive_run(p.StreamBlocks(LANE, flags, 0, [b"a", b"bb"]))
        (before,) = receiving.take_events()
        assert isinstance(before, MessagesReceived)
        receiving.receive_fragment(p.StreamBlock(LANE, flags, 2, 100, 0, b"x"))
        receiving.peer_restarted()
        left = receiving._left
        assert left is not None
        self.assertEqual((receiving.holdings.bytes, receiving.holdings.messages), (0, 0))
        self.assertEqual((left.bytes, left.messages), (3, 2))
        receiving.receive_run(p.StreamBlocks(LANE, flags, 0, [b"c"]))
        (after,) = receiving.take_events()
        assert isinstance(after, MessagesReceived)
        self.assertEqual((after.first, after.messages), (0, [b"c"]))
        before.lane.take(0, 2)
        self.assertEqual((left.bytes, left.messages), (0, 0))
        self.assertEqual((receiving.holdings.bytes, receiving.holdings.messages), (1, 1))

    def test_asks(self) -> None:
        """Asks that wait for room for their replies are forgotten with who has asked."""
        receiving = self.receiving
        receiving.receive_run(p.StreamBlocks(ASKS, PROPERTIES.flags, 0, [b"old"]))
        self.assertEqual(receiving.take_events(False), [])
        receiving.peer_restarted()
        self.assertEqual(receiving.take_events(), [])
        receiving.receive_run(p.StreamBlocks(ASKS, PROPERTIES.flags, 0, [b"new"]))
        (asked,) = receiving.take_events()
        assert isinstance(asked, AsksReceived)
        self.assertEqual(asked.asks, [(0, b"new")])
