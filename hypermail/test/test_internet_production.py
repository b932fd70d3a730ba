"""
Tests of L{hypermail.internet.production}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.internet.production import PULLS, Production
from hypermail.test.producers import Producer


class Consumer:
    """
    Holds so many items before it is full.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.held = 0
        self.room = 3
        self.production: Production | None = None
        self.failures = 0
        self.fillings = 0

    def register(self, producer: Any, streaming: bool) -> None:
        self.production = Production(
            producer,
            streaming,
            reactor=self.clock,
            isFull=lambda: self.held >= self.room,
            failed=self.failed,
            filled=self.filled,
        )
        self.production.begin()

    def failed(self) -> None:
        self.failures += 1

    def filled(self) -> None:
        self.fillings += 1

    def write(self) -> None:
        self.held += 1
        if self.production is not None:
            self.production.wrote()

    def empty(self) -> None:
        self.held = 0
        if self.production is not None:
            self.production.writable()


class PushTests(SynchronousTestCase):
    """
    A push producer.
    """

    def setUp(self) -> None:
        self.consumer = Consumer()
        self.producer = Producer()

    def test_pausedWhenFull(self) -> None:
        """It is paused once when the consumer is full, and resumed once when it has room."""
        self.consumer.register(self.producer, True)
        for _ in range(5):
            self.consumer.write()
        self.assertEqual(self.producer.told, ["pause"])
        self.consumer.empty()
        self.consumer.empty()
        self.assertEqual(self.producer.told, ["pause", "resume"])

    def test_fullAtFirst(self) -> None:
        """It is paused at once when the consumer is full already."""
        self.consumer.held = 3
        self.consumer.register(self.producer, True)
        self.assertEqual(self.producer.told, ["pause"])

    def test_stillFull(self) -> None:
        """It stays paused while the consumer is full, whatever it says."""
        self.consumer.held = 3
        self.consumer.register(self.producer, True)
        assert self.consumer.production is not None
        self.consumer.production.writable()
        self.assertEqual(self.producer.told, ["pause"])

    def test_stop(self) -> None:
        """It is told when the consumer is gone."""
        self.consumer.register(self.producer, True)
        assert self.consumer.production is not None
        self.consumer.production.stop()
        self.assertEqual(self.producer.told, ["stop"])


class PullTests(SynchronousTestCase):
    """
    A pull producer.
    """

    def setUp(self) -> None:
        self.consumer = Consumer()
        self.clock = self.consumer.clock

    def test_untilFull(self) -> None:
        """It is asked until the consumer is full, and again when that has room."""
        producer = Producer(self.consumer.write)
        self.consumer.register(producer, False)
        self.assertEqual(producer.told, [])
        self.clock.advance(0)
        self.assertEqual((len(producer.told), self.clock.getDelayedCalls()), (3, []))
        self.consumer.empty()
        self.clock.advance(0)
        self.assertEqual(len(producer.told), 6)

    def test_turns(self) -> None:
        """It is asked so many times in one turn, then the rest of the program has its turn."""
        self.consumer.room = 3 * PULLS
        producer = Producer(self.consumer.write)
        between: list[int] = []
        # A clock works off in one advance what a reactor does in several turns, but in its order.
        self.consumer.register(producer, False)

        def look() -> None:
            between.append(len(producer.told))
            if len(between) < 2:
                self.clock.callLater(0, look)

        self.clock.callLater(0, look)
        self.clock.advance(0)
        self.assertEqual(between, [PULLS, 2 * PULLS])

    def test_turnsOfSeveral(self) -> None:
        """Several share what is asked in one turn: who was asked often waits until the others were."""
        consumers = [self.consumer, Consumer(), Consumer()]
        producers = []
        for consumer in consumers:
            consumer.clock, consumer.room = self.clock, 2 * PULLS
            producers.append(Producer(consumer.write))
            consumer.register(producers[-1], False)
        counts: list[list[int]] = []

        def look() -> None:
            counts.append([len(producer.told) for producer in producers])
            if len(counts) < 4:
                self.clock.callLater(0, look)

        self.clock.callLater(0, look)
        self.clock.advance(0)
        self.assertEqual(counts, [[PULLS, 0, 0], [PULLS, PULLS, 0], [PULLS, PULLS, PULLS], [2 * PULLS, PULLS, PULLS]])

    def test_severalOver(self) -> None:
        """One that is not asked any more leaves the turn to others, and nothing when there is nobody else."""
        other = Consumer()
        other.clock = self.clock
        producers = [Producer(consumer.write) for consumer in (self.consumer, other)]
        self.consumer.register(producers[0], False)
        other.register(producers[1], False)
        assert self.consumer.production is not None and other.production is not None
        self.consumer.production.forget()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual(([], 3), (producers[0].told, len(producers[1].told)))
        other.empty()
        other.production.forget()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_filled(self) -> None:
        """It is told when the producer has taken all of the room, and not when it has less to say."""
        few = Producer(self.consumer.write)
        self.consumer.room = 2 * PULLS
        self.consumer.register(few, False)
        self.clock.callLater(0, lambda: self.assertEqual(self.consumer.fillings, 0))
        self.clock.advance(0)
        self.assertEqual((len(few.told), self.consumer.fillings), (2 * PULLS, 1))

    def test_writesLater(self) -> None:
        """One that has nothing yet is not asked again before it has written."""
        producer = Producer()
        self.consumer.register(producer, False)
        self.clock.pump([0.1] * 10)
        self.assertEqual(producer.told, ["resume"])
        self.consumer.write()
        self.clock.pump([0.1] * 10)
        self.assertEqual(producer.told, ["resume", "resume"])

    def test_fails(self) -> None:
        """One that raises is not asked again, and the consumer is told."""

        def fail() -> None:
            raise ValueError("the disk is on fire")

        producer = Producer(fail)
        self.consumer.register(producer, False)
        self.clock.pump([0.1] * 10)
        self.assertEqual((producer.told, self.consumer.failures), (["resume"], 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.consumer.write()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unregistersWhileProducing(self) -> None:
        """One that has produced its last is not asked again, even from within."""

        def last() -> None:
            self.consumer.write()
            assert self.consumer.production is not None
            self.consumer.production.forget()

        producer = Producer(last)
        self.consumer.register(producer, False)
        self.clock.pump([0.1] * 10)
        self.assertEqual((producer.told, self.clock.getDelayedCalls()), (["resume"], []))

    def test_stop(self) -> None:
        """One that is stopped is told, and nothing is left in the reactor."""
        producer = Producer()
        self.consumer.register(producer, False)
        assert self.consumer.production is not None
        self.consumer.production.stop()
        self.assertEqual((producer.told, self.clock.getDelayedCalls()), (["stop"], []))

    def test_stopProducing(self) -> None:
        """As a push producer it passes on C{stopProducing}."""
        producer = Producer()
        self.consumer.register(producer, False)
        assert self.consumer.production is not None
        self.consumer.production._producer.stopProducing()
        self.assertEqual((producer.told, self.clock.getDelayedCalls()), (["stop"], []))
