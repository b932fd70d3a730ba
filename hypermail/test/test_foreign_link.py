"""
Tests for L{hypermail.test.foreign_link}: links are as bad as is asked for, and both drivers tell what was sent to where
nobody receives.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.foreign_link import ForeignAddress, ForeignDatagram, ForeignFaults, ForeignNode, ForeignWorld

HERE, THERE, NOWHERE = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)


class EchoingCore:
    """
    A core that sends each datagram back to where it came from, unless it is empty, and says something every second.

    @ivar heard: What came, and from where.
    """

    def __init__(self, peer: ForeignAddress | None = None) -> None:
        """@param peer: To whom it says something."""
        self.heard: list[tuple[bytes, ForeignAddress]] = []
        self.out: list[ForeignDatagram] = []
        self.due: float | None = None if peer is None else 101.0
        self._peer = peer

    def receive(self, now: float, data: bytes, source: ForeignAddress) -> None:
        """Send it back."""
        self.heard.append((data, source))
        if data:
            self.out.append(ForeignDatagram(b"", source, 7))

    def wake(self, now: float) -> None:
        """Say something, from the second port."""
        if self._peer is not None and self.due is not None:
            self.out.append(ForeignDatagram(b"%d" % round(self.due), self._peer, 5))
            self.due += 1.0

    def take(self) -> list[ForeignDatagram]:
        """Hand over what is to be sent."""
        taken, self.out = self.out, []
        return taken


class FaultsTests(SynchronousTestCase):
    """What a bad link does."""

    def test_shares(self) -> None:
        """So many are lost, duplicated and changed as was asked for, and the same ones each time."""
        data = bytes(100)
        runs = []
        for _ in range(2):
            faults = ForeignFaults(loss=0.2, duplication=0.2, corruption=0.1, seed=7)
            runs.append([faults.copies(data) for _ in range(10_000)])
        self.assertEqual(*runs)
        counts = [sum(len(copies) == count for copies in runs[0]) for count in range(3)]
        self.assertApproximates(counts[0], 2_000, 200)
        self.assertApproximates(counts[2], 1_600, 200)
        carried = [copy for copies in runs[0] for copy in copies]
        changed = [copy for copy in carried if copy != data]
        self.assertApproximates(len(changed) / len(carried), 0.1, 0.02)
        self.assertEqual({sum(byte.bit_count() for byte in copy) for copy in changed}, {1})

    def test_spared(self) -> None:
        """What is spared comes once, as it was."""
        faults = ForeignFaults(loss=1.0, spared=lambda data: data == b"spared")
        self.assertEqual([faults.copies(b"spared"), faults.copies(b"other")], [[b"spared"], []])


class WorldTests(SynchronousTestCase):
    """Virtual time."""

    def test_ways(self) -> None:
        """A core hears what is said to its address; what is said to a port that only sends is kept apart."""
        world = ForeignWorld(latency=0.25, jitter=0.0)
        here, there = EchoingCore(THERE), EchoingCore()
        world.add(HERE, here)
        world.add(THERE, there)
        world.pass_time(1.3)
        self.assertEqual((there.heard, here.heard), ([(b"101", ("10.0.0.1", 50_000))], []))
        self.assertEqual((world.stray, world.now), ([], 101.3))
        world.run(lambda: bool(world.stray), 1.0)
        self.assertEqual((world.stray, world.now), ([(("10.0.0.1", 50_000), b"")], 101.5))

    def test_limit(self) -> None:
        """Whoever waits in vain is told, whether something happens or nothing does."""
        for core in (EchoingCore(NOWHERE), EchoingCore()):
            world = ForeignWorld()
            world.add(HERE, core)
            self.assertRaises(AssertionError, world.run, lambda: False, 5.0)

    def test_reordering(self) -> None:
        """Datagrams overtake each other when some take longer than others."""
        world = ForeignWorld(jitter=5.0)
        there = EchoingCore()
        world.add(HERE, EchoingCore(THERE))
        world.add(THERE, there)
        world.pass_time(50)
        said = [int(data) for data, _ in there.heard]
        self.assertNotEqual(said, sorted(said))


class NodeTests(SynchronousTestCase):
    """Real sockets."""

    def test_stray(self) -> None:
        """What comes to a port that only sends is not received, but told."""
        with ForeignNode(lambda port: EchoingCore()) as one, ForeignNode(lambda port: EchoingCore()) as other:
            one.call(lambda core, now: core.out.append(ForeignDatagram(b"hi", other.address, 5)))
            other.wait(lambda core: bool(core.heard))
            other.call(lambda core, now: core.out.append(ForeignDatagram(b"done", one.address)))
            one.wait(lambda core: bool(core.heard))
            self.assertEqual((one.stray(), one.core.heard), ([b""], [(b"done", other.address)]))

    def test_deadline(self) -> None:
        """Whoever waits in vain is told."""
        with ForeignNode(lambda port: EchoingCore()) as node:
            self.assertRaises(AssertionError, node.wait, lambda core: False, 0.01)

    def test_incoming(self) -> None:
        """What comes in is lost and duplicated, too."""
        twice = ForeignFaults(duplication=1.0)
        with (
            ForeignNode(lambda port: EchoingCore(), incoming=twice) as one,
            ForeignNode(lambda port: EchoingCore()) as other,
        ):
            other.call(lambda core, now: core.out.append(ForeignDatagram(b"", one.address)))
            one.wait(lambda core: core.heard == [(b"", other.address)] * 2)
