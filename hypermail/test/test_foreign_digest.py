"""
Tests for L{hypermail.test.foreign_digest}: its ends have the library's habits, and understand each other.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.foreign_digest import ForeignDigestClient, ForeignDigestServer
from hypermail.test.foreign_digest_ends import (
    ForeignDigestClientCore,
    ForeignDigestServerCore,
    ForeignDigestSession,
    ForeignDigestState,
)
from hypermail.test.foreign_digest_mail import WALL, ForeignDigestMail, ForeignDigestOptions
from hypermail.test.foreign_digest_packets import (
    ACCEPT,
    ACK,
    BAD_ACK,
    BILLION,
    DATA_ACK,
    DATA_NOACK,
    DIGEST_SIZE,
    DISCONNECT,
    ETC_UTC,
    HELLO,
    PANG,
    PING,
    PONG,
    REJECT,
    STAMPED,
    seal,
    unseal,
    when_of,
)
from hypermail.test.foreign_link import ForeignCrash, ForeignFaults, ForeignWorld

CLIENT, SERVER = bytes.fromhex("00112233445566778899aabbccddeeff"), bytes.fromhex("ffeeddccbbaa99887766554433221100")
SECRETS = {CLIENT: b"client", SERVER: b"server"}
HERE, THERE = ("10.0.0.1", 4700), ("10.0.0.2", 4800)
PATIENT = ForeignDigestOptions(strict=False)
"""How an end lives with a bad link."""


def messages(seed: int, count: int, most: int = 1_400) -> list[bytes]:
    """Messages of many sizes, no two of them alike."""
    chance = random.Random(seed)
    return [b"%d " % number + chance.randbytes(chance.randrange(most)) for number in range(count)]


def calendar(now: float) -> int:
    """The calendar's time in virtual time, in nanoseconds since 1970."""
    return int(WALL) * BILLION + int(now * BILLION)


def client_of(options: ForeignDigestOptions | None = None) -> ForeignDigestClientCore:
    """A client that knows the server's secret."""
    return ForeignDigestClientCore(CLIENT, SECRETS[CLIENT], {SERVER: SECRETS[SERVER]}, options)


def server_of(options: ForeignDigestOptions | None = None) -> ForeignDigestServerCore:
    """A server that knows the client's secret."""
    return ForeignDigestServerCore(SERVER, SECRETS[SERVER], {CLIENT: SECRETS[CLIENT]}, options)


class AloneCase(SynchronousTestCase):
    """One end alone, which hears what the test says."""

    core: ForeignDigestClientCore | ForeignDigestServerCore
    now = 100.0
    order = 0

    def sealed(self, uuid: bytes, kind: int, payload: bytes | None = None, custom: int = 0) -> bytes:
        """A packet of whom the test speaks for, with the current time if nothing else is said."""
        self.order += 1
        content = ETC_UTC.stamp(calendar(self.now)) if payload is None else payload
        return seal(SECRETS[uuid], uuid, kind, self.order - 1, content, custom)

    def hear(self, data: bytes) -> bytes:
        """Let it receive a datagram; return that."""
        self.core.receive(self.now, data, THERE)
        return data

    def said(self) -> list[tuple[int, bytes]]:
        """What it says: types, and payloads that are not timestamps, which must be current."""
        said = []
        for datagram in self.core.take():
            self.assertEqual(datagram.destination, THERE)
            packet = unseal(datagram.data)
            self.assertTrue(packet.is_by(SECRETS[packet.uuid]))
            stamped = packet.kind in STAMPED
            if stamped:
                self.assertEqual(when_of(packet.payload), calendar(self.now))
            said.append((packet.kind, b"" if stamped else packet.payload))
        return said

    def passing(self, seconds: float) -> list[tuple[int, bytes]]:
        """What it says while time passes."""
        end = self.now + seconds
        said = []
        while (due := self.core.due) is not None and due <= end:
            self.now = due
            self.core.wake(self.now)
            said += self.said()
        self.now = end
        return said


class ClientTests(AloneCase):
    """A client alone."""

    core: ForeignDigestClientCore

    def greeting(self, options: ForeignDigestOptions | None = None) -> None:
        """Let a client say HELLO."""
        self.core = client_of(options)
        self.core.greet(self.now, THERE)
        self.assertEqual(self.said(), [(HELLO, b"")])

    def established(self, options: ForeignDigestOptions | None = None) -> None:
        """Let it be accepted."""
        self.greeting(options)
        self.hear(self.sealed(SERVER, ACCEPT))
        self.assertIs(self.core.state, ForeignDigestState.ESTABLISHED)

    def test_hello_once(self) -> None:
        """It says HELLO once, unless it is patient."""
        self.greeting()
        self.assertEqual(self.passing(60), [])
        self.greeting(PATIENT)
        self.assertEqual(self.passing(1.1), [(HELLO, b"")] * 2)

    def test_first(self) -> None:
        """What comes first must be a valid ACCEPT."""
        accept = self.sealed(SERVER, ACCEPT)
        for data in (
            b"",
            self.sealed(SERVER, REJECT),
            self.sealed(SERVER, DATA_ACK, b"early"),
            accept[:-1] + b"?",
            seal(b"another", SERVER, ACCEPT, 0, b"2017-09-25T00:00Z"),
            seal(b"server", CLIENT, ACCEPT, 0, b"2017-09-25T00:00Z"),
            seal(b"server", SERVER, ACCEPT, 0, b"yesterday"),
        ):
            self.greeting()
            self.assertRaises(ForeignCrash, self.hear, data)

    def test_pings(self) -> None:
        """It sends PING every 500 ms, first after 500 ms; PANG is answered with PONG, and PONG with nothing."""
        self.established()
        self.assertEqual(self.passing(0.499), [])
        self.assertEqual(self.passing(1.002), [(PING, b"")] * 3)
        self.hear(self.sealed(SERVER, PANG))
        self.hear(self.sealed(SERVER, PONG))
        self.assertEqual(self.said(), [(PONG, b"")])

    def test_orders(self) -> None:
        """It counts all that it sends, and goes on with 0 behind the largest count."""
        self.core = client_of(ForeignDigestOptions(first_order=(1 << 64) - 1))
        self.core.greet(self.now, THERE)
        self.hear(self.sealed(SERVER, ACCEPT))
        self.core.mail.tell(b"hi")
        self.assertEqual([unseal(one.data).order for one in self.core.take()], [(1 << 64) - 1, 0])

    def test_silence(self) -> None:
        """A patient client that hears nothing for 10 s says HELLO again; another one is done."""
        self.established(PATIENT)
        self.assertEqual(self.passing(10.1)[-1], (HELLO, b""))
        self.established()
        self.passing(10.1)
        self.assertEqual((self.core.state, self.core.why), (ForeignDigestState.OVER, "silence"))

    def test_rejected(self) -> None:
        """After REJECT it says no more."""
        self.established()
        self.core.mail.send(self.now, b"hi")
        self.said()
        self.hear(self.sealed(SERVER, REJECT))
        self.core.mail.send(self.now, b"again")
        self.assertEqual((self.said() + self.passing(60), self.core.why), ([], "rejected"))

    def test_leaving(self) -> None:
        """It says DISCONNECT until REJECT comes."""
        self.established()
        self.core.leave(self.now)
        self.assertEqual(self.said() + self.passing(1.1), [(DISCONNECT, b"")] * 3)
        self.hear(self.sealed(SERVER, REJECT))
        self.assertEqual((self.passing(60), self.core.why), ([], "left"))

    def test_leaving_alone(self) -> None:
        """It says DISCONNECT ten times at most."""
        self.established()
        self.core.leave(self.now)
        self.assertEqual(self.said() + self.passing(60), [(DISCONNECT, b"")] * 10)
        self.assertEqual(self.core.why, "unanswered")

    def test_data(self) -> None:
        """Data is acknowledged by its digest each time, and delivered once; DATA_NOACK is delivered only."""
        self.established()
        data = self.hear(self.sealed(SERVER, DATA_ACK, b"hi", custom=513))
        self.hear(data)
        self.hear(self.hear(self.sealed(SERVER, DATA_NOACK, b"told")))
        self.assertEqual(self.said(), [(ACK, data[:DIGEST_SIZE])] * 2)
        self.assertEqual(self.core.mail.delivered, [(b"hi", 513)])
        self.assertEqual(self.core.mail.telemetry, [(b"told", 0)])

    def test_repeating(self) -> None:
        """DATA_ACK is sent again, as it was, every 500 ms until ACK, and at once upon BAD_ACK."""
        self.established()
        self.core.mail.send(self.now, b"hi")
        [first] = self.core.take()
        self.assertEqual(self.passing(0.9).count((DATA_ACK, b"hi")), 1)
        self.hear(self.sealed(SERVER, BAD_ACK, first.data[:DIGEST_SIZE]))
        self.assertEqual(self.core.take(), [first])
        self.hear(self.sealed(SERVER, ACK, bytes(DIGEST_SIZE)))
        self.assertEqual(self.core.mail.acknowledged, 0)
        self.hear(self.sealed(SERVER, ACK, first.data[:DIGEST_SIZE]))
        self.assertEqual(self.core.mail.acknowledged, 1)
        self.assertEqual(set(self.passing(3)), {(PING, b"")})

    def test_corrupt(self) -> None:
        """A packet of the server with a wrong digest is answered with BAD_ACK, but not too often, and no answer is."""
        self.established()
        data = self.sealed(SERVER, DATA_ACK, b"hi")
        for _ in range(3):
            self.hear(data[:-1] + b"?")
        self.assertEqual(self.said(), [(BAD_ACK, data[:DIGEST_SIZE])])
        self.now += 1
        self.hear(bytes(32) + self.sealed(SERVER, ACK, bytes(32))[32:])
        self.assertEqual((self.said(), self.core.mail.delivered), ([], []))
        self.assertEqual(self.core.counts["wrong digest"], 4)

    def test_roles(self) -> None:
        """What only a client sends, no server does; neither does it answer with anything but a digest."""
        self.established()
        for kind in (HELLO, DISCONNECT, PING):
            self.assertRaises(ForeignCrash, self.hear, self.sealed(SERVER, kind))
        self.assertRaises(ForeignCrash, self.hear, self.sealed(SERVER, ACK, b"short"))

    def test_other_servers(self) -> None:
        """Another server that it knows has no say."""
        other = bytes(16)
        self.core = ForeignDigestClientCore(CLIENT, b"client", {SERVER: b"server", other: b"other"})
        self.core.greet(self.now, THERE)
        self.hear(self.sealed(SERVER, ACCEPT))
        self.hear(seal(b"other", other, REJECT, 0, ETC_UTC.stamp(0)))
        self.assertEqual((self.core.state, self.core.counts["other servers"]), (ForeignDigestState.ESTABLISHED, 1))

    def test_stale(self) -> None:
        """An end that looks at timestamps drops those that are too old or too new."""
        self.established(ForeignDigestOptions(stale=30))
        for seconds in (-31, 31):
            stamp = ETC_UTC.stamp(calendar(self.now + seconds))
            self.hear(self.sealed(SERVER, REJECT, stamp))
        self.assertEqual((self.core.state, self.core.counts), (ForeignDigestState.ESTABLISHED, {"stale": 2}))


class ServerTests(AloneCase):
    """A server alone."""

    core: ForeignDigestServerCore

    def setUp(self) -> None:
        """It has accepted a client."""
        self.core = server_of()
        self.hear(self.sealed(CLIENT, HELLO))
        [self.session] = self.core.sessions
        self.assertEqual(self.said(), [(ACCEPT, b"")])

    def test_pings(self) -> None:
        """PING is answered with PANG, as the library does, or with PONG, as the seed says; PONG with nothing."""
        self.hear(self.sealed(CLIENT, PING))
        self.hear(self.sealed(CLIENT, PONG))
        self.assertEqual(self.said(), [(PANG, b"")])
        self.core = server_of(ForeignDigestOptions(ping_steps=2))
        self.hear(self.sealed(CLIENT, HELLO))
        self.hear(self.sealed(CLIENT, PING))
        self.assertEqual(self.said(), [(ACCEPT, b""), (PONG, b"")])

    def test_strangers(self) -> None:
        """Of clients that have not said HELLO, all is answered with REJECT; who is not known at all hears nothing."""
        self.core = server_of()
        self.hear(self.sealed(CLIENT, PING))
        self.hear(seal(b"x", bytes(16), HELLO, 0, b"2017-09-25T00:00Z"))
        self.hear(seal(b"x", CLIENT, HELLO, 0, b"2017-09-25T00:00Z"))
        self.assertEqual(self.said(), [(REJECT, b"")])
        self.assertEqual(self.core.counts, {"strangers": 1, "unknown UUID": 1, "wrong digest": 1})

    def test_leaving(self) -> None:
        """DISCONNECT is answered with REJECT, each time."""
        for _ in range(2):
            self.hear(self.sealed(CLIENT, DISCONNECT))
        self.assertEqual((self.said(), self.session.why), ([(REJECT, b"")] * 2, "left"))

    def test_rejecting(self) -> None:
        """A client that is rejected is sent nothing more."""
        self.session.mail.send(self.now, b"hi")
        self.core.reject(self.now, self.session)
        self.session.mail.send(self.now, b"again")
        self.assertEqual(self.said() + self.passing(60), [(DATA_ACK, b"hi"), (REJECT, b"")])

    def test_silence(self) -> None:
        """A client that is silent for 10 s is forgotten."""
        self.passing(9)
        self.hear(self.sealed(CLIENT, PONG))
        self.passing(9.9)
        self.assertIsNone(self.session.why)
        self.passing(0.2)
        self.assertEqual(self.session.why, "silence")

    def test_hello_again(self) -> None:
        """A HELLO that comes twice, or with a count of its own, begins nothing anew; one with a count that was does."""
        again = self.hear(self.sealed(CLIENT, HELLO))
        self.hear(again)
        self.assertEqual((self.said(), len(self.core.sessions)), ([(ACCEPT, b"")] * 2, 1))
        self.order = 0
        self.now += 1
        self.hear(self.sealed(CLIENT, HELLO))
        self.assertEqual([session.why for session in self.core.sessions], ["replaced", None])

    def test_corrupt(self) -> None:
        """A packet of a client with a wrong digest is answered with BAD_ACK, at the address that the client had."""
        data = self.sealed(CLIENT, DATA_ACK, b"hi")
        self.core.receive(self.now, data[:-1] + b"?", HERE)
        self.assertEqual(self.said(), [(BAD_ACK, data[:DIGEST_SIZE])])

    def test_roles(self) -> None:
        """What only a server sends, no client does."""
        for kind in (ACCEPT, REJECT, PANG):
            self.assertRaises(ForeignCrash, self.hear, self.sealed(CLIENT, kind))

    def test_plain(self) -> None:
        """Without secrets, anybody is known whose digests are right."""
        self.core = ForeignDigestServerCore(SERVER, None, None)
        self.hear(seal(None, bytes(16), HELLO, 0, b"2017-09-25T00:00Z"))
        [accept] = self.core.take()
        self.assertTrue(unseal(accept.data).is_by(None))


class VirtualTests(SynchronousTestCase):
    """A client and a server in virtual time."""

    def pair(
        self, world: ForeignWorld, options: ForeignDigestOptions | None = None
    ) -> tuple[ForeignDigestClientCore, ForeignDigestSession]:
        """A client, and the session that the server has with it."""
        self.client, self.server = client_of(options), server_of(options)
        world.add(HERE, self.client)
        world.add(THERE, self.server)
        self.client.greet(world.now, THERE)
        world.run(lambda: self.client.state is ForeignDigestState.ESTABLISHED, 60)
        return self.client, self.server.sessions[-1]

    def exchange(self, world: ForeignWorld, options: ForeignDigestOptions | None, count: int, seed: int) -> None:
        """Exchange so many messages each way, and see that none is lost, and none comes twice."""
        client, session = self.pair(world, options)
        sent = [messages(seed, count), messages(seed + 1, count)]
        mails: list[ForeignDigestMail] = [client.mail, session.mail]
        for mail, those in zip(mails, sent):
            for one in those:
                mail.send(world.now, one)
        world.run(lambda: all(mail.acknowledged == count for mail in mails), 3_600)
        for mail, those in zip(mails, reversed(sent)):
            self.assertEqual(sorted(mail.messages), sorted(those))
        self.assertEqual((len(self.server.sessions), session.why, world.stray), (1, None, []))

    def test_clean(self) -> None:
        """On a good link, all comes, and nothing is repeated."""
        self.exchange(ForeignWorld(), None, 50, 1)
        self.assertEqual((self.client.counts["repeated"], self.server.counts["repeated"]), (0, 0))

    def test_lossy(self) -> None:
        """500 messages each way under 20 % loss, 20 % duplication, and reordering: none lost, none twice."""
        for seed in range(3):
            faults = ForeignFaults(loss=0.2, duplication=0.2, seed=seed)
            self.exchange(ForeignWorld(faults, jitter=0.05), PATIENT, 500, seed)

    def test_corrupting(self) -> None:
        """The same where bits are changed: BAD_ACK makes the sender repeat."""
        faults = ForeignFaults(loss=0.1, corruption=0.2)
        self.exchange(ForeignWorld(faults), PATIENT, 500, 1)
        self.assertTrue(self.client.counts["told to repeat"] and self.server.counts["told to repeat"])

    def test_life(self) -> None:
        """A client that is idle stays, and is not forgotten; then it leaves."""
        world = ForeignWorld()
        client, session = self.pair(world)
        world.pass_time(60)
        self.assertEqual((client.state, session.why), (ForeignDigestState.ESTABLISHED, None))
        self.assertEqual((self.server.counts["PING"], client.counts["PANG"], self.server.counts["PONG"]), (119,) * 3)
        client.leave(world.now)
        world.run(lambda: client.state is ForeignDigestState.OVER, 1)
        self.assertEqual((client.why, session.why), ("left", "left"))

    def test_forgotten(self) -> None:
        """A client whose server has forgotten it is rejected, and silent."""
        world = ForeignWorld()
        client, _ = self.pair(world)
        world.add(THERE, server_of())
        world.run(lambda: client.state is ForeignDigestState.OVER, 1)
        carried = world.carried
        world.pass_time(60)
        self.assertEqual((client.why, world.carried), ("rejected", carried))


class RealTests(SynchronousTestCase):
    """A client and a server on real sockets, in threads; they repeat sooner than is usual."""

    options = ForeignDigestOptions(strict=False, repeat=0.05)

    def pair(self, bad: list[ForeignFaults]) -> tuple[ForeignDigestServer, ForeignDigestClient]:
        """A server, and a client on a bad link."""
        return (
            ForeignDigestServer(SERVER, b"server", {CLIENT: b"client"}, self.options),
            ForeignDigestClient(CLIENT, b"client", {SERVER: b"server"}, self.options, bad[0], bad[1]),
        )

    def test_lossy(self) -> None:
        """500 messages each way under 20 % loss and duplication each way: none lost, none twice."""
        server, client = self.pair([ForeignFaults(loss=0.2, duplication=0.2, seed=seed) for seed in range(2)])
        with server, client:
            client.connected(server.address)
            session = server.accepted()
            sent = [messages(1, 500), messages(2, 500)]
            client.send(sent[0])
            server.send(session, sent[1])
            client.wait(lambda core: core.mail.acknowledged == 500)
            server.wait(lambda core: session.mail.acknowledged == 500)
            self.assertEqual(sorted(session.mail.messages), sorted(sent[0]))
            self.assertEqual(sorted(client.core.mail.messages), sorted(sent[1]))
            client.leave()
            server.wait(lambda core: session.why == "left")

    def test_crash(self) -> None:
        """What the library fails at is raised to the test."""
        client = ForeignDigestClient(CLIENT, b"client", {SERVER: b"server"})
        with ForeignDigestServer(SERVER, b"another", {CLIENT: b"client"}, self.options) as server:
            self.assertRaises(ForeignCrash, client.connected, server.address)
            server.wait(lambda core: core.sessions[-1].why is None)
        self.assertRaises(ForeignCrash, client.close)

    def test_empty(self) -> None:
        """An empty datagram is malformed to those that are strict."""
        server = ForeignDigestServer(SERVER, None, None)
        server.call(lambda core, now: core.emit(b"", server.address))
        self.assertRaises(ForeignCrash, server.wait, lambda core: False)
        self.assertRaises(ForeignCrash, server.close)
