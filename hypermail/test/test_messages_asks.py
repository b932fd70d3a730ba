"""
Tests of L{hypermail.messages.asks}: asks and replies through two connections, and from peers that break the rules.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    Delivered,
    MessageCancelled,
    MessageRejected,
    MessageTooLarge,
    MessageUndelivered,
    NotSupported,
    Reason,
    UsageError,
)
from hypermail.events import AsksReceived, Event, RepliesReceived
from hypermail.messages.asks import ASKS, NAME, PROPERTIES, REPLIES
from hypermail.messages.receiving import ASKS_AT_ONCE
from hypermail.options import KIB, Options, Role, Way
from hypermail.test.wired import Puppet, Wire, holds, inside
from hypermail.testing import Application as PairApplication
from hypermail.testing import Conditions, Pair
from hypermail.wire import packets as p

FLAGS = PROPERTIES.flags


class AskCase(SynchronousTestCase):
    """Two sides that ask each other; each answers at once, or remembers."""

    def wire(self, starter: Options = Options(), listener: Options = Options(), seed: int = 1) -> Wire:
        """An open session; the listener's application is asked C{asked}, and the starter's C{back}."""
        wire = Wire(starter, listener, seed=seed).open()
        self.asked: list[tuple[int, bytes]] = []
        self.back: list[tuple[int, bytes]] = []
        self.replies: dict[int, bytes] = {}
        self.answers = True

        def there(event: Event) -> None:
            if isinstance(event, AsksReceived):
                self.asked += event.asks
                for number, data in event.asks:
                    if self.answers:
                        wire.listener.answer(number, b"re " + data, now=wire.now)

        def here(event: Event) -> None:
            if isinstance(event, RepliesReceived):
                for ask, reply in event.replies:
                    self.assertNotIn(ask.number, self.replies)
                    self.replies[ask.number] = reply
            elif isinstance(event, AsksReceived):
                self.back += event.asks

        wire.there.reply, wire.here.reply = there, here
        return wire


class AskTests(AskCase):
    """Asks that are answered, or not."""

    def test_answered(self) -> None:
        """A reply comes after one round trip, to its ask, and is no message."""
        wire = self.wire()
        start = wire.now
        ask = wire.starter.ask(b"ask", now=wire.now)
        wire.until(lambda: self.replies)
        self.assertEqual(self.replies, {ask.number: b"re ask"})
        self.assertAlmostEqual(wire.now - start, 2 * wire.delay)
        wire.run(1)
        self.assertEqual((wire.here.messages, wire.there.messages, wire.here.settled), ({}, {}, []))

    def test_settledAfterReply(self) -> None:
        """The ask is settled when its reply is: while replies are lost it counts in the allowance."""
        wire = self.wire()
        wire.lose = lambda role, datagram: (
            role is Role.LISTENER and any(isinstance(x, p.StreamBlocks) for x in inside(datagram))
        )
        wire.starter.ask(b"ask", now=wire.now)
        wire.run(3)
        self.assertEqual(len(self.asked), 1)
        self.assertEqual(wire.starter.statistics()["messages_begun"], 1)
        self.assertEqual(wire.listener.statistics()["messages_begun"], 1)
        wire.lose = lambda role, datagram: False
        wire.run(10)
        for side in (wire.starter, wire.listener):
            found = side.statistics()
            self.assertEqual([found[key] for key in ("messages_begun", "messages_held", "messages_queued")], [0, 0, 0])
        self.assertEqual(len(self.replies), 1)

    def test_rejected(self) -> None:
        """A rejected ask gets code and text, and no reply."""
        wire = self.wire()
        self.answers = False
        ask = wire.starter.ask(b"ask", now=wire.now)
        wire.until(lambda: self.asked)
        (event,) = wire.there.of(AsksReceived)
        event.lane.reject(self.asked[0][0], 4711, "not this")
        wire.until(lambda: wire.here.settled)
        self.assertEqual((wire.here.settled, self.replies), ([ask], {}))
        assert isinstance(ask.error, MessageRejected)
        self.assertEqual((ask.error.code, ask.error.text), (4711, "not this"))

    def test_sizes(self) -> None:
        """Asks and replies may be empty, or as large as messages; the 8 bytes that name the ask count."""
        limits = Options(max_message=100_000, allowance_bytes=200_000)
        wire = self.wire(limits, limits)

        def same(event: Event) -> None:
            if isinstance(event, AsksReceived):
                for number, data in event.asks:
                    wire.listener.answer(number, data, now=wire.now)

        wire.there.reply = same
        for size in (0, 1, 1_160, 1_200, 99_992):
            self.replies.clear()
            wire.starter.ask(b"x" * size, now=wire.now)
            wire.until(lambda: self.replies)
            self.assertEqual([len(reply) for reply in self.replies.values()], [size])
        self.assertRaises(MessageTooLarge, wire.starter.ask, bytes(100_001), now=wire.now)

    def test_replyTooLarge(self) -> None:
        """A reply that the asker would not take raises, and the ask still waits."""
        wire = self.wire(Options(max_message=1_000))
        self.answers = False
        wire.starter.ask(b"x" * 5_000, now=wire.now)
        wire.until(lambda: self.asked)
        number = self.asked[0][0]
        error = self.assertRaises(MessageTooLarge, wire.listener.answer, number, bytes(993), now=wire.now)
        self.assertIn("a reply of 993 bytes: the asker takes 992 at most", error.text)
        wire.listener.answer(number, bytes(992), now=wire.now)
        wire.until(lambda: self.replies)

    def test_manyAnswers(self) -> None:
        """Many asks may be answered together, in any order: all of them, or none when one of them cannot be."""
        wire = self.wire(Options(max_message=1_000))
        self.answers = False
        for number in range(40):
            wire.starter.ask(b"%d" % number, now=wire.now)
        wire.until(lambda: len(self.asked) == 40)
        answer = partial(wire.listener.answer_many, now=wire.now)
        lane = wire.there.of(AsksReceived)[0].lane
        lane.reject(39, 1, "")
        self.assertRaises(MessageTooLarge, answer, [0, 1, 2], [b"", bytes(993), b""])
        for numbers in ([0, 0], [0, 40], [38, 39], [5, 4, 3, 5]):
            self.assertRaises(UsageError, answer, numbers, [b""] * len(numbers))
        wire.run(1)
        self.assertEqual((self.replies, wire.listener.statistics()["messages_begun"]), ({}, 0))
        for numbers in ([7, 5, 6], [0, 1, 2, 3, 4], [9], list(range(38, 9, -2)), [8, *range(37, 10, -2)]):
            answer(numbers, [b"re %d" % number for number in numbers])
            self.assertRaises(UsageError, answer, numbers[-1:], [b""])
        wire.run(1)
        self.assertEqual(self.replies, {number: b"re %d" % number for number in range(39)})
        for side in (wire.starter, wire.listener):
            found = side.statistics()
            self.assertEqual([found[key] for key in ("messages_begun", "messages_held", "messages_queued")], [0, 0, 0])

    def test_once(self) -> None:
        """Through loss each of many asks is given to the application once, and gets its own reply."""
        wire = self.wire(seed=3)
        wire.lose = lambda role, datagram: wire.random.random() < 0.2
        asks = {wire.starter.ask(b"%d" % n * (n % 300), now=wire.now): b"%d" % n * (n % 300) for n in range(500)}
        wire.until(lambda: len(self.replies) == 500)
        self.assertEqual({ask.number: b"re " + data for ask, data in asks.items()}, self.replies)
        self.assertEqual(max(Counter(number for number, _ in self.asked).values()), 1)
        wire.lose = lambda role, datagram: False
        wire.close()
        self.assertIsNotNone(wire.there.error)

    def test_priority(self) -> None:
        """Asks take turns with the messages of lanes of priority 0: they don't wait behind them."""
        wire = self.wire()
        for _ in range(2_000):
            wire.starter.send_message(bytes(1_000), now=wire.now)
        wire.starter.ask(b"ask", now=wire.now)
        wire.until(lambda: self.replies)
        self.assertLess(len(wire.there.messages[0]), 100)

    def test_firstFlight(self) -> None:
        """A starter may ask before the listener has answered; then it cannot know how large a reply may be."""
        wire = Wire()
        got: list[bytes] = []
        wire.there.reply = lambda event: (
            wire.listener.answer(*event.asks[0], now=wire.now) if isinstance(event, AsksReceived) else None
        )
        wire.here.reply = lambda event: (
            got.extend(reply for _, reply in event.replies) if isinstance(event, RepliesReceived) else None
        )
        wire.starter.ask(b"early", now=wire.now)
        wire.until(lambda: got)
        self.assertEqual(got, [b"early"])

    def test_lost(self) -> None:
        """When the session is lost, asks without a reply say whether they may have come; replies say nothing."""
        wire = self.wire()
        self.answers = False
        begun = wire.starter.ask(b"begun", now=wire.now)
        wire.until(lambda: self.asked)
        wire.listener.answer(self.asked[0][0], b"on its way", now=wire.now)
        queued = wire.starter.ask(b"queued", now=wire.now)
        wire.starter.abort(now=wire.now)
        wire.listener.abort(now=wire.now)
        wire.flush()
        self.assertEqual(wire.here.settled, [begun, queued])
        fates = [ask.error.delivered for ask in (begun, queued) if isinstance(ask.error, MessageUndelivered)]
        self.assertEqual(fates, [Delivered.UNKNOWN, Delivered.NO])
        self.assertEqual(wire.there.settled, [])
        wire.listener.answer(self.asked[0][0], b"too late", now=wire.now)


class ClosingTests(AskCase):
    """Asks are answered before a session is closed, whoever closes it."""

    def check(self, closing: Role, asker: Role) -> None:
        """One side asks, and one closes while the application thinks; the first reply is lost."""
        wire = self.wire()
        sides = (wire.starter, wire.listener)
        applications = (wire.here, wire.there)
        replies: list[bytes] = []
        asked: list[int] = []

        def note(event: Event) -> None:
            if isinstance(event, RepliesReceived):
                replies.extend(reply for _, reply in event.replies)
            elif isinstance(event, AsksReceived):
                asked.extend(number for number, _ in event.asks)

        for application in applications:
            application.reply = note
        sides[asker].ask(b"ask", now=wire.now)
        wire.until(lambda: asked)
        sides[closing].close(now=wire.now)
        wire.run(1)
        self.assertEqual([application.error for application in applications], [None, None])
        sides[1 - asker].answer(asked[0], b"reply", now=wire.now)
        lost: list[bytes] = []

        def lose(role: Role, datagram: bytes) -> bool:
            if role is not asker and not lost and holds(datagram, p.StreamBlocks):
                lost.append(datagram)
                return True
            return False

        wire.lose = lose
        wire.until(lambda: all(application.error for application in applications))
        self.assertEqual((replies, len(lost)), ([b"reply"], 1))
        self.assertEqual([a.error.code for a in applications if a.error is not None], [Reason.NONE] * 2)
        self.assertEqual(applications[asker].settled, [])

    def test_asker(self) -> None:
        """The asker closes."""
        self.check(Role.STARTER, Role.STARTER)
        self.check(Role.LISTENER, Role.LISTENER)

    def test_asked(self) -> None:
        """The one that was asked closes."""
        self.check(Role.LISTENER, Role.STARTER)
        self.check(Role.STARTER, Role.LISTENER)

    def test_both(self) -> None:
        """Both close while both have asked."""
        wire = self.wire()
        self.answers = False
        sides = (wire.starter, wire.listener)
        for side in sides:
            side.ask(b"ask", now=wire.now)
        wire.until(lambda: self.asked and self.back)
        for side in sides:
            side.close(now=wire.now)
        wire.run(0.1)
        wire.listener.answer(0, b"first", now=wire.now)
        wire.run(1)
        self.assertEqual((list(self.replies.values()), wire.here.error, wire.there.error), ([b"first"], None, None))
        wire.starter.answer(0, b"second", now=wire.now)
        wire.until(lambda: wire.here.error and wire.there.error)
        self.assertEqual([event.replies[0][1] for event in wire.there.of(RepliesReceived)], [b"second"])
        for application in (wire.here, wire.there):
            self.assertEqual(application.error and application.error.code, Reason.NONE)

    def test_noMore(self) -> None:
        """A session that is closing takes no new asks."""
        wire = self.wire()
        wire.starter.close(now=wire.now)
        self.assertRaises(UsageError, wire.starter.ask, b"ask", now=wire.now)


class WithdrawingTests(AskCase):
    """Asks for which nobody waits any more."""

    def test_unheard(self) -> None:
        """An ask that has not come is never given to the application."""
        wire = self.wire()
        wire.lose = lambda role, datagram: True
        queued, begun = (wire.starter.ask(data, now=wire.now) for data in (b"queued", b"begun"))
        wire.starter.cancel_message(queued, now=wire.now)
        wire.run(0.1)
        wire.starter.cancel_message(begun, now=wire.now)
        wire.lose = lambda role, datagram: False
        wire.until(lambda: len(wire.here.settled) == 2)
        self.assertEqual([type(ask.error) for ask in wire.here.settled], [MessageCancelled] * 2)
        self.assertEqual((self.asked, self.replies), ([], {}))

    def test_answered(self) -> None:
        """An ask whose reply has come is over for whoever asked, though the peer has not settled it."""
        wire = self.wire()
        wire.lose = lambda role, datagram: role is Role.LISTENER and bool(self.replies)
        ask = wire.starter.ask(b"ask", now=wire.now)
        wire.until(lambda: self.replies)
        self.assertEqual((ask.settled, ask.error, wire.starter.unsettled_messages), (True, None, []))
        wire.starter.cancel_message(ask, now=wire.now)
        wire.run(0.5)
        self.assertEqual(wire.starter.statistics()["messages_begun"], 1)
        wire.lose = lambda role, datagram: False
        wire.run(5)
        self.assertEqual((wire.here.settled, wire.starter.statistics()["messages_begun"]), ([], 0))
        self.assertEqual(wire.there.settled, [])

    def test_tooLate(self) -> None:
        """The reply to one that has come is ignored and counted, and settles it all the same."""
        wire = self.wire()
        self.answers = False
        ask = wire.starter.ask(b"ask", now=wire.now)
        wire.until(lambda: self.asked)
        wire.starter.cancel_message(ask, now=wire.now)
        wire.run(1)
        wire.listener.answer(self.asked[0][0], b"late", now=wire.now)
        wire.run(1)
        self.assertEqual((self.replies, wire.here.settled), ({}, []))
        found = wire.starter.statistics()
        self.assertEqual((found["replies_ignored"], found["messages_begun"]), (1, 0))
        wire.starter.ask(b"next", now=wire.now)
        self.answers = True
        wire.until(lambda: self.replies)


class LimitTests(AskCase):
    """What is bounded, and what is not held up by it."""

    def test_bothWays(self) -> None:
        """
        Two sides whose asks fill each other's allowance are answered nevertheless, with the largest replies: these have
        an allowance of their own.
        """
        limits = Options(max_message=64 * KIB, allowance_bytes=128 * KIB, max_unsettled=1_000)
        wire = self.wire(limits, limits)
        self.answers = False
        for side in (wire.starter, wire.listener):
            for _ in range(10):
                side.ask(bytes(16 * KIB), now=wire.now)
        wire.until(lambda: len(self.asked) >= 6 and len(self.back) >= 6)
        wire.run(2)
        self.assertEqual((len(self.asked), len(self.back)), (6, 6))  # three quarters of the allowance
        for number, _ in self.asked[:3]:
            wire.listener.answer(number, bytes(64 * KIB - 8), now=wire.now)
        wire.until(lambda: len(self.replies) == 3)
        wire.until(lambda: len(self.asked) == 9)

    def test_repliesBounded(self) -> None:
        """While a peer leaves too much of replies unsettled, no more of its asks are given to the application."""
        puppet = Puppet(Role.STARTER, options=Options(outgoing_bytes=50_000, allowance_bytes=64 * KIB, max_message=KIB))
        asked: list[int] = []

        def answer(event: Event) -> None:
            if isinstance(event, AsksReceived):
                self.assertLessEqual(len(event.asks), ASKS_AT_ONCE)
                for number, _ in event.asks:
                    asked.append(number)
                    puppet.victim.answer(number, bytes(8_000), now=puppet.now)

        puppet.application.reply = answer
        puppet.say(p.StreamBlocks(ASKS, FLAGS, 0, [b"ask"] * 100))
        puppet.wait(1)
        self.assertEqual(len(asked), ASKS_AT_ONCE)
        puppet.say(p.StreamBlockAck(REPLIES, ASKS_AT_ONCE - 7, (), ()))
        puppet.wait(1)
        self.assertGreater(len(asked), ASKS_AT_ONCE)
        self.assertLess(len(asked), 3 * ASKS_AT_ONCE)
        self.assertIsNone(puppet.application.error)
        puppet.victim.abort(now=puppet.now)
        puppet.wait(1)
        self.assertLess(len(asked), 3 * ASKS_AT_ONCE)
        self.assertIsNone(puppet.victim._session.receiving._waiting)

    def test_begunRepliesBounded(self) -> None:
        """Replies that have left and are not settled count, however much the peer says that it takes."""
        puppet = Puppet(Role.STARTER, options=Options(allowance_bytes=64 * KIB, max_message=KIB))
        asked: list[int] = []

        def answer(event: Event) -> None:
            if isinstance(event, AsksReceived):
                asked.extend(number for number, _ in event.asks)
                for number, _ in event.asks:
                    puppet.victim.answer(number, bytes(8_000), now=puppet.now)

        puppet.application.reply = answer
        for first in range(0, 200, 20):
            puppet.say(p.StreamBlocks(ASKS, FLAGS, first, [b"ask"] * 20))
            puppet.wait(0.5)
        self.assertEqual(len(asked), 20)
        self.assertEqual(puppet.victim.statistics()["messages_queued"], 0)

    def test_mostWithApplication(self) -> None:
        """The application is given so many asks at once as it may hold messages of a lane."""
        wire = self.wire(listener=Options(max_unsettled=20))
        self.answers = False
        for _ in range(50):
            wire.starter.ask(b"ask", now=wire.now)
        wire.run(2)
        self.assertEqual(len(self.asked), 20)
        for number, _ in self.asked[:5]:
            wire.listener.answer(number, b"", now=wire.now)
        wire.run(1)
        self.assertEqual((len(self.asked), len(self.replies)), (25, 5))

    def test_longWaiting(self) -> None:
        """Asks whose answers take long, however many, hold up neither the rejects nor the settling of others."""
        wire = self.wire()
        slow: list[int] = []

        def there(event: Event) -> None:
            if isinstance(event, AsksReceived):
                for number, data in event.asks:
                    if data == b"slow":
                        slow.append(number)
                    elif data == b"no":
                        event.lane.reject(number, 1, "no")
                    else:
                        wire.listener.answer(number, data, now=wire.now)

        wire.there.reply = there
        for _ in range(30):
            wire.starter.ask(b"slow", now=wire.now)
            wire.starter.ask(b"quick", now=wire.now)
        wire.run(1)
        refused = wire.starter.ask(b"no", now=wire.now)
        wire.run(0.05)
        self.assertEqual(wire.here.settled, [refused])
        for _ in range(1_000):
            wire.starter.ask(b"quick", now=wire.now)
        wire.run(2)
        self.assertEqual(len(self.replies), 1_030)
        self.assertEqual((len(slow), wire.starter.statistics()["messages_begun"]), (30, 30))

    def test_lanesNotCounted(self) -> None:
        """The lanes of asks and replies are not among those that an application may use."""
        limits = Options(max_lanes=1)
        wire = self.wire(limits, limits)
        wire.starter.ask(b"ask", now=wire.now)
        wire.starter.send_message(b"message", now=wire.now)
        self.assertRaises(UsageError, wire.starter.send_message, b"x", lane=1, now=wire.now)
        wire.until(lambda: self.replies and wire.here.settled)
        self.assertEqual(wire.there.messages, {0: [b"message"]})
        wire.listener.ask(b"ask", now=wire.now)
        wire.run(0.1)
        wire.listener.send_message(b"message", now=wire.now)
        wire.until(lambda: self.back and wire.there.settled)
        self.assertEqual(wire.here.messages, {0: [b"message"]})

    def test_restored(self) -> None:
        """What many asks have needed is given back."""
        wire = self.wire()
        for _ in range(300):
            wire.starter.ask(b"ask", now=wire.now)
        wire.until(lambda: len(self.replies) == 300)
        wire.run(5)
        session = wire.listener._session
        self.assertIsNone(session.receiving._waiting)
        assert session.receiving.asked is not None
        self.assertEqual(session.receiving.asked._answered, set())


class UsageTests(AskCase):
    """What the application does wrong."""

    def test_reservedLanes(self) -> None:
        """Messages can't be sent in lanes of hypermail's own, nor can these be configured, used or not."""
        wire = self.wire()
        for _ in range(2):
            for lane in (240, 253, ASKS, REPLIES):
                for call in (
                    lambda lane=lane: wire.starter.send_message(b"x", lane=lane, now=wire.now),
                    lambda lane=lane: wire.starter.configure_lane(lane, ordered=False),
                ):
                    error = self.assertRaises(UsageError, call)
                    self.assertIn("lanes have numbers from 0 to 239", error.text)
            wire.starter.ask(b"ask", now=wire.now)
            wire.until(lambda: self.replies)

    def test_oneWay(self) -> None:
        """In a session that carries one way nobody may ask."""
        for way in (Way.READ_ONLY, Way.WRITE_ONLY):
            wire = Wire(Options(way=way)).open()
            for side in (wire.starter, wire.listener):
                self.assertRaises(NotSupported, side.ask, b"ask", now=wire.now)

    def test_answers(self) -> None:
        """Each ask is answered or rejected once; it is not taken."""
        wire = self.wire()
        self.answers = False
        self.assertRaises(UsageError, wire.listener.answer, 0, b"", now=wire.now)
        for _ in range(2):
            wire.starter.ask(b"ask", now=wire.now)
        wire.until(lambda: len(self.asked) == 2)
        lane = wire.there.of(AsksReceived)[0].lane
        self.assertRaises(UsageError, lane.take, 0)
        self.assertRaises(UsageError, wire.listener.answer, 2, b"", now=wire.now)
        wire.listener.answer(0, b"", now=wire.now)
        self.assertRaises(UsageError, wire.listener.answer, 0, b"", now=wire.now)
        self.assertRaises(UsageError, lane.reject, 0, 1, "")
        lane.reject(1, 1, "")
        self.assertRaises(UsageError, lane.reject, 1, 1, "")
        wire.until(lambda: self.replies and wire.here.settled)


class HostileTests(AskCase):
    """Peers that break the rules end their session with a reason; what is merely useless is counted."""

    def asking(self, count: int = 1) -> Puppet:
        """A puppet that was asked."""
        puppet = Puppet(Role.STARTER)
        for _ in range(count):
            puppet.victim.ask(b"ask", now=puppet.now)
        puppet.listen()
        puppet.wait(0.1)
        return puppet

    def assertBroken(self, puppet: Puppet, packet: p.Packet, text: str, code: int = Reason.PROTOCOL_VIOLATION) -> None:
        """A packet ends the session."""
        error = puppet.said(packet)
        assert error is not None, packet
        self.assertIn(text, error.text)
        self.assertEqual(error.code, code)

    def test_reserved(self) -> None:
        """Lanes that mean nothing are refused, in any packet."""
        for lane in (240, 247, 253):
            for packet in (
                p.StreamBlocks(lane, FLAGS, 0, [b"x"]),
                p.StreamBlock(lane, FLAGS, 0, 9, 0, b"x"),
                p.MessageClear(lane, FLAGS, 0),
            ):
                self.assertBroken(Puppet(), packet, f"lane {lane} is reserved")

    def test_flags(self) -> None:
        """The lanes of asks and replies are unordered and acked."""
        for lane in (ASKS, REPLIES):
            for flags in (0, 2, 3):
                self.assertBroken(self.asking(), p.StreamBlocks(lane, flags, 0, [bytes(8)]), f"lane {lane} has flags")

    def test_wrongWay(self) -> None:
        """Nobody may ask where there can be no reply."""
        puppet = Puppet(Role.STARTER, way=Way.WRITE_ONLY)
        self.assertBroken(puppet, p.StreamBlocks(ASKS, FLAGS, 0, [b"ask"]), "gets no replies", Reason.WRONG_WAY)
        puppet = Puppet(Role.STARTER, way=Way.READ_ONLY)
        self.assertBroken(puppet, p.StreamBlocks(ASKS, FLAGS, 0, [b"ask"]), "only reads", Reason.WRONG_WAY)

    def test_neverAsked(self) -> None:
        """Who was asked nothing may not reply."""
        self.assertBroken(Puppet(), p.StreamBlocks(REPLIES, FLAGS, 0, [bytes(8)]), "was never asked")

    def test_short(self) -> None:
        """A reply that is too short to name its ask is refused, whole or in fragments, before it has come."""
        for size in range(NAME.size):
            packet = p.StreamBlocks(REPLIES, FLAGS, 0, [bytes(8), bytes(size)])
            self.assertBroken(self.asking(), packet, f"a reply of {size} bytes names no ask")
        self.assertBroken(self.asking(), p.StreamBlock(REPLIES, FLAGS, 0, 7, 0, b"x"), "a reply of 7 bytes")

    def test_takenWithoutReply(self) -> None:
        """An ask is not taken without a reply."""
        self.assertBroken(self.asking(), p.StreamBlockAck(ASKS, 1, (), ()), "takes ask 0, and has sent no reply")
        self.assertBroken(self.asking(2), p.StreamBlockAck(ASKS, 0, ((1, 2),), ()), "takes ask 1")
        puppet = self.asking()
        puppet.say(p.StreamBlocks(REPLIES, FLAGS, 0, [NAME.pack(0)]))
        puppet.say(p.StreamBlockAck(ASKS, 1, (), ()))
        self.assertIsNone(puppet.application.error)
        self.assertEqual(puppet.victim.statistics()["messages_begun"], 0)

    def test_ignored(self) -> None:
        """Replies to what was never asked, was answered or is settled are ignored, counted, and settled."""
        puppet = self.asking(2)
        puppet.say(p.StreamBlocks(REPLIES, FLAGS, 0, [NAME.pack(0) + b"one", NAME.pack(0) + b"two"]))
        puppet.say(p.StreamBlock(REPLIES, FLAGS, 2, 9, 0, NAME.pack(7) + b"x"))
        puppet.say(p.StreamBlockAck(ASKS, 1, (), ()))
        puppet.say(p.StreamBlocks(REPLIES, FLAGS, 3, [NAME.pack(0) + b"three", NAME.pack(2**64 - 1)]))
        told = [reply for event in puppet.application.of(RepliesReceived) for _, reply in event.replies]
        self.assertEqual(told, [b"one"])
        found = puppet.victim.statistics()
        self.assertEqual((found["replies_ignored"], found["messages_held"]), (4, 0))
        self.assertEqual(puppet.of(p.StreamBlockAck)[-1].watermark, 5)
        self.assertIsNone(puppet.application.error)

    def test_beforeItWasAsked(self) -> None:
        """A reply that comes before its ask was sent whole is taken, once; the ask is not settled before it was."""
        puppet = Puppet(Role.STARTER)
        puppet.wait(0.1)
        puppet.acks = False  # so that no more leaves than the window takes
        ask = puppet.victim.ask(bytes(500_000), now=puppet.now)
        puppet.listen()
        asks = puppet.victim._session.sending.asks
        assert asks is not None
        self.assertIs(asks._fragmenting, ask)
        for _ in range(2):
            puppet.say(p.StreamBlocks(REPLIES, FLAGS, 0, [NAME.pack(0) + b"prophecy"]))
        told = [reply for event in puppet.application.of(RepliesReceived) for _, reply in event.replies]
        self.assertEqual((told, ask.settled), ([b"prophecy"], False))
        self.assertBroken(puppet, p.StreamBlockAck(ASKS, 1, (), ()), "before it was sent whole")

    def test_replyAllowance(self) -> None:
        """Begun replies are held to the same allowance as messages, apart from them."""
        puppet = Puppet(Role.STARTER, options=Options(max_message=40_000, allowance_bytes=64 * KIB))
        puppet.victim.ask(b"ask", now=puppet.now)
        puppet.listen()
        puppet.say(p.StreamBlock(0, 0, 0, 40_000, 0, b"x"))
        puppet.say(p.StreamBlock(REPLIES, FLAGS, 0, 40_000, 0, b"x"))
        self.assertIsNone(puppet.application.error)
        self.assertEqual(puppet.victim.statistics()["messages_held"], 2)
        self.assertBroken(
            puppet, p.StreamBlock(REPLIES, FLAGS, 1, 40_000, 0, b"x"), "80000 bytes", Reason.LIMIT_EXCEEDED
        )

    def test_replyRejected(self) -> None:
        """A peer that rejects a reply has settled it: the ask is settled, too."""
        puppet = Puppet(Role.STARTER)
        puppet.application.reply = lambda event: (
            puppet.victim.answer(0, b"reply", now=puppet.now) if isinstance(event, AsksReceived) else None
        )
        puppet.say(p.StreamBlocks(ASKS, FLAGS, 0, [b"ask"]))
        puppet.wait(0.1)
        (blocks,) = puppet.of(p.StreamBlocks)
        self.assertEqual((blocks.lane, blocks.flags), (REPLIES, FLAGS))
        self.assertEqual([bytes(message) for message in blocks.messages], [bytes(8) + b"reply"])
        self.assertEqual(puppet.of(p.StreamBlockAck), [])
        puppet.say(p.StreamBlockAck(REPLIES, 1, (), (p.Verdict(0, False, 1, "no"),)))
        (ack,) = puppet.of(p.StreamBlockAck)
        self.assertEqual((ack.lane, ack.watermark, ack.verdicts), (ASKS, 1, ()))
        self.assertEqual(puppet.application.settled, [])


class PairTests(SynchronousTestCase):
    """Asks in the simulated network that users have."""

    def test_badNetwork(self) -> None:
        """Applications of L{Pair} answer; through loss, duplication and reordering each ask gets its own reply."""

        class Asker(PairApplication):
            def __init__(self) -> None:
                super().__init__()
                self.replies: list[tuple[bytes, bytes]] = []

            def replies_received(self, event: RepliesReceived) -> None:
                self.replies += [(ask.data, reply) for ask, reply in event.replies]

        class Answerer(PairApplication):
            def __init__(self) -> None:
                super().__init__()
                self.asked: list[bytes] = []

            def answer(self, ask: bytes) -> bytes:
                self.asked.append(ask)
                return super().answer(ask) * 2

        asker, answerer = Asker(), Answerer()
        conditions = Conditions(loss=0.2, duplication=0.2, reordering=0.2, corruption=0.05, delay=0.02, jitter=0.02)
        pair = Pair(7, conditions, starter=lambda: asker, listener=lambda: answerer)
        pair.open()
        asks = [b"%d" % number for number in range(500)]
        for ask in asks:
            pair.starter.ask(ask)
        pair.run(lambda: len(asker.replies) == 500)
        self.assertEqual(sorted(asker.replies), sorted((ask, ask * 2) for ask in asks))
        self.assertEqual(sorted(answerer.asked), sorted(asks))
        pair.network.set_conditions(Conditions())
        pair.starter.ask(b"while closing")
        withdrawn = pair.starter.ask(b"withdrawn")
        pair.starter.cancel_message(withdrawn)
        pair.close()
        self.assertIsInstance(withdrawn.error, MessageCancelled)
        pair.starter.events += [event for event in pair.starter.events if isinstance(event, RepliesReceived)][:1]
        self.assertIn("answered 2 times", str(self.assertRaises(AssertionError, pair.assert_clean)))
