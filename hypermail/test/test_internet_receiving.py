"""
Tests of L{hypermail.internet.messaging}: messages that are received, over the core in the simulated network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater

from hypermail.errors import (
    MessageRejected,
    MessageUndelivered,
    Reason,
    SessionKilled,
)
from hypermail.test.messages import MessagingTests


class ReceivingTests(MessagingTests):
    """
    C{messageReceived}, and what it answers
    """

    def test_takenLater(self) -> None:
        """A Deferred: the sender's fires when it has fired."""
        answer: Deferred[None] = Deferred()
        self.theirs.answer = lambda message: answer
        sent = self.session.sendMessage(b"x")
        self.hosts.settle()
        self.assertNoResult(sent)
        answer.callback(None)
        self.hosts.run(sent)

    def test_coroutine(self) -> None:
        """A coroutine: likewise."""

        async def answer(message: bytes) -> None:
            await deferLater(self.hosts.server, 2.0)

        self.theirs.answer = answer
        sent = self.session.sendMessage(b"x")
        self.hosts.settle(1)
        self.assertNoResult(sent)
        self.hosts.settle(2)
        self.successResultOf(sent)

    def test_coroutineAtOnce(self) -> None:
        """A coroutine that is done at once takes the message at once."""

        async def answer(message: bytes) -> None:
            """Nothing to wait for."""

        self.theirs.answer = answer
        for _ in range(3):
            self.session.sendMessage(b"x")
        self.hosts.run(self.session.sendMessage(b"y"))

    def test_anyOrder(self) -> None:
        """Messages may be settled in any order; the sender hears of each in the lane's order."""
        answers: list[Deferred[None]] = []

        def answer(message: bytes) -> Deferred[None]:
            answers.append(Deferred())
            return answers[-1]

        self.theirs.answer = answer
        sent = [self.session.sendMessage(b"%d" % number) for number in range(3)]
        self.hosts.settle()
        for number in (2, 0, 1):
            answers[number].callback(None)
            self.hosts.settle()
        for deferred in sent:
            self.successResultOf(deferred)

    def test_mixed(self) -> None:
        """Messages of one batch may each be answered in another way."""
        later: Deferred[None] = Deferred()
        answers: dict[bytes, Callable[[], Any]] = {
            b"now": lambda: None,
            b"fired": lambda: succeed(None),
            b"later": lambda: later,
            b"failed": lambda: fail(MessageRejected("no", 5)),
        }
        order = [b"now", b"now", b"failed", b"fired", b"later", b"now", b"failed", b"now"]
        self.theirs.answer = lambda message: answers[message]()
        sent = [self.session.sendMessage(message) for message in order]
        self.hosts.settle()
        later.callback(None)
        self.hosts.settle()
        for message, deferred in zip(order, sent):
            if message == b"failed":
                self.failureResultOf(deferred, MessageRejected)
            else:
                self.successResultOf(deferred)

    def test_rejected(self) -> None:
        """A hypermail error rejects with its code and text."""

        def answer(message: bytes) -> None:
            raise MessageRejected("no room", 99)

        self.theirs.answer = answer
        self.assertRejected(self.session.sendMessage(b"x"), 99, "no room")

    def test_failed(self) -> None:
        """Any other exception rejects, too; it is logged, and the sender learns no more than its class."""

        def answer(message: bytes) -> None:
            raise ValueError("secret")

        self.theirs.answer = answer
        error = self.assertRejected(self.session.sendMessage(b"x"), Reason.APPLICATION, "ValueError")
        self.assertNotIn("secret", error.text)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.theirs.answer = lambda message: None
        self.hosts.run(self.session.sendMessage(b"y"))

    def test_failedLater(self) -> None:
        """So it is with an errback."""
        answer: Deferred[None] = Deferred()
        self.theirs.answer = lambda message: answer
        sent = self.session.sendMessage(b"x")
        self.hosts.settle()
        answer.errback(ValueError("secret"))
        self.assertRejected(sent, Reason.APPLICATION, "ValueError")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_longText(self) -> None:
        """However long an error's text is, the rejection fits."""

        def answer(message: bytes) -> None:
            raise MessageRejected("ä" * 100_000)

        self.theirs.answer = answer
        self.assertRejected(self.session.sendMessage(b"x"), Reason.MESSAGE_REJECTED, "ä" * 50)

    def test_nobodyTakesMessages(self) -> None:
        """An application that has no C{messageReceived} of its own rejects."""
        from hypermail.internet.protocol import SessionFactory, SessionProtocol

        self.hosts.starting = SessionFactory.forProtocol(SessionProtocol)  # type: ignore[assignment]
        self.hosts.run(self.hosts.ask())
        session = self.hosts.listening.built[-1].session
        self.assertRejected(session.sendMessage(b"x"), Reason.MESSAGE_REJECTED, "takes no messages")

    def test_abortWhileReceiving(self) -> None:
        """An application that aborts in the middle of a batch is given no more of it."""

        def answer(message: bytes) -> None:
            if message == b"1":
                self.theirs.session.abort()

        self.theirs.answer = answer
        sent = [self.session.sendMessage(b"%d" % number) for number in range(3)]
        self.hosts.settle()
        self.assertEqual(self.theirs.messages, [b"0", b"1"])
        for deferred in sent:
            self.failureResultOf(deferred, MessageUndelivered)

    def test_abortAndFail(self) -> None:
        """One that aborts and raises is logged, and that is all."""

        def answer(message: bytes) -> None:
            self.theirs.session.abort()
            raise ValueError()

        self.theirs.answer = answer
        sent = self.session.sendMessage(b"x")
        self.hosts.settle()
        self.failureResultOf(sent, MessageUndelivered)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_settledAfterTheEnd(self) -> None:
        """Verdicts after the session's end are for nobody, and harmless."""
        answers: list[Deferred[None]] = []

        def answer(message: bytes) -> Deferred[None]:
            answers.append(Deferred())
            return answers[-1]

        self.theirs.answer = answer
        sent = [self.session.sendMessage(b"x") for _ in range(2)]
        self.hosts.settle()
        self.session.abort()
        self.hosts.settle()
        answers[0].callback(None)
        answers[1].errback(MessageRejected())
        self.hosts.settle()
        for deferred in sent:
            self.failureResultOf(deferred, MessageUndelivered)

    def test_killedInTheSameBatch(self) -> None:
        """Messages that come with the peer's death are given to the application, whose verdict is for nobody."""
        self.session.sendMessage(b"x").addErrback(lambda _: None)
        self.hosts.settle(0.0)
        self.session.abort()
        self.hosts.settle()
        assert self.theirs.reason is not None
        self.theirs.reason.trap(SessionKilled)

    def test_answersInTheCallback(self) -> None:
        """An application may send from within its callback: an echo."""
        self.theirs.answer = lambda message: self.theirs.session.sendMessage(message)
        self.hosts.run(self.session.sendMessage(b"there and back"))
        self.assertEqual(self.ours.messages, [b"there and back"])

    def test_echoIsLost(self) -> None:
        """An echo whose session is lost: its own message fails, and the verdict that follows from it is for nobody."""
        self.theirs.answer = lambda message: self.theirs.session.sendMessage(message)
        self.ours.answer = lambda message: Deferred()
        sent = self.session.sendMessage(b"there and back")
        self.hosts.settle()
        self.session.abort()
        self.hosts.settle()
        self.failureResultOf(sent, MessageUndelivered)
        self.assertEqual(self.theirs.calls, ["sessionOpened", "sessionLost"])

    def test_takenWhenLost(self) -> None:
        """One that takes a message because its own one was lost, too."""
        self.theirs.answer = lambda message: self.theirs.session.sendMessage(message).addErrback(lambda _: None)
        self.ours.answer = lambda message: Deferred()
        sent = self.session.sendMessage(b"there and back")
        self.hosts.settle()
        self.session.abort()
        self.hosts.settle()
        self.failureResultOf(sent, MessageUndelivered)
