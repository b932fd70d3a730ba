"""
Tests for L{hypermail.streams.set} and L{hypermail.streams.stream}: numbers, limits, openings, turns, ends.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    HypermailError,
    LimitExceeded,
    ProtocolViolation,
    Reason,
    SessionAborted,
    StreamAborted,
    StreamCleared,
    StreamForgotten,
    StreamRejected,
    UsageError,
)
from hypermail.events import (
    StreamAccepted,
    StreamData,
    StreamEnded,
    StreamFinished,
    StreamFlushed,
    StreamOptions,
    StreamRequested,
    StreamWritable,
)
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.options import KIB, Options, Role, Way
from hypermail.session.linked import EARLY
from hypermail.streams.outgoing import Outgoing
from hypermail.streams.set import Streams
from hypermail.streams.states import OPENING, RECEIVING, SENDING, Opening, OpeningInput
from hypermail.streams.stream import Stream
from hypermail.test.wired import GENEROUS, Puppet, Wire, holds
from hypermail.wire import packets as p


class NumberTests(SynchronousTestCase):
    """Who may use which number, and how often."""

    def setUp(self) -> None:
        self.puppet = Puppet(options=Options(max_streams=20))

    def broken(self, *packets: p.Packet) -> str:
        """Say packets that break a rule. @return: the reason that both sides can read."""
        error = self.puppet.said(*packets)
        self.assertIsInstance(error, SessionAborted)
        assert error is not None
        (death,) = self.puppet.of(p.SessionDeath)
        self.assertEqual(death.code, error.code)
        self.assertIn(death.text, error.text)
        return death.text

    def test_parity(self) -> None:
        """A starter may open even numbers only."""
        self.assertIn("a number of ours", self.broken(p.StreamOpen(1, b"", {}, None)))

    def test_neverOpened(self) -> None:
        """Words about a stream of ours that was never opened break the protocol."""
        for packet in (p.StreamGo(1, 5), p.StreamChunk(1, 0, b"x"), p.StreamClear(1, 0, ""), p.StreamLack(1, ())):
            self.setUp()
            self.assertIn("never opened", self.broken(packet))

    def test_answersItsOwn(self) -> None:
        """Who has opened a stream can't answer its opening."""
        self.puppet.say(p.StreamOpen(0, b"", {}, None))
        self.assertIn("its own", self.broken(p.StreamOpenAck(0, 1_000)))

    def test_reused(self) -> None:
        """A number whose stream is over is never used again: whatever bears it is ignored."""
        self.puppet.say(p.StreamOpen(0, b"first", {}, None))
        self.puppet.say(p.StreamClear(0, 1, ""))
        self.puppet.say(
            p.StreamOpen(0, b"again", {}, None),
            p.StreamChunk(0, 0, b"x"),
            p.StreamFlush(0, 1),
            p.StreamFlushAck(0),
            p.StreamChunkAck(0, 77),
            p.StreamGo(0, 1),
            p.StreamLater(0),
            p.StreamLack(0, ((0, 5),)),
            p.StreamClear(0, 1, ""),
        )
        self.assertEqual(len(self.puppet.application.of(StreamRequested)), 1)
        self.assertIsNone(self.puppet.application.error)

    def test_openTwice(self) -> None:
        """A repeated open of a stream that is open changes nothing."""
        for _ in range(3):
            self.puppet.say(p.StreamOpen(0, b"name", {"a": b"b"}, 7))
        (event,) = self.puppet.application.of(StreamRequested)
        self.assertEqual((event.stream.name, event.stream.options), (b"name", StreamOptions({"a": b"b"}, 7)))

    def test_anyOrder(self) -> None:
        """Opens may arrive in any order."""
        for number in (4, 0, 2):
            self.puppet.say(p.StreamOpen(number, b"", {}, None))
        self.assertEqual([event.stream.id for event in self.puppet.application.of(StreamRequested)], [4, 0, 2])

    def test_gapsCount(self) -> None:
        """Skipped numbers count as open: the twentieth may be used, one beyond it not."""
        self.puppet.say(p.StreamOpen(38, b"", {}, None))
        self.assertIsNone(self.puppet.application.error)
        self.assertIn("20", self.broken(p.StreamOpen(40, b"", {}, None)))

    def test_highest(self) -> None:
        """An absurd number is one too many, too, whatever speaks of it."""
        for packet in (p.StreamOpen(2**64 - 2, b"", {}, None), p.StreamLater(2**64 - 2)):
            self.setUp()
            self.broken(packet)
            self.assertEqual(self.puppet.application.error.code, Reason.LIMIT_EXCEEDED)  # type: ignore[union-attr]

    def test_overMakesRoom(self) -> None:
        """Streams that are over make room for others."""
        for index in range(200):
            self.puppet.say(p.StreamOpen(2 * index, b"", {}, None))
            if index >= 15:
                self.puppet.say(p.StreamClear(2 * (index - 15), 0, ""))
        self.assertIsNone(self.puppet.application.error)
        self.assertEqual(self.puppet.victim.statistics()["streams"], 15)

    def test_absurdLength(self) -> None:
        """An announced length that can't be breaks the protocol."""
        self.assertIn("length", self.broken(p.StreamOpen(0, b"", {}, 1 << 63)))


class UnseenTests(SynchronousTestCase):
    """Packets that overtake the open."""

    def test_dataFirst(self) -> None:
        """Data, flush and pause may come before the open, and nothing is told until it is there."""
        puppet = Puppet()
        puppet.say(p.StreamChunk(0, 0, b"data"), p.StreamFlush(0, 4), p.StreamLater(0))
        self.assertEqual(puppet.application.of(StreamRequested), [])
        puppet.say(p.StreamOpen(0, b"name", {}, None))
        self.assertEqual(bytes(puppet.application.data[0]), b"data")
        self.assertEqual(len(puppet.application.of(StreamFinished)), 1)

    def test_clearedFirst(self) -> None:
        """A clear may come before the open: the application never hears of the stream."""
        puppet = Puppet()
        puppet.say(p.StreamClear(0, 1, "never mind"))
        puppet.say(p.StreamOpen(0, b"name", {}, None))
        self.assertEqual(puppet.application.of(StreamRequested) + puppet.application.of(StreamEnded), [])
        self.assertEqual(puppet.victim.statistics()["streams"], 0)

    def test_earlyLimit(self) -> None:
        """Before the application has accepted, exactly 16 KiB may come."""
        puppet = Puppet()
        puppet.application.accepts_streams = None
        puppet.say(p.StreamOpen(0, b"", {}, None))
        for offset in range(0, 16 * KIB, KIB):
            puppet.say(p.StreamChunk(0, offset, bytes(KIB)))
        self.assertIsNone(puppet.application.error)
        puppet.application.streams[0].accept()
        puppet.listen()
        self.assertEqual(len(puppet.application.data[0]), 16 * KIB)
        puppet = Puppet()
        error = puppet.said(p.StreamChunk(0, 16 * KIB, b"x"))
        self.assertEqual(error.code if error else None, Reason.LIMIT_EXCEEDED)


class OpeningTests(SynchronousTestCase):
    """Streams are opened, accepted, refused."""

    def test_accepted(self) -> None:
        """Name, attributes and length arrive; both sides learn that the stream is open, and it carries both ways."""
        wire = Wire().open()
        options = StreamOptions({"mode": b"\0\1", "ü": b""}, 5)
        stream = wire.starter.open_stream(b"a name", options, now=wire.now)
        stream.write(b"there")
        stream.finish()
        wire.there.reply = lambda event: event.stream.write(b"back") if isinstance(event, StreamRequested) else None
        wire.until(lambda: stream.id in wire.here.ends and wire.there.ends)
        (theirs,) = wire.there.streams
        self.assertEqual((theirs.name, theirs.options, theirs.ours, theirs.id), (b"a name", options, False, 0))
        self.assertEqual((bytes(wire.there.data[0]), bytes(wire.here.data[0])), (b"there", b"back"))
        self.assertEqual((wire.here.ends, wire.there.ends), ({0: None}, {0: None}))
        kinds = [kind for kind in wire.here.kinds if kind.__name__.startswith("Stream")]
        self.assertEqual((kinds[0], kinds[-1]), (StreamAccepted, StreamEnded))
        self.assertEqual(set(kinds[1:-1]), {StreamData, StreamFinished, StreamFlushed})

    def test_bothOpen(self) -> None:
        """Starters number evenly, listeners oddly, ascending."""
        wire = Wire().open()
        for side in (wire.starter, wire.listener):
            numbers = [side.open_stream(now=wire.now).id for _ in range(3)]
            self.assertEqual(numbers, [side.role, side.role + 2, side.role + 4])

    def test_refused(self) -> None:
        """A refusal brings code and text to the opener, and nothing is left on either side."""
        wire = Wire().open()
        wire.there.accepts_streams = False
        stream = wire.starter.open_stream(b"x", now=wire.now)
        stream.write(bytes(100_000))
        wire.until(lambda: 0 in wire.here.ends)
        error = wire.here.ends[0]
        self.assertIsInstance(error, StreamRejected)
        assert error is not None
        self.assertEqual((error.code, error.text), (78, "no streams"))
        wire.run(1)
        for side in (wire.starter, wire.listener):
            self.assertEqual((side.statistics()["streams"], side.statistics()["control_unacked"]), (0, 0))
        self.assertNotIn(0, wire.there.data)

    def test_lateChunks(self) -> None:
        """Late words about a refused stream are ignored, even if they break its limits."""
        puppet = Puppet()
        puppet.application.accepts_streams = False
        puppet.say(p.StreamOpen(0, b"", {}, None))
        puppet.say(p.StreamChunk(0, 1 << 40, b"x"), p.StreamFlush(0, 1 << 41))
        self.assertIsNone(puppet.application.error)

    def test_answerOnce(self) -> None:
        """A stream is answered once, by the side that did not open it."""
        puppet = Puppet()
        puppet.application.accepts_streams = None
        puppet.say(p.StreamOpen(0, b"", {}, None))
        theirs = puppet.application.streams[0]
        theirs.accept()
        self.assertRaises(UsageError, theirs.accept)
        self.assertRaises(UsageError, theirs.refuse)
        self.assertRaises(UsageError, puppet.victim.open_stream(now=puppet.now).accept)

    def test_answerTooLate(self) -> None:
        """A stream that the peer has cleared can't be accepted any more."""
        puppet = Puppet()
        puppet.application.accepts_streams = None
        puppet.say(p.StreamOpen(0, b"", {}, None))
        puppet.say(p.StreamClear(0, 5, "too slow"))
        self.assertRaises(UsageError, puppet.application.streams[0].accept)
        error = puppet.application.ends[0]
        self.assertIsInstance(error, StreamCleared)

    def test_answeredTwice(self) -> None:
        """A repeated answer, or another one, changes nothing."""
        puppet = Puppet(Role.LISTENER)
        stream = puppet.victim.open_stream(now=puppet.now)
        puppet.listen()
        puppet.say(p.StreamOpenAck(0, 20_000))
        puppet.say(p.StreamOpenAck(0, None, 1, "no"), p.StreamOpenAck(0, 1 << 30))
        self.assertIs(stream.opening, Opening.ACCEPTED)
        stream.write(bytes(50_000))
        puppet.listen()
        puppet.wait(2)
        self.assertEqual(sum(len(chunk.data) for chunk in puppet.of(p.StreamChunk)), 20_000)

    def test_tooLong(self) -> None:
        """Name and attributes that don't fit a datagram, or can't be written, are refused, and nothing is sent."""
        wire = Wire().open()
        for name, attributes in (
            (bytes(1_100), {}),
            (b"", {"a": bytes(1_100)}),
            (b"", {"a" * 256: b""}),
            (b"", {str(number): b"" for number in range(256)}),
            (b"", {"a": "text"}),
        ):
            options = StreamOptions(attributes)  # type: ignore[arg-type]
            self.assertRaises(UsageError, wire.starter.open_stream, name, options, now=wire.now)
        wire.starter.open_stream(bytes(960), now=wire.now)
        wire.run(1)
        self.assertEqual([event.stream.name for event in wire.there.of(StreamRequested)], [bytes(960)])

    def test_lostOpen(self) -> None:
        """A lost open, or a lost answer, is sent again."""
        for role, kind in ((Role.STARTER, p.StreamOpen), (Role.LISTENER, p.StreamOpenAck)):
            wire = Wire().open()
            wire.lose_first(role, kind, 3)
            stream = wire.starter.open_stream(b"x", now=wire.now)
            stream.write(b"data")
            wire.until(lambda wire=wire: wire.here.of(StreamAccepted))  # type: ignore[misc]
            wire.until(lambda wire=wire: bytes(wire.there.data.get(0, b"")) == b"data")  # type: ignore[misc]

    def test_table(self) -> None:
        """Every state of every table leads to its end."""
        for state in Opening:
            if state is not Opening.OVER:
                self.assertIs(OPENING.next(state, OpeningInput.END), Opening.OVER)
        for table in (SENDING, RECEIVING):
            cleared = {after for _, input, after in table if input.name == "CLEAR"}
            self.assertLessEqual({state.name for state in cleared}, {"CLEARED", "FLUSHED", "DELIVERED"})


class WaitingTests(SynchronousTestCase):
    """Streams wait for the peer's limit."""

    def test_wait(self) -> None:
        """Streams beyond the peer's limit wait, without a number, and go as others end."""
        wire = Wire(listener=Options(max_streams=20)).open()
        streams = [wire.starter.open_stream(b"%d" % number, now=wire.now) for number in range(25)]
        for stream in streams:
            stream.write(b"data of %s" % stream.name)
        wire.run(1)
        self.assertEqual([stream.id for stream in streams], [*range(0, 40, 2), -1, -1, -1, -1, -1])
        self.assertEqual(wire.starter.statistics()["streams"], 25)
        for stream in streams:
            stream.finish()
        wire.until(lambda: len(wire.here.ends) == 25)
        self.assertEqual({bytes(data) for data in wire.there.data.values()}, {b"data of %d" % n for n in range(25)})
        self.assertEqual([stream.name for stream in wire.there.streams], [b"%d" % number for number in range(25)])

    def test_limitIsKept(self) -> None:
        """The next stream waits until the peer knows that another is over, also under loss, and however it ends."""
        wire = Wire(listener=Options(max_streams=16), seed=3).open()
        wire.lose = lambda role, datagram: wire.random.random() < 0.3
        for number in range(60):
            stream = wire.starter.open_stream(b"%d" % number, now=wire.now)
            wire.run(0.01)
            if number % 3 == 0:
                stream.clear()
            else:
                stream.finish()
        wire.until(lambda: len(wire.here.ends) == 60, 200)
        self.assertEqual((wire.here.error, wire.there.error), (None, None))

    def test_early(self) -> None:
        """A starter opens 16 streams before it knows the listener's limit, and others when it does."""
        wire = Wire()
        streams = [wire.starter.open_stream(now=wire.now) for _ in range(20)]
        self.assertEqual([stream.id for stream in streams[15:]], [30, -1, -1, -1, -1])
        wire.open()
        self.assertEqual(streams[19].id, 38)

    def test_clearWaiting(self) -> None:
        """A stream that waits may be cleared: the peer never hears of it, and nothing of it stays."""
        wire = Wire(listener=Options(max_streams=0)).open()
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(b"never")
        stream.clear(3, "changed my mind")
        wire.run(1)
        self.assertIsInstance(wire.here.ends[-1], StreamAborted)
        self.assertEqual(wire.starter.statistics()["streams"], 0)
        self.assertEqual(wire.packets(Role.STARTER, p.StreamClear), [])
        wire.close()

    def test_clearOneOfSome(self) -> None:
        """When a waiting stream was cleared, those behind it still get their turn."""
        wire = Wire(listener=Options(max_streams=16)).open()
        streams = [wire.starter.open_stream(b"%d" % number, now=wire.now) for number in range(18)]
        streams[16].clear()
        streams[0].clear()
        wire.run(1)
        self.assertEqual((streams[16].id, streams[17].id), (-1, 32))

    def test_clearedBeforeEventsAreTaken(self) -> None:
        """A waiting stream that was cleared in this very turn does not get a number."""
        puppet = Puppet(Role.LISTENER, parameters=GENEROUS._replace(max_streams=1))
        first = puppet.victim.open_stream(now=puppet.now)
        second = puppet.victim.open_stream(now=puppet.now)
        puppet.listen()
        second.clear()
        first.clear()
        third = puppet.victim.open_stream(now=puppet.now)
        puppet.listen()
        self.assertEqual((second.id, third.id), (-1, 2))


class EndTests(SynchronousTestCase):
    """Each direction ends alone; a clear ends both."""

    def test_halfClosed(self) -> None:
        """When one direction has ended the other goes on."""
        wire = Wire().open()
        wire.there.finishes = False
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(b"question")
        stream.finish()
        wire.until(lambda: wire.there.of(StreamFinished) and wire.here.of(StreamFlushed))
        self.assertEqual((wire.here.ends, wire.there.ends), ({}, {}))
        (theirs,) = wire.there.streams
        for number in range(5):
            theirs.write(b"answer %d;" % number)
            wire.run(1)
        theirs.finish()
        wire.until(lambda: wire.here.ends and wire.there.ends)
        self.assertEqual(bytes(wire.here.data[0]), b"".join(b"answer %d;" % number for number in range(5)))

    def test_onlyWhenGiven(self) -> None:
        """The flush is acknowledged only when the application has accepted and been given everything."""
        wire = Wire().open()
        wire.there.accepts_streams = None
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(b"data")
        stream.finish()
        wire.run(2)
        self.assertEqual(wire.here.of(StreamFlushed), [])
        wire.there.streams[0].accept()
        wire.until(lambda: wire.here.of(StreamFlushed))

    def _clear(self, wire: Wire, clearing: Stream) -> tuple[HypermailError | None, HypermailError | None]:
        clearing.clear(4_711, "enough")
        clearing.clear(1, "twice is harmless")
        wire.until(lambda: wire.here.ends and wire.there.ends)
        wire.run(1)
        for side in (wire.starter, wire.listener):
            self.assertEqual((side.statistics()["streams"], side.statistics()["control_unacked"]), (0, 0))
        return wire.here.ends[0], wire.there.ends[0]

    def test_openerClears(self) -> None:
        """The opener may clear at any time; the peer reads code and text."""
        wire = Wire().open()
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(bytes(1 << 20))
        wire.run(0.1)
        here, there = self._clear(wire, stream)
        assert here is not None and there is not None
        self.assertEqual((type(here), here.code), (StreamAborted, 4_711))
        self.assertEqual((type(there), there.code, there.text), (StreamCleared, 4_711, "enough"))
        self.assertRaises(UsageError, stream.write, b"more")
        stream.finish()

    def test_acceptorClears(self) -> None:
        """So may the side that has accepted, while data is on its way to it."""
        wire = Wire().open()
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(bytes(1 << 20))
        wire.run(0.1)
        here, there = self._clear(wire, wire.there.streams[0])
        self.assertEqual((type(here), type(there)), (StreamCleared, StreamAborted))

    def test_clearedAtOnce(self) -> None:
        """A stream may be cleared before its open has left: the peer's application never hears of it."""
        wire = Wire().open()
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(b"data")
        stream.clear()
        wire.run(1)
        self.assertEqual((len(wire.here.ends), wire.there.ends, wire.starter.statistics()["streams"]), (1, {}, 0))

    def test_bothClear(self) -> None:
        """When both clear at once each has its own reason, and nothing is left."""
        wire = Wire().open()
        stream = wire.starter.open_stream(now=wire.now)
        wire.run(1)
        wire.there.streams[0].clear(2, "there")
        here, there = self._clear(wire, stream)
        self.assertEqual((type(here), type(there)), (StreamAborted, StreamAborted))

    def test_lost(self) -> None:
        """Lost clears, flushes and flush acknowledgements are sent again."""
        for role, kind in (
            (Role.STARTER, p.StreamFlush),
            (Role.LISTENER, p.StreamFlushAck),
            (Role.LISTENER, p.StreamFlush),
            (Role.STARTER, p.StreamFlushAck),
        ):
            wire = Wire().open()
            wire.lose_first(role, kind, 3)
            wire.starter.open_stream(now=wire.now).finish()
            wire.until(lambda wire=wire: wire.here.ends and wire.there.ends)  # type: ignore[misc]
            self.assertEqual((wire.here.ends, wire.there.ends), ({0: None}, {0: None}))

    def test_lack(self) -> None:
        """When the flush overtakes lost data the peer tells what it lacks, and gets it."""
        wire = Wire().open()
        stream = wire.starter.open_stream(now=wire.now)
        wire.run(1)
        lost = [2]

        def lose(role: Role, datagram: bytes) -> bool:
            if role is Role.STARTER and lost[0] and holds(datagram, p.StreamChunk):
                lost[0] -= 1
                return True
            return False

        wire.lose = lose
        stream.write(bytes(range(256)) * 40)
        stream.finish()
        wire.until(lambda: wire.here.ends)
        self.assertEqual(bytes(wire.there.data[0]), bytes(range(256)) * 40)
        self.assertTrue(wire.packets(Role.LISTENER, p.StreamLack))

    def test_toldOnce(self) -> None:
        """StreamEnded comes once, and last of all that is told of a stream."""
        wire = Wire().open()
        for number in range(5):
            stream = wire.starter.open_stream(now=wire.now)
            stream.write(b"x" * number)
            stream.finish()
        wire.until(lambda: len(wire.here.ends) == 5 and len(wire.there.ends) == 5)
        wire.run(1)
        for side in (wire.here, wire.there):
            over: set[int] = set()
            for event in side.events:
                if hasattr(event, "stream"):
                    self.assertNotIn(event.stream.id, over)
                    if isinstance(event, StreamEnded):
                        over.add(event.stream.id)
            self.assertEqual(len(over), 5)


class FlowTests(SynchronousTestCase):
    """Back pressure through both sides."""

    def test_pausedReader(self) -> None:
        """While the reader pauses the sender stops at a bound and hears Later; after it nothing is missing."""
        wire = Wire(listener=Options(stream_pool=64 * KIB, stream_pool_max=64 * KIB)).open()
        data = bytes(range(256)) * 4_000
        stream = wire.starter.open_stream(now=wire.now)
        wire.run(1)
        (theirs,) = wire.there.streams
        theirs.pause()
        stream.write(data)
        stream.finish()
        wire.run(30)
        self.assertEqual(len(wire.there.data.get(0, b"")), 0)
        sent = sum(len(chunk.data) for chunk in wire.packets(Role.STARTER, p.StreamChunk))
        self.assertLessEqual(sent, 80 * KIB)
        self.assertTrue(wire.packets(Role.LISTENER, p.StreamLater))
        theirs.resume()
        wire.until(lambda: wire.here.of(StreamFlushed))
        self.assertEqual(bytes(wire.there.data[0]), data)

    def test_othersFlow(self) -> None:
        """A paused stream does not hold up others."""
        wire = Wire().open()
        streams = [wire.starter.open_stream(now=wire.now) for _ in range(2)]
        wire.run(1)
        wire.there.streams[0].pause()
        for stream in streams:
            stream.write(bytes(200_000))
            stream.finish()
        wire.until(lambda: 2 in wire.here.ends)
        self.assertNotIn(0, wire.there.data)

    def test_lostRaises(self) -> None:
        """Raises of the limit are repeated until they arrive."""
        wire = Wire().open()
        wire.lose_first(Role.LISTENER, p.StreamGo, 20)
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(bytes(400_000))
        stream.finish()
        wire.until(lambda: wire.here.ends)
        self.assertEqual(len(wire.there.data[0]), 400_000)

    def test_fair(self) -> None:
        """Streams that all have data take turns: at any time they are about equally far."""
        wire = Wire().open()
        for _ in range(10):
            wire.starter.open_stream(now=wire.now).write(bytes(200_000))
        wire.until(lambda: sum(map(len, wire.there.data.values())) > 500_000)
        far = [len(wire.there.data[2 * number]) for number in range(10)]
        self.assertLess(max(far) - min(far), 40_000)

    def test_leftovers(self) -> None:
        """What other content leaves of a datagram is not a turn: streams share datagrams of unequal room equally."""
        streams = Streams(Role.STARTER, Options(), EARLY, Control())
        for _ in range(2):
            streams.open(b"", StreamOptions()).write(bytes(16_000))
        given = {0: 0, 2: 0}
        for _ in range(8):
            for room in (1_200, 100):
                payload = Payload(room)
                streams.fill(payload)
                for source, start, stop in payload.contents:
                    assert isinstance(source, Outgoing)
                    given[source.id] += stop - start
        self.assertLessEqual(abs(given[0] - given[2]), 1_200)

    def test_poolBound(self) -> None:
        """Many streams whose reader pauses take no more than their windows and the pool."""
        options = Options(stream_pool=256 * KIB, stream_pool_max=256 * KIB)
        wire = Wire(listener=options).open()
        for _ in range(30):
            wire.starter.open_stream(now=wire.now).write(bytes(100_000))
        wire.there.reply = lambda event: event.stream.pause() if isinstance(event, StreamRequested) else None
        wire.run(20)
        sent = {(chunk.id, chunk.offset, len(chunk.data)) for chunk in wire.packets(Role.STARTER, p.StreamChunk)}
        self.assertLessEqual(sum(size for _, _, size in sent), 30 * 16 * KIB + 256 * KIB)
        wire.there.reply = lambda event: None
        for stream in wire.there.streams:
            stream.resume()
        wire.until(lambda: sum(map(len, wire.there.data.values())) == 3_000_000)

    def test_writable(self) -> None:
        """A writer that saw a full buffer is told when it has room."""
        wire = Wire(Options(stream_buffer=50_000)).open()
        stream = wire.starter.open_stream(now=wire.now)
        stream.write(bytes(300_000))
        self.assertTrue(stream.full)
        wire.until(lambda: wire.here.of(StreamWritable))
        self.assertFalse(stream.full)
        wire.until(lambda: len(wire.there.data[0]) == 300_000)
        self.assertEqual(len(wire.here.of(StreamWritable)), 1)

    def test_overrun(self) -> None:
        """Who sends past its limit is cut off, with a reason that both sides can read."""
        puppet = Puppet()
        puppet.say(p.StreamOpen(0, b"", {}, None))
        (answer,) = puppet.of(p.StreamOpenAck)
        assert answer.limit is not None
        error = puppet.said(p.StreamChunk(0, answer.limit, b"x"))
        assert error is not None
        self.assertEqual(error.code, Reason.LIMIT_EXCEEDED)
        self.assertIn(str(answer.limit), puppet.of(p.SessionDeath)[0].text)

    def test_laterWithoutEnd(self) -> None:
        """Any number of Later and Go without news costs nothing and says nothing."""
        puppet = Puppet(Role.LISTENER)
        puppet.victim.open_stream(now=puppet.now)
        puppet.listen()
        puppet.say(p.StreamOpenAck(0, 20_000))
        before = puppet.victim.statistics()["control_unacked"]
        words: list[p.Packet] = [p.StreamLater(0), p.StreamGo(0, 5)]
        for _ in range(100):
            self.assertEqual(puppet.say(*words * 50), [])
        self.assertIsNone(puppet.application.error)
        self.assertEqual(puppet.victim.statistics()["control_unacked"], before)


class WayTests(SynchronousTestCase):
    """Sessions that carry one way."""

    def test_readOnly(self) -> None:
        """Where the starter only reads, its streams carry the listener's bytes, and end when those have."""
        wire = Wire(Options(way=Way.READ_ONLY)).open()
        stream = wire.starter.open_stream(b"give", now=wire.now)
        self.assertRaises(UsageError, stream.write, b"x")

        def serve(event: object) -> None:
            if isinstance(event, StreamRequested):
                event.stream.write(b"served")
                event.stream.finish()

        wire.there.reply = serve
        wire.until(lambda: wire.here.ends and wire.there.ends)
        self.assertEqual((bytes(wire.here.data[0]), wire.here.ends, wire.there.ends), (b"served", {0: None}, {0: None}))
        self.assertEqual(wire.here.of(StreamFlushed), [])

    def test_writeOnly(self) -> None:
        """Where the starter only writes, a stream is over when the listener has all of it, whoever opened it."""
        wire = Wire(Options(way=Way.WRITE_ONLY)).open()
        ours = wire.starter.open_stream(now=wire.now)
        ours.write(b"ours")
        ours.finish()
        wire.listener.open_stream(now=wire.now)
        wire.here.reply = lambda event: self._answer(event)
        wire.until(lambda: len(wire.here.ends) == 2 and len(wire.there.ends) == 2)
        self.assertEqual({id: bytes(data) for id, data in wire.there.data.items()}, {0: b"ours", 1: b"answer"})
        self.assertEqual(wire.here.data, {})

    def _answer(self, event: object) -> None:
        if isinstance(event, StreamRequested):
            event.stream.write(b"answer")
            event.stream.finish()

    def test_wrongWay(self) -> None:
        """Chunks and flushes in the wrong way end the session with a reason of its own."""
        for packet in (p.StreamChunk(0, 0, b"x"), p.StreamFlush(0, 0)):
            puppet = Puppet(way=Way.READ_ONLY)
            puppet.say(p.StreamOpen(0, b"", {}, None))
            error = puppet.said(packet)
            self.assertEqual(error.code if error else None, Reason.WRONG_WAY)
            self.assertEqual(puppet.of(p.SessionDeath)[0].code, Reason.WRONG_WAY)


class ViolationTests(SynchronousTestCase):
    """Lies about what was sent."""

    def test_acknowledgements(self) -> None:
        """Acknowledgements of what was never sent or flushed break the protocol."""
        for packet in (p.StreamChunkAck(0, 1), p.StreamFlushAck(0)):
            puppet = Puppet()
            puppet.say(p.StreamOpen(0, b"", {}, None))
            self.assertEqual(puppet.said(packet).code, ProtocolViolation.default_code)  # type: ignore[union-attr]

    def test_lengths(self) -> None:
        """Bytes past the final length, and another final length, break the protocol."""
        for packet in (p.StreamChunk(0, 10, b"x"), p.StreamFlush(0, 11)):
            puppet = Puppet()
            puppet.say(p.StreamOpen(0, b"", {}, None), p.StreamFlush(0, 10))
            self.assertEqual(puppet.said(packet).code, ProtocolViolation.default_code)  # type: ignore[union-attr]

    def test_manyHoles(self) -> None:
        """A stream with more holes than an honest network makes breaks the limit."""
        puppet = Puppet()
        puppet.say(p.StreamOpen(0, b"", {}, None))
        for offset in range(1, 20_000, 2):
            puppet.say(p.StreamChunk(0, offset, b"x"))
            if puppet.application.error is not None:
                break
        self.assertEqual(puppet.application.error.code, LimitExceeded.default_code)  # type: ignore[union-attr]


class PeerRestartedTests(SynchronousTestCase):
    """A peer that was restarted remembers nothing of any stream."""

    def setUp(self) -> None:
        self.control = Control()
        self.streams = Streams(Role.STARTER, Options(max_streams=2), EARLY._replace(max_streams=1), self.control)

    def restarted(self) -> None:
        """... and this side knows."""
        self.streams.peer_restarted(StreamForgotten("the peer was restarted"), 0.0)

    def test_ours(self) -> None:
        """Our streams are numbered from the beginning, and as many as before may be open."""
        for _ in range(2):
            stream = self.streams.open(b"", StreamOptions())
            self.assertEqual((stream.opening, stream.id), (Opening.REQUESTED, 0))
            self.restarted()
            self.assertIsInstance(stream.error, StreamForgotten)

    def test_cleared(self) -> None:
        """One whose end it had not heard of is not waited for any more."""
        self.streams.open(b"", StreamOptions()).clear(7, "enough")
        self.streams.take_events(0.0, 0.0)
        self.restarted()
        self.control.retain(())
        stream = self.streams.open(b"", StreamOptions())
        self.assertEqual((stream.opening, stream.id), (Opening.REQUESTED, 0))

    def test_peers(self) -> None:
        """So are the peer's, and it may open as many as before, no more."""
        for id in (1, 3, 5):
            self.streams.receive_open(p.StreamOpen(id, b"", {}, None))
            self.streams.take_events(0.0, 0.0)
            if id < 5:
                self.streams.receive_clear(p.StreamClear(id, 0, ""))
                self.streams.take_events(0.0, 0.0)
        self.restarted()
        for id in (1, 3):
            self.streams.receive_open(p.StreamOpen(id, b"", {}, None))
        self.assertEqual(len(self.streams), 2)
        with self.assertRaises(LimitExceeded):
            self.streams.receive_open(p.StreamOpen(5, b"", {}, None))

    def test_offsets(self) -> None:
        """Over another link it is said how far those streams have come that both sides have; no others."""
        stream = self.streams.open(b"", StreamOptions())
        self.streams.tell_offsets()
        self.assertNotIn(("reopen", stream.id), self.control._current)
        self.streams.receive_open_ack(p.StreamOpenAck(stream.id, 100))
        self.streams.tell_offsets()
        self.assertIn(("reopen", stream.id), self.control._current)
