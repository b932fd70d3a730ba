"""
Tests for L{hypermail.session}: how sessions open, close and die, between two real sides and with a puppet.
"""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    Delivered,
    MessageUndelivered,
    NotSupported,
    PeerSilent,
    ProtocolViolation,
    Reason,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    SessionLost,
    SessionRejected,
    SessionTimedOut,
    StreamRejected,
    UsageError,
)
from hypermail.events import (
    MessagesReceived,
    MessagesSettled,
    SessionClosing,
    SessionEnded,
    SessionOpened,
    SessionRequested,
    StreamEnded,
    StreamFlushed,
)
from hypermail.intake import HELD_PACKET
from hypermail.options import Delivery, Options, Role, Way
from hypermail.session.hold import Hold
from hypermail.session.states import SESSION, Input, State
from hypermail.test.wired import GENEROUS, Puppet, Wire, holds
from hypermail.wire import packets as p


class Ended(SynchronousTestCase):
    """What has to be so after every end."""

    def assertNothingLeft(self, wire: Wire) -> None:
        """Both sides told their end once and last, and nothing of the session stays."""
        wire.run(60)
        for application in (wire.here, wire.there):
            self.assertEqual(application.kinds.count(SessionEnded), min(1, len(application.kinds)))
            if application.kinds:
                self.assertIs(application.kinds[-1], SessionEnded)
        self.assertTrue(wire.starter.ended)
        self.assertIsNone(wire.starter.next_timeout())
        self.assertEqual(wire.starter.trains(now=wire.now), [])
        self.assertEqual(len(wire.demux), 0)
        connections = [wire.starter, *([wire.listener] if wire._accepted is not None else [])]
        for connection in connections:
            statistics = connection.statistics()
            self.assertEqual((connection.ended, statistics["streams"], statistics["state"]), (True, 0, "ended"))
            self.assertIsNone(connection.next_event())
            self.assertIsNone(connection.next_timeout())


class OpenTests(Ended):
    """Sessions are asked for and answered."""

    def test_accepted(self) -> None:
        """The listener's application is asked with way and address, and both sides learn that it has accepted."""
        wire = Wire(Options(way=Way.WRITE_ONLY)).open()
        self.assertEqual(wire.there.of(SessionRequested), [SessionRequested(Way.WRITE_ONLY, "the starter's address")])
        self.assertEqual(wire.there.kinds, [SessionRequested, SessionOpened])
        self.assertEqual(wire.here.kinds, [SessionOpened])
        self.assertEqual(wire.starter.session_id, wire.listener.session_id)
        self.assertEqual(wire.listener.statistics()["way"], "write_only")
        self.assertFalse(wire.starter.opening or wire.listener.opening)

    def test_oneRoundTripAndAHalf(self) -> None:
        """Data that the starter sends at once is delivered after one round trip and a half."""
        wire = Wire(delay=0.1)
        start = wire.now
        wire.starter.send_message(b"first", now=wire.now)
        wire.until(lambda: wire.there.messages)
        self.assertAlmostEqual(wire.now - start, 0.3, places=3)

    def test_rejected(self) -> None:
        """A rejection brings code and text to the starter, ends both sides, and leaves nothing."""
        wire = Wire()
        wire.there.accepts = False
        message = wire.starter.send_message(b"early", now=wire.now)
        wire.starter.open_stream(now=wire.now).write(b"early")
        wire.until(lambda: wire.here.error)
        self.assertIsInstance(wire.here.error, SessionRejected)
        assert wire.here.error is not None
        self.assertEqual(wire.here.error.code, 77)
        self.assertIn("not today", wire.here.error.text)
        self.assertIsInstance(wire.there.error, SessionRejected)
        self.assertIsInstance(message.error, MessageUndelivered)
        self.assertEqual(wire.there.of(MessagesReceived), [])
        self.assertNothingLeft(wire)

    def test_rejectedWithoutText(self) -> None:
        """A rejection without a text is described by its code."""
        puppet = Puppet(Role.LISTENER, opens=False)
        puppet.listen()
        puppet.hear(puppet.long(p.Ack(0, ((0, 1),)), p.Handshake(0, b"")))
        error = puppet.said(p.SessionOpenAck(None, Reason.SHUTTING_DOWN, ""))
        self.assertIn("shutting down", error.text if error else "")

    def test_rejectionLost(self) -> None:
        """A rejection that is lost is repeated from beyond the session's end."""
        wire = Wire()
        wire.there.accepts = False
        wire.lose_first(Role.LISTENER, p.SessionOpenAck, 3)
        wire.until(lambda: wire.here.error)
        self.assertIsInstance(wire.here.error, SessionRejected)
        self.assertNothingLeft(wire)

    def test_lost(self) -> None:
        """Whatever is lost of the opening is sent again, on time."""
        for role in Role:
            for kind in (p.Handshake, p.SessionOpen, p.SessionOpenAck):
                wire = Wire()
                wire.lose_first(role, kind, 3)
                start = wire.now
                wire.open()
                self.assertLess(wire.now - start, 3.0)

    def test_strategyLater(self) -> None:
        """While the application decides, early data is held; nothing is lost, nothing delivered before accept."""
        wire = Wire()
        wire.there.accepts = None
        start = wire.now
        data = bytes(range(250)) * 40
        message = wire.starter.send_message(data, now=wire.now)
        wire.starter.send_direct(b"direct")
        stream = wire.starter.open_stream(b"s", now=wire.now)
        stream.write(b"stream data")
        wire.run(9)
        self.assertLess(len(wire.sent), 200, f"{len(wire.sent)} datagrams in {wire.now - start} s")
        self.assertEqual((wire.there.kinds, wire.here.kinds), ([SessionRequested], []))
        self.assertTrue(wire.starter.opening)
        wire.listener.accept(now=wire.now)
        wire.until(lambda: message.settled and wire.there.data.get(0))
        self.assertEqual((wire.there.messages[0], bytes(wire.there.data[0])), ([data], b"stream data"))
        self.assertEqual(wire.there.directs, [b"direct"])
        self.assertIsNone(message.error)

    def test_holdIsBounded(self) -> None:
        """No more than hold_bytes is held; the rest is not acknowledged, comes again, and is delivered in order."""
        wire = Wire(listener=Options(hold_bytes=2_400))
        wire.there.accepts = None
        messages = [wire.starter.send_message(bytes([number]) * 1_000, now=wire.now) for number in range(20)]
        wire.run(3)
        self.assertGreater(wire.starter.statistics()["in_flight"], 0, "what was dropped counts as received")
        wire.listener.accept(now=wire.now)
        wire.until(lambda: all(message.settled for message in messages))
        self.assertEqual(wire.there.messages[0], [bytes([number]) * 1_000 for number in range(20)])

    def test_hold(self) -> None:
        """The hold takes payloads up to its bound, gives them back in order, and is then empty."""
        hold = Hold(100)
        first, second, third = p.HealthPing(1), p.HealthPing(2), p.HealthPing(3)
        self.assertTrue(hold.take([first, second], 60))
        self.assertFalse(hold.take([third], 41))
        self.assertTrue(hold.take([third], 40))
        self.assertEqual(hold.release(), [first, second, third])
        self.assertEqual(hold.release(), [])
        self.assertTrue(hold.take([third], 100))

    def test_smallPackets(self) -> None:
        """Many small packets count for more than their bytes: what they take in memory has the same bound."""
        options = Options(hold_bytes=10_000)
        puppet = Puppet(accepts=None, options=options)
        for _ in range(10):
            puppet.say(*[p.StreamFlushAck(0)] * 50)
        (listener,) = puppet.demux.connections
        hold = listener._intake._hold
        assert hold is not None
        self.assertIn(len(hold.release()), range(1, options.hold_bytes // HELD_PACKET))

    def test_heldViolation(self) -> None:
        """A rule that was broken in what was held ends the session when the application accepts."""
        puppet = Puppet(accepts=None)
        puppet.say(p.StreamOpen(1, b"", {}, None))
        self.assertIsNone(puppet.application.error)
        puppet.victim.accept(now=puppet.now)
        puppet.listen()
        self.assertIsInstance(puppet.application.error, SessionAborted)
        self.assertEqual(len(puppet.of(p.SessionDeath)), 1)

    def test_answeredWrongly(self) -> None:
        """Only what was asked can be answered, and only once."""
        puppet = Puppet()
        self.assertRaises(UsageError, puppet.victim.accept, now=puppet.now)
        self.assertRaises(UsageError, puppet.victim.reject, now=puppet.now)

    def test_notOpen(self) -> None:
        """Before the session is open a listener can't send, open or ping, and closing ends it."""
        puppet = Puppet(accepts=None)
        victim = puppet.victim
        self.assertRaises(UsageError, victim.send_message, b"x", now=puppet.now)
        self.assertRaises(UsageError, victim.open_stream, now=puppet.now)
        self.assertRaises(UsageError, victim.ping, now=puppet.now)
        victim.close(now=puppet.now)
        puppet.listen()
        self.assertIsInstance(puppet.application.error, SessionAborted)
        self.assertEqual(puppet.of(p.SessionDeath)[0].text, "closed while opening")

    def test_repeated(self) -> None:
        """Repeated questions and answers change nothing."""
        puppet = Puppet()
        puppet.say(p.SessionOpen(Way.READ_ONLY, GENEROUS))
        self.assertEqual(puppet.application.kinds, [SessionRequested, SessionOpened])
        starter = Puppet(Role.LISTENER)
        starter.say(p.SessionOpenAck(None, 5, "no"))
        self.assertEqual(starter.application.kinds, [SessionOpened])

    def test_wrongRole(self) -> None:
        """Only starters ask, only listeners answer; nobody closes what isn't open."""
        for role, packet in (
            (Role.STARTER, p.SessionOpenAck(GENEROUS)),
            (Role.LISTENER, p.SessionOpen(Way.TWO_WAY, GENEROUS)),
            (Role.LISTENER, p.SessionReopen(bytes(16), 1, bytes(32), 7, GENEROUS)),
            (Role.STARTER, p.SessionReopenAck(bytes(32), GENEROUS)),
            (Role.LISTENER, p.StreamReopenAck(0, 0, 0)),
        ):
            puppet = Puppet(role)
            error = puppet.said(packet)
            self.assertIsInstance(error, SessionAborted)
            self.assertEqual(puppet.of(p.SessionDeath)[0].code, Reason.PROTOCOL_VIOLATION)

    def test_closeBeforeOpen(self) -> None:
        """A listener that closes what it has not opened breaks the protocol."""
        puppet = Puppet(Role.LISTENER, opens=False)
        puppet.listen()
        puppet.hear(puppet.long(p.Ack(0, ((0, 1),)), p.Handshake(0, b"")))
        self.assertIsInstance(puppet.said(p.SessionClose()), SessionAborted)

    def test_cannotReopen(self) -> None:
        """A listener in mode plain answers a reopening with the reason why not."""
        puppet = Puppet(opens=False)
        puppet.hear(puppet.long(p.Handshake(0, b"")))
        puppet.say(p.SessionReopen(bytes(16), 1, bytes(32), 7, GENEROUS))
        (answer,) = puppet.of(p.SessionReopenAck)
        self.assertEqual((answer.proof, answer.code), (b"", Reason.CANNOT_REOPEN))

    def test_tables(self) -> None:
        """From every state a session can end, and from its end nothing leads away."""
        for state in State:
            self.assertIs(SESSION.next(state, Input.END), State.ENDED)
        self.assertEqual({after for state, _, after in SESSION if state is State.ENDED}, {State.ENDED})


class EarlyLimitTests(SynchronousTestCase):
    """What a starter sends before it knows the listener's limits is borne."""

    small = Options(
        max_message=100, allowance_bytes=100, allowance_messages=2, max_lanes=1, max_streams=1, stream_window=1_024
    )

    def test_borne(self) -> None:
        """A listener with the smallest limits bears every first flight that keeps within the early ones."""
        wire = Wire(listener=self.small)
        messages = [wire.starter.send_message(bytes(1_500), lane=lane, now=wire.now) for lane in range(12)]
        for _ in range(16):
            wire.starter.open_stream(now=wire.now).write(bytes(16_384))
        wire.until(lambda: all(message.settled for message in messages))
        wire.run(5)
        self.assertEqual((wire.here.error, wire.there.error), (None, None))
        self.assertEqual(sum(map(len, wire.there.data.values())), 16 * 16_384)

    def test_keptAfterwards(self) -> None:
        """Once it knows the limits the starter keeps them."""
        wire = Wire(listener=self.small).open()
        self.assertRaises(ValueError, wire.starter.send_message, bytes(101), now=wire.now)
        streams = [wire.starter.open_stream(now=wire.now) for _ in range(2)]
        self.assertEqual([stream.id for stream in streams], [0, -1])

    def test_starterIsStrict(self) -> None:
        """A starter's limits are known before anything comes, so they hold at once."""
        puppet = Puppet(Role.LISTENER, self.small)
        error = puppet.said(p.StreamBlocks(0, 0, 0, [bytes(101)]))
        self.assertEqual(error.code if error else None, Reason.LIMIT_EXCEEDED)


class CloseTests(Ended):
    """Everything is delivered first."""

    def _load(self, wire: Wire) -> None:
        """Both sides have a lot to say."""
        for side in (wire.starter, wire.listener):
            for number in range(40):
                side.send_message(bytes([number]) * 3_000, now=wire.now)
            stream = side.open_stream(now=wire.now)
            stream.write(bytes(100_000))
        wire.until(lambda: wire.here.streams and wire.there.streams)

    def _check(self, wire: Wire) -> None:
        for application in (wire.here, wire.there):
            self.assertIsInstance(application.error, SessionClosed)
            self.assertEqual(application.messages[0], [bytes([number]) * 3_000 for number in range(40)])
            self.assertEqual([message.error for message in application.settled], [None] * 40)
            self.assertEqual(sum(map(len, application.data.values())), 100_000)
            self.assertEqual(set(application.ends.values()), {None})
            self.assertEqual(len(application.of(StreamFlushed)), 2)

    def test_starterCloses(self) -> None:
        """When the starter closes, all of both sides is delivered first."""
        wire = Wire().open()
        self._load(wire)
        wire.close()
        self._check(wire)
        self.assertEqual(wire.there.kinds.count(SessionClosing), 1)
        self.assertNothingLeft(wire)

    def test_listenerCloses(self) -> None:
        """So it is when the listener closes."""
        wire = Wire().open()
        self._load(wire)
        wire.listener.close(now=wire.now)
        wire.until(lambda: wire.starter.ended and not len(wire.demux))
        self._check(wire)
        self.assertEqual(wire.here.kinds.count(SessionClosing), 1)
        self.assertNothingLeft(wire)

    def test_bothClose(self) -> None:
        """And when both close at once, with or without anything to say."""
        for loaded in (True, False):
            wire = Wire().open()
            if loaded:
                self._load(wire)
            wire.listener.close(now=wire.now)
            wire.close()
            self.assertIsInstance(wire.here.error, SessionClosed)
            self.assertIsInstance(wire.there.error, SessionClosed)
            if loaded:
                self._check(wire)
            self.assertNothingLeft(wire)

    def test_twice(self) -> None:
        """Closing again, at any moment, changes nothing."""
        wire = Wire().open()
        self._load(wire)
        wire.starter.close(now=wire.now)
        for _ in range(100):
            wire.starter.close(now=wire.now)
            wire.listener.close(now=wire.now)
            wire.step()
        wire.close()
        wire.starter.close(now=wire.now)
        self._check(wire)
        self.assertNothingLeft(wire)

    def test_underLoss(self) -> None:
        """Under heavy loss, too, and each side is told that it was a close."""
        for seed in range(5):
            wire = Wire(seed=seed).open()
            self._load(wire)
            wire.lose = lambda role, datagram, random=wire.random: random.random() < 0.3  # type: ignore[misc]
            wire.close()
            self._check(wire)
            self.assertNothingLeft(wire)

    def test_lostClose(self) -> None:
        """A lost close is repeated; a lost answer is repeated by the tombstone."""
        for role, kind in ((Role.STARTER, p.SessionClose), (Role.LISTENER, p.SessionCloseAck)):
            wire = Wire().open()
            wire.lose_first(role, kind, 5)
            wire.close()
            self.assertIsInstance(wire.here.error, SessionClosed)
            self.assertIsInstance(wire.there.error, SessionClosed)
            self.assertNothingLeft(wire)

    def test_tombstoneGoes(self) -> None:
        """When nobody is there to hear the answer the tombstone goes after a while."""
        wire = Wire(listener=Options(linger=2.0)).open()
        wire.starter.close(now=wire.now)
        wire.lose = lambda role, datagram: role is Role.LISTENER and holds(datagram, p.SessionCloseAck)
        wire.until(lambda: wire.there.error)
        self.assertFalse(wire.listener.ended)
        wire.run(1.9)
        self.assertFalse(wire.listener.ended)
        wire.run(0.2)
        self.assertTrue(wire.listener.ended)

    def test_nothingNew(self) -> None:
        """From the close on nothing new is taken, here or, once it has heard, there; nor from the peer's streams."""
        wire = Wire().open()
        wire.there.takes = False
        wire.starter.send_message(b"unsettled", now=wire.now)
        wire.run(1)
        wire.starter.close(now=wire.now)
        for call in (wire.starter.send_message, wire.starter.open_stream):
            self.assertRaises(UsageError, call, b"x", now=wire.now)
        self.assertRaises(UsageError, wire.starter.send_direct, b"x")
        stream = wire.listener.open_stream(now=wire.now)
        wire.run(1)
        self.assertIsInstance(wire.there.ends[stream.id], StreamRejected)
        self.assertEqual(wire.there.ends[stream.id].code, Reason.SHUTTING_DOWN)  # type: ignore[union-attr]
        wire.listener.send_message(b"still", now=wire.now)
        wire.run(1)
        self.assertEqual(wire.here.messages, {0: [b"still"]})
        wire.there.take_all()
        wire.until(lambda: wire.starter.ended)
        self.assertRaises(SessionClosed, wire.starter.send_message, b"x", now=wire.now)

    def test_waitsForVerdicts(self) -> None:
        """The close waits as long as the peer's application holds a message."""
        wire = Wire().open()
        wire.there.takes = False
        message = wire.starter.send_message(b"x", now=wire.now)
        wire.starter.close(now=wire.now)
        wire.run(100)
        self.assertEqual((wire.here.error, message.settled), (None, False))
        wire.there.untaken.pop().lane.reject(0, 3, "no")
        wire.until(lambda: wire.starter.ended)
        self.assertEqual(message.error.code if message.error else None, 3)
        self.assertLess(wire.here.kinds.index(MessagesSettled), wire.here.kinds.index(SessionEnded))

    def test_directsBefore(self) -> None:
        """Direct messages and buffered ones that were sent before the close arrive before it."""
        wire = Wire().open()
        wire.starter.configure_lane(1, delivery=Delivery.BUFFERED)
        wire.starter.send_message(b"buffered", lane=1, now=wire.now)
        wire.starter.send_direct(b"direct")
        wire.close()
        self.assertEqual((wire.there.directs, wire.there.messages), ([b"direct"], {1: [b"buffered"]}))
        wire = Wire().open()
        wire.starter.send_direct(b"alone")
        wire.close()
        self.assertEqual(wire.there.directs, [b"alone"])

    def test_undecidedStream(self) -> None:
        """A stream of the peer's that nobody has answered yet does not hold up our own close."""
        wire = Wire().open()
        wire.there.accepts_streams = None
        wire.starter.open_stream(now=wire.now)
        wire.run(1)
        wire.listener.close(now=wire.now)
        wire.run(1)
        self.assertEqual(len(wire.packets(Role.LISTENER, p.SessionClose)), 1)
        wire.there.streams[0].accept()
        wire.until(lambda: wire.starter.ended and wire.listener.ended)
        self.assertIsInstance(wire.here.error, SessionClosed)
        self.assertIsInstance(wire.there.error, SessionClosed)

    def test_unasked(self) -> None:
        """An answer to a close that was never sent breaks the protocol."""
        puppet = Puppet()
        self.assertIsInstance(puppet.said(p.SessionCloseAck()), SessionAborted)

    def test_noReason(self) -> None:
        """A close is an end without a reason, which is no failure."""
        self.assertEqual(SessionClosed("x").code, Reason.NONE)


class DeathTests(Ended):
    """Sessions end at once."""

    def test_abort(self) -> None:
        """Either side may abort: the other reads code and text, and everything that was open ends on both."""
        for index, role in enumerate(Role):
            wire = Wire().open()
            sides = (wire.starter, wire.listener)
            messages = [side.send_message(bytes(500_000), now=wire.now) for side in sides]
            for side in sides:
                side.open_stream(now=wire.now).write(bytes(500_000))
            wire.run(0.1)
            sides[role].abort(4_711, "enough", now=wire.now)
            sides[role].abort(1, "twice is harmless", now=wire.now)
            wire.until(lambda wire=wire: wire.starter.ended and not len(wire.demux))  # type: ignore[misc]
            errors = [wire.here.error, wire.there.error]
            self.assertEqual([type(errors[index]), type(errors[1 - index])], [SessionAborted, SessionKilled])
            for error in errors:
                self.assertIn("enough", error.text if error else "")
                self.assertEqual(error.code if error else None, 4_711)
            for message, error in zip(messages, errors):
                assert isinstance(message.error, MessageUndelivered)
                self.assertEqual((message.error.delivered, message.error.cause), (Delivered.UNKNOWN, error))
            ends = [set(wire.here.ends.values()), set(wire.there.ends.values())]
            self.assertEqual(ends, [{error} for error in errors])
            self.assertNothingLeft(wire)

    def test_withoutText(self) -> None:
        """A death without a text is described by its code."""
        puppet = Puppet()
        error = puppet.said(p.SessionDeath(Reason.INTERNAL_ERROR, ""))
        self.assertEqual(error.text if error else "", "the peer ended the session: internal error")
        self.assertTrue(puppet.victim.ended)

    def test_lost(self) -> None:
        """A lost death is repeated while the tombstone stands."""
        wire = Wire().open()
        wire.lose_first(Role.STARTER, p.SessionDeath, 3)
        wire.starter.abort(5, "gone", now=wire.now)
        wire.until(lambda: wire.there.error)
        self.assertEqual(wire.there.error.code, 5)  # type: ignore[union-attr]
        self.assertNothingLeft(wire)

    def test_whileOpening(self) -> None:
        """A starter that gives up while the listener decides is told to it, who can't accept any more."""
        wire = Wire()
        wire.there.accepts = None
        wire.run(1)
        wire.starter.close(now=wire.now)
        wire.until(lambda: wire.there.error)
        self.assertEqual(wire.there.kinds, [SessionRequested, SessionEnded])
        self.assertRaises(UsageError, wire.listener.accept, now=wire.now)
        self.assertNothingLeft(wire)

    def test_atOnce(self) -> None:
        """A starter that gives up before anything was heard ends without a word."""
        wire = Wire()
        wire.starter.abort(now=wire.now)
        wire.run(1)
        self.assertTrue(wire.starter.ended)
        self.assertEqual(wire.sent, [])

    def test_order(self) -> None:
        """Messages and streams are told to have ended before the session is."""
        wire = Wire().open()
        wire.there.takes = False
        wire.starter.send_message(b"x", now=wire.now)
        wire.starter.open_stream(now=wire.now)
        wire.run(1)
        wire.starter.abort(now=wire.now)
        wire.flush()
        self.assertEqual(wire.here.kinds[-3:], [MessagesSettled, StreamEnded, SessionEnded])

    def test_afterwards(self) -> None:
        """After the end everything that is asked for is refused with the session's error, or does nothing."""
        puppet = Puppet()
        message = puppet.victim.send_message(b"x", now=puppet.now)
        stream = puppet.victim.open_stream(now=puppet.now)
        puppet.listen()
        puppet.say(p.SessionDeath(5, "over"))
        victim, now = puppet.victim, puppet.now
        for call in (victim.send_message, victim.open_stream):
            self.assertRaises(SessionKilled, call, b"x", now=now)
        self.assertRaises(SessionKilled, victim.ping, now=now)
        self.assertRaises(SessionKilled, victim.send_direct, b"x")
        victim.cancel_message(message, now=now)
        victim.close(now=now)
        victim.abort(now=now)
        stream.clear()
        stream.pause()
        stream.resume()
        stream.finish()
        victim.handle_timeout(now=now)
        victim.receive([memoryview(puppet.short(p.HealthPing(1)))], "anywhere", now=now)
        self.assertEqual((victim.trains(now=now), victim.next_event()), ([], None))

    def test_undelivered(self) -> None:
        """What was never begun is certainly undelivered; of what was begun nobody knows."""
        puppet = Puppet(parameters=GENEROUS._replace(allowance_messages=1))
        first, second = (puppet.victim.send_message(b"x", now=puppet.now) for _ in range(2))
        puppet.listen()
        puppet.wait(0.1)
        puppet.say(p.SessionDeath(5, "over"))
        assert isinstance(first.error, MessageUndelivered) and isinstance(second.error, MessageUndelivered)
        self.assertEqual((first.error.delivered, second.error.delivered), (Delivered.UNKNOWN, Delivered.NO))


class SilenceTests(Ended):
    """Nobody answers."""

    def test_connectionTimeout(self) -> None:
        """A starter whom nobody answers ends after connection_timeout, having asked a bounded number of times."""
        wire = Wire(Options(connection_timeout=10.0))
        wire.lose = lambda role, datagram: True
        start = wire.now
        wire.until(lambda: wire.here.error)
        self.assertIsInstance(wire.here.error, SessionTimedOut)
        self.assertAlmostEqual(wire.now - start, 10.0, places=2)
        self.assertLessEqual(len(wire.sent), 50)
        self.assertNothingLeft(wire)

    def test_probes(self) -> None:
        """The first probe of the opening comes after 200 ms, later ones at most 500 ms apart."""
        wire = Wire()
        wire.lose = lambda role, datagram: True
        times: list[float] = []
        wire.flush()
        for _ in range(200):
            before = len(wire.sent)
            wire.step()
            if len(wire.sent) > before and (not times or wire.now > times[-1]):
                times.append(wire.now)
        gaps = [later - earlier for earlier, later in pairwise([1000.0, *times])]
        self.assertAlmostEqual(gaps[0], 0.2, places=2)
        self.assertLess(max(gaps), 0.51)

    def test_rejectsLate(self) -> None:
        """The listener's application may take longer than connection_timeout; the starter does not wait so long."""
        wire = Wire(Options(connection_timeout=3.0))
        wire.there.accepts = None
        wire.until(lambda: wire.here.error, 4)
        self.assertIsInstance(wire.here.error, SessionTimedOut)
        wire.until(lambda: wire.there.error)
        self.assertIsInstance(wire.there.error, SessionKilled)
        self.assertEqual(wire.there.error.code, Reason.CONNECTION_TIMEOUT)  # type: ignore[union-attr]
        self.assertNothingLeft(wire)

    def test_listenerForgets(self) -> None:
        """A listener forgets a stranger that never asks for a session."""
        puppet = Puppet(options=Options(connection_timeout=5.0), opens=False)
        puppet.hear(puppet.long(p.Handshake(0, b"")))
        puppet.wait(4.9)
        self.assertFalse(puppet.victim.ended)
        puppet.wait(0.2)
        self.assertTrue(puppet.victim.ended)
        self.assertIsInstance(puppet.application.error, SessionTimedOut)

    def test_pingLimit(self) -> None:
        """When the peer vanishes four unanswered pings end the starter's session, and the listener forgets its own."""
        wire = Wire().open()
        message = wire.starter.send_message(b"x", now=wire.now)
        wire.lose = lambda role, datagram: True
        start = wire.now
        wire.until(lambda: wire.here.error)
        self.assertIsInstance(wire.here.error, PeerSilent)
        self.assertLess(abs(wire.now - start - 25.0), 0.1)
        self.assertIsInstance(message.error, MessageUndelivered)
        wire.until(lambda: wire.there.error)
        self.assertIsInstance(wire.there.error, PeerSilent)
        self.assertLess(abs(wire.now - start - 30.0), 0.1)
        self.assertNothingLeft(wire)

    def test_revived(self) -> None:
        """Any answer starts the count afresh."""
        wire = Wire().open()
        wire.lose = lambda role, datagram: True
        for _ in range(5):
            wire.run(20)
            wire.lose = lambda role, datagram: False
            wire.run(1)
            wire.lose = lambda role, datagram: True
        self.assertEqual((wire.here.error, wire.there.error), (None, None))

    def test_idle(self) -> None:
        """An idle session lives on by pings alone: few, and only the starter's."""
        wire = Wire().open()
        before = len(wire.sent)
        wire.run(600)
        self.assertEqual((wire.here.error, wire.there.error), (None, None))
        self.assertLessEqual(len(wire.sent) - before, 2 * 600 / 5)

    def test_impatientListener(self) -> None:
        """A starter pings often enough for a listener that forgets sooner than it would itself."""
        wire = Wire(listener=Options(ping_interval=1.0, ping_packet_count=2)).open()
        wire.run(100)
        self.assertEqual((wire.here.error, wire.there.error), (None, None))


class WayTests(SynchronousTestCase):
    """Who may speak."""

    def test_mayNot(self) -> None:
        """The side that only reads can't send messages of any kind; the other can, and is settled."""
        for way, silent in ((Way.READ_ONLY, 0), (Way.WRITE_ONLY, 1)):
            wire = Wire(Options(way=way)).open()
            sides = (wire.starter, wire.listener)
            self.assertRaises(NotSupported, sides[silent].send_message, b"x", now=wire.now)
            self.assertRaises(NotSupported, sides[silent].send_direct, b"x")
            message = sides[1 - silent].send_message(b"x", now=wire.now)
            sides[1 - silent].send_direct(b"y")
            wire.until(lambda message=message: message.settled)  # type: ignore[misc]
            self.assertIsNone(message.error)
            wire.close()

    def test_wrongWay(self) -> None:
        """Messages in the wrong way end the session with a reason of its own."""
        for packet in (p.StreamBlocks(0, 0, 0, [b"x"]), p.Direct(b"x"), p.StreamBlock(0, 0, 0, 1, 0, b"x")):
            puppet = Puppet(way=Way.READ_ONLY)
            error = puppet.said(packet)
            self.assertEqual(error.code if error else None, Reason.WRONG_WAY)
            self.assertEqual(puppet.of(p.SessionDeath)[0].code, Reason.WRONG_WAY)

    def test_errors(self) -> None:
        """Every end of a session is a SessionLost."""
        for kind in (SessionClosed, SessionRejected, SessionTimedOut, PeerSilent, SessionKilled, SessionAborted):
            self.assertTrue(issubclass(kind, SessionLost))
        self.assertFalse(issubclass(ProtocolViolation, SessionLost))
