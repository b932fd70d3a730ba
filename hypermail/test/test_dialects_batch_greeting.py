"""
Tests for how sessions in dialect C{batch} begin: L{starting<hypermail.dialects.batch.starting>},
L{listening<hypermail.dialects.batch.listening>}, and what strangers can do to a listener.
"""

from __future__ import annotations

import gc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.batch import Batch
from hypermail.dialects.batch import packets as p
from hypermail.dialects.batch.connection import BatchConnection
from hypermail.dialects.batch.demux import BatchDemux
from hypermail.errors import HypermailError, SessionClosed, SessionRejected, SessionReset, SessionTimedOut, UsageError
from hypermail.options import ListenerOptions
from hypermail.test.dialects import Application, Host, Place, World

LISTENER = Place("10.0.0.1", 4700)
STARTER = Place("10.0.0.2", 5000)


class BatchCase(SynchronousTestCase):
    """A world in which datagrams are written down as packets, with where they went."""

    def begin(self, **conditions: Any) -> None:
        """The world is new."""
        self.world = World(**conditions)
        self.world.watch = self.watch
        self.log: list[tuple[float, Place, p.BatchPacket]] = []

    def setUp(self) -> None:
        self.begin()

    def watch(self, datagram: bytes, source: Place, destination: Place) -> bool:
        """Every datagram of ours is well-formed."""
        packet = p.decode(datagram)
        assert packet is not None
        self.log.append((self.world.now, destination, packet))
        return True

    def said(self, host: Host) -> list[p.BatchPacket]:
        """What was sent to others than a host."""
        return [packet for _, destination, packet in self.log if destination != host.place]

    def listen(self, dialect: Batch | None = None, **limits: int) -> Host:
        """A listener of ours."""
        return self.world.host(LISTENER, dialect or Batch(), listening=True, limits=ListenerOptions(**limits))

    def arrive(self, host: Host, packet: p.BatchPacket, host_name: str = STARTER.host) -> None:
        """A packet comes, from a port at which nobody receives."""
        host.receive(packet.encode(), Place(host_name, 41_234))

    def demux(self, host: Host) -> BatchDemux:
        """A host's."""
        assert isinstance(host.demux, BatchDemux)
        return host.demux


class StarterTests(BatchCase):
    """A starter of ours and a listener that the test plays."""

    def setUp(self) -> None:
        super().setUp()
        self.host = self.world.host(STARTER, Batch())
        self.application = self.host.start(LISTENER)

    def connects(self) -> list[p.BatchConnect]:
        """What the starter has asked."""
        return [each for each in self.said(self.host) if isinstance(each, p.BatchConnect)]

    def answer(self, connect: p.BatchConnect, receiver_id: int) -> None:
        """The listener agrees."""
        self.arrive(self.host, p.BatchConnectAck(connect.starter_id, receiver_id), LISTENER.host)

    def last(self) -> p.BatchPacket:
        """What was said last."""
        return self.said(self.host)[-1]

    def test_connect(self) -> None:
        """A starter asks with its port and a fresh id each time, each second, until it has waited enough."""
        self.world.run(20)
        self.assertEqual([round(at - 100) for at, _, _ in self.log], [*range(10)])
        self.assertEqual(len({each.starter_id for each in self.connects()}), 10)
        self.assertEqual({(each.port, each.version) for each in self.connects()}, {(STARTER.port, 1)})
        self.assertIsInstance(self.application.ended, SessionTimedOut)
        self.assertEqual(self.application.names, ["SessionEnded"])
        self.assertEqual(self.world.now, 120)

    def test_opens(self) -> None:
        """It opens with the first answer, and says nothing for 20 ms, whatever it has to say."""
        self.answer(self.connects()[0], 77)
        connection = self.application.connection
        self.assertEqual(self.application.names, ["SessionOpened"])
        self.assertEqual(connection.session_id, p.BatchConnectAck(self.connects()[0].starter_id, 77).encode()[1:9])
        connection.send_message(b"hello", now=self.world.now)
        connection.send_direct(b"direct")
        connection.ping(now=self.world.now)
        self.arrive(self.host, p.BatchPing(connection.id, 3), LISTENER.host)
        self.arrive(self.host, p.BatchData(connection.id, 1, 1, 3, b"early"), LISTENER.host)
        self.host.attend(connection)
        self.world.run(0.0199)
        self.assertEqual(len(self.log), 1)
        self.world.run(0.0002)
        kinds = {type(each) for each in self.said(self.host)[1:]}
        self.assertEqual(kinds, {p.BatchPing, p.BatchPingAck, p.BatchDataAck, p.BatchDirect, p.BatchData})
        self.assertEqual({each.id for each in self.said(self.host)[1:]}, {77})  # type: ignore[union-attr]

    def test_other_answers(self) -> None:
        """What is answered beyond the first is closed, whether it comes before data or long after."""
        self.world.run(2.5)
        first, second, third = self.connects()
        self.answer(second, 77)
        self.answer(first, 78)
        self.assertEqual(self.last(), p.BatchClose(78))
        self.world.run(1)
        self.answer(third, 79)
        self.assertEqual(self.last(), p.BatchClose(79))
        self.answer(second, 80)
        self.assertEqual(self.last(), p.BatchClose(80))
        self.assertEqual(self.application.connection.peer_id, 77)
        count = len(self.log)
        self.answer(second, 77)
        self.assertEqual(len(self.log), count)
        self.assertEqual(self.application.names, ["SessionOpened"])

    def test_superfluous(self) -> None:
        """A superfluous connection that lives on is closed when it pings; its Close and its data change nothing."""
        self.world.run(1.5)
        first, second = self.connects()
        self.answer(first, 77)
        self.answer(second, 78)
        self.world.run(1)
        for packet in (p.BatchClose(second.starter_id), p.BatchData(second.starter_id, 1, 1, 3, b"x")):
            count = len(self.log)
            self.arrive(self.host, packet, LISTENER.host)
            self.assertEqual(len(self.log), count)
        self.arrive(self.host, p.BatchPing(second.starter_id, 3), LISTENER.host)
        self.assertEqual(self.last(), p.BatchClose(78))
        self.assertEqual(self.application.names, ["SessionOpened"])
        self.assertEqual(self.demux(self.host).dropped["superfluous"], 3)

    def test_doubled(self) -> None:
        """
        When a Connect was doubled on the way the listener has two connections with one id of ours. The second is closed
        until it has heard that: its own end would look like that of the first.
        """
        self.answer(self.connects()[0], 77)
        self.world.run(1)
        for number, id in enumerate((78, 79, 80, 81)):
            self.answer(self.connects()[0], id)
            self.assertEqual(self.said(self.host)[-1 - number :][-1], p.BatchClose(id))
        self.answer(self.connects()[0], 82)  # who goes on like that has another reason
        self.assertNotIn(p.BatchClose(82), self.said(self.host))
        for _ in range(20):
            self.arrive(self.host, p.BatchPing(self.application.connection.id, 3), LISTENER.host)
        closings = [each.id for each in self.said(self.host) if isinstance(each, p.BatchClose)]
        self.assertEqual({id: closings.count(id) for id in closings}, {78: 16, 79: 16, 80: 16, 81: 16})
        self.assertEqual(self.application.names, ["SessionOpened"])

    def test_late_answers(self) -> None:
        """What is answered after everything is over is closed."""
        self.world.run(11)
        for connect in self.connects():
            self.answer(connect, 80)
            self.assertEqual(self.last(), p.BatchClose(80))

    def test_aborted(self) -> None:
        """A session that is given up before it opens closes what is answered later."""
        self.application.connection.abort(1, "enough", now=self.world.now)
        self.host.attend(self.application.connection)
        self.answer(self.connects()[0], 80)
        self.assertEqual(self.last(), p.BatchClose(80))

    def test_elsewhere(self) -> None:
        """An answer from another host than the listener's opens nothing."""
        self.arrive(self.host, p.BatchConnectAck(self.connects()[0].starter_id, 77), "10.0.0.9")
        self.assertEqual(self.application.names, [])
        self.assertEqual(self.demux(self.host).dropped["unknown_id"], 1)

    def test_refused(self) -> None:
        """A Close in place of an answer refuses the session."""
        self.arrive(self.host, p.BatchClose(self.connects()[0].starter_id), LISTENER.host)
        self.assertIsInstance(self.application.ended, SessionRejected)

    def test_not_listening(self) -> None:
        """A socket of starters takes no Connect."""
        self.arrive(self.host, p.BatchConnect(5_000, 1))
        self.assertEqual(self.demux(self.host).dropped["not_listening"], 1)
        self.assertEqual(len(self.host.sessions), 1)


class ListenerTests(BatchCase):
    """A listener of ours and a starter that the test plays."""

    def setUp(self) -> None:
        super().setUp()
        self.host = self.listen()

    def ask(self, starter_id: int = 1, port: int = 5_000) -> int:
        """A starter asks. @return: the listener's id."""
        self.arrive(self.host, p.BatchConnect(port, starter_id))
        ack = self.said(self.host)[-1]
        assert isinstance(ack, p.BatchConnectAck)
        return ack.receiver_id

    def show(self, id: int) -> Application:
        """The starter is where it says. @return: its session's application."""
        self.arrive(self.host, p.BatchPingAck(id, 127))
        return self.host.sessions[-1]

    def test_proved(self) -> None:
        """The answer goes to the port in Connect; the application hears of a starter when that has answered a ping."""
        id = self.ask()
        self.world.run(1)
        self.assertEqual(self.said(self.host), [p.BatchConnectAck(1, id), p.BatchPing(1, 127)])
        self.assertEqual({place for _, place, _ in self.log}, {STARTER})
        self.assertAlmostEqual(self.log[1][0] - self.log[0][0], 0.02)
        self.assertEqual(self.host.sessions[0].names, [])
        application = self.show(id)
        self.assertEqual(application.names, ["SessionRequested", "SessionOpened"])
        self.assertEqual(application.events[0].address, STARTER)  # type: ignore[union-attr]
        self.assertEqual(application.connection.counters["datagrams_dropped"], 0)

    def test_proved_by_anything(self) -> None:
        """Any packet with our id shows where the starter is, also before the ping, and is not lost."""
        id = self.ask()
        self.arrive(self.host, p.BatchData(id, 1, 1, 3, b"hello"))
        application = self.host.sessions[0]
        self.assertEqual(application.messages, [b"hello"])
        self.assertEqual(self.said(self.host)[-1], p.BatchDataAck(1, 1))

    def test_credit(self) -> None:
        """A stranger gets no more bytes than it has sent, however long and however often it asks."""
        for times in range(1, 6):
            id = self.ask()
            self.assertEqual(id, self.ask())
            self.world.run(1)
            sent = self.world.sent[LISTENER.host, STARTER.host]
            self.assertLessEqual(sent, 2 * times * 23)
        self.assertEqual(self.said(self.host).count(p.BatchPing(1, 127)), 5)

    def test_silent(self) -> None:
        """A stranger that does not show itself is forgotten, and the application never hears of it."""
        self.ask()
        self.world.run(40)
        application = self.host.sessions[0]
        self.assertEqual(application.names, ["SessionEnded"])
        self.assertIsInstance(application.ended, SessionTimedOut)
        self.assertEqual(self.demux(self.host).statistics()["connections"], 0)
        self.assertEqual(len(self.demux(self.host)._closed), 0)

    def test_closed_at_once(self) -> None:
        """A stranger that says Close was never there for the application."""
        self.arrive(self.host, p.BatchClose(self.ask()))
        self.assertEqual(self.host.sessions[0].names, ["SessionEnded"])
        self.assertEqual(len(self.demux(self.host)), 0)

    def test_duplicate(self) -> None:
        """A second Connect with the same id and port is the same connection; another id or port is another."""
        id = self.ask()
        self.assertEqual(self.ask(), id)
        self.show(id)
        self.assertEqual(self.ask(), id)
        self.assertEqual(len({id, self.ask(2), self.ask(1, 5_001)}), 3)
        self.assertEqual(len(self.host.sessions), 3)

    def test_restarted(self) -> None:
        """The same Connect much later is of a starter that has begun anew, which ends the old session once it shows."""
        old = self.show(self.ask())
        self.world.run(4)
        id = self.ask()
        self.world.run(0.1)
        self.assertIsNone(old.ended)
        new = self.show(id)
        self.assertIsInstance(old.ended, SessionReset)
        self.assertEqual(new.names, ["SessionRequested", "SessionOpened"])
        self.assertEqual(len(self.demux(self.host)), 1)

    def test_forged_restart(self) -> None:
        """A forged Connect that names an open session's starter does it no harm, however often it comes."""
        id = self.ask()
        old = self.show(id)
        for _ in range(50):
            self.world.run(4)
            self.arrive(self.host, p.BatchConnect(5_000, 1))
            self.arrive(self.host, p.BatchPingAck(id, 3))
        self.world.run(40)
        self.assertEqual(
            len(self.host.sessions[1:]), sum(each.names == ["SessionEnded"] for each in self.host.sessions)
        )
        self.assertNotIn(SessionReset, [type(old.ended)])
        self.assertEqual(len(self.demux(self.host)._by_starter), len(self.demux(self.host)))

    def test_late_duplicate(self) -> None:
        """A duplicate of the Connect that comes late, which the starter closes, does the open session no harm."""
        old = self.show(self.ask())
        self.world.run(4)
        id = self.ask()
        self.arrive(self.host, p.BatchClose(id))
        self.assertIsNone(old.ended)
        self.assertEqual((len(self.demux(self.host)), len(self.demux(self.host)._by_starter)), (1, 1))
        self.show(self.ask())
        self.assertIsInstance(old.ended, SessionReset)

    def test_restarted_after_forgery(self) -> None:
        """A forged restart that was forgotten does not keep a true one from being one."""
        id = self.ask()
        old = self.show(id)
        self.world.run(4)
        self.ask()
        for _ in range(10):
            self.world.run(4)
            self.arrive(self.host, p.BatchDirect(id, b"here"))
        self.assertEqual(len(self.demux(self.host)), 1)
        self.show(self.ask())
        self.assertIsInstance(old.ended, SessionReset)

    def test_wrong_connects(self) -> None:
        """Another version, and port 0, are dropped and counted."""
        self.arrive(self.host, p.BatchConnect(5_000, 1, version=2))
        self.arrive(self.host, p.BatchConnect(0, 1))
        self.assertEqual(self.log, [])
        self.assertEqual(dict(self.demux(self.host).dropped), {"version": 1, "no_port": 1})

    def test_refused(self) -> None:
        """A session that the application refuses is closed."""
        Refusing = type("Refusing", (Application,), {"accepts": False})
        self.host.make = Refusing
        application = self.show(self.ask())
        self.assertEqual(self.said(self.host)[-1], p.BatchClose(1))
        self.assertEqual(application.names, ["SessionRequested", "SessionEnded"])

    def test_deciding(self) -> None:
        """What comes while the application decides is held, 16 packets of it, not acknowledged before it was taken."""
        Slow = type("Slow", (Application,), {"accepts": None})
        self.host.make = Slow
        id = self.ask()
        for number in range(1, 21):
            self.arrive(self.host, p.BatchData(id, number, number, 3, b"%d" % number))
        self.world.run(1)
        application = self.host.sessions[0]
        self.assertNotIn(p.BatchDataAck, {type(each) for each in self.said(self.host)})
        self.assertEqual(self.demux(self.host).dropped["early"], 4)
        application.connection.accept({}, now=self.world.now)
        self.host.attend(application.connection)
        self.assertEqual(len(application.messages), 16)
        acks = [each.number for each in self.said(self.host) if isinstance(each, p.BatchDataAck)]
        self.assertEqual(acks, list(range(1, 17)))

    def test_closed_while_deciding(self) -> None:
        """A starter may give up while the application decides."""
        Slow = type("Slow", (Application,), {"accepts": None})
        self.host.make = Slow
        id = self.ask()
        application = self.show(id)
        self.arrive(self.host, p.BatchClose(id))
        self.assertIsInstance(application.ended, SessionClosed)
        self.assertRaises(HypermailError, application.connection.accept, {}, now=self.world.now)

    def test_full(self) -> None:
        """Who comes when there are as many sessions as there may be is closed, before or after it has shown itself."""
        self.host = self.listen(max_sessions=1)
        one, two = self.ask(1), self.ask(2)
        self.show(one)
        self.arrive(self.host, p.BatchPingAck(two, 127))
        self.assertEqual(self.said(self.host)[-1], p.BatchClose(2))
        self.arrive(self.host, p.BatchConnect(5_000, 3))
        self.assertEqual(self.said(self.host)[-1], p.BatchClose(3))
        self.assertEqual(self.demux(self.host).dropped["full"], 2)
        self.assertEqual([each.names[:1] for each in self.host.sessions], [["SessionRequested"], ["SessionEnded"]])
        self.assertEqual(len(self.demux(self.host)), 1)

    def test_ids(self) -> None:
        """Our ids are neither 0 nor in use for the same host, and not foreseeable."""
        chance = iter([bytes(4), b"\0\0\0\x07", b"\0\0\0\x07", b"\0\0\0\x08"])
        self.demux(self.host)._random_bytes = lambda count: next(chance)
        self.assertEqual([self.ask(1), self.ask(2)], [7, 8])


class FloodTests(BatchCase):
    """Strangers that are many, or not where they say."""

    def test_connect_flood(self) -> None:
        """A hundred thousand forged Connects: bounded memory and strangers, and nobody gets more than came from it."""
        host = self.listen(Batch(max_unproved=256, max_unproved_per_prefix=64))
        self.world.watch = None
        received: dict[str, int] = {}
        peak = 0
        for number in range(100_000):
            source = f"10.{number % 11}.{number % 251}.{number % 13}"
            received[source] = received.get(source, 0) + 23
            self.arrive(host, p.BatchConnect(1 + number % 60_000, number), source)
            if not number % 5_000:
                self.world.run(0.03)
                peak = max(peak, len(host.demux), len(host.applications))
            host.sessions.clear()
        self.assertLessEqual(peak, 256)
        gc.collect()
        self.assertLess(sum(isinstance(each, BatchConnection) for each in gc.get_objects()), 270)
        for source, size in received.items():
            self.assertLessEqual(self.world.sent.get((LISTENER.host, source), 0), size)
        self.world.run(60)
        demux = self.demux(host)
        self.assertEqual((len(demux), len(demux._by_id), len(demux._by_starter), len(demux._closed)), (0, 0, 0, 0))

    def test_prefix(self) -> None:
        """One network's strangers push out each other, not another network's."""
        host = self.listen(Batch(max_unproved_per_prefix=4))
        self.arrive(host, p.BatchConnect(5_000, 1), "10.9.9.9")
        for number in range(100):
            self.arrive(host, p.BatchConnect(5_000, number), f"10.0.0.{number}")
        self.assertEqual(len(host.applications), 5)
        self.assertIsNone(host.sessions[0].ended)

    def test_reflection(self) -> None:
        """Packets that are for nobody are answered with nothing, and counted."""
        host = self.listen()
        for packet in (
            p.BatchConnectAck(1, 2),
            p.BatchClose(1),
            p.BatchData(1, 1, 1, 3, bytes(900)),
            p.BatchDataAck(1, 1),
            p.BatchRepeat(1, (1, 2, 3)),
            p.BatchDirect(1, b"x"),
            p.BatchPing(1, 1),
            p.BatchPingAck(1, 1),
        ):
            self.arrive(host, packet)
        for malformed in (b"", b"\x01", bytes(64), b"\x04" * 20, b"\xff" * 1_200):
            host.receive(malformed, STARTER)
        self.assertEqual(self.log, [])
        self.assertEqual(dict(self.demux(host).dropped), {"unknown_id": 8, "malformed": 5})


class OptionsTests(SynchronousTestCase):
    """What a user can say."""

    def test_defaults(self) -> None:
        """The defaults are seed 001's, in seconds."""
        batch = Batch()
        self.assertEqual(
            (batch.connection_timeout, batch.ping_interval, batch.ping_packet_count, batch.delivery_timeout),
            (10, 5, 4, 5),
        )
        self.assertEqual((batch.name, batch.repeat_requests, batch.max_rate), ("batch", False, None))

    def test_ping_packet_count(self) -> None:
        """At least one ping is sent before a peer is given up, and the counts leave room for the application's."""
        for count in (1, 128):
            self.assertRaises(UsageError, Batch, ping_packet_count=count)
        for count in (2, 127):
            Batch(ping_packet_count=count)
