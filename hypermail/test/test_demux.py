"""
Tests for L{hypermail.demux}.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.demux import ALONE, MOST_REPLIES, Demux, Share
from hypermail.errors import Reason, SessionRejected
from hypermail.events import SessionRequested
from hypermail.options import ListenerOptions, Mode, Options, Role
from hypermail.security.handshake import HandshakeFactory, PlainHandshake
from hypermail.security.seal import PlainSeal
from hypermail.test.wired import Puppet, Wire
from hypermail.wire import header
from hypermail.wire import packets as p


def hello(tag: int, *, size: int = 1_200, mode: int = Mode.PLAIN, version: int = 1, token: bytes = b"") -> bytes:
    """A stranger's first datagram."""
    head = header.encode_long(header.Long(mode, version, tag, tag + 1, 0, token, 0))
    body = p.Handshake(0, b"").encode()
    return PlainSeal().seal(head, [body, p.Padding(size - len(head) - len(body) - 4).encode()], 0)


class DemuxCase(SynchronousTestCase):
    """Sets up a listener's demux."""

    listener_options = ListenerOptions()
    share = ALONE

    def setUp(self) -> None:
        self.demux = self.new(handshake=PlainHandshake)
        self.now = 1.0

    def new(self, handshake: HandshakeFactory | None) -> Demux:
        """Another one."""
        return Demux(
            options=Options(),
            listener_options=self.listener_options,
            handshake=handshake,
            random_bytes=Random(7).randbytes,
            share=self.share,
        )

    def receive(self, *datagrams: bytes) -> list[Connection]:
        """One read."""
        return self.demux.receive([memoryview(datagram) for datagram in datagrams], "stranger", now=self.now)

    def replies(self) -> list[bytes]:
        """The stateless answers, which all go to the stranger."""
        replies = self.demux.replies()
        self.assertEqual({train.address for train in replies} - {"stranger"}, set())
        return [datagram for train in replies for datagram in train.datagrams]


class RoutingTests(DemuxCase):
    """Who gets what."""

    def test_oneRead(self) -> None:
        """The datagrams of one read go to their connections, each of which is told of once."""
        first, second = self.receive(hello(100), hello(200), hello(100))
        self.assertEqual((first.first_tag, second.first_tag), (100, 200))
        self.assertEqual(first.statistics()["datagrams_received"], 1)
        self.assertEqual(first.statistics()["datagrams_dropped"], 1)
        self.assertEqual(list(self.demux.connections), [first, second])

    def test_repeatedHello(self) -> None:
        """A hello that comes again belongs to the connection that it made."""
        (connection,) = self.receive(hello(100))
        self.assertEqual(self.receive(hello(100)), [connection])
        self.assertEqual(len(self.demux), 1)

    def test_forget(self) -> None:
        """A connection that was forgotten is a stranger again; forgetting twice is harmless."""
        (connection,) = self.receive(hello(100))
        self.demux.forget(connection)
        self.demux.forget(connection)
        self.assertEqual(len(self.demux), 0)
        (other,) = self.receive(hello(100))
        self.assertIsNot(other, connection)

    def test_starters(self) -> None:
        """A starter's demux takes nobody in, and answers nobody."""
        self.demux = self.new(handshake=None)
        self.assertEqual(self.receive(hello(100), header.encode_short(5, 1) + bytes(50), hello(1, version=9)), [])
        self.assertEqual((self.replies(), self.demux.dropped), ([], 3))

    def test_resetAfterwards(self) -> None:
        """A connection that was forgotten is found by no reset, and nothing is kept of it."""
        demux = self.new(handshake=None)
        starter = Connection.starter(
            "L", options=Options(), now=1.0, random_bytes=Random(1).randbytes, handshake=PlainHandshake
        )
        demux.add(starter)
        demux.forget(starter)
        reset = header.encode_reset(header.Reset(starter.remote_tag, bytes(16)))
        self.assertEqual(demux.receive([memoryview(reset)], "L", now=1.0), [])
        self.assertEqual((demux.dropped, demux._by_remote_tag), (1, {}))

    def test_severalStarters(self) -> None:
        """Several starters may share a socket: resets and versions find theirs."""
        demux = self.new(handshake=None)
        random = Random(1)
        starters = [
            Connection.starter("L", options=Options(), now=1.0, random_bytes=random.randbytes, handshake=PlainHandshake)
            for _ in range(3)
        ]
        for starter in starters:
            demux.add(starter)
        versions = header.Versions(starters[1].local_tag, starters[1].first_tag, (2,), (0,))
        self.assertEqual(demux.receive([memoryview(header.encode_versions(versions))], "L", now=1.0), [starters[1]])
        reset = header.Reset(starters[2].remote_tag, bytes(16))
        self.assertEqual(demux.receive([memoryview(header.encode_reset(reset))], "L", now=1.0), [starters[2]])
        self.assertEqual(demux.dropped, 0)


class StrangerTests(DemuxCase):
    """What isn't known."""

    def test_garbage(self) -> None:
        """What is too short, of no kind, or a kind that nobody waits for, is dropped and counted."""
        for index, datagram in enumerate(
            (
                b"",
                b"\x40",
                bytes(12),
                bytes(1_200),
                b"\x00" * 13,
                b"\xff" * 1_200,
                b"\xd0" + bytes(40),
                b"\xd1" + bytes(24),
                b"\xd2" + bytes(40),
                b"\xc0" + bytes(20),
                b"\xc0" + bytes(1_300),
                hello(5)[:-1],
                hello(5, size=1_199),
            )
        ):
            if datagram[:1] == b"\xc0" and len(datagram) == 1_301:
                self.assertEqual(self.receive(datagram), [])
                self.assertEqual(len(self.replies()), 1)  # version 0
                self.demux.dropped += 1
                continue
            self.assertEqual(self.receive(datagram), [], datagram[:20])
            self.assertEqual((self.replies(), self.demux.dropped), ([], index + 1))
        self.assertEqual(len(self.demux), 0)

    def test_altered(self) -> None:
        """A hello with any byte altered makes no connection."""
        whole = hello(100)
        for index in [*range(60), *range(60, 1_200, 50), 1_199]:
            altered = bytearray(whole)
            altered[index] ^= 0x10
            self.receive(bytes(altered))
        self.assertEqual(len(self.demux), 0)

    def test_tokenTooLong(self) -> None:
        """A hello whose token runs past its end, or is absurdly long, is dropped."""
        for size in (65_535, 1_300, 513):
            datagram = bytearray(hello(100))
            datagram[header.LONG.size - 2 : header.LONG.size] = size.to_bytes(2, "big")
            self.assertEqual(self.receive(bytes(datagram)), [])

    def test_reset(self) -> None:
        """A short datagram with an unknown tag gets a reset with that tag, smaller than itself."""
        datagram = header.encode_short(77, 1) + bytes(50)
        self.receive(datagram)
        (answer,) = self.replies()
        reset = header.decode_reset(memoryview(answer))
        assert reset is not None
        self.assertEqual(reset.tag, 77)
        self.assertLess(len(answer), len(datagram))
        self.receive(datagram)
        self.assertEqual(self.replies(), [answer], "the token depends on tag and key alone")

    def test_resetSmaller(self) -> None:
        """What is no larger than a reset gets none."""
        for size in range(header.SHORT.size, header.RESET.size + 1):
            self.receive((header.encode_short(77, 1) + bytes(50))[:size])
        self.assertEqual(self.replies(), [])
        self.receive((header.encode_short(77, 1) + bytes(50))[: header.RESET.size + 1])
        self.assertEqual(len(self.replies()), 1)

    def test_repliesAreBounded(self) -> None:
        """One read gets a bounded number of stateless answers, of both kinds together."""
        self.receive(
            *[header.encode_short(tag, 1) + bytes(50) for tag in range(1_000, 1_100)],
            *[hello(tag, version=9) for tag in range(100)],
        )
        self.assertEqual(len(self.replies()), MOST_REPLIES)
        self.assertEqual(self.replies(), [])

    def test_noBouncing(self) -> None:
        """Two listeners that are made to talk to each other fall silent at once."""
        other = self.new(handshake=PlainHandshake)
        self.receive(header.encode_short(77, 1) + bytes(1_000), hello(5, version=0))
        answers = self.replies()
        self.assertEqual(len(answers), 2)
        self.assertEqual(other.receive([memoryview(answer) for answer in answers], "listener", now=1.0), [])
        self.assertEqual(other.replies(), [])


class ShareTests(DemuxCase):
    """A worker that shares its address with others: the second of three."""

    share = Share(1, 3)

    def tag(self, byte: int) -> int:
        """One that begins with a byte."""
        return byte << 56 | 77

    def test_every(self) -> None:
        """Each byte is one worker's, and without workers all are ours."""
        for byte in range(256):
            self.assertEqual([worker for worker in range(3) if Share(worker, 3).has(byte)], [byte % 3])
            self.assertTrue(ALONE.has(byte))

    def test_begun(self) -> None:
        """The tag of a connection begins as its starter's first one did, and is another one behind that."""
        tags = set()
        for byte in range(1, 256, 15):
            (connection,) = self.receive(hello(self.tag(byte)))
            self.assertEqual(connection.local_tag >> 56, byte)
            tags.add(connection.local_tag & (1 << 56) - 1)
        self.assertEqual(len(tags), 17)
        self.assertEqual((self.demux.strays(), self.demux.astray), ([], 0))

    def test_others(self) -> None:
        """What bears another worker's tag is left to that one, untouched: no connection, no answer."""
        short = header.encode_short(self.tag(2), 1) + bytes(50)
        others = [short, hello(self.tag(3)), hello(self.tag(255), version=9)]
        (ours,) = self.receive(others[0], hello(self.tag(4)), *others[1:])
        self.assertEqual(ours.first_tag, self.tag(4))
        self.assertEqual((self.demux.strays(), self.demux.statistics()["astray"], self.demux.dropped), (others, 3, 0))
        self.assertEqual((self.demux.strays(), self.replies(), len(self.demux)), ([], [], 1))

    def test_untaken(self) -> None:
        """Strays that nobody has taken are forgotten with the next read."""
        self.receive(hello(self.tag(3)))
        self.receive(hello(self.tag(4)))
        self.assertEqual(self.demux.strays(), [])

    def test_unknown(self) -> None:
        """Of a tag that is ours and unknown the peer is told as ever."""
        self.receive(header.encode_short(self.tag(4), 1) + bytes(50))
        self.assertEqual(len(self.replies()), 1)


class LimitTests(DemuxCase):
    """What a listener bears."""

    listener_options = ListenerOptions(max_sessions=3, max_unproved=4)

    def test_opening(self) -> None:
        """Only so many may be opening; others are told to prove their address."""
        self.receive(*[hello(tag) for tag in range(0, 100, 10)])
        self.assertEqual((len(self.demux), self.demux.dropped), (4, 0))
        retries = [header.decode_retry(memoryview(reply)) for reply in self.replies()]
        self.assertEqual([retry.source for retry in retries if retry is not None], [40, 50, 60, 70, 80, 90])
        self.assertEqual(self.demux.statistics(), {"connections": 4, "opening": 4, "retries": 6, "dropped": 0})

    def test_tooManySessions(self) -> None:
        """Who comes when there are as many sessions as allowed is told so, and the application is not asked."""
        wires = [Wire(seed=seed, listener_options=ListenerOptions(max_sessions=2)) for seed in range(3)]
        demux = wires[0].demux
        for wire in wires:
            wire.demux = demux
        for wire in wires[:2]:
            wire.open()
        last = wires[2]
        last.until(lambda: last.here.error)
        error = last.here.error
        self.assertIsInstance(error, SessionRejected)
        assert error is not None
        self.assertEqual(error.code, Reason.TOO_MANY_SESSIONS)
        self.assertIn("2 sessions", error.text)
        self.assertEqual(last.there.of(SessionRequested), [])
        last.run(10)
        self.assertEqual(len(demux), 2)

    def test_openedDontCount(self) -> None:
        """Sessions that have opened no longer count as opening."""
        puppets = []
        for tag in range(3):
            puppet = Puppet(opens=False)
            puppet.demux = self.demux
            puppet.first_tag = puppet.their_tag = 1_000 + tag
            puppet.open()
            puppets.append(puppet)
        self.assertEqual([puppet.application.error for puppet in puppets], [None] * 3)
        self.receive(*[hello(tag) for tag in range(0, 100, 10)])
        self.assertEqual(len(self.demux), 7)
        self.assertEqual(Role.LISTENER, puppets[0].victim.role)
