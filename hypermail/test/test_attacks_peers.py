"""
Attacks by a peer that has the session's keys, and by whoever sits on the way of its datagrams: lies in acknowledgements
and lengths, false moves, texts that are meant for a terminal.
"""

from __future__ import annotations

import gc
import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import LimitExceeded, ProtocolViolation, Reason, SessionAborted, SessionKilled
from hypermail.events import SessionEnded
from hypermail.link.acks import Acks
from hypermail.link.congestion import names
from hypermail.link.link import Link
from hypermail.link.skips import REMEMBERED
from hypermail.options import KIB, Options, Role
from hypermail.security.handshake import PlainHandshake
from hypermail.test.attacks import DELAY, MODES, AttackCase, stranger_datagrams
from hypermail.test.sealed import long, short
from hypermail.test.wired import Wire
from hypermail.testing import Conditions, Pair
from hypermail.trace import NullTrace
from hypermail.wire import packets as p
from hypermail.wire.heads import Head

#: Where the attacker is.
ELSEWHERE = ("203.0.113.66", 666)


class LyingCase(AttackCase):
    """A peer that lies in an authentic datagram."""

    def assertEnds(
        self, wire: Wire, liar: Role, said: bytes, code: Reason = Reason.PROTOCOL_VIOLATION, text: str = ""
    ) -> None:
        """The session ends by it, and both applications read the same reason."""
        wire.inject(liar, said)
        wire.run(4 * DELAY)
        errors = (wire.here.error, wire.there.error)
        self.assertEqual([type(errors[liar]), type(errors[1 - liar])], [SessionKilled, SessionAborted])
        for error in errors:
            assert error is not None
            self.assertEqual(error.code, code)
            self.assertIn(text, error.text)
        wire.run(10)
        self.assertNothingLeft(wire)


class AckTimeTests(SynchronousTestCase):
    """Acknowledgements that lie about their delay, come for each datagram, or hardly ever: on 10 Mbit/s, 26 ms."""

    def transfer(self, congestion: str, lies: bool = False, waits: float | None = None) -> tuple[float, int, float]:
        """
        Bring a stream to a listener that acknowledges so.

        @param lies: whether it says that it has waited for more than an hour each time.
        @param waits: s that it waits with each acknowledgement; as it should when None.
        @return: s that it takes, bytes that were lost, and the round trip that was estimated.
        """
        packet, end_turn = Acks.packet, Acks.end_turn
        pair = Pair(
            1, Conditions(delay=0.013, bandwidth=10e6, queue_bytes=32_500), options=Options(congestion=congestion)
        )
        pair.open()
        listener = pair.listener.connection._link.acks

        def lying(acks: Acks, now: float) -> p.Ack:
            told = packet(acks, now)
            return told._replace(delay=0xFFFFFFFF) if lies and acks is listener else told

        def waiting(acks: Acks, now: float, round_trip: float) -> None:
            if waits is None or acks is not listener:
                end_turn(acks, now, round_trip)
            elif acks.deadline is None and not waits:
                acks.force()
            elif acks.deadline is None:
                acks.deadline = now + waits

        self.patch(Acks, "packet", lying)
        self.patch(Acks, "end_turn", waiting)
        began = pair.now
        stream = pair.starter.open_stream(b"", bytes(1_024 * KIB))
        streams = pair.listener.application.streams
        pair.run(lambda: stream.id in streams and streams[stream.id].finished)
        told = pair.starter.connection.statistics()
        self.assertLess(told["window"], 256 * KIB)
        return pair.now - began, told["bytes_lost"], told["rtt"]

    def test_delay(self) -> None:
        """Of a delay no more than the limit is believed, and never more than leaves the least round trip."""
        for congestion in names():
            for waits in (None, 0.0):
                took, lost, round_trip = self.transfer(congestion, lies=True, waits=waits)
                self.assertGreaterEqual(round_trip, 0.026)
                self.assertLess(took, 1.3)
                self.assertLess(lost, 256 * KIB)

    def test_each(self) -> None:
        """Who acknowledges each datagram gains nothing."""
        for congestion in names():
            took, lost, _ = self.transfer(congestion, waits=0.0)
            self.assertTrue(0.8 < took < 1.3, took)
            self.assertLess(lost, 256 * KIB)

    def test_withheld(self) -> None:
        """Who withholds acknowledgements slows down itself; it gets no bursts of more than the window."""
        for congestion in names():
            took, lost, _ = self.transfer(congestion, waits=0.4)
            self.assertGreater(took, 1.3)
            self.assertLess(lost, 256 * KIB)


class OptimisticAckTests(LyingCase):
    """Acknowledgements of what was not received, so that the sender sends faster than is good."""

    def test_unsent(self) -> None:
        """An acknowledgement of a number that was never sent ends the session, by either side, in either mode."""
        for mode in MODES:
            for liar in Role:
                wire = self.wire(mode).open()
                victim = (wire.listener, wire.starter)[liar]
                number = victim.statistics()["datagrams_sent"] + 5
                said = short((wire.starter, wire.listener)[liar], p.Ack(0, ((number, number + 1),)))
                self.assertEnds(wire, liar, said, text="never sent")

    def test_leftOut(self) -> None:
        """Who acknowledges everything acknowledges a number that was left out on purpose, and is found out."""
        for liar in Role:
            wire = self.wire().open()
            victim = (wire.listener, wire.starter)[liar]
            while not (skips := victim._link.recovery.skips) or not skips.skipped:
                victim.send_message(b"x" * 1_000, now=wire.now)
                wire.run(0.02)
                self.assertLess(victim.statistics()["datagrams_sent"], 3_000)
            number = victim._link.recovery._next
            said = short((wire.starter, wire.listener)[liar], p.Ack(0, ((0, number),)))
            self.assertEnds(wire, liar, said, text="left out on purpose")

    def test_honest(self) -> None:
        """An honest peer of a long transfer is never taken for such a one."""
        wire = self.wire().open()
        for _ in range(3_000):
            wire.starter.send_message(b"x" * 1_000, now=wire.now)
            wire.run(0.002)
        wire.until(lambda: len(wire.here.settled) == 3_000)
        skips = wire.starter._link.recovery.skips
        assert skips is not None
        self.assertTrue(2 <= len(skips.skipped) <= REMEMBERED)
        self.assertWorks(wire)

    def test_unpredictable(self) -> None:
        """What is left out does not follow from anything that the peer knows: keys and tags are the same here."""
        left_out = set()
        for skips in (b"one", b"other", b"third"):
            link = Link(
                Role.STARTER,
                Options(),
                PlainHandshake(Role.STARTER),
                local_tag=1,
                first_tag=2,
                remote_tag=2,
                address="peer",
                now=1.0,
                trace=NullTrace(),
                skips=skips,
            )
            link.take(p.Handshake(0, b""), 1.0, True)
            assert link.recovery.skips is not None
            left_out.add(link.recovery.skips.next)
        self.assertEqual(len(left_out), 3)

    def test_beforeKeys(self) -> None:
        """
        Before there are keys anybody can have a side acknowledge what was never sent: it has no effect.
        """
        for mode in MODES:
            wire = self.wire(mode)
            wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
            wire.inject(Role.STARTER, long(wire.starter, p.Ack(0, ((0, 1_000),))))
            wire.open()
            self.assertWorks(wire)


class LengthTests(LyingCase):
    """Lengths and numbers that are too large, or below nothing."""

    def test_ackRanges(self) -> None:
        """Acknowledgements of as many ranges as allowed, without end, cost no memory; one of more ends the session."""
        wire = self.wire().open()
        for number in range(150):
            wire.listener.send_message(b"%d" % number, now=wire.now)
            wire.run(0.001)
        sent = wire.listener.statistics()["datagrams_sent"]
        self.assertGreater(sent, 140)
        ack = p.Ack(0, tuple((number, number + 1) for number in range(sent - 1, sent - 129, -2)))
        self.assertEqual(len(ack.ranges), 64)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(400):
                wire.inject(Role.STARTER, short(wire.starter, ack, ack))
                wire.run(0)
            wire.run(1)
            self.assertLess(tracemalloc.get_traced_memory()[0] - before, 1 << 20)
        finally:
            tracemalloc.stop()
        self.assertWorks(wire)
        numbers = (1).to_bytes(4, "big") * 2 * 64
        self.assertEnds(
            wire, Role.STARTER, short(wire.starter, p.ACK.pack(Head.ACK, 200, 0, 64, 1) + numbers), text="65 ranges"
        )

    def test_impossible(self) -> None:
        """Every one of them ends the session as a violation, with a text that says what it was."""
        most = (1 << 32) - 1
        for said in (
            p.ACK.pack(Head.ACK, 0, 0, 0, 2),
            p.ACK.pack(Head.ACK, 0, 0, 0, 0),
            p.ACK.pack(Head.ACK, 0, 0, 0, most),
            p.ACK.pack(Head.ACK, (1 << 64) - 1, 0, 0, 1),
            p.ACK.pack(Head.ACK, 0, 0, 1, 1) + (most).to_bytes(4, "big") * 2,
            p.HANDSHAKE.pack(Head.HANDSHAKE, 0, 0xFFFF),
            p.StreamBlock(0, 0, 0, most, most - 1, b"x").encode(),
            p.StreamBlock(0, 0, 0, 5, 4, b"xyz").encode(),
            p.StreamChunk(0, (1 << 64) - 2, b"xyz").encode(),
            p.StreamFlush(0, (1 << 64) - 1).encode(),
            p.SessionDeath(5, "text").encode()[:-2],
            p.StreamBlockAck(0, (1 << 64) - 1, (), ()).encode(),
        ):
            wire = self.wire().open()
            wire.inject(Role.STARTER, short(wire.starter, said))
            wire.run(4 * DELAY)
            self.assertIsInstance(wire.there.error, SessionAborted, said)
            self.assertIsInstance(wire.here.error, SessionKilled)
            assert wire.there.error is not None
            self.assertIn(wire.there.error.code, (Reason.PROTOCOL_VIOLATION, Reason.LIMIT_EXCEEDED))
            wire.run(10)
            self.assertNothingLeft(wire)

    def test_hugeHello(self) -> None:
        """A hello of 1 MiB is given up at 64 KiB, with bounded memory, whatever it says of its own length."""
        for mode, first in (
            (mode, first) for mode in MODES for first in (b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x05", b"\x01")
        ):
            wire = self.wire(mode)
            wire.lose = lambda role, datagram: role is Role.STARTER
            datagrams = stranger_datagrams(mode, first + bytes(1 << 20), 50)
            errors: set[type] = set()
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                for datagram in datagrams:
                    wire.inject(Role.STARTER, datagram)
                    wire.run(0.001)
                    errors |= {type(event.error) for event in wire.there.of(SessionEnded)}
                    wire.sent.clear()
                    wire.there.events.clear()
                    if tracemalloc.get_traced_memory()[0] - before >= 256 * KIB:
                        gc.collect()  # what waits for the collector is not held
                    self.assertLess(tracemalloc.get_traced_memory()[0] - before, 256 * KIB)
            finally:
                tracemalloc.stop()
            wire.run(20)
            self.assertEqual(len(wire.demux), 0)
            self.assertTrue(errors)

    def test_hugeFlight(self) -> None:
        """A listener's flight without end is given up by the starter at 64 KiB, too."""
        for mode in MODES:
            wire = self.wire(mode)
            wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
            listener = next(wire.demux.connections)
            wire.lose = lambda role, datagram: role is Role.LISTENER
            for offset in range(100_000, 40_000, -1_000):
                wire.inject(Role.LISTENER, long(listener, p.Handshake(offset, bytes(1_000))))
            wire.run(1)
            self.assertIsInstance(wire.here.error, SessionAborted)
            self.assertEqual(wire.here.error.code if wire.here.error else 0, LimitExceeded.default_code)
            self.assertNothingRequested(wire)

    def test_manyPieces(self) -> None:
        """A hello in tiny pieces with gaps is given up at a bounded number of them."""
        wire = self.wire()
        wire.until(lambda: len(wire.demux))
        wire.lose = lambda role, datagram: True
        (connection,) = wire.demux.connections
        for offset in range(65_000, 1_000, -600):
            pieces = [p.Handshake(offset - gap, b"x") for gap in range(0, 600, 6)]
            wire.inject(Role.STARTER, long(wire.starter, *pieces))
        wire.run(0.1)
        self.assertEqual(connection.statistics()["state"], "ended")
        self.assertIsInstance(wire.there.error, ProtocolViolation | SessionAborted)


class TextTests(AttackCase):
    """Texts that are meant for a terminal, or a log."""

    NASTY = "\x1b[2J\x1b]0;owned\x07\r\n2026-01-01 INFO all is well\x00\u202e\x9b31m"

    def test_reasons(self) -> None:
        """Whatever reason a peer gives, a text stands on one line and does nothing."""
        for packet in (p.SessionDeath(5, self.NASTY), p.SessionDeath(0xFFFFFFFF, "")):
            wire = self.wire().open()
            wire.inject(Role.STARTER, short(wire.starter, packet))
            wire.run(0)
            error = wire.there.error
            assert error is not None
            self.assertTrue(str(error).isprintable(), repr(str(error)))
            self.assertEqual(error.code, packet.code)

    def test_rejection(self) -> None:
        """So does a listener's that rejects."""
        wire = self.wire()
        wire.there.accepts = None
        wire.until(lambda: wire.there.events)
        wire.listener.reject(77, self.NASTY, now=wire.now)
        wire.run(1)
        error = wire.here.error
        assert error is not None
        self.assertTrue(str(error).isprintable(), repr(str(error)))
        self.assertEqual(error.code, 77)

    def test_bytes(self) -> None:
        """What is no text at all is one, too."""
        wire = self.wire().open()
        raw = bytes(range(128, 256))
        death = p.SessionDeath(5, "").encode()[:-1] + bytes((len(raw),)) + raw
        wire.inject(Role.STARTER, short(wire.starter, death))
        wire.run(0)
        self.assertTrue(str(wire.there.error).isprintable())
