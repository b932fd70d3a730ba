"""
Tests for L{hypermail.services.echo}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import MessageTooLarge, SessionLost
from hypermail.interfaces import ISession
from hypermail.services.echo import MessageEcho, StreamEcho
from hypermail.test.services import StreamEnd


class NarrowSession:
    """
    The part of L{ISession} that an echo uses, with room for so many messages.

    @ivar room: messages that it takes.
    @ivar sent: what it took.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent: list[bytes] = []
        self.error: Exception | None = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See L{ISession}."""
        self.producer = producer

    def sendMessages(self, messages: Iterable[bytes], *, lane: int = 0) -> int:
        """See L{ISession}."""
        if self.error is not None:
            raise self.error
        if not self.room:
            return 0
        self.room -= 1
        self.sent += messages
        return 1


class MessageEchoTests(SynchronousTestCase):
    """Messages back."""

    def setUp(self) -> None:
        self.session = NarrowSession(1)
        self.echo = MessageEcho(cast(ISession, self.session))

    def test_room(self) -> None:
        """While there is room, a message goes back at once and nothing waits."""
        self.assertIsNone(self.echo.echo(b"a"))
        self.assertEqual(self.session.sent, [b"a"])

    def test_noRoom(self) -> None:
        """Without room messages wait, and go in order when there is some."""
        self.echo.echo(b"a")
        waiting = [self.echo.echo(b"b"), self.echo.echo(b"c")]
        assert waiting[0] is not None and waiting[1] is not None
        self.session.room = 1
        self.echo.resumeProducing()
        self.assertIsNone(self.successResultOf(waiting[0]))
        self.assertNoResult(waiting[1])
        self.session.room = 5
        # Not past the one that waits.
        later = self.echo.echo(b"d")
        self.echo.pauseProducing()
        self.echo.resumeProducing()
        self.assertEqual(self.session.sent, [b"a", b"b", b"c", b"d"])
        self.successResultOf(waiting[1])
        assert later is not None
        self.successResultOf(later)

    def test_refused(self) -> None:
        """What cannot be sent back is an error of its message, now or later."""
        self.echo.echo(b"a")
        waiting = self.echo.echo(b"b")
        assert waiting is not None
        self.session.error = MessageTooLarge("too large")
        self.echo.resumeProducing()
        self.failureResultOf(waiting, MessageTooLarge)
        self.assertRaises(MessageTooLarge, self.echo.echo, b"c")

    def test_over(self) -> None:
        """When the session is over nobody waits any longer."""
        self.echo.echo(b"a")
        waiting = self.echo.echo(b"b")
        assert waiting is not None
        self.echo.stopProducing()
        self.failureResultOf(waiting, SessionLost)


class StreamEchoTests(SynchronousTestCase):
    """Streams back."""

    def test_echo(self) -> None:
        """Bytes go back, reading is paused by the writing's room, and the end is answered by the end."""
        end = StreamEnd()
        echo = StreamEcho()
        echo.makeConnection(end)
        self.assertIs(end.producer, end)
        self.assertTrue(end.streaming)
        echo.dataReceived(b"abc")
        self.assertEqual(end.value(), b"abc")
        echo.readConnectionLost()
        self.assertIsNone(end.producer)
        self.assertTrue(end.disconnecting)
        echo.writeConnectionLost()
