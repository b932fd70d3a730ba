"""
Attacks on the way: datagrams that are replayed, reordered, cut, altered or forged. Whoever does this sees everything
that is sent, and has no keys but those of long datagrams, which everybody has who has seen a hello.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hypermail.connection import Connection
from hypermail.errors import VersionMismatch
from hypermail.options import ListenerOptions, Mode, Role
from hypermail.security.keys import long_seals
from hypermail.security.seal import PlainSeal
from hypermail.test.attacks import MODES, AttackCase
from hypermail.test.wired import GENEROUS, Wire
from hypermail.testing import Conditions, World
from hypermail.testing.modes import PLAIN
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.header import Kind

#: Packets that would end a session, or say how it goes on.
FATAL: tuple[p.Packet, ...] = (
    p.SessionDeath(5, "die"),
    p.SessionClose(),
    p.SessionCloseAck(),
    p.SessionOpenAck(None, 5, "rejected"),
    p.SessionOpenAck(GENEROUS),
    p.Ack(0, ((0, 10**6),)),
    p.StreamBlock(0, 0, 0, 6, 0, b"forged"),
)


def flipped(datagram: bytes, size: int | None = None) -> Iterator[bytes]:
    """A datagram once with each bit of its header flipped, or of its first C{size} bytes."""
    if size is None:
        size = len(datagram)
        if datagram[0] >> 7 == 0:
            size = header.SHORT.size
        elif datagram[0] & 0xF0 == Kind.LONG:
            head = header.decode_long(memoryview(datagram))
            assert head is not None
            size = head.length
    for bit in range(8 * size):
        altered = bytearray(datagram)
        altered[bit >> 3] ^= 1 << (bit & 7)
        yield bytes(altered)


def sides(wire: Wire) -> Iterable[Connection]:
    """Both."""
    return wire.starter, wire.listener


class TrafficCase(AttackCase):
    """Sessions with traffic."""

    def begin(self, wire: Wire, count: int = 10) -> None:
        """Open; then send messages and a stream in both directions."""
        wire.open()
        for side in sides(wire):
            for number in range(count):
                side.send_message(bytes((number,)) * 100 * number, now=wire.now)
            stream = side.open_stream(b"name", now=wire.now)
            stream.write(bytes(range(256)) * 40)
            stream.finish()

    def assertDelivered(self, wire: Wire, count: int = 10) -> None:
        """Everything comes once, as it was sent."""
        wire.until(lambda: len(wire.here.settled) == len(wire.there.settled) == count)
        wire.until(lambda: len(wire.here.ends) == len(wire.there.ends) == 2)
        for application in (wire.here, wire.there):
            self.assertEqual(application.messages[0], [bytes((number,)) * 100 * number for number in range(count)])
            self.assertEqual([bytes(data) for data in application.data.values()], [bytes(range(256)) * 40])
        self.assertWorks(wire)


class ReplayTests(TrafficCase):
    """What was sent comes again."""

    def test_replayed(self) -> None:
        """A whole session that is replayed while it lives, in order, backwards and shuffled, changes nothing."""
        for mode in MODES:
            wire = self.wire(mode)
            self.begin(wire)
            self.assertDelivered(wire)
            recorded = list(wire.sent)
            for order in (recorded, recorded[::-1], wire.random.sample(recorded, len(recorded))):
                before = len(wire.sent)
                for role, datagram in order:
                    wire.inject(role, datagram)
                wire.run(1)
                self.assertLess(len(wire.sent) - before, 10, "replays are answered")
            self.assertEqual(len(wire.demux), 1)
            self.assertWorks(wire)

    def test_atOnce(self) -> None:
        """Each datagram that comes three times, from the first hello on, counts once."""
        for mode in MODES:
            wire = self.wire(mode)

            def alter(role: Role, datagram: bytes, wire: Wire = wire) -> bytes:
                wire.inject(role, datagram)
                wire.inject(role, datagram)
                return datagram

            wire.alter = alter
            self.begin(wire)
            self.assertDelivered(wire)

    def test_later(self) -> None:
        """A session that is replayed to a listener that has forgotten it asks for nothing: its Finished doesn't fit."""
        for mode in MODES:
            wire = self.wire(mode)
            self.begin(wire)
            self.assertDelivered(wire)
            recorded = [datagram for role, datagram in wire.sent if role is Role.STARTER]
            wire.close()
            wire.run(5)
            wire.there.events.clear()
            for datagram in recorded * 2:
                wire.inject(Role.STARTER, datagram)
            wire.run(20)
            self.assertNothingRequested(wire, listener=True)
            self.assertEqual(len(wire.there.events), 1, "a handshake that was not ended in time")
            self.assertEqual(len(wire.demux), 0)
            self.assertServes(wire, MODES[mode]())

    def test_reordered(self) -> None:
        """Where half of all datagrams are late nothing is taken for an attack: everything opens and is delivered."""
        conditions = Conditions(delay=0.01, reordering=0.5, reordering_delay=(0.005, 0.2), duplication=0.3)
        for mode, handshakes in MODES.items():
            for seed in range(5):
                world = World(seed, conditions, starters=3, handshakes=handshakes())
                for node in world.starter_nodes:
                    for number in range(30):
                        node.sides[0].send_message(b"%d" % number)
                world.run_to_quiescence()
                for side in world.sides:
                    self.assertEqual(side.connection.statistics()["datagrams_forged"], 0, mode)
                world.close()
                world.assert_delivered()


class AlteredTests(TrafficCase):
    """What was sent comes otherwise."""

    def test_headerBits(self) -> None:
        """
        With each bit of its header flipped, before it comes as it was sent, no datagram does anything: long ones of
        both sides, with and without a token, retries, short ones, from the first to the last.
        """
        for mode in MODES:
            for limits in (ListenerOptions(), ListenerOptions(max_unproved=0)):
                wire = self.wire(mode, listener_options=limits)

                def alter(role: Role, datagram: bytes, wire: Wire = wire) -> bytes:
                    for altered in flipped(datagram):
                        wire.inject(role, altered)
                    return datagram

                wire.alter = alter
                self.begin(wire, 3)
                self.assertDelivered(wire, 3)
                self.assertEqual(len(wire.demux), 1)

    def test_truncated(self) -> None:
        """So it is with each datagram that comes cut short first: within header, seal, and between."""
        for mode in MODES:
            wire = self.wire(mode)

            def alter(role: Role, datagram: bytes, wire: Wire = wire) -> bytes:
                for size in {*range(40), *range(40, len(datagram), 97), *range(len(datagram) - 20, len(datagram))}:
                    wire.inject(role, datagram[: max(0, size)])
                wire.inject(role, datagram + b"\0")
                return datagram

            wire.alter = alter
            self.begin(wire)
            self.assertDelivered(wire)

    def test_swapped(self) -> None:
        """The datagrams of one session that come to another's sides, or back to who has sent them, do nothing."""
        for mode in MODES:
            wire, other = self.wire(mode), self.wire(mode, seed=2)
            self.begin(other)
            self.assertDelivered(other)

            def alter(role: Role, datagram: bytes, wire: Wire = wire) -> bytes:
                wire.inject(Role(1 - role), datagram)
                return datagram

            wire.alter = alter
            self.begin(wire)
            for role, datagram in other.sent:
                if datagram[0] >> 7 == 0:
                    tag = (wire.starter if role is Role.LISTENER else wire.listener).local_tag
                    wire.inject(role, datagram[:1] + tag.to_bytes(8, "big") + datagram[9:])
            self.assertDelivered(wire)

    def test_versionAndReset(self) -> None:
        """A version datagram, or a reset, of which any bit is flipped, does nothing."""
        wire = self.wire()
        wire.flush()
        tags = wire.starter.local_tag, wire.starter.first_tag
        versions = header.encode_versions(header.Versions(*tags, (2,), (Mode.PLAIN,)))
        for altered in flipped(versions):
            wire.inject(Role.LISTENER, altered)
        wire.open()
        reset = header.encode_reset(header.Reset(wire.starter.remote_tag, wire.starter._peer_reset_token))
        for altered in flipped(reset):
            wire.inject(Role.LISTENER, altered)
        wire.run(0.2)
        self.assertWorks(wire)
        wire.inject(Role.LISTENER, reset)
        wire.run(0)
        self.assertTrue(wire.starter.suspended, "with no bit flipped it does something")


class ForgedTests(TrafficCase):
    """What nobody has sent."""

    def _forgeries(self, wire: Wire, role: Role, mode: Mode) -> list[bytes]:
        """Every fatal packet, as a short and as a long datagram, sealed with what an attacker has."""
        sender, receiver = (wire.starter, wire.listener)[:: 1 if role is Role.STARTER else -1]
        plain, (sealing, other) = PlainSeal(), long_seals(mode, role, wire.starter.first_tag)
        datagrams = []
        for number, packet in enumerate(FATAL, 10_000):
            body = [packet.encode()]
            for tag in (receiver.local_tag, wire.starter.first_tag):
                head = header.Long(mode, header.VERSION, tag, sender.local_tag, number, b"", 0)
                for seal in (plain, sealing, other):
                    datagrams.append(seal.seal(header.encode_long(head), body, number))
                    datagrams.append(seal.seal(header.encode_short(tag, number, number & 1), body, number))
        return datagrams

    def test_death(self) -> None:
        """Forged closes, deaths, rejections and acknowledgements have no effect on an open session."""
        for mode in MODES:
            wire = self.wire(mode)
            self.begin(wire)
            for role in Role:
                for datagram in self._forgeries(wire, role, mode):
                    wire.inject(role, datagram)
            self.assertDelivered(wire)

    def test_whileOpening(self) -> None:
        """Nor on one that opens, by anybody who has not seen its hello: with no key, or with another tag's."""
        for mode in MODES:
            wire = self.wire(mode)
            for _ in range(8):
                wire.step()
                for tag in (wire.starter.local_tag, wire.starter.first_tag, wire.starter.remote_tag):
                    for number, packet in enumerate(FATAL, 5):
                        for seal in (PlainSeal(), *long_seals(mode, Role.LISTENER, 5)):
                            head = header.Long(mode, header.VERSION, tag, wire.starter.remote_tag, number, b"", 0)
                            for datagram in (header.encode_long(head), header.encode_short(tag, number)):
                                wire.inject(Role.LISTENER, seal.seal(datagram, [packet.encode()], number))
                                wire.inject(Role.STARTER, seal.seal(datagram, [packet.encode()], number))
            self.assertWorks(wire.open())

    def test_whileDeciding(self) -> None:
        """Nor on one whose application takes its time: the keys of long datagrams have served by then."""
        for mode in MODES:
            wire = self.wire(mode)
            wire.there.accepts = None
            wire.until(lambda wire=wire: wire.there.events)  # type: ignore[misc]
            wire.run(1)
            for role in Role:
                for datagram in self._forgeries(wire, role, mode):
                    wire.inject(role, datagram)
            wire.run(1)
            wire.listener.accept(now=wire.now)
            wire.run(1)
            self.assertWorks(wire)

    def test_seenHello(self) -> None:
        """Who has seen the hello of one that opens can prevent that, and nothing else: no lie of his opens it."""
        for mode in MODES:
            for packet in FATAL:
                if isinstance(packet, p.Ack):
                    continue  # which is ignored: attacks_numbers
                for role in Role:
                    wire = self.wire(mode)
                    wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
                    wire.lose = lambda role, datagram: True
                    sender, receiver = (wire.starter, wire.listener)[:: 1 if role is Role.STARTER else -1]
                    sealing, _ = long_seals(mode, role, wire.starter.first_tag)
                    head = header.Long(mode, header.VERSION, receiver.local_tag, sender.local_tag, 9, b"", 0)
                    wire.inject(role, sealing.seal(header.encode_long(head), [packet.encode()], 9))
                    wire.run(0)
                    self.assertIsNotNone((wire.there if role is Role.STARTER else wire.here).error)
                    wire.run(20)
                    self.assertNothingRequested(wire)
                    self.assertNothingLeft(wire)

    def test_numbers(self) -> None:
        """Nor can he use up the numbers that the others will use under the session's keys, or acknowledge those."""
        for mode in MODES:
            wire = self.wire(mode)
            wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
            sealing, _ = long_seals(mode, Role.STARTER, wire.starter.first_tag)
            for number in range(2, 50):
                head = header.Long(mode, 1, wire.listener.local_tag, wire.starter.local_tag, number, b"", 0)
                body = [p.Ack(0, ((0, 1),)).encode(), p.Padding(1_000).encode()]
                wire.inject(Role.STARTER, sealing.seal(header.encode_long(head), body, number))
            sent = len(wire.sent)
            self.assertWorks(wire.open())
            self.assertEqual(wire.starter.statistics()["probe_timeouts"], 0)
            self.assertLess(len(wire.sent) - sent, 15)

    def test_noise(self) -> None:
        """Random datagrams with the right tags, thousands of them, are counted and change nothing."""
        wire = self.wire().open()
        for number in range(3_000):
            for role, side in ((Role.STARTER, wire.listener), (Role.LISTENER, wire.starter)):
                noise = wire.random.randbytes(wire.random.randint(0, 60))
                wire.inject(role, header.encode_short(side.local_tag, number, number & 1) + noise)
        wire.run(0.1)
        for side in sides(wire):
            self.assertEqual(side.statistics()["datagrams_forged"], 3_000)
        self.assertWorks(wire)


class DowngradeTests(AttackCase):
    """Attempts to have something weaker agreed on."""

    def test_versionLies(self) -> None:
        """A version datagram that lists another mode, or version, ends the opening; nothing weaker opens."""
        for mode in MODES:
            for versions, modes, text in (
                ((1,), (Mode.PLAIN,), "mode plain"),
                ((7,), (mode,), "hypermail/7"),
                ((), (), "nothing"),
            ):
                wire = self.wire(mode)
                wire.flush()
                lie = header.Versions(wire.starter.local_tag, wire.starter.first_tag, versions, modes)
                wire.inject(Role.LISTENER, header.encode_versions(lie))
                wire.run(20)
                self.assertIsInstance(wire.here.error, VersionMismatch)
                self.assertIn(text, str(wire.here.error))
                self.assertNothingRequested(wire)
                self.assertNothingLeft(wire)

    def test_versionTruth(self) -> None:
        """One that lists what was asked for, or comes too late, or bears other tags, is not believed."""
        for mode in MODES:
            wire = self.wire(mode)
            wire.flush()
            ours, first = wire.starter.local_tag, wire.starter.first_tag
            for lie in (
                header.Versions(ours, first, (1, 2), (mode, Mode.PLAIN)),
                header.Versions(ours, first ^ 1, (2,), (Mode.PLAIN,)),
                header.Versions(ours ^ 1, first, (2,), (Mode.PLAIN,)),
            ):
                wire.inject(Role.LISTENER, header.encode_versions(lie))
            wire.until(lambda wire=wire: wire.starter.session_id)  # type: ignore[misc]
            for tag in (first, wire.starter.remote_tag):
                wire.inject(Role.LISTENER, header.encode_versions(header.Versions(ours, tag, (2,), (Mode.PLAIN,))))
                wire.inject(Role.STARTER, header.encode_versions(header.Versions(ours, tag, (2,), (Mode.PLAIN,))))
            self.assertWorks(wire.open())

    def test_modeOfHello(self) -> None:
        """A hello that is made to ask for another mode opens nothing, even sealed anew by who has seen it."""
        for mode in MODES:
            for other in (*Mode, 9):
                if other == mode:
                    continue
                wire = self.wire(mode)

                def alter(role: Role, datagram: bytes, other: int = other, mode: Mode = mode) -> bytes:
                    if role is Role.LISTENER or datagram[0] & 0xF0 != Kind.LONG:
                        return datagram
                    head = header.decode_long(memoryview(datagram))
                    assert head is not None
                    _, opening = long_seals(mode, Role.LISTENER, head.destination)
                    content = opening.open(memoryview(datagram), head.length, head.low)
                    if content is None:
                        return datagram
                    sealing, _ = long_seals(other, Role.STARTER, head.destination)
                    return sealing.seal(header.encode_long(head._replace(mode=other)), [bytes(content)], head.low)

                wire.alter = alter
                wire.run(20)
                self.assertIsNotNone(wire.here.error)
                self.assertNothingRequested(wire)
                self.assertNothingLeft(wire)

    def test_modesDiffer(self) -> None:
        """Sides of different modes say so, each to its people, and open nothing."""
        everything = {**{mode: make() for mode, make in MODES.items()}, Mode.PLAIN: PLAIN}
        for mode, ours in everything.items():
            for other, theirs in everything.items():
                if mode is other:
                    continue
                wire = self.wire(handshakes=ours._replace(listener=theirs.listener))
                wire.run(0.5)
                self.assertIsInstance(wire.here.error, VersionMismatch)
                self.assertIn(f"in mode {other.name.lower()}", str(wire.here.error))
                self.assertNothingRequested(wire)
                wire.run(10)
                self.assertNothingLeft(wire)
