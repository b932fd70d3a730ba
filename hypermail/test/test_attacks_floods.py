"""
Attacks by strangers: floods, slowness, false addresses, and answers that tell more than they should.
"""

from __future__ import annotations

import tracemalloc
from random import Random
from typing import Any

from hypermail.demux import MOST_REPLIES, Demux
from hypermail.ending import HELLO_TIMEOUT
from hypermail.errors import SessionReset, SessionTimedOut
from hypermail.events import SessionOpened, SessionRequested, SessionSuspended
from hypermail.options import ListenerOptions, Mode, Options, Role
from hypermail.security.keys import long_seals
from hypermail.security.tls import TlsHandshake
from hypermail.security.tokens import ResetKey
from hypermail.test.attacks import DELAY, MODES, AttackCase, hello_of, stranger_datagrams, usual_secret, usual_tls
from hypermail.test.sealed import chained, tls
from hypermail.test.wired import Wire
from hypermail.testing.modes import Handshakes
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.header import Kind

#: An attacker's addresses.
HOSTS = [(f"198.{net}.{host}.7", 4_000) for net in (18, 19) for host in range(200)]


def said_by(wire: Wire, role: Role) -> int:
    """Bytes that one side has sent to the other's address."""
    return sum(len(datagram) for sender, datagram in wire.sent if sender is role)


def flood(wire: Wire, mode: Mode, hello: bytes, count: int, seed: int = 1) -> None:
    """So many hellos from false addresses arrive, each with tags of its own, in reads of up to 50."""
    random = Random(seed)
    for _ in range(count):
        for datagram in stranger_datagrams(mode, hello, random.getrandbits(63)):
            wire.inject(Role.STARTER, datagram, random.choice(HOSTS))


class HandshakeFloodTests(AttackCase):
    """Thousands of hellos."""

    def test_stateIsBounded(self) -> None:
        """Whatever comes, so many strangers are kept and no more; each other one is told to prove its address."""
        wire = self.wire(listener_options=ListenerOptions(max_unproved=100, max_unproved_per_prefix=5))
        wire.lose = lambda role, datagram: role is Role.STARTER
        hello = hello_of(usual_secret())
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for seed in range(20):
                flood(wire, Mode.SECRET, hello, 100, seed)
                wire.run(0.05)
                self.assertEqual(len(wire.demux), 100)
            wire.strays.clear()
            self.assertLess(tracemalloc.get_traced_memory()[0] - before, 100 * 40_000)
        finally:
            tracemalloc.stop()
        self.assertEqual(wire.demux.statistics()["retries"], 2_000 - 100)

    def test_honestStarters(self) -> None:
        """Under such a flood honest starters open all the same: a retry lets them in, in either mode."""
        limits = ListenerOptions(max_unproved=20, max_unproved_per_prefix=2)
        for mode, handshakes in MODES.items():
            wire = self.wire(mode, listener_options=limits)
            hello = hello_of(handshakes())
            flood(wire, mode, hello, 40)
            wire.lose = lambda role, datagram: False
            random = Random(5)
            while not wire.starter.session_id or wire.starter.opening:
                flood(wire, mode, hello, 5, random.getrandbits(30))
                wire.run(DELAY / 2)
                self.assertLess(wire.now, 1_005.0)
            self.assertIn(Kind.RETRY, [datagram[0] for _, datagram in wire.sent])
            wire.run(1)
            self.assertWorks(wire)
            self.assertLessEqual(len(wire.demux), 21)
            wire.run(20)
            self.assertEqual(len(wire.demux), 1, "the flood has left nothing")

    def test_handshakesAreBounded(self) -> None:
        """A flood costs no more TLS handshakes than there are places."""
        made: list[object] = []
        usual = usual_tls()

        def counted(role: Role) -> TlsHandshake:
            handshake: Any = usual.listener(role)
            connect = handshake._connect

            def counting(protocol: Any) -> Any:
                made.append(protocol)
                return connect(protocol)

            handshake._connect = counting
            return handshake  # type: ignore[no-any-return]

        wire = self.wire(
            handshakes=Handshakes(usual.starter, counted),
            listener_options=ListenerOptions(max_unproved=10, max_unproved_per_prefix=3),
        )
        wire.lose = lambda role, datagram: role is Role.STARTER
        flood(wire, Mode.TLS, hello_of(usual), 300)
        wire.run(1)
        self.assertLessEqual(len(made), 10)
        self.assertGreater(len(made), 0)

    def test_onePrefix(self) -> None:
        """One network with addresses of its own takes its own places only, proved or not."""
        limits = ListenerOptions(max_unproved=0, max_opening=50, max_opening_per_prefix=10)
        wire = self.wire(listener_options=limits)
        hello = hello_of(usual_secret())
        tokens = 0
        for tag in range(0, 200, 2):
            address = (f"198.51.100.{tag}", 9)
            demux = wire.demux
            demux.receive([memoryview(stranger_datagrams(Mode.SECRET, hello, tag)[0])], address, now=wire.now)
            (train,) = demux.replies()
            retry = header.decode_retry(memoryview(train.datagrams[0]))
            assert retry is not None
            again = stranger_datagrams(Mode.SECRET, hello, tag, token=retry.token)[0]
            tokens += len(demux.receive([memoryview(again)], address, now=wire.now))
        self.assertEqual((tokens, len(wire.demux)), (10, 10))
        self.assertWorks(wire.open())


class SlownessTests(AttackCase):
    """Strangers that take their time."""

    def test_partialHello(self) -> None:
        """A hello that is not whole is kept for 3 s, however it drips, and without an SSL object."""
        hello = hello_of(usual_tls())
        for drips in (0, 25):
            wire = self.wire(Mode.TLS)
            wire.lose = lambda role, datagram: role is Role.STARTER
            first, *_ = stranger_datagrams(Mode.TLS, hello, 50)
            wire.inject(Role.STARTER, first, HOSTS[0])
            wire.run(0)
            (connection,) = wire.demux.connections
            for drip in range(drips):
                offset = 1_158 + drip
                (datagram,) = stranger_datagrams(Mode.TLS, b"", 50, number=2 + drip)
                self.assertLess(offset, len(hello))
                drop = p.Handshake(offset, hello[offset : offset + 1])
                wire.inject(Role.STARTER, _with(datagram, 50, 2 + drip, drop), HOSTS[0])
                wire.run(0.1)
            handshake: Any = connection._link._opening.handshake  # type: ignore[union-attr]
            self.assertFalse(handshake.begun)
            self.assertIsNone(handshake._connection)
            wire.run(HELLO_TIMEOUT - 0.1 * drips - 0.01)
            self.assertEqual(len(wire.demux), 1)
            wire.run(0.02)
            self.assertEqual(len(wire.demux), 0)
            self.assertIsInstance(wire.there.error, SessionTimedOut)

    def test_noFinished(self) -> None:
        """Who says its hello and then nothing is kept for C{connection_timeout}."""
        for mode in MODES:
            wire = self.wire(mode, listener=Options(connection_timeout=5))
            wire.lose = lambda role, datagram: role is Role.STARTER
            for datagram in stranger_datagrams(mode, hello_of(MODES[mode]()), 50):
                wire.inject(Role.STARTER, datagram, HOSTS[0])
            wire.run(4.99)
            self.assertEqual(len(wire.demux), 1)
            wire.run(0.02)
            self.assertEqual(len(wire.demux), 0)
            self.assertNothingRequested(wire)

    def test_noHaste(self) -> None:
        """A hello that took a while leaves the rest of the time to the rest of the handshake."""
        wire = self.wire(Mode.TLS)
        wire.lose = lambda role, datagram: wire.now < 1_002.5 and len(wire.sent) > 1
        wire.until(lambda: wire.demux.statistics()["opening"])
        wire.lose = lambda role, datagram: role is Role.LISTENER and wire.now < 1_007.0
        self.assertWorks(wire.open())
        self.assertEqual(wire.there.kinds[:2], [SessionRequested, SessionOpened])


def _with(datagram: bytes, tag: int, number: int, packet: p.Packet) -> bytes:
    """The same long datagram with another packet in it."""
    head = header.decode_long(memoryview(datagram))
    assert head is not None
    body = packet.encode()
    padding = p.Padding(len(datagram) - head.length - 16 - len(body)).encode()
    sealing, _ = long_seals(head.mode, Role.STARTER, tag)
    return sealing.seal(datagram[: head.length], [body, padding], number)


class AmplificationTests(AttackCase):
    """What a false address is sent."""

    def test_bigChain(self) -> None:
        """At no moment is more said to an unproved address than thrice what came from it."""
        wire = self.wire(handshakes=tls(chained(8)))
        wire.lose = lambda role, datagram: True
        hello = stranger_datagrams(Mode.TLS, hello_of(tls(chained(8))), 50)
        received = 0
        for datagram in hello:
            wire.inject(Role.STARTER, datagram)
            received += len(datagram)
        wire.run(0)
        first = said_by(wire, Role.LISTENER)
        self.assertGreater(first, 2 * received, "there was much to say")
        for _ in range(200):
            self.assertLessEqual(said_by(wire, Role.LISTENER), 3 * received)
            wire.run(0.05)
        wire.run(1)
        self.assertEqual(len(wire.demux), 0)

    def test_repeated(self) -> None:
        """Hellos that come again and again, altered or not, keep to that."""
        for mode in MODES:
            wire = self.wire(mode)
            wire.lose = lambda role, datagram: True
            (first, *more) = stranger_datagrams(mode, hello_of(MODES[mode]()), 50)
            received = 0
            for round in range(40):
                for datagram in (first, *more, first[:-1] + b"\0"):
                    wire.inject(Role.STARTER, datagram)
                    received += len(datagram)
                    wire.run(0.01 * (round % 4))
                    self.assertLessEqual(said_by(wire, Role.LISTENER), 3 * received)

    def test_elsewhere(self) -> None:
        """What comes from elsewhere gives the first address no credit, and is not answered elsewhere."""
        wire = self.wire(handshakes=tls(chained(8)))
        wire.lose = lambda role, datagram: True
        hello = stranger_datagrams(Mode.TLS, hello_of(tls(chained(8))), 50)
        wire.inject(Role.STARTER, hello[0])
        wire.run(0)
        for number in range(50):
            for datagram in (hello[1], *stranger_datagrams(Mode.TLS, b"", 50, number=5 + number)):
                wire.inject(Role.STARTER, datagram, HOSTS[number])
            wire.run(0.02)
            self.assertLessEqual(said_by(wire, Role.LISTENER), 3 * 1_200)
        self.assertEqual(wire.strays, [])

    def test_stateless(self) -> None:
        """Each answer without state is smaller than what it answers, and one read gets a few only."""
        wire = self.wire(Mode.SECRET, listener_options=ListenerOptions(max_unproved=0))
        demux = wire.demux
        for size in range(1, 1_400):
            for kind in (
                Kind.SHORT,
                Kind.SHORT + 1,
                Kind.LONG + 1,
                Kind.LONG + 2,
                Kind.RETRY,
                Kind.RESET,
                Kind.VERSION,
            ):
                head = bytes((kind,)) + bytes(8) + bytes(8) + (1 if kind & 1 else 9).to_bytes(4, "big") + bytes(size)
                demux.receive([memoryview(head[:size])], "nobody", now=wire.now)
                for train in demux.replies():
                    self.assertLess(sum(map(len, train.datagrams)), size)
        demux.receive([memoryview(bytes((Kind.SHORT,)) + bytes(50))] * 1_000, "nobody", now=wire.now)
        self.assertLessEqual(len(demux.replies()), MOST_REPLIES)


class SpoofedSourceTests(AttackCase):
    """Datagrams that say to come from somebody else."""

    def test_victim(self) -> None:
        """A listener's answers to a hello that a starter never said do nothing to that starter."""
        for mode in MODES:
            wire = self.wire(mode).open()
            for tag in range(2, 40, 2):
                for datagram in stranger_datagrams(mode, hello_of(MODES[mode]()), tag):
                    wire.inject(Role.STARTER, datagram)
            before = wire.starter.statistics()["datagrams_received"]
            wire.run(20)
            self.assertGreater(wire.starting.dropped, 19)
            self.assertLess(wire.starter.statistics()["datagrams_received"] - before, 20)
            self.assertEqual(len(wire.demux), 1)
            self.assertWorks(wire)

    def test_token(self) -> None:
        """A token that an attacker was given is worth nothing from a false address."""
        wire = self.wire(listener_options=ListenerOptions(max_unproved=0))
        wire.lose = lambda role, datagram: role is Role.STARTER
        hello = hello_of(usual_secret())
        wire.inject(Role.STARTER, stranger_datagrams(Mode.SECRET, hello, 50)[0], HOSTS[0])
        wire.run(0)
        ((address, datagram),) = wire.strays
        retry = header.decode_retry(memoryview(datagram))
        assert retry is not None
        self.assertEqual(address, HOSTS[0])
        again = stranger_datagrams(Mode.SECRET, hello, 50, token=retry.token)[0]
        for victim in HOSTS[1:20]:
            wire.inject(Role.STARTER, again, victim)
        wire.run(0)
        self.assertEqual(len(wire.demux), 0)
        wire.inject(Role.STARTER, again, HOSTS[0])
        wire.run(0)
        self.assertEqual(len(wire.demux), 1)

    def test_tokenReuse(self) -> None:
        """A hello with its token that is replayed opens nothing, while its session lives and after."""
        for mode in MODES:
            wire = self.wire(mode, listener_options=ListenerOptions(max_unproved=0)).open()
            replays = [datagram for role, datagram in wire.sent if role is Role.STARTER]
            for datagram in replays * 3:
                wire.inject(Role.STARTER, datagram)
            wire.run(1)
            self.assertEqual((len(wire.demux), len(wire.there.events)), (1, 2))
            self.assertWorks(wire)
            wire.close()
            for datagram in replays * 3:
                wire.inject(Role.STARTER, datagram)
            wire.run(1)
            self.assertEqual(len(wire.demux), 0)


class ResetOracleTests(AttackCase):
    """Resets that somebody else is made to write."""

    def _restarted(self, wire: Wire, scope: bytes) -> None:
        """The listener has forgotten everything; the socket has this scope now."""
        wire.demux = self._demux(scope)

    def _demux(self, scope: bytes) -> Demux:
        return Demux(
            options=Options(),
            handshake=usual_secret().listener,
            random_bytes=Random(3).randbytes,
            secret=b"the identity's secret, as it were",
            scope=scope,
        )

    def _reset(self, demux: Demux, tag: int) -> bytes | None:
        """What a socket answers to a short datagram with a tag."""
        demux.receive([memoryview(header.encode_short(tag, 5) + bytes(100))], "attacker", now=1_000.0)
        replies = [datagram for train in demux.replies() for datagram in train.datagrams]
        return replies[0] if replies else None

    def test_otherSocket(self) -> None:
        """A second socket of the same identity gives no token that ends a session of the first."""
        wire = self.wire()
        wire.demux = self._demux(b"first")
        wire.open()
        tag = wire.listener.local_tag
        other = self._reset(self._demux(b"second"), tag)
        same = self._reset(self._demux(b"first"), tag)
        assert other is not None and same is not None
        self.assertNotEqual(other, same)
        wire.inject(Role.LISTENER, other)
        wire.run(0.1)
        self.assertWorks(wire)
        wire.inject(Role.LISTENER, same)
        wire.run(0)
        self.assertTrue(wire.starter.suspended)
        self.assertIsInstance(wire.here.of(SessionSuspended)[0].error, SessionReset)

    def test_knownTag(self) -> None:
        """A socket never writes a reset for a tag that it knows: while a session opens, lives, or has just ended."""
        wire = self.wire()
        tags = set()
        for _ in range(8):
            wire.step()
            for connection in wire.demux.connections:
                tags.add(connection.local_tag)
                self.assertIsNone(self._reset(wire.demux, connection.local_tag))
        wire.open()
        wire.starter.abort(5, "", now=wire.now)
        wire.run(DELAY)
        for connection in wire.demux.connections:
            self.assertIsNone(self._reset(wire.demux, connection.local_tag))
        self.assertEqual(len(tags), 1)

    def test_guessed(self) -> None:
        """No token but the right one ends a session, with any bit of it flipped; nor does one for another tag."""
        wire = self.wire()
        wire.demux = self._demux(b"first")
        wire.open()
        tag = wire.listener.local_tag
        token = ResetKey(b"the identity's secret, as it were", b"first").token(tag)
        for bit in range(128):
            guess = (int.from_bytes(token, "big") ^ 1 << bit).to_bytes(16, "big")
            wire.inject(Role.LISTENER, header.encode_reset(header.Reset(tag, guess)))
        wire.inject(Role.LISTENER, header.encode_reset(header.Reset(tag ^ 1, token)))
        wire.inject(Role.STARTER, header.encode_reset(header.Reset(tag, token)))
        wire.run(0.1)
        self.assertWorks(wire)

    def test_beforeOpen(self) -> None:
        """Before the peer has told its token no reset ends anything, not even an empty one."""
        for mode in MODES:
            wire = self.wire(mode)
            for _ in range(4):
                wire.step()
                for tag in (wire.starter.remote_tag, wire.starter.first_tag):
                    wire.inject(Role.LISTENER, header.encode_reset(header.Reset(tag, bytes(16))))
            self.assertWorks(wire.open())
