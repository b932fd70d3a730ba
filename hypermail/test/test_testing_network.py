"""
Tests of L{hypermail.testing.network} and L{hypermail.testing.timeline}: virtual time, hosts, directions, NAT.
"""

from __future__ import annotations

from functools import partial
from math import inf

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from hypermail.testing import Address, Blackhole, Conditions, SimulatedNetwork

A, B, C = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)


class Inbox:
    """
    Somebody who listens.

    @ivar batches: (s of virtual time, source, datagrams).
    @ivar codepoints: one of each batch.
    """

    def __init__(self, network: SimulatedNetwork, address: Address) -> None:
        self.network = network
        self.batches: list[tuple[float, Address, list[bytes]]] = []
        self.codepoints: list[int] = []
        network.attach(address, self.receive)

    def receive(self, datagrams: list[bytes], source: Address, ecn: int) -> None:
        self.codepoints.append(ecn)
        self.batches.append((self.network.now, source, datagrams))

    @property
    def datagrams(self) -> list[bytes]:
        """All that came, in order."""
        return [datagram for _, _, datagrams in self.batches for datagram in datagrams]


class TimeTests(SynchronousTestCase):
    """The timeline."""

    def test_timers(self) -> None:
        """Timers go off in the order of time, those of one time in that of arming, at their time exactly."""
        network = SimulatedNetwork(start=50.0)
        log: list[tuple[str, float]] = []
        for name, when in (("late", 53.0), ("early", 51.0), ("early too", 51.0), ("past", 3.0)):
            network.timer(partial(lambda name: log.append((name, network.now)), name)).arm(when)
        network.advance(10)
        self.assertEqual(log, [("past", 50.0), ("early", 51.0), ("early too", 51.0), ("late", 53.0)])
        self.assertEqual(network.now, 60.0)

    def test_armedAnew(self) -> None:
        """A timer has one time: arming it again moves it either way, and it can be disarmed."""
        network = SimulatedNetwork()
        log: list[float] = []
        timer = network.timer(lambda: log.append(network.now))
        for times in ((5.0, 2.0), (2.0, 5.0), (5.0, None), (5.0, 5.0), (1.0, 3.0, 1.0)):
            log.clear()
            start = network.now
            for when in times:
                timer.arm(None if when is None else start + when)
            network.advance(10)
            self.assertEqual(log, [] if times[-1] is None else [start + times[-1]])
            self.assertEqual(timer.when, inf)
        timer.arm(network.now + 1)
        timer.cancel()
        self.assertEqual(network.next_event(), inf)
        self.assertFalse(network.step())

    def test_armedByTimers(self) -> None:
        """What a timer arms for now goes off at the same time, after all that was due before; never without end."""
        network = SimulatedNetwork()
        log: list[str] = []
        second = network.timer(lambda: log.append("second"))
        third = network.timer(lambda: log.append("third"))

        def now_and_then() -> None:
            log.append("first")
            third.arm(network.now)

        first = network.timer(now_and_then)
        first.arm(1.0)
        second.arm(1.0)
        network.advance(1.0)
        self.assertEqual(log, ["first", "second", "third"])
        endless = network.timer(lambda: endless.arm(network.now))
        endless.arm(2.0)
        self.assertIn("time stands still", str(self.assertRaises(AssertionError, network.advance, 5.0)))

    def test_callAt(self) -> None:
        """Calls are counted until they come; the past is now."""
        network = SimulatedNetwork()
        network.advance(5)
        network.call_at(1.0, lambda: None)
        call = network.call_at(9.0, lambda: None)
        self.assertEqual((network.calls_pending, network.next_event()), (2, 5.0))
        network.advance(1)
        self.assertEqual((network.calls_pending, call.when), (1, 9.0))

    def test_runUntil(self) -> None:
        """Time passes until the Deferred fires and no longer; its result or error is the outcome."""
        network = SimulatedNetwork()
        deferred: Deferred[str] = Deferred()
        network.call_at(3.0, lambda: deferred.callback("done"))
        network.call_at(4.0, self.fail)
        self.assertEqual(network.run_until(deferred), "done")
        self.assertEqual(network.now, 3.0)
        self.assertEqual(network.run_until(succeed(7)), 7)
        self.assertRaises(ZeroDivisionError, network.run_until, fail(ZeroDivisionError()))

        async def sum_of(number: int) -> int:
            return number + await succeed(1)

        self.assertEqual(network.run_until(sum_of(1)), 2)

    def test_runUntilNothing(self) -> None:
        """A Deferred that doesn't fire in time fails the test, as one does that nothing is left to fire."""
        network = SimulatedNetwork(seed=42)
        never: Deferred[None] = Deferred()
        error = self.assertRaises(AssertionError, network.run_until, never)
        self.assertIn("nothing is left", str(error))
        self.assertIn("seed 42", str(error))
        network.call_at(100.0, lambda: None)
        error = self.assertRaises(AssertionError, network.run_until, never, limit=30.0)
        self.assertIn("30 s have passed", str(error))


class DeliveryTests(SynchronousTestCase):
    """Datagrams between hosts."""

    def test_batches(self) -> None:
        """What arrives at one time from one address is one batch; other addresses have their own."""
        network = SimulatedNetwork(conditions=Conditions(delay=0.5))
        inbox = Inbox(network, A)
        network.send(B, A, [b"1", b"2"])
        network.send(C, A, [b"3"])
        network.send(B, A, [b"4"])
        self.assertEqual(network.in_flight, 4)
        network.advance(0.1)
        network.send(B, A, [b"5"])
        network.advance(1)
        self.assertEqual(inbox.batches, [(0.5, B, [b"1", b"2", b"4"]), (0.5, C, [b"3"]), (0.6, B, [b"5"])])
        self.assertEqual(network.in_flight, 0)

    def test_codepoints(self) -> None:
        """What comes at one time with different codepoints comes in its order, a batch for each run."""
        network = SimulatedNetwork()
        inbox = Inbox(network, B)
        for codepoint, datagrams in ((2, [b"a", b"b"]), (3, [b"c"]), (2, [b"d"]), (2, [b"e"])):
            network.send(A, B, datagrams, codepoint)
        network.send(A, B, [b"f"])
        network.advance(1)
        self.assertEqual([batch for _, _, batch in inbox.batches], [[b"a", b"b"], [b"c"], [b"d", b"e"], [b"f"]])
        self.assertEqual(inbox.codepoints, [2, 3, 2, 0])

    def test_copied(self) -> None:
        """Datagrams are taken as they are when they are sent, though their memory may change."""
        network = SimulatedNetwork()
        inbox = Inbox(network, A)
        memory = bytearray(b"before")
        network.send(B, A, [memory])
        memory[:] = b"after!"
        network.advance(0)
        self.assertEqual(inbox.datagrams, [b"before"])

    def test_unreachable(self) -> None:
        """What arrives where nobody listens is counted; one address has one listener."""
        network = SimulatedNetwork()
        network.send(B, A, [b"1"])
        network.advance(0)
        self.assertEqual(network.counters().unreachable, 1)
        Inbox(network, A)
        self.assertRaises(ValueError, network.attach, A, lambda datagrams, source: None)
        network.detach(A)
        network.send(B, A, [b"2"])
        network.advance(0)
        self.assertEqual(network.counters().unreachable, 2)

    def test_nothingIsForgotten(self) -> None:
        """Whatever happens, the counters account for every datagram."""
        conditions = Conditions(
            loss=0.2,
            longest_loss=4,
            duplication=0.2,
            reordering=0.3,
            corruption=0.1,
            delay=0.05,
            jitter=0.02,
            bandwidth=0.5e6,
            queue_datagrams=4,
            mtu=1_000,
            blackholes=(Blackhole(0.5, 0.7, every=1.0),),
        )
        network = SimulatedNetwork(9, conditions)
        inbox = Inbox(network, A)
        for turn in range(1_000):
            size = 1_200 if turn % 10 == 0 else 100
            network.send(B, A if turn % 7 else C, [bytes(size)] * 3)
            network.advance(0.003)
        for final in (False, True):
            if final:
                network.advance(10)
                self.assertEqual(network.in_flight, 0)
            counted = network.counters()
            gone = counted.lost + counted.overflowed + counted.oversized + counted.blackholed + counted.unreachable
            self.assertEqual(counted.sent + counted.duplicated, counted.delivered + gone + network.in_flight)
            self.assertNotIn(0, (counted.lost, counted.overflowed, counted.oversized, counted.blackholed))
            self.assertNotIn(0, (counted.unreachable, counted.reordered, counted.corrupted, counted.duplicated))
            self.assertEqual(counted.delivered, len(inbox.datagrams))
            self.assertEqual(counted.delivered_bytes, sum(map(len, inbox.datagrams)))

    def test_deterministic(self) -> None:
        """The same seed and traffic give the same network, to the bit; another seed gives another one."""

        def run(seed: int) -> list[tuple[float, Address, list[bytes]]]:
            network = SimulatedNetwork(seed, Conditions(loss=0.3, duplication=0.2, corruption=0.2, jitter=0.1))
            inbox = Inbox(network, A)
            for number in range(200):
                network.send(B, A, [b"datagram %d" % number])
                network.advance(0.01)
            network.advance(1)
            return inbox.batches

        self.assertEqual(run(1), run(1))
        self.assertNotEqual(run(1), run(2))

    def test_directionsAreIndependent(self) -> None:
        """Each direction has chance and queue of its own: traffic of others changes nothing."""

        def run(others: bool) -> list[tuple[float, Address, list[bytes]]]:
            network = SimulatedNetwork(1, Conditions(loss=0.3, jitter=0.1, bandwidth=1e6))
            inbox = Inbox(network, A)
            for number in range(100):
                network.send(B, A, [b"datagram %d" % number])
                if others:
                    network.send(A, B, [bytes(500)])
                    network.send(B, C, [bytes(500)])
                network.advance(0.001)
            network.advance(1)
            return inbox.batches

        self.assertEqual(run(False), run(True))

    def test_headers(self) -> None:
        """IPv6 has longer headers."""
        network = SimulatedNetwork(conditions=Conditions(mtu=1_280))
        four, six = ("10.0.0.9", 9), ("fd00::9", 9)
        inboxes = [Inbox(network, four), Inbox(network, six)]
        for size in (1_232, 1_233, 1_252, 1_253):
            network.send(A, four, [bytes(size)])
            network.send(("fd00::1", 1), six, [bytes(size)])
        network.advance(0)
        self.assertEqual([[len(d) for d in inbox.datagrams] for inbox in inboxes], [[1_232, 1_233, 1_252], [1_232]])


class ConditionsTests(SynchronousTestCase):
    """Who has which conditions."""

    def delays(self, network: SimulatedNetwork) -> dict[tuple[str, str], float]:
        """The delay between any two."""
        hosts = [A[0], B[0], C[0]]
        pairs = [(a, b) for a in hosts for b in hosts if a != b]
        return {(a[-1], b[-1]): network.direction(a, b).conditions.delay for a, b in pairs}

    def test_rules(self) -> None:
        """What was said last about a direction holds, whether it had been used before or not."""
        fresh, used = SimulatedNetwork(), SimulatedNetwork()
        self.delays(used)
        for network in (fresh, used):
            network.set_conditions(Conditions(delay=1))
            network.set_conditions(Conditions(delay=2), destination=A[0])
            network.set_conditions(Conditions(delay=3), source=B[0])
            network.set_conditions(Conditions(delay=4), source=C[0], destination=A[0])
            expected = {("1", "2"): 1, ("1", "3"): 1, ("2", "1"): 3, ("2", "3"): 3, ("3", "1"): 4, ("3", "2"): 1}
            self.assertEqual(self.delays(network), expected)
            network.set_conditions(Conditions(delay=5))
            self.assertEqual(set(self.delays(network).values()), {5})

    def test_changeOnTheWay(self) -> None:
        """What is on its way when conditions change arrives as it would have."""
        network = SimulatedNetwork(conditions=Conditions(delay=1))
        inbox = Inbox(network, A)
        network.send(B, A, [b"1"])
        network.call_at(0.5, lambda: network.set_conditions(Conditions(loss=1.0)))
        network.call_at(0.6, lambda: network.send(B, A, [b"2"]))
        network.advance(5)
        self.assertEqual(inbox.batches, [(1.0, B, [b"1"])])


class RebindTests(SynchronousTestCase):
    """Addresses that change before a NAT."""

    def setUp(self) -> None:
        self.network = SimulatedNetwork(conditions=Conditions(delay=0.1))
        self.here, self.there = Inbox(self.network, A), Inbox(self.network, B)

    def exchange(self, address: Address) -> tuple[list[Address], list[bytes]]:
        """Send from A to B, and from B to C{address}. @return: the source that B saw, and what came to A."""
        before = len(self.here.datagrams), len(self.there.batches)
        self.network.send(A, B, [b"forth"])
        self.network.send(B, address, [b"back"])
        self.network.advance(1)
        return [source for _, source, _ in self.there.batches[before[1] :]], self.here.datagrams[before[0] :]

    def test_rebind(self) -> None:
        """Others see the new address and reach it; the old ones lead nowhere, for what is on its way too."""
        first, second = ("192.0.2.1", 1), ("192.0.2.2", 2)
        self.assertEqual(self.exchange(A), ([A], [b"back"]))
        self.network.send(B, A, [b"on its way"])
        self.network.rebind(A, first)
        self.assertEqual(self.network.public_address(A), first)
        self.assertEqual(self.exchange(A), ([first], []))
        self.assertEqual(self.exchange(first), ([first], [b"back"]))
        self.network.rebind(A, second)
        self.assertEqual(self.exchange(first), ([second], []))
        self.assertEqual(self.exchange(second), ([second], [b"back"]))
        self.assertEqual(self.network.counters().unreachable, 3)
        self.network.rebind(A, A)
        self.assertEqual(self.exchange(second), ([A], []))
        self.assertEqual(self.exchange(A), ([A], [b"back"]))

    def test_keepOld(self) -> None:
        """If wanted, what is sent to old addresses still arrives."""
        first, second = ("192.0.2.1", 1), ("192.0.2.2", 2)
        self.network.rebind(A, first, keep_old=True)
        self.assertEqual(self.exchange(A), ([first], [b"back"]))
        self.network.rebind(A, second, keep_old=True)
        self.assertEqual(self.exchange(first), ([second], [b"back"]))
        self.assertEqual(self.exchange(A), ([second], [b"back"]))

    def test_samePath(self) -> None:
        """The way between the hosts stays the same one: its conditions and counters are the hosts'."""
        self.network.rebind(A, ("192.0.2.1", 1))
        self.exchange(("192.0.2.1", 1))
        self.assertEqual(self.network.direction(A[0], B[0]).counters.delivered, 1)
        self.assertEqual(self.network.direction(B[0], A[0]).counters.delivered, 1)

    def test_taken(self) -> None:
        """An address that somebody has can't be given to another."""
        self.network.rebind(A, C)
        self.assertRaises(ValueError, self.network.rebind, B, C)
        self.assertRaises(ValueError, self.network.rebind, A, B)

    def test_atATime(self) -> None:
        """A change can be scheduled, as anything can."""
        self.network.call_at(5.0, partial(self.network.rebind, A, C))
        self.network.advance(4)
        self.assertEqual(self.exchange(A)[0], [A])
        self.network.advance(1)
        self.assertEqual(self.exchange(A)[0], [C])
