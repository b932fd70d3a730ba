"""
Tests for L{hypermail.link.keys}: keys that are updated, with limits so small that a test reaches them.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import KeysSpent, Reason, SessionKilled
from hypermail.link.keys import REST, ReceivingKeys, SendingKeys
from hypermail.options import Options, Role
from hypermail.security.box import Box
from hypermail.security.handshake import PlainHandshake
from hypermail.security.keys import SELDOM, AeadSeal, Cipher, Keys, derive_keys
from hypermail.test import linking
from hypermail.test.wired import Wire
from hypermail.testing.modes import Handshakes
from hypermail.wire import header
from hypermail.wire import packets as p

TINY = Cipher("tiny", partial(Box, "AES-128-GCM"), 16, 20, 8)
SECRET = bytes(range(32))


class TinyHandshake(PlainHandshake):
    """Mode C{plain}'s handshake, which gives keys that bear next to nothing."""

    cipher = TINY

    def keys(self, binding: bytes) -> Keys | None:
        """Everybody can know them."""
        if super().keys(binding) is None:
            return None
        return derive_keys(self._role, self.cipher, sha256(binding).digest())


class SturdyHandshake(TinyHandshake):
    """The same, for 10,000 forgeries."""

    cipher = Cipher("tiny", partial(Box, "AES-128-GCM"), 16, 20, 10_000)


HANDSHAKES = Handshakes(TinyHandshake, TinyHandshake)


class Sender:
    """A L{SendingKeys} with what a link does around it."""

    def __init__(self, sealings: int = 20) -> None:
        self.keys = SendingKeys(AeadSeal.derive(Cipher("tiny", partial(Box, "AES-128-GCM"), 16, sealings, 8), SECRET))
        self.number = -1

    def send(self) -> bytes:
        """The next datagram; its content is its number."""
        self.number += 1
        self.keys.prepare(self.number)
        head = header.encode_short(5, self.number, self.keys.phase)
        return self.keys.seal(head, [b"%d" % self.number], self.number)


class Receiver:
    """A L{ReceivingKeys} with what a link does around it."""

    def __init__(self) -> None:
        self.keys = ReceivingKeys(AeadSeal.derive(TINY, SECRET))
        self.now = 100.0

    def open(self, datagram: bytes) -> int | None:
        """The content, which should be the number."""
        kind, _, number = header.SHORT.unpack_from(datagram)
        size = header.SHORT.size
        content = self.keys.open(memoryview(datagram), size, number, kind & 1, self.now, 3.0)
        return None if content is None else int(bytes(content))


class SendingKeysTests(SynchronousTestCase):
    """Whoever sends decides when."""

    def test_half(self) -> None:
        """With the current key confirmed it is updated when half of what it bears is used, each again."""
        sender = Sender()
        phases = []
        for _ in range(60):
            phases.append(sender.send()[0] & 1)
            sender.keys.acknowledged(sender.number)
        self.assertEqual(phases, [number // 10 % 2 for number in range(60)])
        self.assertEqual(sender.keys.updates, 5)

    def test_confirmed(self) -> None:
        """There is no update before a datagram under the current key was acknowledged: RFC 9001 §6.1."""
        sender = Sender()
        for _ in range(12):
            sender.send()
        self.assertEqual((sender.keys.updates, sender.keys.wants_ack), (0, True))
        sender.keys.acknowledged(3)
        self.assertFalse(sender.keys.wants_ack)
        sender.send()
        self.assertEqual((sender.keys.updates, sender.keys.phase), (1, 1))
        for _ in range(10):
            sender.keys.acknowledged(sender.number - 1 if sender.number == 12 else 11)
            sender.send()
        self.assertEqual((sender.keys.updates, sender.keys.wants_ack), (1, True), "acks of the key before don't count")
        sender.keys.acknowledged(12)
        sender.send()
        self.assertEqual((sender.keys.updates, sender.keys.phase), (2, 0))

    def test_spent(self) -> None:
        """Without any acknowledgement the key seals as often as it may, and then no more."""
        sender = Sender()
        for _ in range(19):
            sender.send()
            self.assertGreater(sender.keys.left, 0)
        sender.send()
        self.assertLessEqual(sender.keys.left, 0)

    def test_endless(self) -> None:
        """A key without a limit is never updated."""
        sender = Sender(1 << 62)
        for _ in range(100):
            sender.send()
            sender.keys.acknowledged(sender.number)
        self.assertEqual((sender.keys.updates, sender.keys.wants_ack), (0, False))

    def test_differentKeys(self) -> None:
        """Each phase has a key of its own, also those two apart, which have the same bit."""
        seals = []
        sender = Sender()
        for _ in range(40):
            sender.send()
            sender.keys.acknowledged(sender.number)
            seals.append(sender.keys._seal)
        self.assertEqual(len({seal.seal(b"", [b"x"], 0) for seal in seals}), 4)


class ReceivingKeysTests(SynchronousTestCase):
    """Whoever receives follows."""

    def _stream(self, count: int) -> list[bytes]:
        """Datagrams with an update after each 10."""
        sender = Sender()
        datagrams = []
        for _ in range(count):
            datagrams.append(sender.send())
            sender.keys.acknowledged(sender.number)
        return datagrams

    def test_inOrder(self) -> None:
        """Everything opens through many updates."""
        receiver = Receiver()
        self.assertEqual([receiver.open(datagram) for datagram in self._stream(100)], list(range(100)))
        self.assertEqual(receiver.keys.forged, 0)

    @settings(deadline=None)
    @given(st.permutations(list(range(4, 16))))
    def test_reordered(self, order: list[int]) -> None:
        """Datagrams around an update open in any order, while the key before is kept."""
        receiver = Receiver()
        datagrams = self._stream(16)
        for number in (0, 1, 2, 3):
            receiver.open(datagrams[number])
        self.assertEqual([receiver.open(datagrams[number]) for number in order], order)
        self.assertEqual(receiver.keys.forged, 0)

    def test_oldKey(self) -> None:
        """The key before is kept for as long as was said, and then it is gone."""
        receiver = Receiver()
        datagrams = self._stream(12)
        receiver.open(datagrams[10])
        receiver.now += 2.99
        self.assertEqual(receiver.open(datagrams[8]), 8)
        receiver.now += 0.02
        self.assertIsNone(receiver.open(datagrams[9]))
        self.assertIsNone(receiver.keys._previous)
        self.assertEqual(receiver.open(datagrams[11]), 11)

    def test_flippedPhase(self) -> None:
        """A flipped phase bit opens nothing, before an update, behind it and within it, and changes nothing."""
        receiver = Receiver()
        datagrams = self._stream(22)
        for number, datagram in enumerate(datagrams):
            flipped = bytes((datagram[0] ^ 1,)) + datagram[1:]
            before = (receiver.keys.phase, receiver.keys._first, receiver.keys._seal)
            self.assertIsNone(receiver.open(flipped))
            self.assertEqual((receiver.keys.phase, receiver.keys._first, receiver.keys._seal), before)
            self.assertEqual(receiver.open(datagram), number)
            if number:
                earlier = datagrams[number - 1]
                self.assertIsNone(receiver.open(bytes((earlier[0] ^ 1,)) + earlier[1:]))
        self.assertEqual(receiver.keys.forged, 22 + 21)

    def test_forged(self) -> None:
        """What does not open counts, under whichever key, and at the limit the keys are spent."""
        receiver = Receiver()
        for number in range(8):
            self.assertFalse(receiver.keys.spent)
            self.assertIsNone(receiver.open(header.encode_short(5, number, number & 1) + bytes(30)))
        self.assertTrue(receiver.keys.spent)

    def test_jump(self) -> None:
        """The first datagram of a phase may be any: those before it open with the key before."""
        receiver = Receiver()
        datagrams = self._stream(20)
        self.assertEqual([receiver.open(datagrams[number]) for number in (19, 3, 12, 10, 9)], [19, 3, 12, 10, 9])

    def test_rest(self) -> None:
        """A receiver that rests keeps the key before, and opens with either afterwards."""
        receiver = Receiver()
        datagrams = self._stream(20)
        self.assertEqual(receiver.open(datagrams[19]), 19)
        receiver.keys.rest()
        self.assertEqual([receiver.open(datagrams[number]) for number in (3, 18)], [3, 18])


class LinkTests(SynchronousTestCase):
    """Updates between two links, and sessions."""

    def test_transfer(self) -> None:
        """A transfer goes on through dozens of updates in both directions; nothing is lost by them."""
        wire = Wire(handshakes=HANDSHAKES).open()
        for number in range(300):
            for side in (wire.starter, wire.listener):
                side.send_message(bytes((number % 256,)) * 1_000, now=wire.now)
            wire.run(0.01)
        wire.until(lambda: len(wire.here.settled) == len(wire.there.settled) == 300)
        for connection, application in ((wire.starter, wire.here), (wire.listener, wire.there)):
            statistics = connection.statistics()
            self.assertGreater(statistics["key_updates"], 10)
            self.assertEqual((statistics["datagrams_forged"], statistics["datagrams_dropped"]), (0, 0))
            self.assertEqual(len(application.messages[0]), 300)
        wire.close()

    def test_badNetwork(self) -> None:
        """So it does with loss, duplication and reordering."""
        wire = Wire(handshakes=Handshakes(SturdyHandshake, SturdyHandshake), seed=3).open()
        wire.lose = lambda role, datagram: wire.random.random() < 0.1

        def alter(role: Role, datagram: bytes) -> bytes:
            if wire.random.random() < 0.2:
                wire.inject(role, datagram)  # earlier, and twice
            return datagram

        wire.alter = alter
        for number in range(300):
            wire.starter.send_message(bytes((number % 256,)) * 500, now=wire.now)
            wire.run(0.01)
        wire.until(lambda: len(wire.here.settled) == 300)
        self.assertEqual([message[0] for message in wire.there.messages[0]], [number % 256 for number in range(300)])
        self.assertGreater(wire.starter.statistics()["key_updates"], 5)
        wire.close()

    def test_pureReceiver(self) -> None:
        """Who has nothing to say but acknowledgements asks for one when its key needs it, so that it can be updated."""
        pair = linking.Pair(handshakes=HANDSHAKES)
        listener = pair.settle()
        for number in range(60):
            pair.starter.control.put(number, p.StreamGo(number, 1))
            pair.turn()
        self.assertGreater(listener.link.statistics()["key_updates"], 1)
        self.assertIsNone(listener.link.failure)
        self.assertLess(listener.link._answers.pings, 10)
        self.assertEqual(pair.starter.taken, [], "it says nothing else")

    def test_rest(self) -> None:
        """Keys of an idle link are put aside on both sides, and the same ones again when it speaks."""
        wire = Wire(handshakes=HANDSHAKES).open()
        sides = (wire.starter, wire.listener)
        for _ in range(SELDOM):
            before = wire.starter.send_message(b"good night", now=wire.now)
            wire.until(lambda message=before: message.settled)  # type: ignore[misc]
        self.assertEqual(self._awake(wire), [True] * 4)
        began = wire.now
        wire.run(2 * REST)
        self.assertEqual(self._awake(wire), [False] * 4)
        deadline = wire.starter.next_timeout()
        assert deadline is not None
        self.assertGreater(deadline, began + 10 * REST, "no timer is left for it")
        message = wire.starter.send_message(b"good morning", now=wire.now)
        wire.until(lambda: message.settled)
        self.assertEqual([side.statistics()["datagrams_forged"] for side in sides], [0, 0])

    def _awake(self, wire: Wire) -> list[bool]:
        """Which keys hold what can be made again."""
        keys = [
            key for side in (wire.starter, wire.listener) for key in (side._link.outbound.keys, side._link.inbound.keys)
        ]
        return [key is not None and key.awake for key in keys]

    def test_seldom(self) -> None:
        """Who speaks seldom, as a heartbeat does, has its keys put aside all the time, and needs no timer for it."""
        wire = Wire(handshakes=HANDSHAKES).open()
        wire.run(2 * REST)
        for _ in range(10):
            received = wire.listener.statistics()["datagrams_received"]
            wire.until(lambda: wire.listener.statistics()["datagrams_received"] > received)  # noqa: B023
            self.assertEqual(self._awake(wire), [False] * 4)
            deadline = wire.listener.next_timeout()
            assert deadline is not None
            self.assertGreater(deadline, wire.now + 10 * REST)
        self.assertEqual(wire.listener.statistics()["datagrams_forged"], 0)

    def test_patience(self) -> None:
        """A link keeps the key before for three probe timeouts: RFC 9001 §6.5."""
        for wait, arrives in ((2.9, True), (3.1, False)):
            pair = linking.Pair(handshakes=HANDSHAKES)
            listener = pair.settle()
            held = datagrams = pair.starter.send(pair.now)
            number = 0
            while not pair.starter.link.statistics()["key_updates"]:
                listener.receive(held, pair.now)
                pair.starter.receive(listener.send(pair.now), pair.now + pair.delay)
                pair.now += pair.delay
                number += 1
                pair.starter.control.put(number, p.StreamGo(number, 1))
                held, datagrams = datagrams, pair.starter.send(pair.now)
            listener.receive(datagrams, pair.now)
            self.assertEqual(listener.taken[-1], p.StreamGo(number, 1))
            before = len(listener.taken)
            pair.now += wait * listener.link.rtt.probe_timeout
            listener.receive(held, pair.now)
            self.assertEqual(len(listener.taken) - before, arrives)
            self.assertEqual(listener.link.statistics()["datagrams_forged"], not arrives)

    def test_integrityLimit(self) -> None:
        """When too many datagrams were forged the session ends, and the peer reads why."""
        wire = Wire(Options(allow_reopen=False), handshakes=HANDSHAKES).open()
        for number in range(8):
            self.assertIsNone(wire.there.error)
            wire.inject(
                Role.STARTER, header.encode_short(wire.listener.local_tag, 1_000 + number) + bytes(40), "elsewhere"
            )
            wire.run(0)
        wire.run(1)
        self.assertIsInstance(wire.there.error, KeysSpent)
        self.assertIsInstance(wire.here.error, SessionKilled)
        for error in (wire.here.error, wire.there.error):
            assert error is not None
            self.assertEqual(error.code, Reason.KEYS_SPENT)
            self.assertIn("forged", error.text)
        wire.until(lambda: wire.starter.ended and not len(wire.demux))

    def test_sealingLimit(self) -> None:
        """Who hears no acknowledgement for as long as a key may be used ends the link, and seals nothing more."""
        wire = Wire(Options(ping_interval=1e6, allow_reopen=False), handshakes=HANDSHAKES).open()
        sent = len(wire.sent)
        wire.lose = lambda role, datagram: True
        while wire.here.error is None:
            wire.starter.send_message(b"x", now=wire.now)
            wire.run(0.3)
            self.assertLess(len(wire.sent) - sent, 100)
        self.assertIsInstance(wire.here.error, KeysSpent)
        headers = [
            header.SHORT.unpack_from(said) for role, said in wire.sent if role is Role.STARTER and said[0] >> 7 == 0
        ]
        self.assertEqual(len({number for _, _, number in headers}), len(headers))
        phases = Counter(kind & 1 for kind, _, _ in headers)
        self.assertEqual(phases, {0: 10, 1: 20})
        wire.run(10)
        self.assertTrue(wire.starter.ended)
