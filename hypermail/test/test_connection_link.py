"""
Tests for what L{hypermail.connection.Connection} does beside messages and streams: pings, statistics, timers,
resets, versions, traces.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.demux import Demux
from hypermail.errors import SessionAborted, SessionKilled, SessionReset, VersionMismatch
from hypermail.events import PingAnswered, SessionEnded
from hypermail.options import Mode, Options, Role
from hypermail.outlet import MOST_DATAGRAMS
from hypermail.security.handshake import PlainHandshake
from hypermail.test.wired import LISTENER, Puppet, Wire, holds
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire import packets as p


class PingTests(SynchronousTestCase):
    """The application measures round trips."""

    def test_answered(self) -> None:
        """Either side's ping is answered once, with the time it took."""
        wire = Wire(delay=0.05).open()
        for side, application in ((wire.starter, wire.here), (wire.listener, wire.there)):
            side.ping(now=wire.now)
            wire.until(lambda application=application: application.of(PingAnswered))  # type: ignore[misc]
            (answer,) = application.of(PingAnswered)
            self.assertAlmostEqual(answer.elapsed, 0.1, places=3)

    def test_lost(self) -> None:
        """A lost ping is sent again, and a lost pong made good by the acknowledgement: each is answered once."""
        for role, kind in ((Role.STARTER, p.HealthPing), (Role.LISTENER, p.HealthPong)):
            wire = Wire().open()
            wire.lose_first(role, kind, 2)
            wire.starter.ping(now=wire.now)
            wire.run(10)
            (answer,) = wire.here.of(PingAnswered)
            self.assertLess(answer.elapsed, 2)

    def test_many(self) -> None:
        """Many pings at once are all answered, though the peer answers few in a turn."""
        wire = Wire().open()
        for _ in range(50):
            wire.starter.ping(now=wire.now)
        wire.run(1)
        self.assertEqual(len(wire.here.of(PingAnswered)), 50)
        self.assertLessEqual(len(wire.packets(Role.LISTENER, p.HealthPong)), 8)

    def test_unasked(self) -> None:
        """A pong that nobody has asked for says nothing."""
        puppet = Puppet()
        puppet.say(p.HealthPong(7), p.PathResponse(bytes(8)))
        self.assertEqual((puppet.application.of(PingAnswered), puppet.application.error), ([], None))

    def test_challenge(self) -> None:
        """A path challenge is answered with its bytes."""
        puppet = Puppet()
        self.assertEqual(puppet.say(p.PathChallenge(b"12345678")), [p.PathResponse(b"12345678")])


class StatisticsTests(SynchronousTestCase):
    """Counters for people."""

    def test_counts(self) -> None:
        """Datagrams, bytes, losses and the round trip are counted on both sides."""
        wire = Wire(delay=0.05).open()
        wire.lose_first(Role.STARTER, p.StreamBlock, 3)
        wire.starter.send_message(bytes(50_000), now=wire.now)
        wire.until(lambda: wire.here.settled)
        wire.run(1)
        here, there = wire.starter.statistics(), wire.listener.statistics()
        self.assertEqual(here["datagrams_lost"], 3)
        self.assertAlmostEqual(here["rtt"], 0.1, places=2)
        self.assertEqual(here["bytes_sent"] - there["bytes_received"], 3 * 1_200)
        self.assertEqual(here["datagrams_sent"] - there["datagrams_received"], 3)
        self.assertEqual((here["bytes_lost"], here["in_flight"]), (3 * 1_200, 0))
        for statistics in (here, there):
            self.assertEqual(statistics["state"], "open")
            self.assertEqual({statistics[name] for name in ("messages_queued", "messages_begun", "messages_held")}, {0})

    def test_beforeAnything(self) -> None:
        """Before anything was heard there is no round trip to tell."""
        self.assertIsNone(Wire().starter.statistics()["rtt"])

    def test_names(self) -> None:
        """A connection knows its peer's address and its tags."""
        wire = Wire().open()
        self.assertEqual((wire.starter.address, wire.listener.address), (LISTENER, "the starter's address"))
        self.assertEqual(wire.starter.remote_tag, wire.listener.local_tag)
        self.assertEqual(wire.listener.remote_tag, wire.starter.local_tag)


class TimerTests(SynchronousTestCase):
    """The one timer."""

    def test_early(self) -> None:
        """Handling a timeout early, often, or when nothing is due is harmless."""
        wire = Wire().open()
        wire.starter.send_message(b"x", now=wire.now)
        for _ in range(50):
            wire.starter.handle_timeout(now=wire.now)
            wire.listener.handle_timeout(now=wire.now)
            wire.flush()
        wire.until(lambda: wire.here.settled)
        self.assertEqual(wire.starter.statistics()["probe_timeouts"], 0)

    def test_veryLate(self) -> None:
        """A timer that comes an hour late (the machine slept) ends or revives the session, and does not spin."""
        wire = Wire().open()
        wire.now += 3_600
        for _ in range(100):
            if not wire.step():
                break
        wire.run(30)
        errors = (wire.here.error, wire.there.error)
        self.assertTrue(all(errors) or not any(errors), errors)

    def test_noSpinning(self) -> None:
        """Time always goes on: at no moment are there many timeouts without a datagram between them."""
        wire = Wire().open()
        wire.lose = lambda role, datagram: wire.random.random() < 0.4
        wire.starter.send_message(bytes(200_000), expires=9.0, now=wire.now)
        wire.starter.open_stream(now=wire.now).write(bytes(100_000))
        last, count = wire.now, 0
        for _ in range(3_000):
            if not wire.step():
                break
            count = count + 1 if wire.now == last else 0
            last = wire.now
            self.assertLess(count, 20)


class ResetTests(SynchronousTestCase):
    """The peer doesn't know us any more."""

    def _restart(self, wire: Wire, same_key: bool) -> None:
        """The listener is restarted: it has no connections."""
        old = wire.demux
        wire.demux = Demux(options=Options(), handshake=PlainHandshake, random_bytes=wire.random.randbytes)
        if same_key:
            assert wire.demux._reception is not None and old._reception is not None
            wire.demux._reception._reset_key = old._reception._reset_key

    def test_reset(self) -> None:
        """A restarted listener that has kept its key ends the session at once, with an error that says so."""
        wire = Wire().open()
        message = wire.starter.send_message(b"x" * 100, now=wire.now)
        self._restart(wire, same_key=True)
        start = wire.now
        wire.until(lambda: wire.here.error)
        self.assertIsInstance(wire.here.error, SessionReset)
        self.assertLess(wire.now - start, 0.5)
        self.assertIsNotNone(message.error)
        wire.run(30)
        self.assertTrue(wire.starter.ended)
        self.assertEqual(wire.here.kinds[-1], SessionEnded)

    def test_wrongToken(self) -> None:
        """A reset with another key's token is ignored."""
        wire = Wire().open()
        wire.starter.send_message(b"x" * 100, now=wire.now)
        self._restart(wire, same_key=False)
        wire.run(10)
        self.assertIsNone(wire.here.error)
        for reset in (header.Reset(wire.starter.remote_tag, bytes(16)), header.Reset(5, bytes(16))):
            wire.inject(Role.LISTENER, header.encode_reset(reset))
        wire.inject(Role.LISTENER, header.encode_reset(header.Reset(5, bytes(16)))[:-1])
        wire.run(1)
        self.assertIsNone(wire.here.error)
        self.assertGreaterEqual(wire.starting.dropped, 2)

    def test_beforeOpening(self) -> None:
        """Before the listener has told its token no reset is believed, the empty one neither."""
        puppet = Puppet(Role.LISTENER, opens=False)
        puppet.listen()
        for token in (b"", bytes(16)):
            puppet.victim.reset(token, now=puppet.now)
        puppet.listen()
        self.assertIsNone(puppet.application.error)

    def test_afterTheEnd(self) -> None:
        """A reset after the end does not change how the session ended."""
        wire = Wire().open()
        assert wire.demux._reception is not None
        token = wire.demux._reception._reset_key.token(wire.starter.remote_tag)
        wire.starter.abort(5, "gone", now=wire.now)
        wire.starter.reset(token, now=wire.now)
        wire.flush()
        self.assertIsInstance(wire.here.error, SessionAborted)


class VersionTests(SynchronousTestCase):
    """The listener speaks something else."""

    def _starter(self) -> tuple[Puppet, bytes]:
        puppet = Puppet(Role.LISTENER, opens=False)
        puppet.listen()
        return puppet, header.encode_versions(
            header.Versions(puppet.victim.local_tag, puppet.victim.first_tag, (2, 7), (1, 99))
        )

    def test_mismatch(self) -> None:
        """A starter that has heard nothing else gives up, and says what the listener speaks."""
        puppet, versions = self._starter()
        puppet.hear(versions)
        self.assertIsInstance(puppet.application.error, VersionMismatch)
        self.assertIn("hypermail/2, hypermail/7 in mode tls", puppet.application.error.text)  # type: ignore[union-attr]
        self.assertTrue(puppet.victim.ended)

    def test_nothing(self) -> None:
        """A listener that speaks nothing is told of as that."""
        puppet, _ = self._starter()
        tags = puppet.victim.local_tag, puppet.victim.first_tag
        puppet.hear(header.encode_versions(header.Versions(*tags, (), ())))
        self.assertIn("speaks nothing", puppet.application.error.text)  # type: ignore[union-attr]

    def test_ownVersion(self) -> None:
        """A listener that speaks what was asked for has seen an altered hello: the starter goes on (RFC 9000 §6.2)."""
        puppet, _ = self._starter()
        tags = puppet.victim.local_tag, puppet.victim.first_tag
        puppet.hear(header.encode_versions(header.Versions(*tags, (2, 1), (1, 0))))
        self.assertTrue(puppet.victim.opening)
        puppet.hear(header.encode_versions(header.Versions(*tags, (1,), (1,))))
        self.assertFalse(puppet.victim.opening)

    def test_otherTag(self) -> None:
        """A version datagram that does not know the first tag comes from somebody else and is ignored."""
        puppet, _ = self._starter()
        forged = header.Versions(puppet.victim.local_tag, 5, (2,), (0,))
        puppet.hear(header.encode_versions(forged))
        puppet.hear(header.encode_versions(forged)[:-1])
        self.assertIsNone(puppet.application.error)

    def test_tooLate(self) -> None:
        """Once the listener has answered, a version datagram is ignored; a listener ignores all."""
        for role in Role:
            puppet = Puppet(role)
            versions = header.Versions(puppet.victim.local_tag, puppet.victim.first_tag, (2,), (0,))
            puppet.hear(header.encode_versions(versions))
            puppet.victim.versions(versions, now=puppet.now)
            puppet.listen()
            self.assertIsNone(puppet.application.error)

    def test_answered(self) -> None:
        """A listener answers another version, or mode, with what it speaks; a real starter understands it."""
        for version, mode in ((0, Mode.PLAIN), (2, Mode.PLAIN), (0xFFFFFFFF, Mode.PLAIN), (1, Mode.TLS), (1, 15)):
            puppet = Puppet(opens=False)
            hello = header.Long(mode, version, 5, 6, 0, b"", 0)
            datagram = header.encode_long(hello) + bytes(1_200)
            puppet.demux.receive([memoryview(datagram)], "stranger", now=puppet.now)
            ((address, (answer,), _),) = puppet.demux.replies()
            self.assertEqual(address, "stranger")
            self.assertEqual(header.decode_versions(memoryview(answer)), header.Versions(6, 5, (1,), (0,)))
            self.assertLess(len(answer), len(datagram) / 3)
            self.assertEqual(len(puppet.demux), 0)


class HandshakeTests(SynchronousTestCase):
    """Long datagrams."""

    def test_onlyTheLinks(self) -> None:
        """Anything but the link's own packets in a long datagram breaks the protocol."""
        puppet = Puppet(opens=False)
        puppet.hear(puppet.long(p.Handshake(0, b""), p.SessionDeath(1, "")))
        self.assertIsInstance(puppet.application.error, SessionAborted)
        self.assertTrue(puppet.victim.ended)

    def test_tooLarge(self) -> None:
        """A handshake that never ends is given up."""
        puppet = Puppet(opens=False)
        puppet.hear(puppet.long(p.Handshake(65_530, b"0123456789")))
        self.assertIsInstance(puppet.application.error, SessionAborted)

    def test_violationBeyondTheEnd(self) -> None:
        """Who goes on breaking rules after the end is no longer listened to."""
        puppet = Puppet()
        puppet.acks = False
        puppet.say(b"\xff")
        self.assertFalse(puppet.victim.ended)
        puppet.say(b"\xff")
        self.assertTrue(puppet.victim.ended)
        self.assertEqual(puppet.application.kinds.count(SessionEnded), 1)

    def test_afterTheEnd(self) -> None:
        """What arrives for a session that has ended is acknowledged, and otherwise ignored."""
        puppet = Puppet()
        puppet.acks = False
        puppet.victim.abort(5, "gone", now=puppet.now)
        puppet.listen()
        puppet.say(p.StreamOpen(0, b"", {}, None), p.SessionClose(), p.StreamBlocks(0, 0, 0, [b"x"]))
        self.assertEqual(puppet.application.kinds[-1], SessionEnded)
        puppet.acks = True
        puppet.say(puppet.ack())
        self.assertTrue(puppet.victim.ended)

    def test_noAmplification(self) -> None:
        """To an address that has proved nothing a listener sends at most three times what came from it."""
        puppet = Puppet(opens=False)
        hello = puppet.long(p.Handshake(0, b""))
        connection: Connection | None = None
        sent = 0
        for step in range(400):
            if step == 0:
                (connection,) = puppet.demux.receive([memoryview(hello)], "spoofed", now=puppet.now)
            assert connection is not None
            while trains := connection.trains(now=puppet.now):
                sent += sum(len(datagram) for train in trains for datagram in train.datagrams)
            deadline = connection.next_timeout()
            if deadline is None:
                break
            puppet.now = max(puppet.now, deadline)
            connection.handle_timeout(now=puppet.now)
        assert connection is not None
        self.assertTrue(connection.ended)
        self.assertGreater(sent, 0)
        self.assertLessEqual(sent, 3 * len(hello))


class Tracing(NullTrace):
    """Remembers what it is told."""

    __slots__ = ("closed", "datagrams", "names")

    kept = True

    def __init__(self) -> None:
        self.names: list[str] = []
        self.datagrams = [0, 0]
        self.closed = 0

    def event(self, now: float, name: str, **data: Any) -> None:
        self.names.append(name)

    def sent(self, now: float, number: int, size: int, long: bool) -> None:
        self.datagrams[0] += 1

    def received(self, now: float, number: int, size: int, long: bool) -> None:
        self.datagrams[1] += 1

    def close(self) -> None:
        self.closed += 1


class TraceTests(SynchronousTestCase):
    """The structured log."""

    def test_events(self) -> None:
        """Start, datagrams and end are traced, and the trace is closed once."""
        wire = Wire()
        traces = [Tracing(), Tracing()]
        wire.starter = Connection.starter(
            LISTENER,
            options=Options(),
            now=wire.now,
            random_bytes=wire.random.randbytes,
            handshake=PlainHandshake,
            trace=traces[0],
        )
        wire.starting = Demux(options=Options(), handshake=None, random_bytes=wire.random.randbytes)
        wire.starting.add(wire.starter)
        wire.demux = Demux(
            options=Options(),
            handshake=PlainHandshake,
            random_bytes=wire.random.randbytes,
            trace_factory=lambda role, name, now: traces[role],
        )
        wire.open()
        wire.close()
        for trace, connection in zip(traces, (wire.starter, wire.listener)):
            self.assertEqual(trace.names[0], "connectivity:connection_started")
            self.assertEqual(trace.names[-1], "connectivity:connection_closed")
            self.assertEqual(trace.closed, 1)
            statistics = connection.statistics()
            self.assertEqual(trace.datagrams, [statistics["datagrams_sent"], statistics["datagrams_received"]])


class TrainTests(SynchronousTestCase):
    """Datagrams leave in trains."""

    def test_equalSizes(self) -> None:
        """All datagrams of a train have the first one's size, but for the last, which may be shorter."""
        wire = Wire(delay=0.001).open()
        wire.starter.send_message(bytes(2_000_000), now=wire.now)
        longest = 0
        for _ in range(2_000):
            if wire.here.settled:
                break
            wire.starter.next_event()
            while trains := wire.starter.trains(now=wire.now):
                for train in trains:
                    sizes = [len(datagram) for datagram in train.datagrams]
                    self.assertEqual(set(sizes[:-1]) - {sizes[0]}, set())
                    self.assertLessEqual(sizes[-1], sizes[0])
                    self.assertLessEqual((len(sizes), sum(sizes)), (64, 65_000 if len(sizes) == 64 else 1 << 30))
                    longest = max(longest, len(sizes))
                wire._send(Role.STARTER, trains)
            wire.step()
        self.assertGreater(longest, 5)

    def test_more(self) -> None:
        """What is too much for one call is said to be more, and left for the next."""
        wire = Wire().open()
        wire.starter._link.route.congestion.window = 10_000_000
        wire.starter._link.rtt.smoothed = 1e-3
        wire.starter.send_message(bytes(1_000_000), now=wire.now)
        wire.now += 1
        wire.starter._link.allowance.buffer = 20_000_000
        datagrams = [datagram for train in wire.starter.trains(now=wire.now) for datagram in train.datagrams]
        self.assertEqual(len(datagrams), MOST_DATAGRAMS)
        self.assertTrue(wire.starter.more)
        self.assertTrue(wire.starter.trains(now=wire.now))
        while wire.starter.more:
            wire.now += 0.01
            wire.starter.trains(now=wire.now)
        self.assertEqual(wire.starter.trains(now=wire.now), [])

    def test_deathIsHeard(self) -> None:
        """The last word of a session leaves even when the window is full of data."""
        wire = Wire().open()
        wire.starter.send_message(bytes(1_000_000), now=wire.now)
        wire.run(0.03)
        wire.starter.abort(5, "gone", now=wire.now)
        wire.flush()
        self.assertTrue(any(role is Role.STARTER and holds(datagram, p.SessionDeath) for role, datagram in wire.sent))
        wire.until(lambda: wire.there.error)
        self.assertIsInstance(wire.there.error, SessionKilled)
