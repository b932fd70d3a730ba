"""
Tests for L{hypermail.link.opening}: long datagrams, and retries above all.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HandshakeFailed, HandshakeRefused, SessionTimedOut
from hypermail.events import SessionEnded
from hypermail.link.opening import MOST_RETRIES, LinkOpening
from hypermail.options import ListenerOptions, Mode, Options, Role
from hypermail.security.handshake import PlainHandshake
from hypermail.security.keys import long_seals
from hypermail.test.sealed import chained, tls
from hypermail.test.wired import Wire
from hypermail.testing import Conditions, World
from hypermail.testing.modes import PLAIN, Handshakes, secret_handshakes
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.header import Kind

#: Everybody has to come again with a token.
DISTRUSTFUL = ListenerOptions(max_unproved=0)


class Pretending(PlainHandshake):
    """
    A handshake that says to be of another mode, and may be told to fail.

    @ivar error: what it fails with.
    """

    mode = Mode.PLAIN
    error: HandshakeFailed | None = None

    def receive(self, data: bytes) -> None:
        """Take an empty flight."""
        if self.error is not None:
            raise self.error
        super().receive(data)


def new(
    role: Role, *, token: bytes = b"", mode: Mode = Mode.PLAIN, error: HandshakeFailed | None = None
) -> LinkOpening:
    """One side: the starter's tag is 1, the listener's 2, the first tag 3."""
    starts = role is Role.STARTER
    handshake = Pretending(role)
    handshake.mode = mode
    handshake.error = error
    return LinkOpening(
        role, handshake, local_tag=1 if starts else 2, first_tag=3, remote_tag=3 if starts else 1, token=token
    )


def datagram(opening: LinkOpening, number: int = 5) -> bytes:
    """A long datagram of one side."""
    return opening.seals.seal(opening.head(number), [b"content"], number)


def opened(opening: LinkOpening, said: bytes) -> bytes | None:
    """What one side finds in a datagram."""
    head = header.decode_long(memoryview(said))
    assert head is not None
    content = opening.open(memoryview(said), head, head.low)
    return None if content is None else bytes(content)


def altered_token(said: bytes, token: bytes) -> bytes:
    """The same datagram with another token in its header."""
    head = header.decode_long(memoryview(said))
    assert head is not None
    return header.encode_long(head._replace(token=token)) + said[head.length :]


class DatagramTests(SynchronousTestCase):
    """Long datagrams."""

    def test_both(self) -> None:
        """Each side opens the other's, and the starter learns the listener's tag by it."""
        for mode in Mode:
            starter, listener = new(Role.STARTER, mode=mode), new(Role.LISTENER, mode=mode)
            self.assertEqual(opened(listener, datagram(starter)), b"content")
            self.assertEqual(starter.remote_tag, 3)
            self.assertEqual(opened(starter, datagram(listener)), b"content")
            self.assertEqual(starter.remote_tag, 2)
            said = header.decode_long(memoryview(datagram(starter)))
            assert said is not None
            self.assertEqual((said.destination, said.source, said.mode, said.version), (2, 1, mode, header.VERSION))
            self.assertEqual(len(datagram(starter)), 7 + starter.overhead)

    def test_otherSource(self) -> None:
        """Once a peer has said its tag nobody else is listened to."""
        starter, listener = new(Role.STARTER), new(Role.LISTENER)
        opened(starter, datagram(listener))
        listener._local_tag = 9
        self.assertIsNone(opened(starter, datagram(listener)))
        starter._local_tag = 9
        self.assertIsNone(opened(listener, datagram(starter)))

    def test_forgedFirst(self) -> None:
        """What does not open settles no tag."""
        starter, listener = new(Role.STARTER, mode=Mode.TLS), new(Role.LISTENER, mode=Mode.TLS)
        listener._local_tag = 9
        forged = bytearray(datagram(listener))
        forged[-1] ^= 1
        self.assertIsNone(opened(starter, bytes(forged)))
        listener._local_tag = 2
        self.assertEqual(opened(starter, datagram(listener)), b"content")


class RetryTests(SynchronousTestCase):
    """Come again with this token."""

    def test_token(self) -> None:
        """From then on the token is in every header."""
        starter = new(Role.STARTER)
        size = starter.overhead
        self.assertTrue(starter.retry(b"a token"))
        head = header.decode_long(memoryview(datagram(starter)))
        assert head is not None
        self.assertEqual((head.token, head.destination, head.source), (b"a token", 3, 1))
        self.assertEqual(starter.overhead, size + 7)

    def test_again(self) -> None:
        """The same one twice is followed once; others a few times; none after an answer."""
        starter = new(Role.STARTER)
        self.assertTrue(starter.retry(b"one"))
        self.assertFalse(starter.retry(b"one"))
        self.assertTrue(starter.retry(b"two"))
        self.assertFalse(starter.retry(b"one"))
        followed = [starter.retry(b"%d" % number) for number in range(10)]
        self.assertEqual(followed.count(True), MOST_RETRIES - 2)
        starter = new(Role.STARTER)
        opened(starter, datagram(new(Role.LISTENER)))
        self.assertFalse(starter.retry(b"late"))

    def test_whichCounted(self) -> None:
        """The listener's answer tells which token has counted, if any; one that was never given is no answer."""
        for token, good in ((b"", True), (b"one", True), (b"two", True), (b"three", False)):
            starter = new(Role.STARTER)
            starter.retry(b"one")
            starter.retry(b"two")
            answer = datagram(new(Role.LISTENER, token=token))
            self.assertEqual(opened(starter, answer), b"content" if good else None)
            head = header.decode_long(memoryview(datagram(starter)))
            assert head is not None
            self.assertEqual(head.token, token if good else b"two")

    def test_bound(self) -> None:
        """What the two sides' keys are bound to differs with the token, and is the same on both sides."""
        ids = []
        for token in (b"", b"a token"):
            starter, listener = new(Role.STARTER), new(Role.LISTENER, token=token)
            if token:
                starter.retry(token)
            starter.shake()
            theirs = listener.take(p.Handshake(0, b""))
            opened(starter, datagram(listener))
            ours = starter.take(p.Handshake(0, b""))
            assert ours is not None and theirs is not None
            self.assertEqual(ours.session_id, theirs.session_id)
            ids.append(ours.session_id)
        self.assertNotEqual(*ids)


class FailureTests(SynchronousTestCase):
    """Handshakes that fail."""

    def _failed(self, error: HandshakeFailed) -> LinkOpening:
        opening = new(Role.LISTENER, error=error)
        self.assertIsNone(opening.take(p.Handshake(0, b"")))
        return opening

    def test_kept(self) -> None:
        """The failure is kept, and whatever comes behind it is not looked at."""
        opening = self._failed(HandshakeFailed("no"))
        self.assertEqual(str(opening.failure), "no")
        self.assertIsNone(opening.take(p.Handshake(0, b"more")))
        self.assertEqual(str(opening.failure), "no")

    def test_objects(self) -> None:
        """Who has found fault with the other says so; who was told of a fault doesn't."""
        self.assertTrue(self._failed(HandshakeFailed("no")).objects)
        self.assertFalse(self._failed(HandshakeRefused("no")).objects)
        self.assertFalse(new(Role.LISTENER).objects)


class RetriedSessionTests(SynchronousTestCase):
    """Whole sessions whose starter is told to come again."""

    def modes(self) -> list[Handshakes]:
        """Each mode."""
        return [PLAIN, secret_handshakes(Random(1).randbytes), tls()]

    def wires(self) -> list[Wire]:
        """One session of each mode."""
        return [Wire(handshakes=handshakes, listener_options=DISTRUSTFUL) for handshakes in self.modes()]

    def assertOpens(self, wire: Wire) -> None:
        """The session opens, and both sides have the same keys."""
        wire.open()
        self.assertEqual(wire.starter.session_id, wire.listener.session_id)
        message = wire.starter.send_message(b"hello", now=wire.now)
        wire.until(lambda: message.settled)
        wire.close()

    def kinds(self, wire: Wire, role: Role) -> list[int]:
        """The kinds of datagrams that one side has sent."""
        return [
            said[0] & 0xF0 if said[0] & 0xF0 == Kind.LONG else said[0] & 0xFE
            for sender, said in wire.sent
            if sender is role
        ]

    def test_opens(self) -> None:
        """One round trip later it opens as others do; numbers go on, so none is used twice under one key."""
        for wire in self.wires():
            began = wire.now
            self.assertOpens(wire)
            retries = self.kinds(wire, Role.LISTENER).count(Kind.RETRY)
            self.assertTrue(1 <= retries <= 2, "one for each datagram of the hello")
            self.assertEqual(wire.demux.statistics()["retries"], retries)
            heads = [
                header.decode_long(memoryview(said))
                for role, said in wire.sent
                if role is Role.STARTER and said[0] >> 4 == 12
            ]
            numbers = [head.low for head in heads if head is not None]
            self.assertEqual(numbers, list(range(len(numbers))))
            self.assertEqual(len({(head.destination, head.source) for head in heads if head is not None}), 1)
            self.assertLess(wire.now - began, 0.5)

    def test_amplification(self) -> None:
        """Who has proved its address by a token is sent everything at once, however long the chain of certificates."""
        for options, most in ((ListenerOptions(), 3 * 2_400), (DISTRUSTFUL, 1 << 20)):
            wire = Wire(handshakes=tls(chained(8)), listener_options=options)
            wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
            said = sum(len(said) for role, said in wire.sent if role is Role.LISTENER and said[0] >> 4 == 12)
            self.assertLessEqual(said, most)
            self.assertGreater(said, 2 * 2_400)

    def test_lossAndDuplication(self) -> None:
        """On bad networks they all open, in mode secret over many seeds."""
        for seed in range(40):
            conditions = Conditions(delay=0.01, loss=0.2, longest_loss=3, duplication=0.2, reordering=0.2)
            world = World(
                seed,
                conditions,
                starters=5,
                strangers=DISTRUSTFUL,
                options=Options(connection_timeout=30),
                handshakes=secret_handshakes(Random(seed).randbytes),
            )
            sides = [node.sides[0] for node in world.starter_nodes]
            world.run(lambda sides=sides: all(side.application.opened for side in sides))  # type: ignore[misc]
            self.assertGreaterEqual(world.listener_node.demux.statistics()["retries"], 5)
            world.close()

    def test_lostRetry(self) -> None:
        """A retry that is lost comes again with the next probe."""
        for wire in self.wires():
            lost: list[bytes] = []

            def lose(role: Role, said: bytes, lost: list[bytes] = lost) -> bool:
                if said[0] != Kind.RETRY or len(lost) >= 3:
                    return False
                lost.append(said)
                return True

            wire.lose = lose
            self.assertOpens(wire)
            self.assertEqual(len(lost), 3)

    def _forge(self, wire: Wire, make: Callable[[header.Retry], header.Retry], *, instead: bool) -> None:
        """Put another retry before every one, or in its place."""

        def alter(role: Role, said: bytes) -> bytes:
            if said[0] != Kind.RETRY:
                return said
            retry = header.decode_retry(memoryview(said))
            assert retry is not None
            forged = header.encode_retry(make(retry))
            if instead:
                return forged
            wire.inject(role, forged)
            return said

        wire.alter = alter

    def test_forged(self) -> None:
        """A retry by somebody who has seen the hello costs a round trip at most: the true one is followed, too."""
        for wire in self.wires():
            self._forge(wire, lambda retry: retry._replace(token=b"forged"), instead=False)
            self.assertOpens(wire)

    def test_forgedOnly(self) -> None:
        """When only forged ones arrive the session opens where strangers are welcome, and the token binds nothing."""
        for handshakes in self.modes():
            wire = Wire(handshakes=handshakes)
            wire.step()
            wire.inject(
                Role.LISTENER, header.encode_retry(header.Retry(wire.starter.local_tag, wire.starter.first_tag, b"x"))
            )
            self.assertOpens(wire)

    def test_never(self) -> None:
        """Where they are not, it fails when its time is over, without a loop of retries."""
        for wire in self.wires():
            self._forge(wire, lambda retry: retry._replace(token=bytes(37)), instead=True)
            wire.until(lambda wire=wire: wire.here.error, 30)  # type: ignore[misc]
            self.assertIsInstance(wire.here.error, SessionTimedOut)
            self.assertLess(len(wire.sent), 200)
            self.assertEqual(len(wire.demux), 0)

    def test_forSomebodyElse(self) -> None:
        """A retry whose tags are not those of this session is not followed."""
        for wire in self.wires():
            self._forge(wire, lambda retry: retry._replace(source=retry.source ^ 1), instead=True)
            wire.run(1)
            heads = [header.decode_long(memoryview(said)) for role, said in wire.sent if role is Role.STARTER]
            self.assertEqual({head.token for head in heads if head is not None}, {b""})

    def test_toListener(self) -> None:
        """A listener follows none."""
        wire = Wire()
        wire.until(lambda: len(wire.demux))
        (connection,) = wire.demux.connections
        retry = header.Retry(connection.local_tag, connection.first_tag, b"x")
        wire.inject(Role.STARTER, header.encode_retry(retry))
        wire.open()
        self.assertEqual(self.kinds(wire, Role.LISTENER).count(Kind.LONG), 1)

    def test_afterAnswer(self) -> None:
        """A retry that comes after the listener's answer changes nothing."""
        for handshakes in self.modes():
            wire = Wire(handshakes=handshakes)
            wire.until(lambda wire=wire: wire.starter.session_id)  # type: ignore[misc]
            retry = header.Retry(wire.starter.local_tag, wire.starter.first_tag, b"x")
            wire.inject(Role.LISTENER, header.encode_retry(retry))
            self.assertOpens(wire)

    def test_alteredTokens(self) -> None:
        """A token that is altered in a header, in either direction, never gives a session that is not agreed on it."""
        for handshakes in self.modes():
            for liar in Role:
                wire = Wire(handshakes=handshakes, listener_options=DISTRUSTFUL)

                def alter(role: Role, said: bytes, liar: Role = liar) -> bytes:
                    if role is not liar or said[0] & 0xF0 != Kind.LONG or len(said) < 60:
                        return said
                    head = header.decode_long(memoryview(said))
                    return altered_token(said, b"other") if head is not None and head.token else said

                wire.alter = alter
                wire.run(15)
                self.assertIsNotNone(wire.here.error)
                self.assertLessEqual(set(wire.there.kinds), {SessionEnded})

    def test_authenticTokens(self) -> None:
        """Who can seal long datagrams, having seen the hello, and lies about the token, prevents it, no more."""
        for handshakes in self.modes()[1:]:
            wire = Wire(handshakes=handshakes, listener_options=DISTRUSTFUL)

            def alter(role: Role, said: bytes, wire: Wire = wire) -> bytes:
                if role is Role.STARTER or said[0] & 0xF0 != Kind.LONG:
                    return said
                head = header.decode_long(memoryview(said))
                assert head is not None
                sealing, _ = long_seals(head.mode, role, wire.starter.first_tag)
                content = sealing.open(memoryview(said), head.length, head.low)
                assert content is not None
                lie = header.encode_long(head._replace(token=b""))
                return sealing.seal(lie, [bytes(content)], head.low)

            wire.alter = alter
            wire.run(15)
            self.assertIsNotNone(wire.here.error)
            self.assertLessEqual(set(wire.there.kinds), {SessionEnded})
