"""
Tests for L{hypermail.dialects.messages}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.messages import OVERHEAD, Receiving, Sending
from hypermail.errors import (
    Delivered,
    MessageCancelled,
    MessageExpired,
    MessageUndelivered,
    SessionClosed,
)


class SendingTests(SynchronousTestCase):
    """Messages of ours."""

    def setUp(self) -> None:
        self.sending = Sending(1_000)

    def test_life(self) -> None:
        """A message is queued, begun and settled, and counts as one of those that are not settled until then."""
        message = self.sending.add(b"x", None, True)
        self.assertEqual((len(self.sending), self.sending.queued, self.sending.count), (1, 1, 0))
        self.assertIs(self.sending.peek(), message)
        self.assertIs(self.sending.begin(), message)
        self.assertEqual((len(self.sending), self.sending.queued, self.sending.count), (1, 0, 1))
        self.sending.settle(message, None)
        self.sending.settle(message, MessageCancelled())
        self.assertEqual((len(self.sending), self.sending.settled, message.error), (0, [message], None))

    def test_nobodyWaits(self) -> None:
        """Of messages that nobody waits for nothing is told."""
        self.sending.settle(self.sending.add(b"x", None, False), None)
        self.assertEqual(self.sending.settled, [])

    def test_room(self) -> None:
        """Producers pause when so many bytes wait, and go on when half of it has left; once."""
        for _ in range(10):
            self.sending.add(bytes(100 - OVERHEAD), None, True)
        self.assertTrue(self.sending.full)
        while self.sending.queued > 6:
            self.sending.begin()
        self.assertFalse(self.sending.became_writable())
        self.sending.begin()
        self.assertEqual([self.sending.became_writable() for _ in range(2)], [True, False])
        self.assertFalse(self.sending.full)

    def test_cancel(self) -> None:
        """What has not begun is withdrawn; what has is settled, and may arrive all the same. Nobody hears of either."""
        begun, queued = (self.sending.add(b"x", None, True) for _ in range(2))
        self.sending.begin()
        for message in (begun, queued):
            self.sending.cancel(message)
            self.sending.cancel(message)
        self.assertEqual((len(self.sending), self.sending.queued, self.sending.settled), (0, 0, []))
        self.assertIsNone(self.sending.peek())

    def test_expire(self) -> None:
        """What expires is given up, in the order of its time; of what had begun its sender is told."""
        late, soon, never = (self.sending.add(b"x", deadline, True) for deadline in (5.0, 3.0, None))
        self.sending.begin()
        self.assertEqual((self.sending.deadline(), self.sending.expire(2.9)), (3.0, []))
        self.assertEqual(self.sending.expire(5.0), [late])
        self.assertEqual(self.sending.settled, [soon, late])
        self.assertIsInstance(late.error, MessageExpired)
        self.assertFalse(never.settled)
        self.assertIsNone(self.sending.deadline())

    def test_settledDoNotStay(self) -> None:
        """Messages that are settled are not held until their time is over."""
        self.sending.add(b"first", 1.0, True)
        self.sending.begin()
        for number in range(10_000):
            self.sending.add(b"x", 100.0 + number, False)
            self.sending.settle(self.sending.begin(), None)
        self.assertLess(len(self.sending._deadlines), 100)
        self.assertEqual(self.sending.deadline(), 1.0)

    def test_lost(self) -> None:
        """When the session is over what has begun may have been delivered, and the rest was not."""
        begun, queued = (self.sending.add(b"x", 9.0, True) for _ in range(2))
        self.sending.begin()
        self.sending.lost(SessionClosed())
        for message, delivered in ((begun, Delivered.UNKNOWN), (queued, Delivered.NO)):
            assert isinstance(message.error, MessageUndelivered)
            self.assertIs(message.error.delivered, delivered)
        self.assertEqual((len(self.sending), self.sending.deadline()), (0, None))


class ReceivingTests(SynchronousTestCase):
    """Messages of the peer."""

    def test_verdicts(self) -> None:
        """What is settled gives its mark back, once; what was refused is settled as well, and counted."""
        receiving: Receiving[str] = Receiving()
        for name in "abc":
            receiving.arrived(name.encode() * 10, name)
        event = receiving.event()
        assert event is not None
        self.assertEqual((event.first, event.messages), (0, [b"a" * 10, b"b" * 10, b"c" * 10]))
        self.assertIsNone(receiving.event())
        receiving.take(1)
        receiving.reject(0, 7, "no")
        receiving.reject(0)
        receiving.take(0, 2)
        self.assertEqual((receiving.verdicts(), receiving.verdicts()), (["b", "a"], []))
        self.assertEqual((len(receiving), receiving.bytes, receiving.finished, receiving.refused), (1, 10, 2, 1))
        receiving.over = True
        receiving.take(2)
        self.assertEqual(receiving.verdicts(), [])
