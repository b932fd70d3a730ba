"""
A starter and a listener in dialect C{batch}, both ours, with a session between them in virtual time.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.batch import Batch
from hypermail.dialects.batch import packets as p
from hypermail.dialects.batch.arrivals import Arrivals
from hypermail.dialects.batch.connection import BatchConnection
from hypermail.dialects.batch.departures import Departures
from hypermail.test.dialects import Application, Host, Place, World

LISTENER = Place("10.0.0.1", 4700)
STARTER = Place("10.0.0.2", 5000)
BATCH = Batch()
#: Conditions that are bad enough.
BAD: dict[str, Any] = {"loss": 0.2, "duplication": 0.2, "jitter": 0.02, "scatter": True}


class PairCase(SynchronousTestCase):
    """A starter and a listener of ours."""

    def open(self, ours: Batch = BATCH, theirs: Batch = BATCH, **conditions: Any) -> None:
        """They have a session, and the network is as said from then on."""
        self.world = World()
        self.log: list[tuple[Place, p.BatchPacket]] = []
        self.world.watch = self.watch
        self.listening = self.world.host(LISTENER, theirs, listening=True)
        self.starting = self.world.host(STARTER, ours)
        self.ours = self.starting.start(LISTENER)
        self.world.run(1)
        self.theirs = self.listening.sessions[0]
        for name, value in conditions.items():
            setattr(self.world, name, value)

    def watch(self, datagram: bytes, source: Place, destination: Place) -> bool:
        """What is sent is written down."""
        packet = p.decode(datagram)
        assert packet is not None
        self.log.append((source, packet))
        return True

    def said(self, source: Place, kind: type[Any]) -> list[Any]:
        """Packets of one type that a host has sent."""
        return [packet for place, packet in self.log if place == source and type(packet) is kind]

    def host(self, application: Application) -> Host:
        """Where it lives."""
        return self.starting if application is self.ours else self.listening

    def send(self, application: Application, *messages: bytes, **options: Any) -> list[Any]:
        """An application sends."""
        sent = [application.connection.send_message(each, now=self.world.now, **options) for each in messages]
        self.host(application).attend(application.connection)
        return sent

    def do(self, application: Application, name: str, *arguments: Any) -> None:
        """An application calls its connection."""
        getattr(application.connection, name)(*arguments, now=self.world.now)
        self.host(application).attend(application.connection)

    def arrive(self, application: Application, packet: p.BatchPacket) -> None:
        """A packet comes as if from the peer."""
        peer = LISTENER if application is self.ours else STARTER
        self.host(application).receive(packet.encode(), peer._replace(port=50_505))

    def renumber(self, packet: int, batch: int) -> None:
        """Both sides begin to count at other numbers."""
        for application in (self.ours, self.theirs):
            connection: BatchConnection = application.connection
            options = connection.options
            departures = Departures(
                connection.sending, options.delivery_timeout, first_packet=packet, first_batch=batch
            )
            departures.peer_id = connection.departures.peer_id
            connection.departures = departures
            connection.arrivals = Arrivals(options.max_message, options.allowance_bytes, first=packet)

    def exchange(self, messages: list[bytes], most: float = 36_000) -> None:
        """Both send all of these, and each arrives once."""
        for application in (self.ours, self.theirs):
            self.send(application, *messages)
        both = (self.ours, self.theirs)
        done = self.world.run_until(lambda: all(len(each.settled) == len(messages) for each in both), most)
        self.assertTrue(done, [len(each.settled) for each in both])
        for application in both:
            self.assertEqual(sorted(application.messages), sorted(messages))
            self.assertEqual([each.error for each in application.settled], [None] * len(messages))
