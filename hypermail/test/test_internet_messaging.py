"""
Tests of L{hypermail.internet.messaging}: messages that are sent, over the core in the simulated network.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    Delivered,
    MessageCancelled,
    MessageExpired,
    MessageTooLarge,
    MessageUndelivered,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    UsageError,
)
from hypermail.interfaces import ISession
from hypermail.internet.session import Session
from hypermail.options import Delivery, Options
from hypermail.test.messages import MessagingTests
from hypermail.test.producers import Producer
from hypermail.test.sessions import Hosts, errorOf
from hypermail.testing import Conditions


class SendingTests(MessagingTests):
    """
    C{sendMessage} and C{sendMessages}
    """

    def test_taken(self) -> None:
        """The Deferred fires when the peer's application has taken the message, not before."""
        sent = self.session.sendMessage(b"hello")
        self.hosts.settle(0.015)
        self.assertEqual(self.theirs.messages, [b"hello"])
        self.assertNoResult(sent)
        self.hosts.settle(0.01)
        self.assertIsNone(self.successResultOf(sent))

    def test_bothWays(self) -> None:
        """Listeners send just the same."""
        self.hosts.run(self.theirs.session.sendMessage(b"hello"))
        self.assertEqual(self.ours.messages, [b"hello"])

    def test_sizes(self) -> None:
        """Messages of any size arrive whole and in order."""
        messages = [b"x" * size for size in (0, 1, 1_199, 1_200, 70_000, 0, 1_000_000)]
        for message in messages:
            self.session.sendMessage(message)
        self.hosts.run(self.session.sendMessage(b"end"))
        self.assertEqual(self.theirs.messages, [*messages, b"end"])

    def test_bytesLike(self) -> None:
        """What is like bytes is copied, as its owner may change it; what is not is refused."""
        data = bytearray(b"before")
        sent = self.session.sendMessage(data)
        data[:] = b"after!"
        self.hosts.run(sent)
        self.hosts.run(self.session.sendMessage(memoryview(b"view")))
        self.assertEqual(self.theirs.messages, [b"before", b"view"])
        self.assertRaises(TypeError, self.session.sendMessage, "text")

    def test_tooLarge(self) -> None:
        """A message that the peer doesn't take fails at once."""
        sent = self.session.sendMessage(b"x" * (Options().max_message + 1))
        self.failureResultOf(sent, MessageTooLarge)

    def test_oneTurnSharesDatagrams(self) -> None:
        """Messages of one turn share datagrams."""
        self.hosts.settle()
        before = self.session.statistics()["datagrams_sent"]
        for _ in range(10):
            self.session.sendMessage(b"small")
        self.hosts.settle()
        self.assertEqual(len(self.theirs.messages), 10)
        self.assertLessEqual(self.session.statistics()["datagrams_sent"] - before, 3)

    def test_cancelled(self) -> None:
        """Cancelling withdraws the message, and the Deferred says so."""
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        first, second = self.session.sendMessage(b"gone"), self.session.sendMessage(b"stays")
        first.cancel()
        self.failureResultOf(first, MessageCancelled)
        self.hosts.settle(0.1)
        self.hosts.network.set_conditions(Conditions())
        self.hosts.run(second)
        self.assertEqual(self.theirs.messages, [b"stays"])

    def test_cancelledTooLate(self) -> None:
        """Cancelling what the peer has taken already is too late, and harmless."""
        sent = self.session.sendMessage(b"taken")
        self.hosts.settle(0.015)
        sent.cancel()
        self.failureResultOf(sent, MessageCancelled)
        self.hosts.settle()
        sent.cancel()
        self.assertEqual(self.theirs.messages, [b"taken"])
        self.hosts.run(self.session.sendMessage(b"next"))

    def test_expires(self) -> None:
        """A message that isn't taken in time is given up."""
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        sent = self.session.sendMessage(b"milk", expires=2.0)
        self.hosts.settle(2.1)
        self.hosts.network.set_conditions(Conditions())
        self.hosts.settle(5.0)
        self.failureResultOf(sent, MessageExpired)
        self.assertEqual(self.theirs.messages, [])

    def test_undelivered(self) -> None:
        """When the session is lost, every message says whether it may have arrived."""
        self.theirs.answer = lambda message: Deferred()
        first = self.session.sendMessage(b"arrives")
        self.hosts.settle()
        self.theirs.session.abort("enough")
        self.hosts.settle()
        error = self.failureResultOf(first, MessageUndelivered).value
        self.assertEqual(error.delivered, Delivered.UNKNOWN)
        self.assertIsInstance(error.cause, SessionKilled)
        self.assertEqual(
            self.failureResultOf(self.session.sendMessage(b"late"), MessageUndelivered).value.delivered, Delivered.NO
        )

    def test_lostAndCancelled(self) -> None:
        """When messages fail with their session, the errback of one may cancel the others: each fires once."""
        sent = [self.session.sendMessage(b"x") for _ in range(3)]
        fates: list[Failure] = []

        def cancelAll(failure: Failure) -> None:
            fates.append(failure)
            for deferred in sent:
                deferred.cancel()

        for deferred in sent:
            deferred.addErrback(cancelAll)
        assert isinstance(self.session, Session)
        self.session.traffic.sent.lost(SessionAborted("the core has failed"))
        self.assertEqual(sorted(type(fate.value).__name__ for fate in fates)[-1], "MessageUndelivered")
        self.assertEqual(len(fates), 3)

    def test_cancelledOfMany(self) -> None:
        """Those that are cancelled among many fail at once, and once, whether they have left or not; others arrive."""
        sent = [self.session.sendMessage(b"%d" % number) for number in range(30)]
        sent[3].cancel()
        self.hosts.settle(0.005)
        more = [self.session.sendMessage(b"%d" % number) for number in range(30, 60)]
        for deferred in (sent[7], more[7]):
            deferred.cancel()
            deferred.cancel()
        for deferred in (sent[3], sent[7], more[7]):
            self.failureResultOf(deferred, MessageCancelled)
        self.hosts.settle()
        others = [deferred for deferred in (*sent, *more) if deferred not in (sent[3], sent[7], more[7])]
        self.assertEqual([self.successResultOf(deferred) for deferred in others], [None] * 57)
        arrived = [int(message) for message in self.theirs.messages]
        self.assertEqual([number for number in arrived if number != 7], [n for n in range(60) if n not in (3, 7, 37)])

    def test_lostInside(self) -> None:
        """When the session fails inside, and the core has told nobody, those who wait are told all the same."""
        sent = [self.session.sendMessage(b"%d" % number) for number in range(3)]
        sent[0].addErrback(lambda _: sent[1].cancel())
        assert isinstance(self.session, Session)
        self.session.traffic.sent.lost(SessionAborted("internal error"))
        self.failureResultOf(sent[1], MessageCancelled)
        self.failureResultOf(sent[2], MessageUndelivered)
        self.hosts.settle()

    def test_footprint(self) -> None:
        """Who waits for a message costs two objects that the garbage collector looks at, the L{Deferred}'s own."""
        gc.collect()
        before = len(gc.get_objects())
        sent = [self.session.sendMessage(b"") for _ in range(1_000)]
        added = len(gc.get_objects()) - before
        self.assertLess(added, 2_100)
        self.hosts.settle()
        self.assertEqual([self.successResultOf(deferred) for deferred in sent], [None] * 1_000)

    def test_whileClosing(self) -> None:
        """A session that is closing takes no new messages."""
        self.theirs.answer = lambda message: deferLater(self.hosts.server, 1.0)
        self.session.sendMessage(b"x")
        closing = self.session.close()
        self.failureResultOf(self.session.sendMessage(b"y"), UsageError)
        self.hosts.run(closing)
        self.assertEqual(self.theirs.messages, [b"x"])

    def test_lanes(self) -> None:
        """Lanes are independent: one that waits holds up no other."""
        self.session.lane(1, priority=3)
        self.session.lane(2, ordered=False)
        self.assertRaises(UsageError, self.session.lane, 1, priority=4)
        for lane in (0, 1, 2):
            self.hosts.run(self.session.sendMessage(b"%d" % lane, lane=lane))
        self.assertEqual(self.theirs.messages, [b"0", b"1", b"2"])
        self.failureResultOf(self.session.sendMessage(b"x", lane=240), UsageError)

    def test_directLane(self) -> None:
        """Messages of a direct lane go once; the Deferred fires at once."""
        self.session.lane(3, delivery=Delivery.DIRECT)
        self.successResultOf(self.session.sendMessage(b"now", lane=3))
        self.failureResultOf(self.session.sendMessage(b"x" * 2_000, lane=3), MessageTooLarge)
        self.hosts.settle()
        self.assertEqual((self.theirs.datagrams, self.theirs.messages), ([b"now"], []))

    def test_many(self) -> None:
        """C{sendMessages} takes what there is room for, and leaves the rest of the iterator alone."""
        messages = iter([b"x" * 1_000] * 5_000)
        taken = self.session.sendMessages(messages)
        self.assertGreater(taken, 100)
        self.assertLess(taken, 2_000)
        self.assertEqual(len(list(messages)), 5_000 - taken)
        self.hosts.run(self.session.close())
        self.assertEqual(len(self.theirs.messages), taken)

    def test_manyOfFew(self) -> None:
        """It takes all of what is less than that."""
        self.assertEqual(self.session.sendMessages([b"a", b"b"]), 2)
        self.assertEqual(self.session.sendMessages([]), 0)
        self.hosts.settle()
        self.assertEqual(self.theirs.messages, [b"a", b"b"])

    def test_manyWithOneTooLarge(self) -> None:
        """One that cannot be sent raises; those before it are sent."""
        large = b"x" * (Options().max_message + 1)
        self.assertRaises(MessageTooLarge, self.session.sendMessages, [b"a", large, b"b"])
        self.hosts.settle()
        self.assertEqual(self.theirs.messages, [b"a"])


class Endless:
    """
    A producer, pull or push, that is never done.
    """

    def __init__(self, session: ISession) -> None:
        self.session = session
        self.count = 0
        self.stopped = 0

    def resumeProducing(self) -> None:
        self.count += self.session.sendMessages([b"x" * 10_000] * 5)

    def pauseProducing(self) -> None:
        """There is no room."""

    def stopProducing(self) -> None:
        self.stopped += 1


class ProducerTests(MessagingTests):
    """
    Producers of messages
    """

    def test_pull(self) -> None:
        """A pull producer is asked as there is room; closing waits until it has finished."""
        session = self.session

        class Pull:
            messages: Iterator[bytes] = iter([b"x" * 50_000] * 100)
            count = 0

            def resumeProducing(self) -> None:
                taken = session.sendMessages(self.messages)
                self.count += taken
                if self.count == 100:
                    session.unregisterProducer()

            def stopProducing(self) -> None:
                raise AssertionError("it has finished")

        producer = Pull()
        session.registerProducer(producer, False)
        self.assertRaises(RuntimeError, session.registerProducer, producer, False)
        self.hosts.run(session.close())
        self.assertEqual((producer.count, len(self.theirs.messages)), (100, 100))

    def test_push(self) -> None:
        """A push producer is paused when enough waits, and resumed when there is room."""
        producer = Producer()
        self.session.registerProducer(producer, True)
        sent = []
        while not producer.told:
            sent.append(self.session.sendMessage(b"x" * 50_000))
        self.assertEqual(producer.told, ["pause"])
        for deferred in sent:
            self.hosts.run(deferred)
        self.assertEqual(producer.told, ["pause", "resume"])
        self.session.abort()
        self.hosts.settle()
        self.assertEqual(producer.told, ["pause", "resume", "stop"])

    def test_fails(self) -> None:
        """A pull producer that raises ends the session: what it had to say is incomplete."""

        class Pull:
            def resumeProducing(self) -> None:
                raise ValueError()

            def stopProducing(self) -> None:
                """It knows."""

        self.session.registerProducer(Pull(), False)
        self.hosts.settle()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        assert self.theirs.reason is not None
        self.theirs.reason.trap(SessionKilled)

    def test_closedByPeer(self) -> None:
        """When the peer closes, nothing more can be sent: producers are told, and the session ends gracefully."""
        for streaming in (False, True):
            hosts = Hosts(Conditions(delay=0.01))
            ours, theirs = hosts.open()
            producer = Endless(ours.session)
            ours.session.registerProducer(producer, streaming)
            producer.resumeProducing()
            hosts.settle(0.1)
            hosts.run(theirs.session.close())
            hosts.settle()
            self.assertEqual(producer.stopped, 1)
            self.assertIsInstance(errorOf(ours), SessionClosed)
            self.assertGreater(producer.count, 0)
            self.assertEqual(len(theirs.messages), producer.count)
            ours.session.unregisterProducer()
            hosts.end()

    def test_whileClosing(self) -> None:
        """A producer that registers when the session is closing is stopped."""
        self.theirs.answer = lambda message: deferLater(self.hosts.server, 1.0)
        self.session.sendMessage(b"x")
        closing = self.session.close()
        producer = Endless(self.session)
        for streaming in (False, True):
            self.session.registerProducer(producer, streaming)
        self.hosts.settle(0.1)
        self.assertEqual((producer.count, producer.stopped), (0, 2))
        self.hosts.run(closing)
        self.assertEqual(producer.stopped, 2)

    def test_lostInOrder(self) -> None:
        """Those who wait learn of the end in the order in which they have sent."""
        failed: list[int] = []

        def fail(_: object, number: int) -> None:
            failed.append(number)

        for number in range(5):
            self.session.sendMessage(b"x").addErrback(fail, number)
        self.session.abort()
        self.hosts.settle()
        self.assertEqual(failed, [0, 1, 2, 3, 4])

    def test_afterTheEnd(self) -> None:
        """A producer that registers after the end is stopped."""
        self.session.abort()
        self.hosts.settle()
        producer = Producer()
        self.session.registerProducer(producer, True)
        self.assertEqual(producer.told, ["stop"])


class LossyTests(SynchronousTestCase):
    """
    Messages through a bad network
    """

    def test_everyoneIsAnswered(self) -> None:
        """Loss, duplication, reordering: each message once, in order, and each Deferred fires."""
        for seed in range(3):
            conditions = Conditions(loss=0.2, duplication=0.2, reordering=0.3, corruption=0.05, delay=0.01, jitter=0.01)
            hosts = Hosts(conditions, seed)
            ours, theirs = hosts.open(options=Options(connection_timeout=60.0))
            self.assertIsInstance(ours.session, Session)
            messages = [b"%d" % number * (number % 400) for number in range(200)]
            fired: list[object] = []
            for protocol in (ours, theirs):
                for message in messages:
                    protocol.session.sendMessage(message).addBoth(fired.append)
            hosts.settle(120)
            self.assertEqual(fired, [None] * 400, [f for f in fired if isinstance(f, Failure)])
            self.assertEqual(ours.messages, messages)
            self.assertEqual(theirs.messages, messages)
            hosts.network.set_conditions(Conditions())
            hosts.end()

    def test_cancelledByCoroutine(self) -> None:
        """A coroutine that waits for a message and is cancelled sees the message's own error."""
        hosts = Hosts(Conditions(delay=0.01))
        ours, _ = hosts.open()

        async def send() -> None:
            await ours.session.sendMessage(b"x")

        sending = Deferred.fromCoroutine(send())
        sending.cancel()
        self.failureResultOf(sending, MessageCancelled, CancelledError)
        hosts.end()
