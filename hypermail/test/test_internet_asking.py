"""
Tests of L{hypermail.internet.asking}: C{session.ask} and C{askReceived} over the core in the simulated network.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail import Plain, SessionClientEndpoint, SessionFactory, SessionServerEndpoint
from hypermail.errors import (
    Delivered,
    MessageRejected,
    MessageTooLarge,
    MessageUndelivered,
    NotSupported,
    Reason,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    UsageError,
)
from hypermail.interfaces import ISessionProtocol
from hypermail.internet.protocol import SessionProtocol
from hypermail.internet.session import Session
from hypermail.messages.receiving import ASKS_AT_ONCE
from hypermail.options import Options, Way
from hypermail.test.producers import Producer
from hypermail.test.sessions import Hosts, RecordingProtocol, errorOf
from hypermail.testing import Conditions

#: A network with a delay.
SLOW = Conditions(delay=0.01)


def _returns(answer: object, message: bytes) -> object:
    return answer


def _succeeds(answer: object, message: bytes) -> object:
    return defer.succeed(answer)


def _replyLate(hosts: Hosts, message: bytes) -> object:
    return deferLater(hosts.server, 3.0, lambda: b"re")


class AnsweringProtocol(RecordingProtocol):
    """
    Remembers what it is asked, and answers as it was set up.

    @ivar asked: all asks.
    @ivar reply: called with each ask.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []
        self.reply: Callable[[bytes], Any] = lambda message: b"re " + message

    def askReceived(self, message: bytes) -> Any:
        self.asked.append(message)
        return self.reply(message)


class AskingHosts(Hosts):
    """Two hosts whose protocols answer."""

    def __init__(self, conditions: Conditions = SLOW, seed: int = 0) -> None:
        super().__init__(conditions, seed)
        self.starting.make = self.listening.make = AnsweringProtocol


class AskingTests(SynchronousTestCase):
    """A session over a network with a delay of 10 ms, whose ends answer."""

    ours: AnsweringProtocol
    theirs: AnsweringProtocol

    def setUp(self) -> None:
        self.hosts = AskingHosts()
        self.ours, self.theirs = self.hosts.open()  # type: ignore[assignment]
        self.session = self.ours.session
        self.addCleanup(self.hosts.end)

    def ask(self, message: bytes = b"ask", seconds: float = 1.0, **settings: Any) -> Deferred[bytes]:
        """Ask, and let time pass."""
        asking = self.session.ask(message, **settings)
        self.hosts.settle(seconds)
        return asking

    def count(self, name: str) -> int:
        """One of our statistics."""
        found: int = self.session.statistics()[name]
        return found


class ReplyTests(AskingTests):
    """What comes back."""

    def test_interface(self) -> None:
        """C{askReceived} is part of the interface."""
        self.assertIn("askReceived", ISessionProtocol)

    def test_bytes(self) -> None:
        """The reply comes after one round trip; neither side has a message of it."""
        asking = self.ask(seconds=0.0201)
        self.assertEqual(self.successResultOf(asking), b"re ask")
        self.assertEqual((self.theirs.asked, self.theirs.messages, self.ours.messages), ([b"ask"], [], []))

    def test_bothWays(self) -> None:
        """Listeners ask just the same."""
        self.assertEqual(self.hosts.run(self.theirs.session.ask(b"ask")), b"re ask")

    def test_deferred(self) -> None:
        """A reply may come later; others don't wait for it."""
        later: Deferred[bytes] = Deferred()
        self.theirs.reply = lambda message: later if message == b"1" else defer.succeed(b"2")
        first, second = self.ask(b"1"), self.ask(b"2")
        self.assertEqual(self.successResultOf(second), b"2")
        self.assertNoResult(first)
        later.callback(b"at last")
        self.hosts.settle()
        self.assertEqual(self.successResultOf(first), b"at last")

    def test_coroutine(self) -> None:
        """C{askReceived} may be an C{async def}, and ask back."""

        async def reply(message: bytes) -> bytes:
            await deferLater(self.hosts.server, 0.5)
            return message + await self.theirs.session.ask(message)

        self.theirs.reply = reply
        self.assertEqual(self.successResultOf(self.ask(b"a")), b"are a")

    def test_bytesLike(self) -> None:
        """What is like bytes is copied, as its owner may change it; what is not is refused."""
        data = bytearray(b"before")
        asking = self.session.ask(data)
        data[:] = b"after!"
        self.theirs.reply = lambda message: bytearray(message)
        self.assertEqual(self.hosts.run(asking), b"before")
        self.theirs.reply = lambda message: memoryview(message)
        self.assertIs(type(self.hosts.run(self.session.ask(memoryview(b"view")))), bytes)
        self.assertRaises(TypeError, self.session.ask, "text")

    def test_sizes(self) -> None:
        """Asks and replies may be empty or large."""
        self.theirs.reply = lambda message: message
        for size in (0, 1, 70_000, 1_000_000):
            self.assertEqual(self.hosts.run(self.session.ask(b"x" * size)), b"x" * size)

    def test_nested(self) -> None:
        """A reply's callback may ask again."""
        asking = self.session.ask(b"1").addCallback(self.session.ask)
        self.assertEqual(self.hosts.run(asking), b"re re 1")

    def test_datagrams(self) -> None:
        """
        Asks one upon the other's reply take one datagram each way for each: acknowledgements ride with the reply, and
        with the next ask. After the last three are left: the reply is settled, by that the ask, and that has come.
        """

        def sent() -> list[int]:
            found = [protocol.session.statistics() for protocol in (self.ours, self.theirs)]
            return [statistics["datagrams_sent"] - statistics["mtu_probes"] for statistics in found]

        self.hosts.settle(3)
        before = sent()

        async def ask() -> None:
            for _ in range(20):
                await self.session.ask(b"ask")

        self.hosts.run(ask())
        self.hosts.settle()
        self.assertEqual([late - early for early, late in zip(before, sent(), strict=True)], [20 + 2, 20 + 1])

    def test_sameTurn(self) -> None:
        """A reply that is at hand leaves before the reactor has its turn; so does the next ask, upon the reply."""
        self.hosts.settle(5)
        turns: list[tuple[AnsweringProtocol, int]] = []

        def watch(protocol: AnsweringProtocol) -> None:
            assert isinstance(protocol.session, Session)
            socket: Any = protocol.session.socket
            receive = socket.datagramsReceived

            def received(*arguments: Any) -> None:
                before = protocol.session.statistics()["datagrams_sent"]
                receive(*arguments)
                turns.append((protocol, protocol.session.statistics()["datagrams_sent"] - before))

            self.patch(socket, "datagramsReceived", received)

        watch(self.ours)
        watch(self.theirs)
        self.hosts.run(self.session.ask(b"1").addCallback(self.session.ask))
        self.assertEqual(turns, [(self.theirs, 1), (self.ours, 1)] * 2)

    def test_firstLeave(self) -> None:
        """Of many asks that have come together the first are answered before the application is given the others."""
        self.hosts.settle(3)
        left: list[int] = []

        def reply(message: bytes) -> bytes:
            left.append(self.theirs.session.statistics()["datagrams_sent"])
            return message

        self.theirs.reply = reply
        self.hosts.run(defer.gatherResults([self.session.ask(b"ask") for _ in range(2 * ASKS_AT_ONCE)]))
        first, second = left[:ASKS_AT_ONCE], left[ASKS_AT_ONCE:]
        self.assertEqual((len(set(first)), len(set(second))), (1, 1))
        self.assertEqual(second[0], first[0] + 1)

    def test_roomGivenBack(self) -> None:
        """Thousands of asks leave no room taken when they are over."""
        asks = [self.session.ask(b"%d" % number) for number in range(3_000)]
        self.assertEqual(len(self.hosts.run(defer.gatherResults(asks))), 3_000)
        assert isinstance(self.session, Session)
        self.assertEqual(sys.getsizeof(self.session.traffic.sent.waiting), sys.getsizeof({}))


class RefusalTests(AskingTests):
    """Asks that get no reply."""

    def assertRefused(self, asking: Deferred[bytes], code: int, text: str) -> None:
        error = self.failureResultOf(asking, MessageRejected).value
        self.assertEqual((error.code, error.text), (code, text))

    def test_notOverridden(self) -> None:
        """A protocol that does not answer asks says so."""
        self.theirs.reply = lambda message: SessionProtocol.askReceived(self.theirs, message)
        self.assertRefused(self.ask(), Reason.MESSAGE_REJECTED, "this application answers no asks")

    def test_rejected(self) -> None:
        """C{MessageRejected} tells its code and text, raised, or as an errback, at once or later."""

        def refuse(message: bytes) -> Any:
            raise MessageRejected("no such thing", 4711)

        async def refuseLater(message: bytes) -> bytes:
            await deferLater(self.hosts.server, 0.1)
            raise MessageRejected("no such thing", 4711)

        for self.theirs.reply in (refuse, lambda message: defer.execute(refuse, message), refuseLater):
            self.assertRefused(self.ask(), 4711, "no such thing")

    def test_fails(self) -> None:
        """Any other exception is logged; the asker learns its class, not its text."""

        def fail(message: bytes) -> Any:
            raise KeyError("the password")

        async def failLater(message: bytes) -> bytes:
            await deferLater(self.hosts.server, 0.1)
            raise KeyError("the password")

        for self.theirs.reply in (fail, lambda message: defer.execute(fail, message), failLater):
            asking = self.ask()
            self.assertRefused(asking, Reason.APPLICATION, "the application failed on this ask (KeyError)")
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.theirs.reply = lambda message: b"fine"
        self.assertEqual(self.successResultOf(self.ask()), b"fine")

    def test_othersErrors(self) -> None:
        """An error that came from whom the application has asked is not told to the asker."""
        self.theirs.reply = lambda message: defer.fail(SessionAborted("a secret of the session behind", 99))
        asking = self.ask()
        self.assertRefused(asking, Reason.APPLICATION, "the application failed on this ask (SessionAborted)")
        self.assertEqual(len(self.flushLoggedErrors(SessionAborted)), 1)

    def test_noBytes(self) -> None:
        """An answer that is no bytes is the application's fault, at once or later."""
        for answer in (None, "text", 7, [b"x"]):
            for self.theirs.reply in (partial(_returns, answer), partial(_succeeds, answer)):
                asking = self.ask()
                self.assertRefused(asking, Reason.APPLICATION, "the application failed on this ask (TypeError)")
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_tooLarge(self) -> None:
        """An ask that the peer doesn't take fails at once."""
        self.failureResultOf(self.session.ask(b"x" * (Options().max_message + 1)), MessageTooLarge)

    def test_replyTooLarge(self) -> None:
        """Of a reply that the asker does not take it learns the size and the limit; the answerer goes on."""
        hosts = AskingHosts()
        ours, theirs = hosts.open(options=Options(max_message=1_000))
        assert isinstance(theirs, AnsweringProtocol)
        theirs.reply = lambda message: b"x" * 993
        asking = ours.session.ask(b"ask")
        hosts.settle()
        text = "a reply of 993 bytes: the asker takes 992 at most; use a stream"
        self.assertRefused(asking, Reason.LIMIT_EXCEEDED, text)
        theirs.reply = lambda message: b"x" * 992
        self.assertEqual(len(hosts.run(ours.session.ask(b"ask"))), 992)
        hosts.end()

    def test_oneOfMany(self) -> None:
        """Of many that are answered at once only those are refused whose replies are too large, or that fail."""
        hosts = AskingHosts()
        ours, theirs = hosts.open(options=Options(max_message=1_000))
        assert isinstance(theirs, AnsweringProtocol)

        def reply(message: bytes) -> Any:
            if message == b"3":
                raise MessageRejected("not 3")
            return {b"1": bytes(993), b"2": defer.succeed(b"two"), b"4": bytearray(b"four")}.get(message, message)

        theirs.reply = reply
        asks = [ours.session.ask(b"%d" % number) for number in range(6)]
        hosts.settle()
        self.assertEqual([self.successResultOf(asks[number]) for number in (0, 2, 4, 5)], [b"0", b"two", b"four", b"5"])
        self.assertRefused(asks[3], Reason.MESSAGE_REJECTED, "not 3")
        text = "a reply of 993 bytes: the asker takes 992 at most; use a stream"
        self.assertRefused(asks[1], Reason.LIMIT_EXCEEDED, text)
        hosts.end()

    def test_oneWay(self) -> None:
        """A session that carries one way carries no asks."""
        hosts = AskingHosts()
        ours, theirs = hosts.open(options=Options(way=Way.WRITE_ONLY))
        for protocol in (ours, theirs):
            self.failureResultOf(protocol.session.ask(b"ask"), NotSupported)
        hosts.end()


class WithdrawingTests(AskingTests):
    """Timeouts and cancelling, at every point of an ask's life."""

    def test_timeout(self) -> None:
        """After C{timeout} the Deferred fails; a late reply is ignored and counted, and the ask is settled."""
        late: Deferred[bytes] = Deferred()
        self.theirs.reply = lambda message: late
        asking = self.ask(seconds=1.9, timeout=2)
        self.assertNoResult(asking)
        self.hosts.settle(0.2)
        error = self.failureResultOf(asking, defer.TimeoutError).value
        self.assertEqual(str(error), "no reply within 2 s")
        late.callback(b"late")
        self.hosts.settle()
        self.assertEqual((self.count("replies_ignored"), self.count("messages_begun")), (1, 0))

    def test_inTime(self) -> None:
        """A timeout leaves nothing behind when the reply was in time."""
        before = len(self.hosts.client.getDelayedCalls())
        for _ in range(10):
            self.assertEqual(self.successResultOf(self.ask(timeout=1_000)), b"re ask")
        self.assertLessEqual(len(self.hosts.client.getDelayedCalls()), before)

    def test_timeoutUnheard(self) -> None:
        """What timed out before it came is never given to the application."""
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        asking = self.ask(seconds=2.1, timeout=2)
        self.failureResultOf(asking, defer.TimeoutError)
        self.hosts.network.set_conditions(Conditions(delay=0.01))
        self.hosts.settle(5)
        self.assertEqual((self.theirs.asked, self.count("messages_begun")), ([], 0))

    def test_noTimeout(self) -> None:
        """A timeout that is none is refused."""
        for timeout in (-1, float("nan"), float("inf")):
            self.failureResultOf(self.session.ask(b"ask", timeout=timeout), UsageError)
        self.hosts.settle()
        self.assertEqual(self.theirs.asked, [])

    def test_cancelledByReply(self) -> None:
        """A reply's callback may cancel other asks, also those whose replies have come with it."""
        asks = [self.session.ask(b"%d" % number) for number in range(3)]

        def cancelOthers(reply: bytes) -> None:
            for asking in asks[1:]:
                asking.cancel()

        asks[0].addCallback(cancelOthers)
        self.hosts.settle()
        for asking in asks[1:]:
            self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.theirs.asked, [b"0", b"1", b"2"])
        self.assertEqual((self.count("messages_begun"), self.count("messages_queued")), (0, 0))

    def test_cancelled(self) -> None:
        """
        A Deferred may be cancelled at any time, again and again: it fails with C{CancelledError}, and nothing is left.
        """
        steps = [0.0, 0.005, 0.011, 0.015, 0.0199, 0.021, 0.05]
        for number, seconds in enumerate(steps):
            message = b"%d" % number
            asking = self.ask(message, seconds=seconds, timeout=9)
            asking.cancel()
            asking.cancel()
            if seconds < 0.02:
                self.failureResultOf(asking, CancelledError)
            else:
                self.assertEqual(self.successResultOf(asking), b"re " + message)
            self.hosts.settle(2)
            self.assertEqual((self.count("messages_begun"), self.count("messages_queued")), (0, 0))
        self.assertEqual(self.theirs.asked, [b"%d" % number for number in range(1, len(steps))])
        self.assertEqual(self.count("replies_ignored"), 4)

    def test_withdrawnAtOnce(self) -> None:
        """The peer is told of it in the same turn."""
        asking = self.ask(seconds=0.005)
        before = self.count("datagrams_sent")
        asking.cancel()
        self.hosts.settle(0.001)
        self.assertEqual(self.count("datagrams_sent"), before + 1)
        self.failureResultOf(asking, CancelledError)

    def test_cancelledByAnother(self) -> None:
        """The callback of a reply may cancel an ask whose reply has come with it."""
        replies: list[Deferred[bytes]] = []
        first = self.session.ask(b"1").addCallback(lambda reply: replies[0].cancel())
        replies.append(self.session.ask(b"2"))
        self.hosts.settle()
        self.assertIsNone(self.successResultOf(first))
        self.failureResultOf(replies[0], CancelledError)
        self.assertEqual(self.successResultOf(self.ask()), b"re ask")

    def test_cancelledByCoroutine(self) -> None:
        """A coroutine that waits for a reply and is cancelled sees C{CancelledError}."""

        async def ask() -> None:
            await self.session.ask(b"ask")

        asking = Deferred.fromCoroutine(ask())
        asking.cancel()
        self.failureResultOf(asking, CancelledError)

    def test_answerCancelled(self) -> None:
        """An answer that the application cancels itself is a failure like others."""
        answer: Deferred[bytes] = Deferred()
        self.theirs.reply = lambda message: answer
        asking = self.ask()
        answer.cancel()
        self.hosts.settle()
        self.assertEqual(self.failureResultOf(asking, MessageRejected).value.code, Reason.APPLICATION)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)


class EndingTests(AskingTests):
    """Sessions that end meanwhile."""

    def test_lost(self) -> None:
        """Asks that wait fail with what ended the session, and answers that are not there are cancelled."""
        cancelled: list[Deferred[bytes]] = []
        self.theirs.reply = lambda message: Deferred(cancelled.append)
        begun = self.ask()
        queued = self.session.ask(b"never sent")
        self.session.abort("enough")
        late = self.session.ask(b"closed already")
        self.hosts.settle()
        fates = [self.failureResultOf(asking, MessageUndelivered).value for asking in (begun, queued)]
        self.assertEqual([error.delivered for error in fates], [Delivered.UNKNOWN, Delivered.NO])
        self.assertEqual([type(error.cause) for error in fates], [SessionAborted] * 2)
        self.assertIn("session lost", fates[0].text)
        self.failureResultOf(late, SessionAborted)
        self.assertEqual(len(cancelled), 1)
        error = self.failureResultOf(self.session.ask(b"after"), MessageUndelivered).value
        self.assertEqual(error.delivered, Delivered.NO)

    def test_lostByPeer(self) -> None:
        """The same when the peer ends it; a coroutine that is cancelled by it may still clean up, or fail."""
        ends: list[str] = []

        async def reply(message: bytes) -> bytes:
            try:
                await Deferred()
            finally:
                ends.append("cleaned up")
                if message == b"2":
                    raise ZeroDivisionError()
            return b""

        self.theirs.reply = reply
        first, second = self.ask(b"1"), self.ask(b"2", timeout=60)
        self.theirs.session.abort("enough")
        self.hosts.settle()
        for asking in (first, second):
            self.assertIsInstance(self.failureResultOf(asking, MessageUndelivered).value.cause, SessionKilled)
        self.assertEqual(ends, ["cleaned up"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_answeredAfterTheEnd(self) -> None:
        """Who ignores cancelling, and answers when nobody asks any more, does no harm."""
        answers: list[Deferred[bytes]] = []

        def reply(message: bytes) -> Deferred[bytes]:
            answers.append(Deferred(lambda deferred: deferred.callback(b"nevertheless")))
            return answers[-1]

        self.theirs.reply = reply
        asking = self.ask()
        self.theirs.session.abort()
        self.assertEqual([answer.called for answer in answers], [False])
        self.hosts.settle()
        self.assertEqual([answer.called for answer in answers], [True])
        self.failureResultOf(asking, MessageUndelivered)

    def test_abortedByAnswer(self) -> None:
        """C{askReceived} may end the session: what else was asked is not given to it any more."""
        self.theirs.reply = lambda message: self.theirs.session.abort("not with me")
        asks = [self.session.ask(b"%d" % number) for number in range(5)]
        self.hosts.settle()
        for asking in asks:
            self.failureResultOf(asking, MessageUndelivered)
        self.assertEqual(self.theirs.asked, [b"0"])

    def test_cancelledByErrback(self) -> None:
        """The errback of an ask may cancel another when the session is lost."""
        self.theirs.reply = lambda message: Deferred()
        asks: list[Deferred[bytes]] = []
        asks += [self.ask(b"%d" % number) for number in range(3)]
        fates: list[Failure] = []

        def cancelAll(failure: Failure) -> None:
            fates.append(failure)
            for asking in asks:
                asking.cancel()

        for asking in asks:
            asking.addErrback(cancelAll)
        self.session.abort()
        self.hosts.settle()
        self.assertEqual([bool(fate.check(MessageUndelivered, CancelledError)) for fate in fates], [True] * 3)
        self.assertEqual(self.ours.calls[-1], "sessionLost")

    def test_closed(self) -> None:
        """Closing waits for the replies, whoever closes; a session that closes takes no new asks."""
        for closing in (0, 1):
            hosts = AskingHosts()
            ours, theirs = hosts.open()
            assert isinstance(theirs, AnsweringProtocol)
            theirs.reply = partial(_replyLate, hosts)
            asking = ours.session.ask(b"ask")
            hosts.settle(0.1)
            closed = (ours, theirs)[closing].session.close()
            hosts.settle(0.1)
            self.failureResultOf(ours.session.ask(b"more"), UsageError)
            hosts.settle(1)
            self.assertNoResult(closed)
            hosts.run(closed)
            self.assertEqual(self.successResultOf(asking), b"re")
            hosts.settle()
            for protocol in (ours, theirs):
                self.assertIsInstance(errorOf(protocol), SessionClosed)
            hosts.end()


class ProducerTests(AskingTests):
    """Asks and back pressure."""

    def test_paused(self) -> None:
        """A producer that asks is paused when enough waits, and resumed when there is room."""
        producer = Producer()
        self.session.registerProducer(producer, True)
        asks = []
        while not producer.told:
            asks.append(self.session.ask(b"x" * 50_000))
        self.hosts.run(defer.gatherResults(asks))
        self.assertEqual(producer.told, ["pause", "resume"])
        self.session.unregisterProducer()


class StormTests(SynchronousTestCase):
    """Asks through a bad network."""

    def test_outstanding(self) -> None:
        """500 asks at once each way, through loss, duplication, reordering: each once, each its own reply."""
        for seed in range(2):
            conditions = Conditions(loss=0.2, duplication=0.2, reordering=0.3, corruption=0.05, delay=0.01, jitter=0.01)
            hosts = AskingHosts(conditions, seed)
            protocols = hosts.open(options=Options(connection_timeout=60.0))
            asks = [b"%d" % number * (number % 200) + b"." for number in range(500)]
            asked: list[list[Deferred[bytes]]] = []
            for protocol in protocols:
                asked.append([protocol.session.ask(message, timeout=300) for message in asks])
            hosts.settle(120)
            for protocol, replies in zip(protocols, asked, strict=True):
                assert isinstance(protocol, AnsweringProtocol)
                self.assertEqual([self.successResultOf(reply) for reply in replies], [b"re " + ask for ask in asks])
                self.assertEqual(Counter(protocol.asked), Counter(asks))
                found = protocol.session.statistics()
                self.assertEqual((found["messages_begun"], found["messages_held"]), (0, 0))
            hosts.network.set_conditions(Conditions())
            hosts.end()

    def test_cancelledAtAnyTime(self) -> None:
        """Of many asks some are cancelled, some time out, some are refused: each Deferred fires, nothing is left."""
        for seed in range(3):
            hosts = AskingHosts(Conditions(loss=0.2, duplication=0.1, delay=0.01, jitter=0.02), seed)
            ours, theirs = hosts.open(options=Options(connection_timeout=60.0))
            assert isinstance(theirs, AnsweringProtocol)
            random = Random(seed)

            def reply(message: bytes, hosts: Hosts = hosts, random: Random = random) -> Any:
                if message[-1:] == b"7":
                    raise MessageRejected("as you wish")
                return deferLater(hosts.server, random.uniform(0, 0.3), lambda: message)

            theirs.reply = reply
            fired: dict[int, list[object]] = {number: [] for number in range(400)}
            for number in fired:
                timeout = random.choice((None, None, 0.0, 0.05, 0.2))
                asking = ours.session.ask(b"%d" % number, timeout=timeout)
                asking.addBoth(fired[number].append)
                if not number % 3:
                    hosts.client.callLater(random.uniform(0, 0.3), asking.cancel)
                hosts.settle(random.choice((0, 0, 0.01)))
            hosts.settle(60)
            self.assertEqual({len(results) for results in fired.values()}, {1})
            for number, (result,) in fired.items():
                if isinstance(result, Failure):
                    result.trap(CancelledError, defer.TimeoutError, MessageRejected)
                else:
                    self.assertEqual(result, b"%d" % number)
            self.assertGreater(sum(isinstance(result, bytes) for (result,) in fired.values()), 20)
            found = ours.session.statistics()
            self.assertEqual((found["messages_begun"], found["messages_queued"]), (0, 0))
            self.assertEqual(set(Counter(theirs.asked).values()), {1})
            hosts.network.set_conditions(Conditions())
            hosts.end()


class SocketTests(TestCase):
    """Real sockets, once."""

    async def test_asks(self) -> None:
        """Asks over loopback are answered."""
        listening = SessionFactory.forProtocol(AnsweringProtocol)
        listening.noisy = False
        endpoint = SessionServerEndpoint(reactor, 0, interface="127.0.0.1", security=Plain())
        port: Any = await endpoint.listen(listening)
        try:
            client = SessionClientEndpoint(reactor, "127.0.0.1", port.getHost().port, security=Plain())
            starting = SessionFactory.forProtocol(AnsweringProtocol)
            starting.noisy = False
            protocol = await client.connect(starting)
            asks = [protocol.session.ask(b"%d" % number, timeout=30) for number in range(100)]
            self.assertEqual(await defer.gatherResults(asks), [b"re %d" % number for number in range(100)])
            await protocol.session.close()
        finally:
            await port.stopListening()
