"""
Tests for L{hypermail.admission}: which strangers are let in, and that each gives its place back.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.admission import Admission, Quota, prefix_of
from hypermail.demux import Demux
from hypermail.errors import HandshakeFailed, Reason, SessionLost, SessionTimedOut
from hypermail.events import SessionRequested
from hypermail.options import ListenerOptions, Mode, Options, Role
from hypermail.security.handshake import PlainHandshake
from hypermail.security.keys import long_seals
from hypermail.test.sealed import long, short
from hypermail.test.test_demux import hello
from hypermail.test.wired import LISTENER, Wire
from hypermail.testing.modes import Handshakes, secret_handshakes
from hypermail.wire import header
from hypermail.wire import packets as p


def partial_hello(tag: int, *, first: bytes = b"\x01partial") -> bytes:
    """A datagram that begins a hello of mode C{secret}."""
    head = header.encode_long(header.Long(Mode.SECRET, header.VERSION, tag, tag + 1, 0, b"", 0))
    body = p.Handshake(0, first).encode()
    padding = p.Padding(header.LEAST_HELLO - len(head) - len(body) - 16).encode()
    return long_seals(Mode.SECRET, Role.STARTER, tag)[0].seal(head, [body, padding], 0)


def secret(theirs: bytes | None = None) -> Handshakes:
    """Mode C{secret}, the same each time."""
    return secret_handshakes(Random(1).randbytes, theirs=theirs)


def admission_of(demux: Demux) -> Admission:
    """A listener's."""
    assert demux._reception is not None
    return demux._reception.admission


def places(demux: Demux) -> tuple[int, int, int]:
    """Places that are taken: by the proved, the unproved, and those whose hello is not whole."""
    admission = admission_of(demux)
    return len(admission._proved), len(admission._unproved), len(admission._hellos)


class PrefixTests(SynchronousTestCase):
    """What one attacker may own whole."""

    def assertTogether(self, *hosts: str) -> None:
        """Addresses count as one."""
        self.assertEqual(len({prefix_of((host, port)) for port, host in enumerate(hosts)}), 1, hosts)

    def assertApart(self, *hosts: str) -> None:
        """Addresses count each for itself."""
        self.assertEqual(len({prefix_of((host, 1)) for host in hosts}), len(hosts), hosts)

    def test_four(self) -> None:
        """A /24 of IPv4."""
        self.assertTogether("192.0.2.0", "192.0.2.1", "192.0.2.255")
        self.assertApart("192.0.2.1", "192.0.3.1", "192.1.2.1", "19.20.2.1")

    def test_six(self) -> None:
        """A /48 of IPv6, however it is written, and whatever its zone; what stands for IPv4 is IPv4."""
        self.assertTogether("2001:db8:0:ff::1", "2001:db8::1", "2001:0db8:0000:00aa:1:2:3:4", "2001:db8::1%eth0")
        self.assertTogether("2001:db8:0:ff::1", "2001:db8:0:ffff::1")
        self.assertApart("2001:db8:0:ff::1", "2001:db8:1:ff::1", "2001:db9::1", "::1", "fe80::1")
        self.assertTogether("::ffff:192.0.2.1", "192.0.2.200")
        self.assertApart("::ffff:192.0.2.1", "::ffff:192.0.3.1")

    def test_others(self) -> None:
        """Other addresses stand for themselves, whatever they are."""
        for address in ("somewhere", ("", 5), (), (5, 6), None):
            hash(prefix_of(address))
        self.assertEqual(prefix_of("somewhere"), "somewhere")


class QuotaTests(SynchronousTestCase):
    """Places."""

    def test_total(self) -> None:
        """There are so many, whoever takes them."""
        quota = Quota(3, 3)
        for prefix in range(3):
            self.assertTrue(quota.has_place("other"))
            quota.take(prefix)
        self.assertFalse(quota.has_place("other"))
        quota.give(1)
        self.assertTrue(quota.has_place("other"))

    def test_prefix(self) -> None:
        """And so many for each prefix."""
        quota = Quota(10, 2)
        quota.take("a")
        quota.take("a")
        self.assertEqual((quota.has_place("a"), quota.has_place("b")), (False, True))
        quota.give("a")
        self.assertTrue(quota.has_place("a"))

    def test_memory(self) -> None:
        """A prefix that has none is not remembered."""
        quota = Quota(10**6, 1)
        for prefix in range(1_000):
            quota.take(prefix)
            quota.give(prefix)
            quota.has_place(-prefix)
        self.assertEqual((len(quota), len(quota._by_prefix)), (0, 0))


class JudgementTests(SynchronousTestCase):
    """What becomes of strangers at a listener's socket."""

    def setUp(self) -> None:
        self.demux = self.new()

    def new(self, handshakes: Handshakes | None = None, **limits: int) -> Demux:
        """A listener with limits."""
        return Demux(
            options=Options(),
            listener_options=ListenerOptions(**limits),
            handshake=PlainHandshake if handshakes is None else handshakes.listener,
            random_bytes=Random(7).randbytes,
        )

    def come(self, datagram: bytes, host: str, port: int = 1_000) -> str:
        """A stranger's datagram comes. @return: what becomes of it."""
        demux = self.demux
        dropped = demux.dropped
        connections = demux.receive([memoryview(datagram)], (host, port), now=1_000.0)
        kinds = [header.Kind(reply[0]).name for train in demux.replies() for reply in train.datagrams]
        return " ".join(["admitted"] * len(connections) + kinds + ["dropped"] * (demux.dropped - dropped))

    def test_perPrefix(self) -> None:
        """One prefix takes so many places, and others are not hurt."""
        self.demux = self.new(max_unproved_per_prefix=3)
        came = [self.come(hello(tag), f"192.0.2.{tag}") for tag in range(0, 10, 2)]
        self.assertEqual(came, ["admitted"] * 3 + ["RETRY"] * 2)
        self.assertEqual(self.come(hello(100), "192.0.3.1"), "admitted")

    def test_total(self) -> None:
        """All together take so many, then everybody has to prove an address."""
        self.demux = self.new(max_unproved=3)
        came = [self.come(hello(tag), f"192.0.{tag}.1") for tag in range(0, 10, 2)]
        self.assertEqual(came, ["admitted"] * 3 + ["RETRY"] * 2)

    def test_hellos(self) -> None:
        """Hellos that are not whole have fewer places, total and per prefix; whole ones don't take them."""
        self.demux = self.new(secret(), max_hellos=3, max_hellos_per_prefix=2)
        came = [self.come(partial_hello(tag), f"192.0.2.{tag}") for tag in range(0, 8, 2)]
        self.assertEqual(came, ["admitted"] * 2 + ["RETRY"] * 2)
        self.assertEqual(self.come(partial_hello(20), "192.0.3.1"), "admitted")
        self.assertEqual(self.come(partial_hello(30), "192.0.4.1"), "RETRY")
        self.assertEqual(places(self.demux), (0, 3, 3))
        self.demux = self.new(secret(), max_hellos=1)
        whole = bytes((1,)) + bytes(range(32))
        self.assertEqual(
            [self.come(partial_hello(tag, first=whole), "192.0.2.1") for tag in range(0, 8, 2)], ["admitted"] * 4
        )
        self.assertEqual(places(self.demux), (0, 4, 0))

    def retried(self, tag: int, host: str, port: int = 1_000) -> bytes:
        """A hello that was told to come again, with its token."""
        self.demux.receive([memoryview(hello(tag))], (host, port), now=1_000.0)
        (train,) = self.demux.replies()
        retry = header.decode_retry(memoryview(train.datagrams[0]))
        assert retry is not None
        self.assertEqual((retry.source, retry.destination), (tag, tag + 1))
        return hello(tag, token=retry.token)

    def test_proved(self) -> None:
        """Who brings a good token has a place of its own kind; one more is dropped, not sent in circles."""
        self.demux = self.new(max_unproved=0, max_opening=3, max_opening_per_prefix=2)
        hellos = [(self.retried(tag, f"192.0.{tag % 4}.1"), f"192.0.{tag % 4}.1") for tag in range(0, 12, 2)]
        self.assertEqual(
            [self.come(datagram, host) for datagram, host in hellos],
            ["admitted", "admitted", "admitted", "dropped", "dropped", "dropped"],
        )
        self.assertEqual(places(self.demux), (3, 0, 0))

    def test_badToken(self) -> None:
        """Who brings a token that is none is a stranger like others."""
        self.demux = self.new(max_unproved=1)
        self.assertEqual(self.come(hello(0, token=b"none of ours"), "192.0.2.1"), "admitted")
        self.assertEqual(self.come(hello(2, token=b"none of ours"), "192.0.2.1"), "RETRY")

    def test_elsewhere(self) -> None:
        """A token that was made for another address admits nobody, and isn't spent by that."""
        self.demux = self.new(max_unproved=0)
        again = self.retried(0, "192.0.2.1")
        self.assertEqual(self.come(again, "192.0.2.2"), "RETRY")
        self.assertEqual(self.come(again, "192.0.2.1", 999), "RETRY")
        self.assertEqual(self.come(again, "192.0.2.1"), "admitted")

    def test_altered(self) -> None:
        """A hello that was altered on its way neither takes a place nor spends its token."""
        self.demux = self.new(max_unproved=0)
        again = self.retried(0, "192.0.2.1")
        self.assertEqual(self.come(again[:-1] + bytes((again[-1] ^ 1,)), "192.0.2.1"), "dropped")
        self.assertEqual(places(self.demux), (0, 0, 0))
        self.assertEqual(self.come(again, "192.0.2.1"), "admitted")
        self.demux = self.new()
        self.assertEqual(self.come(hello(0)[:-1] + b"\0", "192.0.2.1"), "dropped")

    def test_spent(self) -> None:
        """A token admits once: when its connection has gone it is worth nothing."""
        self.demux = self.new(max_unproved=0)
        again = self.retried(0, "192.0.2.1")
        self.assertEqual(self.come(again, "192.0.2.1"), "admitted")
        self.assertEqual(self.come(again, "192.0.2.1"), "admitted", "it belongs to its connection")
        (connection,) = self.demux.connections
        self.demux.forget(connection)
        self.assertEqual(self.come(again, "192.0.2.1"), "RETRY")


class PlacesTests(SynchronousTestCase):
    """Every way out of the opening gives the place back, whether it was a proved one or not."""

    def assertGivenBack(
        self,
        happen: Callable[[Wire], object],
        error: type[SessionLost] | None = None,
        theirs: bytes | None = None,
        **settings: int,
    ) -> None:
        """
        Let a session begin and something happen; then nobody has a place.

        @param error: how the session ends at the listener; None when it does not.
        @param theirs: the listener's secret, when it is another.
        """
        for unproved in (256, 0):
            limits = ListenerOptions(max_unproved=unproved, **settings)
            wire = Wire(handshakes=secret(theirs), listener_options=limits)
            wire.there.accepts = None
            taken: set[tuple[int, int, int]] = set()
            wire.lose = lambda role, datagram, wire=wire, taken=taken: taken.add(places(wire.demux))  # type: ignore[misc]
            happen(wire)
            self.assertIn((0, 1, 0) if unproved else (1, 0, 0), taken | {places(wire.demux)})
            wire.run(20)
            self.assertEqual(places(wire.demux), (0, 0, 0), unproved)
            self.assertEqual(len(admission_of(wire.demux)), 0)
            self.assertEqual(wire.demux.statistics()["opening"], 0)
            if error is None:
                self.assertIsNone(wire.there.error)
                self.assertEqual(len(wire.demux), 1)
            else:
                self.assertIsInstance(wire.there.error, error)
                self.assertEqual(len(wire.demux), 0)

    def _requested(self, wire: Wire) -> None:
        wire.until(lambda: wire.there.of(SessionRequested))

    def test_opened(self) -> None:
        """It opens."""

        def happen(wire: Wire) -> None:
            wire.there.accepts = True
            wire.open()

        self.assertGivenBack(happen)

    def test_acceptedLater(self) -> None:
        """It opens after a while; the place is taken until then."""

        def happen(wire: Wire) -> None:
            self._requested(wire)
            wire.run(5)
            self.assertEqual(sum(places(wire.demux)), 1)
            wire.listener.accept(now=wire.now)
            wire.run(1)

        self.assertGivenBack(happen)

    def test_rejected(self) -> None:
        """The application rejects it."""

        def happen(wire: Wire) -> None:
            self._requested(wire)
            wire.listener.reject(77, "no", now=wire.now)

        self.assertGivenBack(happen, SessionLost)

    def test_full(self) -> None:
        """The listener has sessions enough, and says so; the place is kept until that was said."""

        def happen(wire: Wire) -> None:
            wire.until(lambda: wire.here.error)
            assert wire.here.error is not None
            self.assertEqual(wire.here.error.code, Reason.TOO_MANY_SESSIONS)

        self.assertGivenBack(happen, SessionLost, max_sessions=0)

    def test_failed(self) -> None:
        """The handshake fails."""
        self.assertGivenBack(lambda wire: wire.run(1), HandshakeFailed, theirs=b"another secret " * 3)

    def test_abandoned(self) -> None:
        """The starter falls silent, with its hello said."""

        def happen(wire: Wire) -> None:
            wire.until(lambda: len(wire.demux))
            wire.flush()
            taken = places(wire.demux)
            wire.lose = lambda role, datagram: True
            wire.run(9)
            self.assertEqual(places(wire.demux), taken)

        self.assertGivenBack(happen, SessionTimedOut)

    def test_withdrawn(self) -> None:
        """The starter goes while the application still decides."""

        def happen(wire: Wire) -> None:
            self._requested(wire)
            wire.starter.abort(5, "changed my mind", now=wire.now)

        self.assertGivenBack(happen, SessionLost)

    def test_violation(self) -> None:
        """The starter breaks the rules while it opens: before it is verified, and after."""

        def early(wire: Wire) -> None:
            wire.until(lambda: len(wire.demux))
            wire.inject(Role.STARTER, long(wire.starter, p.HealthPing(1), p.SessionClose()))
            wire.run(1)

        def late(wire: Wire) -> None:
            self._requested(wire)
            wire.inject(Role.STARTER, short(wire.starter, b"\xff"))
            wire.run(1)

        self.assertGivenBack(early, SessionLost)
        self.assertGivenBack(late, SessionLost)

    def test_slowHello(self) -> None:
        """A hello that is not whole after 3 s is forgotten, with its place among the few."""
        wire = Wire(handshakes=secret())
        wire.lose = lambda role, datagram: True
        wire.inject(Role.STARTER, partial_hello(50), ("192.0.2.9", 9))
        wire.run(2.9)
        self.assertEqual(places(wire.demux), (0, 1, 1))
        wire.run(0.2)
        self.assertEqual(places(wire.demux), (0, 0, 0))
        self.assertEqual(len(wire.demux), 0)

    def test_forgotten(self) -> None:
        """A connection that is forgotten for any other reason, even twice."""
        demux = Wire(handshakes=secret()).demux
        (connection,) = demux.receive([memoryview(partial_hello(50))], LISTENER, now=1_000.0)
        self.assertEqual(places(demux), (0, 1, 1))
        demux.forget(connection)
        demux.forget(connection)
        self.assertEqual(places(demux), (0, 0, 0))
        self.assertEqual(len(admission_of(demux)), 0)

    def test_looked(self) -> None:
        """A connection that is no stranger has no place to give."""
        wire = Wire().open()
        admission = admission_of(wire.demux)
        self.assertIsInstance(admission, Admission)
        admission.look(wire.listener)
        admission.gone(wire.listener)
        self.assertEqual(places(wire.demux), (0, 0, 0))
