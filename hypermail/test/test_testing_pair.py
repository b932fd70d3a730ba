"""
Tests of L{hypermail.testing.pair}, its nodes and its applications: that they run what they should, and see what is
wrong.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail import events as e
from hypermail.errors import (
    HypermailError,
    MessageCancelled,
    MessageExpired,
    MessageRejected,
    SessionKilled,
    SessionLost,
    SessionRejected,
    StreamRejected,
)
from hypermail.link.train import Train
from hypermail.options import ListenerOptions, Options, Role
from hypermail.testing import Application, Conditions, Pair, Received, World

SLOW = Conditions(delay=0.050)


class RunningTests(SynchronousTestCase):
    """Virtual time, step by step."""

    def test_paced(self) -> None:
        """A side whose data waits for its pace, and for nothing else, is not idle."""
        pair = Pair(1, SLOW)
        pair.open()
        pair.run_to_quiescence()
        self.assertTrue(pair.starter.idle)
        pair.starter.connection._link.allowance.resume_at = pair.now + 1
        self.assertFalse(pair.starter.idle)

    def test_exchange(self) -> None:
        """Messages, direct messages, streams and pings go both ways, and one call each closes and checks it all."""
        pair = Pair(1, SLOW)
        pair.open()
        streams = []
        for side in pair.sides:
            side.send_message(b"on lane 0")
            side.send_message(bytes(100_000), lane=5)
            side.send_direct(b"direct")
            side.ping()
            streams.append(side.open_stream(b"name", bytes(range(256)) * 1_000))
        pair.run_to_quiescence()
        pair.assert_delivered()
        for side in pair.sides:
            peer = pair.peer(side)
            assert peer is not None
            self.assertEqual(side.application.received[0], [Received(0, b"on lane 0")])
            self.assertEqual(side.application.directs, [b"direct"])
            self.assertApproximates(side.application.pings[0], 0.1, 0.001)
            for stream in streams:
                gathered = side.application.streams[stream.id]
                # Each side finishes the other's stream once it has read it to its end.
                self.assertTrue(gathered.finished and gathered.ended and gathered.flushed)
                self.assertIsNone(gathered.error)
                ours = (stream.id & 1) == side.connection.role
                self.assertEqual(len(gathered.data), 0 if ours else 256_000)
        pair.close()

    def test_quiescence(self) -> None:
        """Quiescence comes when nothing is left to do but to ping, and not before; then pings come and go."""
        pair = Pair(1, SLOW)
        self.assertFalse(pair.is_quiescent())
        pair.open()
        pair.run_to_quiescence()
        opened = pair.now
        self.assertLess(opened, 2.0)
        message = pair.starter.send_message(b"x")
        self.assertFalse(pair.is_quiescent())
        pair.run_to_quiescence()
        self.assertTrue(message.settled)
        self.assertLess(pair.now - opened, 1.0)
        sent = pair.network.counters().sent
        pair.run_for(20)
        self.assertGreater(pair.network.counters().sent, sent)
        pair.run_to_quiescence()

    def test_quiescenceWaitsForPacing(self) -> None:
        """A train that waits for its turn, with nothing on the way, is something that is left to do."""
        pair = Pair(1)
        pair.open()
        message = pair.starter.send_message(bytes(3_000_000))
        pair.run_to_quiescence()
        self.assertTrue(message.settled)
        pair.close()

    def test_quiescenceWaitsForCalls(self) -> None:
        """A delayed verdict is something that is left to do."""
        pair = Pair(1, SLOW, listener=lambda: Application(verdict_delay=4.0))
        pair.open()
        message = pair.starter.send_message(b"x")
        pair.run_to_quiescence()
        self.assertTrue(message.settled)
        self.assertGreater(pair.now, 4.0)

    def test_limits(self) -> None:
        """A condition that never comes true fails the test with the state of everything."""
        pair = Pair(77, SLOW)
        text = str(self.assertRaises(AssertionError, pair.run, lambda: False, limit=9.0))
        for told in ("9 s have passed", "seed 77", "starter at", "listener at", "in_flight"):
            self.assertIn(told, text)
        alone = Pair(1, Conditions(loss=1.0))
        self.assertIn("has not heard", str(self.assertRaises(AssertionError, lambda: alone.listener)))
        alone.run_to_quiescence()
        text = str(self.assertRaises(AssertionError, alone.run, lambda: False, limit=1e9))
        self.assertIn("nothing is left", text)

    def test_endless(self) -> None:
        """A timer that does not get on is no endless loop but a failure."""
        pair = Pair(1)
        pair.open()
        timer = pair.network.timer(lambda: timer.arm(pair.now))
        timer.arm(pair.now)
        text = str(self.assertRaises(AssertionError, pair.run, lambda: False))
        self.assertIn("at one time", text)

    def test_endlessSending(self) -> None:
        """A core that sends without end at one time is found."""
        pair = Pair(1)
        pair.open()
        train = Train(("10.0.0.1", 4700), [b"x"])
        self.patch(type(pair.starter.connection), "trains", lambda self, now: [train])
        self.assertIn("without end", str(self.assertRaises(AssertionError, pair.starter.pump)))

    def test_deterministic(self) -> None:
        """The same seed is the same run, to the last datagram."""

        def run(seed: int) -> tuple[float, str]:
            pair = Pair(seed, Conditions(loss=0.2, duplication=0.1, reordering=0.2, corruption=0.05, delay=0.02))
            pair.open()
            for side in pair.sides:
                side.application.send_all((0, bytes(size)) for size in range(0, 5_000, 100))
            pair.close()
            return pair.now, str(pair.network.counters())

        self.assertEqual(run(1), run(1))
        self.assertNotEqual(run(1), run(2))

    def test_start(self) -> None:
        """The clock may begin anywhere: the core sees no difference."""

        def run(start: float) -> float:
            pair = Pair(5, Conditions(loss=0.2, delay=0.02), start=start)
            pair.open()
            pair.starter.send_message(bytes(50_000))
            pair.run_to_quiescence()
            return pair.now - start

        self.assertApproximates(run(0.0), run(1e6), 1e-3)

    def test_borrowedMemory(self) -> None:
        """What the core was lent is overwritten after the call, as a socket's buffer is."""
        pair = Pair(1, SLOW)
        lent: list[memoryview] = []
        demux = pair.listener_node.demux
        receive = demux.receive

        def remember(datagrams: list[memoryview], address: Any, *, now: float, ecn: int) -> Any:
            lent.extend(datagrams)
            return receive(datagrams, address, now=now, ecn=ecn)

        self.patch(demux, "receive", remember)
        pair.open()
        self.assertEqual({bytes(view) for view in lent}, {b"\xee" * len(view) for view in lent})

    def test_conditionsByDirection(self) -> None:
        """Each direction can have its own."""
        pair = Pair(1, to_listener=Conditions(delay=0.3), to_starter=Conditions(delay=0.1))
        pair.open()
        pair.starter.ping()
        pair.run_to_quiescence()
        self.assertApproximates(pair.starter.application.pings[0], 0.4, 0.001)


class ApplicationTests(SynchronousTestCase):
    """What applications can be told to do."""

    def test_reject(self) -> None:
        """A listener that rejects, after a while."""
        pair = Pair(
            1, SLOW, listener=lambda: Application(rejection=SessionRejected("not today", 99), decision_delay=3.0)
        )
        pair.run_to_quiescence()
        error = pair.starter.application.error
        assert isinstance(error, SessionRejected)
        self.assertEqual(error.code, 99)
        self.assertIn("not today", error.text)
        self.assertGreater(pair.now, 3.0)
        pair.assert_clean()

    def test_refuseStreams(self) -> None:
        """A listener that refuses streams."""
        pair = Pair(1, SLOW, listener=lambda: Application(refusal=StreamRejected("no streams", 98)))
        pair.open()
        stream = pair.starter.open_stream(b"x", b"data")
        pair.run_to_quiescence()
        gathered = pair.starter.application.streams[stream.id]
        assert isinstance(gathered.error, StreamRejected)
        self.assertEqual((gathered.error.code, gathered.ended), (98, True))
        pair.close()

    def test_settle(self) -> None:
        """Verdicts can be overridden: what is rejected fails at its sender, and is told when asked for."""

        class Picky(Application):
            def settle(self, lane: Any, first: int, messages: list[bytes]) -> None:
                for number in range(first, first + len(messages)):
                    if number % 2:
                        lane.reject(number, 97, "odd")
                    else:
                        lane.take(number)

        pair = Pair(1, SLOW, listener=Picky)
        pair.open()
        messages = [pair.starter.send_message(b"x") for _ in range(4)]
        pair.run_to_quiescence()
        self.assertEqual([type(m.error) for m in messages], [type(None), MessageRejected] * 2)
        pair.assert_delivered(complete=False)
        self.assertIn("was not taken", str(self.assertRaises(AssertionError, pair.assert_delivered)))
        pair.close()

    def test_pause(self) -> None:
        """A paused application takes nothing and reads nothing until it goes on."""
        pair = Pair(1, SLOW)
        pair.open()
        before = pair.starter.open_stream(b"before")
        pair.run_to_quiescence()
        listener = pair.listener.application
        listener.pause()
        before.write(b"x" * 10)
        pair.starter.touch()
        after = pair.starter.open_stream(b"after", b"y" * 10)
        message = pair.starter.send_message(b"z")
        pair.run_for(3)
        self.assertFalse(message.settled)
        self.assertEqual([bytes(listener.streams[s.id].data) for s in (before, after)], [b"", b""])
        listener.resume()
        before.finish()
        pair.run_to_quiescence()
        self.assertTrue(message.settled)
        self.assertEqual([bytes(listener.streams[s.id].data) for s in (before, after)], [b"x" * 10, b"y" * 10])
        pair.close()

    def test_backPressure(self) -> None:
        """Messages and stream data that there is no room for wait, and go when there is."""
        pair = Pair(1, SLOW, options=Options(outgoing_bytes=1_000, stream_buffer=1_000))
        pair.open()
        starter = pair.starter.application
        starter.send_all((0, bytes(300)) for _ in range(1_000))
        stream = pair.starter.open_stream(b"x", bytes(1_000_000))
        self.assertTrue(starter.busy)
        self.assertLess(len(pair.starter.outgoing), 10)
        pair.run(lambda: not starter.busy)
        pair.run_to_quiescence()
        pair.assert_delivered()
        self.assertEqual(len(pair.starter.outgoing), 1_000)
        self.assertEqual(len(pair.listener.application.streams[stream.id].data), 1_000_000)
        pair.close()

    def test_withdraw(self) -> None:
        """Messages that expire or are cancelled in time are never delivered."""
        pair = Pair(1, SLOW)
        pair.open()
        expired = pair.starter.send_message(bytes(1_000_000), expires=0.06)
        cancelled = pair.starter.send_message(b"x")
        pair.starter.cancel_message(cancelled)
        pair.run_to_quiescence()
        self.assertIsInstance(expired.error, MessageExpired)
        self.assertIsInstance(cancelled.error, MessageCancelled)
        pair.assert_delivered(complete=False)
        pair.close()

    def test_abort(self) -> None:
        """Either side can end at once; the other one is told why."""
        pair = Pair(1, SLOW)
        pair.open()
        pair.listener.abort(96, "enough")
        pair.run_to_quiescence()
        error = pair.starter.application.error
        assert isinstance(error, SessionKilled)
        self.assertEqual(error.code, 96)
        pair.assert_clean()


class AssertionTests(SynchronousTestCase):
    """That the assertions see what they are for."""

    def exchanged(self) -> Pair:
        """A pair between which something was sent."""
        pair = Pair(1, SLOW)
        pair.open()
        for number in range(4):
            pair.starter.send_message(b"%d" % number)
        pair.run_to_quiescence()
        pair.assert_delivered()
        return pair

    def blame(self, pair: Pair) -> str:
        """What C{assert_delivered} complains of."""
        return str(self.assertRaises(AssertionError, pair.assert_delivered))

    def test_undelivered(self) -> None:
        """Messages that are missing, twice there, in another order or changed, are found."""
        pair = self.exchanged()
        received = pair.listener.application.received
        right = list(received[0])
        received[0] = right[1:]
        self.assertIn("message 0 of lane 0 (1 bytes) was acknowledged and not delivered", self.blame(pair))
        received[0] = right + right[:1]
        self.assertIn("delivered twice", self.blame(pair))
        received[0] = right[::-1]
        self.assertIn("out of order", self.blame(pair))
        received[0] = [*right[:3], Received(3, b"?")]
        self.assertIn("other bytes", self.blame(pair))
        received[0] = right[::-1]
        pair.starter.unordered.add(0)
        pair.assert_delivered()

    def test_unsettled(self) -> None:
        """Messages that nobody has settled are found."""
        pair = self.exchanged()
        pair.listener.application.pause()
        pair.starter.send_message(b"x")
        pair.run_for(1)
        self.assertIn("is not settled", self.blame(pair))

    def test_withdrawnAndDelivered(self) -> None:
        """A message that was withdrawn in time, they say, and yet was delivered, is found."""
        pair = self.exchanged()
        pair.starter.outgoing[0].error = MessageExpired("")
        text = str(self.assertRaises(AssertionError, pair.assert_delivered, complete=False))
        self.assertIn("was delivered, and yet", text)

    def test_open(self) -> None:
        """Sessions that are still open are not clean."""
        pair = self.exchanged()
        text = str(self.assertRaises(AssertionError, pair.assert_clean))
        self.assertIn("has not ended", text)
        self.assertIn("1 connections left", text)
        pair.close()

    def test_events(self) -> None:
        """Events that come twice, late, early or never are found."""
        pair = self.exchanged()
        stream = pair.starter.open_stream(b"x", b"data")
        pair.run_to_quiescence()
        pair.close()
        events = pair.starter.events
        right = list(events)
        ended = right[-1]
        settled = next(event for event in right if isinstance(event, e.MessagesSettled))
        over = next(event for event in right if isinstance(event, e.StreamEnded))
        opened = next(event for event in right if isinstance(event, e.SessionOpened))
        cases: list[tuple[list[e.Event], str]] = [
            ([*right, ended], "told SessionEnded 2 times"),
            (right[:-1], "told SessionEnded 0 times"),
            ([*right, settled], "and last MessagesSettled"),
            ([event for event in right if event is not settled], "was told to be settled 0 times"),
            ([event for event in right if event is not over], f"stream {stream.id} was told of 1 times, and ended 0"),
            ([over, *right], f"stream {stream.id} was told of 1 times, and ended 2"),
            ([settled, opened], "told ['MessagesSettled'] before SessionOpened"),
        ]
        for wrong, complaint in cases:
            events[:] = wrong
            self.assertIn(complaint, str(self.assertRaises(AssertionError, pair.assert_clean)))
        events[:] = right
        pair.assert_clean()

    def test_timers(self) -> None:
        """A timer that is left is found, as is what is on its way."""
        pair = self.exchanged()
        pair.close()
        pair.starter.timer.arm(pair.now + 1)
        self.assertIn("timer left", str(self.assertRaises(AssertionError, pair.assert_clean)))
        pair.starter.timer.cancel()
        pair.network.send(("10.9.9.9", 9), ("10.0.0.1", 4700), [b"x"])
        self.assertIn("on their way", str(self.assertRaises(AssertionError, pair.assert_clean)))

    def test_trains(self) -> None:
        """Trains of unequal datagrams are found."""
        pair = self.exchanged()
        for wrong in ([b"12", b"1", b"12"], [b"1", b"12"], [b""], [b"1", b""]):
            self.assertRaises(AssertionError, pair.starter._check, wrong)
        for right in ([b"1"], [b"12", b"12", b"1"], [b"12", b"12"]):
            pair.starter._check(right)


class WorldTests(SynchronousTestCase):
    """One listener, many starters."""

    def test_many(self) -> None:
        """Each starter has a host, a session and a peer of its own."""
        world = World(1, Conditions(delay=0.02, loss=0.1), starters=20)
        world.run(lambda: len(world.listener_node.sides) == 20 and all(s.application.opened for s in world.sides))
        self.assertEqual(len({node.address[0] for node in world.starter_nodes}), 20)
        for number, node in enumerate(world.starter_nodes):
            side = node.sides[0]
            side.send_message(b"%d" % number)
            peer = world.peer(side)
            assert peer is not None
            self.assertEqual(peer.connection.role, Role.LISTENER)
            self.assertIs(world.peer(peer), side)
        world.close()
        world.assert_delivered()
        got = {bytes(side.application.received[0][0].data) for side in world.listener_node.sides}
        self.assertEqual(got, {b"%d" % number for number in range(20)})

    def test_later(self) -> None:
        """Sessions can be started at any time, with applications and options of their own."""
        world = World(1, SLOW, strangers=ListenerOptions(max_sessions=1))
        first = world.start(Application())
        world.run(lambda: first.application.opened)
        second = world.start(options=Options(connection_timeout=2.0))
        world.run_for(5)
        self.assertIsInstance(second.application.error, SessionLost)
        first.close()
        world.run_to_quiescence()
        world.assert_clean()

    def test_stop(self) -> None:
        """A node that is stopped is gone without a word; the other side finds out by itself."""
        pair = Pair(1, SLOW)
        pair.open()
        pair.listener_node.stop()
        pair.run(lambda: pair.starter.application.error is not None, limit=60)
        self.assertGreater(pair.network.counters().unreachable, 0)
        self.assertIsInstance(pair.starter.application.error, HypermailError)
