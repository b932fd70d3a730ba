"""
Tests for sessions that lose their link: what is kept, what goes on, how time and closing treat them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

from hypermail.connection import Connection
from hypermail.errors import (
    KeysSpent,
    MessageCancelled,
    MessageExpired,
    MessageUndelivered,
    PeerSilent,
    Reason,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    SessionReset,
    SessionTimedOut,
)
from hypermail.events import RepliesReceived, SessionClaimed, SessionResumed, SessionSuspended
from hypermail.session.states import State
from hypermail.test.linking import Ledger
from hypermail.test.reopening import DARK, NEAR, OPTIONS, ReopeningTestCase, is_suspended, session_of
from hypermail.testing import Application, Conditions, Pair, Side
from hypermail.wire import packets as p


class GoingOnTests(ReopeningTestCase):
    """Everything that was accepted arrives, whenever the link is lost."""

    def test_longSilence(self) -> None:
        """Messages, asks and streams in both directions go on where they were; both sides are told, once each."""
        pair = self.pair()
        data = Random(1).randbytes(400_000)
        streams = [side.open_stream(b"", data) for side in pair.sides]
        for side in pair.sides:
            for number in range(200):
                side.send_message(b"%d" % number * 50, lane=number % 3)
        pair.run_for(0.03)
        self.suspend(pair)
        for side in pair.sides:
            self.assertIsInstance(side.application.suspensions[0], PeerSilent)
            side.send_message(b"while there is no link")
            side.ask(b"a question")
            streams.append(side.open_stream(b"while there is no link", data[:5_000]))
        self.resume(pair)
        pair.run(lambda: not any(side.application.busy for side in pair.sides))
        self.finish(pair)
        for side in pair.sides:
            application = side.application
            self.assertEqual(application.resumptions, [False])
            self.assertEqual(len(application.suspensions), 1)
            (replies,) = [event.replies for event in side.events if isinstance(event, RepliesReceived)]
            self.assertEqual([reply for _, reply in replies], [b"a question"])
        listener = next(side for side in pair.sides if side is not pair.starter)
        for stream, sent in zip(streams, (data, data, data[:5_000], data[:5_000]), strict=True):
            reader = listener if stream.id % 2 == 0 else pair.starter
            self.assertEqual(bytes(reader.application.streams[stream.id].data), sent)
            self.assertIsNone(reader.application.streams[stream.id].error)

    def test_offsets(self) -> None:
        """What the peer has of a stream is not sent again, but for what leaves before it has said so."""
        pair = self.pair(conditions=replace(NEAR, bandwidth=20e6))
        stream = pair.starter.open_stream(b"", bytes(2_000_000))
        pair.run(lambda: stream.id in pair.listener.application.streams)
        here = pair.listener.application.streams[stream.id]
        pair.run(lambda: len(here.data) > 1_000_000)
        pair.network.set_conditions(DARK, destination=pair.starter.node.address[0])  # acknowledgements are lost
        pair.run(lambda: is_suspended(pair.starter), limit=20)
        had, before = len(here.data), pair.starter.connection.statistics()["bytes_sent"]
        self.resume(pair)
        pair.run(lambda: here.finished)
        sent = pair.starter.connection.statistics()["bytes_sent"] - before
        self.assertLess(sent, 1.1 * (2_000_000 - had) + 60_000)
        self.finish(pair)

    def test_halfClosed(self) -> None:
        """A stream that is finished in one direction goes on in the other; a flush that was lost is said again."""
        pair = self.pair()
        self.patch(pair.listener.application, "stream_finished", lambda event: None)
        stream = pair.starter.open_stream(b"half", b"question")
        pair.run_for(1.0)
        (theirs,) = session_of(pair.listener).streams._streams.values()
        pair.network.set_conditions(DARK)
        pair.listener.application.write_all(theirs, b"answer" * 1_000)
        pair.listener.touch()
        self.suspend(pair)
        self.resume(pair)
        pair.run(lambda: pair.starter.application.streams[stream.id].finished)
        self.assertEqual(bytes(pair.starter.application.streams[stream.id].data), b"answer" * 1_000)
        self.finish(pair)

    def test_redundantLane(self) -> None:
        """A lane with copies goes on, and its copies want no time while there is no link."""
        pair = self.pair()
        pair.starter.configure_lane(2, redundancy=2)
        for number in range(30):
            pair.starter.send_message(b"%d" % number, lane=2)
        pair.network.set_conditions(DARK)
        for number in range(30):
            pair.run_for(0.01)
            pair.starter.send_message(b"%d" % number, lane=2)
        self.suspend(pair)
        deadline = pair.listener.connection.next_timeout()
        assert deadline is not None
        self.assertGreater(deadline, pair.now + 1_000)
        session = session_of(pair.starter)
        self.assertIsNone(session.sending.deadline())
        self.resume(pair)
        self.finish(pair)

    def test_newLink(self) -> None:
        """The new link finds out about its path for itself: size, round trip, marks; and updates its keys."""
        pair = self.pair()
        self.suspend(pair)
        self.resume(pair, Conditions(delay=0.05))
        pair.starter.open_stream(b"", bytes(500_000))
        pair.run_for(10)
        found = pair.starter.connection.statistics()
        self.assertEqual((found["mtu"], found["ecn"], found["state"]), (1_472, "capable", "open"))
        self.assertAlmostEqual(found["rtt"], 0.1, places=2)
        self.finish(pair)

    def test_manyTimes(self) -> None:
        """A link that is lost again and again costs nothing but time."""
        pair = self.pair()
        for number in range(20):
            pair.starter.send_message(b"%d" % number)
            pair.listener.send_message(b"%d" % number)
            self.suspend(pair)
            self.resume(pair)
        self.assertEqual(session_of(pair.listener).survival.generation, session_of(pair.starter).survival.generation)
        self.finish(pair)
        for side in pair.sides:
            kinds = [type(event) for event in side.events if isinstance(event, SessionSuspended | SessionResumed)]
            self.assertEqual(kinds, [SessionSuspended, SessionResumed] * 20)

    def test_keysSpent(self) -> None:
        """What was put into a datagram that no key was left to seal leaves over the next link."""
        pair = self.pair()
        link = pair.starter.connection._link
        keys, ledger = link.outbound.keys, Ledger()
        assert keys is not None
        keys.left = 0
        payload = link.outbound.begin(pair.now, True)
        payload.contents.append((ledger, 3, 7))
        self.assertEqual(link.outbound.finish(payload, pair.now), 0)
        self.assertEqual(ledger.gone, [(3, 7)])

    def test_keysSpentInside(self) -> None:
        """A session whose link has used up its keys goes on over another one, with all that it had to say."""
        pair = self.pair()
        link = pair.starter.connection._link
        link.inbound.failure = KeysSpent("spent")
        stream = pair.starter.open_stream(b"", b"x" * 100)
        pair.run(lambda: pair.starter.application.resumptions, limit=10)
        pair.run(lambda: stream.id in pair.listener.application.streams)
        self.finish(pair)


class WithoutLinkTests(ReopeningTestCase):
    """What is done while there is no link."""

    def test_expiry(self) -> None:
        """Messages expire on time, those that had left and those that had not."""
        pair = self.pair()
        pair.network.set_conditions(DARK)
        begun = pair.starter.send_message(b"begun", expires=30)
        self.suspend(pair)
        queued = pair.starter.send_message(b"queued", expires=5)
        before = pair.now
        pair.run(lambda: queued.settled, limit=10)
        self.assertAlmostEqual(pair.now - before, 5, places=3)
        self.assertIsInstance(queued.error, MessageExpired)
        pair.run_for(30)
        self.assertFalse(begun.settled)  # its fate is the peer's to say
        self.resume(pair)
        pair.run(lambda: begun.settled)
        self.assertIsInstance(begun.error, MessageExpired)
        self.finish(pair, complete=False)

    def test_cancel(self) -> None:
        """Messages that have not left are cancelled at once, those that have when the peer has said so."""
        pair = self.pair()
        pair.network.set_conditions(DARK)
        begun = pair.starter.send_message(b"begun")
        self.suspend(pair)
        queued = pair.starter.send_message(b"queued")
        for message in (begun, queued):
            pair.starter.cancel_message(message)
        self.assertTrue(queued.settled)
        self.assertFalse(begun.settled)
        self.resume(pair)
        pair.run(lambda: begun.settled)
        self.assertIsInstance(begun.error, MessageCancelled)
        self.finish(pair, complete=False)
        self.assertEqual(pair.listener.application.received, {})

    def test_direct(self) -> None:
        """Direct messages are lost, and counted as such."""
        pair = self.pair()
        self.suspend(pair)
        pair.starter.send_direct(b"gone")
        self.assertEqual(pair.starter.connection.statistics()["directs_dropped"], 1)
        self.resume(pair)
        pair.starter.send_direct(b"there")
        self.finish(pair)
        self.assertEqual(pair.listener.application.directs, [b"there"])

    def test_directsThatWaited(self) -> None:
        """Likewise those that were waiting for the window when the link was lost."""
        pair = self.pair()
        pair.network.set_conditions(DARK)
        for number in range(100):
            pair.starter.send_direct(b"%d" % number * 300)
        self.suspend(pair)
        self.assertGreater(pair.starter.connection.statistics()["directs_dropped"], 20)
        self.resume(pair)
        self.finish(pair)
        self.assertEqual(pair.listener.application.directs, [])

    def test_ping(self) -> None:
        """Pings fail with what the link was lost for; one that was under way is not answered by another link."""
        pair = self.pair()
        pair.network.set_conditions(DARK)
        pair.starter.ping()
        self.suspend(pair)
        self.assertRaises((PeerSilent, SessionTimedOut), pair.starter.ping)
        self.assertRaises(PeerSilent, pair.listener.ping)
        self.resume(pair)
        pair.run_for(2)
        self.assertEqual(pair.starter.application.pings, [])
        pair.starter.ping()
        pair.run_for(2)
        self.assertEqual(len(pair.starter.application.pings), 1)
        self.finish(pair)

    def test_buffers(self) -> None:
        """Who fills the buffers is told to pause, and that there is room when the session has gone on."""
        pair = self.pair(replace(OPTIONS, outgoing_bytes=10_000))
        self.suspend(pair)
        starter = pair.starter
        starter.application.send_all((0, bytes(1_000)) for _ in range(100))
        stream = starter.open_stream(b"", bytes(5_000_000))
        pair.run_for(60)
        self.assertTrue(starter.connection.messages_full)
        self.assertLess(len(starter.outgoing), 20)
        self.assertLess(stream.outgoing.unacked, 1_000_000)
        self.resume(pair)
        pair.run(lambda: not starter.application.busy)
        self.assertEqual(len(starter.outgoing), 100)
        self.finish(pair)
        self.assertEqual(len(pair.listener.application.streams[stream.id].data), 5_000_000)

    def test_streamsWait(self) -> None:
        """Streams beyond the peer's limit wait, over a new link as over the old one."""
        pair = self.pair(replace(OPTIONS, max_streams=2))
        pair.network.set_conditions(DARK)
        streams = [pair.starter.open_stream(b"%d" % number, b"x" * 1_000) for number in range(6)]
        self.suspend(pair)
        streams += [pair.starter.open_stream(b"%d" % number, b"x" * 1_000) for number in range(6)]
        self.resume(pair)
        self.finish(pair)
        self.assertEqual(len(pair.listener.application.streams), len(streams))

    def test_cleared(self) -> None:
        """A stream that is cleared without a link is cleared at the peer's."""
        pair = self.pair()
        stream = pair.starter.open_stream()
        stream.write(bytes(10))
        pair.run_for(1)
        self.suspend(pair)
        stream.clear(7, "not any more")
        self.resume(pair)
        pair.run(lambda: pair.listener.application.streams[stream.id].error is not None)
        error = pair.listener.application.streams[stream.id].error
        self.assertEqual((error.code, error.text) if error else None, (7, "not any more"))
        self.finish(pair)


class TimeTests(ReopeningTestCase):
    """How long a session waits, and how often it tries."""

    def test_starterTimesOut(self) -> None:
        """A session without a link ends on time, and says for each message whether it may have come."""
        pair = self.pair(starter_options=replace(OPTIONS, session_timeout=100))
        pair.network.set_conditions(DARK)
        begun = pair.starter.send_message(b"begun")
        pair.run(lambda: is_suspended(pair.starter), limit=20)
        before = pair.now
        queued = pair.starter.send_message(b"queued")
        pair.run(lambda: pair.starter.application.error, limit=200)
        self.assertLess(abs(pair.now - before - 100), OPTIONS.connection_timeout + 0.1)
        error = pair.starter.application.error
        self.assertIsInstance(error, SessionTimedOut)
        self.assertIn("no link for 100 s; last: ", str(error))
        fates = [
            message.error.delivered.value
            for message in (begun, queued)
            if isinstance(message.error, MessageUndelivered)
        ]
        self.assertEqual(fates, ["unknown", "no"])
        self.assertTrue(pair.starter.connection.ended)

    def test_listenerTimesOut(self) -> None:
        """The listener forgets on time; who comes later is told so, and nothing is delivered wrongly."""
        pair = self.pair(
            starter_options=replace(OPTIONS, session_timeout=1_000), options=replace(OPTIONS, session_timeout=50)
        )
        listener = pair.listener
        self.suspend(pair)
        before = pair.now
        message = pair.starter.send_message(b"too late")
        pair.run(lambda: listener.application.error, limit=100)
        self.assertLess(abs(pair.now - before - 50), 5)
        self.assertIsInstance(listener.application.error, SessionTimedOut)
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        self.assertIsInstance(pair.starter.application.error, SessionReset)
        self.assertTrue(message.settled)
        self.assertEqual(listener.application.received, {})
        pair.run_to_quiescence()
        self.assertEqual(len(pair.listener_node.demux), 0)

    def attempts(self, pair: Pair) -> list[float]:
        """When a starter tries another link, from now on."""
        times: list[float] = []
        usual = pair.starter.node.reopen

        def reopen(side: object) -> None:
            times.append(pair.now)
            usual(pair.starter)

        self.patch(pair.starter.node, "reopen", reopen)
        return times

    def test_pauses(self) -> None:
        """The first attempt follows at once; pauses then grow from up to 250 ms to up to 30 s, each by chance."""
        pair = self.pair()
        times = self.attempts(pair)
        self.suspend(pair)
        lost = pair.now
        pair.run_for(600)
        self.assertLessEqual(times[0], lost)
        most = 0.25
        pauses = [later - earlier - OPTIONS.connection_timeout for earlier, later in pairwise(times)]
        for pause in pauses:
            self.assertGreaterEqual(pause, most / 2 - 0.001)
            self.assertLessEqual(pause, most + 0.001)
            most = min(2 * most, 30.0)
        self.assertEqual(most, 30.0)
        self.assertGreater(len(set(pauses)), len(pauses) * 3 // 4)

    def test_hurry(self) -> None:
        """When the host's address changes a suspended session is tried at once, and pauses begin anew."""
        pair = self.pair()
        self.suspend(pair)
        pair.run_for(300)
        starter = pair.starter
        pair.run(lambda: starter.connection.suspended, limit=60)
        times = self.attempts(pair)
        starter.connection.moved(now=pair.now)
        starter.touch()
        pair.run_for(0.001)
        self.assertEqual(times, [pair.now - 0.001])
        pair.run_for(OPTIONS.connection_timeout + 0.3)
        self.assertEqual(len(times), 2)

    def test_movedWhileClaiming(self) -> None:
        """An attempt whose hello names an address that the host has no more gives way to another at once."""
        pair = self.pair()
        self.suspend(pair)
        starter = pair.starter
        pair.run(lambda: not starter.connection.suspended, limit=60)
        host, port = starter.node.address
        pair.network.set_conditions(NEAR)
        pair.run(lambda: len(pair.listener_node.demux), limit=1)  # the hello has come, the answer is on its way
        self.assertFalse(starter.connection.linked)
        before = pair.now
        starter.node.move((host, port + 1))
        pair.run(lambda: starter.connection.linked, limit=1)
        self.assertLess(pair.now - before, 0.1)
        self.finish(pair)

    def test_listenersDoNotMove(self) -> None:
        """A listener's session waits for its starter, whatever happens to the listener's addresses."""
        pair = self.pair()
        self.suspend(pair)
        pair.listener.connection.moved(now=pair.now)
        pair.listener.connection.awaken(now=pair.now)
        self.assertIsNone(session_of(pair.listener).survival.attempt_at)
        self.resume(pair)
        self.finish(pair)


class EndingTests(ReopeningTestCase):
    """Sessions that are ended while they have no link."""

    def test_close(self) -> None:
        """A session that is closed without a link delivers what it has when there is one, and ends in order."""
        for who in ("starter", "listener"):
            pair = self.pair()
            starter, listener = pair.starter, pair.listener
            closing, other = (starter, listener) if who == "starter" else (listener, starter)
            self.suspend(pair)
            starter.send_message(b"before")
            stream = closing.open_stream(b"", b"x" * 10_000)
            closing.close()
            pair.run_for(5)
            self.assertIs(closing.connection.state, State.CLOSING)
            self.resume(pair)
            pair.run_to_quiescence()
            pair.assert_clean()
            pair.assert_delivered()
            for side in (starter, listener):
                self.assertIsInstance(side.application.error, SessionClosed)
            self.assertEqual(len(other.application.streams[stream.id].data), 10_000)

    def test_abort(self) -> None:
        """A session that is aborted without a link ends at once; the other side is told when it claims it."""
        pair = self.pair()
        listener = pair.listener
        self.suspend(pair)
        listener.abort(5, "no more")
        pair.run_for(0)
        self.assertTrue(listener.connection.ended)
        self.assertIsInstance(listener.application.error, SessionAborted)
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        self.assertIsInstance(pair.starter.application.error, SessionReset)
        pair.run_to_quiescence()
        pair.assert_clean()

    def test_abortWhileClaiming(self) -> None:
        """A starter that gives up in the middle of an attempt leaves nothing but what the listener keeps."""
        pair = self.pair()
        self.suspend(pair)
        pair.run(lambda: not pair.starter.connection.suspended, limit=60)
        pair.starter.abort(5, "no more")
        pair.run_for(60)
        self.assertTrue(pair.starter.connection.ended)
        self.assertEqual(len(pair.starter.node.demux), 0)
        self.assertTrue(pair.listener.connection.suspended)

    def test_closeWasAnswered(self) -> None:
        """Who waits for the answer to its close learns over another link that it was given."""
        pair = self.pair()
        starter, listener = pair.starter, pair.listener
        starter.send_message(b"last")
        pair.run_for(1)
        pair.network.set_conditions(DARK, source=pair.listener_node.address[0])
        starter.close()
        pair.run(lambda: listener.connection.ended, limit=60)
        self.assertIsInstance(listener.application.error, SessionClosed)
        self.assertIs(starter.connection.state, State.CLOSE_SENT)
        pair.run(lambda: is_suspended(starter), limit=60)
        pair.network.set_conditions(NEAR)
        pair.run(lambda: starter.application.error, limit=60)
        self.assertIsInstance(starter.application.error, SessionClosed)
        pair.run_to_quiescence()
        pair.assert_clean()
        pair.assert_delivered()

    def test_notClosed(self) -> None:
        """Only who waits for the answer to its close takes the session for closed."""
        pair = self.pair()
        self.suspend(pair)
        pair.run(lambda: session_of(pair.starter).survival.claiming, limit=10)
        answer = p.SessionReopenAck(b"", code=Reason.NONE, text="closed, or so they say")
        session = session_of(pair.starter)
        session.claim_answered(answer, pair.starter.connection._channel, pair.now)
        self.assertNotIsInstance(session.error, SessionClosed)
        self.assertIs(session.state, State.ENDED)

    def test_notAllowed(self) -> None:
        """A session that may not outlive its link, by the word of either side, ends with it."""
        dies = replace(OPTIONS, allow_reopen=False)
        for options, starter_options in ((OPTIONS, dies), (dies, OPTIONS)):
            pair = self.pair(options, starter_options=starter_options)
            sides = pair.starter, pair.listener
            pair.network.set_conditions(DARK)
            pair.run_for(20)
            for side in sides:
                self.assertTrue(side.connection.ended)
                self.assertIsInstance(side.application.error, PeerSilent)
                self.assertEqual(side.application.suspensions, [])

    def test_notHeard(self) -> None:
        """A session of which the starter may not know ends with its link."""
        application = Application()
        pair = Pair(1, NEAR, options=OPTIONS, handshakes=self.pair()._handshakes, listener=lambda: application)
        pair.network.set_conditions(DARK, source=pair.listener_node.address[0])
        pair.network.set_conditions(NEAR)
        pair.run(lambda: application.opened)
        pair.network.set_conditions(DARK)
        pair.run(lambda: application.error, limit=20)
        self.assertEqual(application.suspensions, [])
        self.assertIsInstance(application.error, PeerSilent)

    def test_killed(self) -> None:
        """The end of a session that has a link is the end of it."""
        pair = self.pair()
        pair.listener.abort(Reason.SHUTTING_DOWN, "bye")
        pair.run(lambda: pair.starter.application.error)
        self.assertIsInstance(pair.starter.application.error, SessionKilled)
        self.assertEqual(pair.starter.application.suspensions, [])


class OneConnectionTests(ReopeningTestCase):
    """What becomes of a connection whose session has gone on elsewhere."""

    def test_over(self) -> None:
        """It takes nothing, sends nothing, tells nothing and wants no time."""
        pair = self.pair()
        before: list[Connection] = [side.connection for side in pair.sides]
        self.suspend(pair)
        self.resume(pair)
        for connection in before:
            self.assertTrue(connection.released and connection.ended)
            self.assertFalse(connection.suspended)
            self.assertIsNone(connection.next_timeout())
            self.assertIsNone(connection.next_event())
            self.assertEqual(connection.trains(now=pair.now), [])
            connection.handle_timeout(now=pair.now + 1_000)
            connection.receive([memoryview(bytes(40))], "elsewhere", now=pair.now)
        self.finish(pair)

    def test_lateDatagrams(self) -> None:
        """Datagrams of the old link that come late change nothing, on either side."""
        pair = self.pair()
        pair.network.set_conditions(Conditions(delay=9.0))
        for side in pair.sides:
            side.send_message(b"slow")
            side.open_stream(b"", bytes(10_000))
        pair.run_for(0.5)
        pair.network.set_conditions(DARK)
        pair.run(lambda: is_suspended(pair.starter) and is_suspended(pair.listener), limit=8)
        self.resume(pair)
        pair.run_for(10)
        for side in pair.sides:
            self.assertEqual(side.application.resumptions, [False])
        self.finish(pair)


class PatienceTests(ReopeningTestCase):
    """How long an attempt to find the listener may take."""

    LONG = replace(OPTIONS, connection_timeout=20.0, ping_interval=7.0)

    def suspend(self, pair: Pair) -> None:
        """Take the network away until both sides have noticed, which takes long."""
        pair.network.set_conditions(DARK)
        pair.run(lambda: is_suspended(pair.starter) and is_suspended(pair.listener), limit=60)
        pair.starter.connection.awaken(now=pair.now)
        pair.starter.touch()

    def test_grows(self) -> None:
        """A starter without an answer tries anew, with more patience each time, as much as it was given at most."""
        pair = self.pair(self.LONG)
        self.suspend(pair)
        survival = session_of(pair.starter).survival
        told: list[str] = []
        for _ in range(600):
            pair.run_for(0.2)
            text = "" if survival.error is None else survival.error.text
            if "within" in text and text not in told:
                told.append(text)
        self.assertEqual(told, [f"nobody has answered within {seconds} s" for seconds in (3, 6, 12, 20)])

    def test_farAway(self) -> None:
        """A listener that is far away is found nevertheless."""
        pair = self.pair(self.LONG)
        self.suspend(pair)
        pair.network.set_conditions(Conditions(delay=2.5))
        pair.run(lambda: pair.starter.connection.linked, limit=90)
        self.finish(pair)

    def test_claimTakesTime(self) -> None:
        """Once the listener has answered the handshake it may take its time with the claim."""
        pair = self.pair(self.LONG)
        self.suspend(pair)
        node, usual = pair.listener_node, pair.listener_node.claimed
        waiting: list[float] = []

        def decide(candidate: Side, event: SessionClaimed) -> None:
            usual(candidate, event)
            candidate.touch()

        def claimed(candidate: Side, event: SessionClaimed) -> None:
            waiting.append(pair.now)
            pair.network.call_at(pair.now + 10.0, partial(decide, candidate, event))

        node.claimed = claimed  # type: ignore[method-assign]
        self.resume(pair)
        self.assertEqual(len(waiting), 1)
