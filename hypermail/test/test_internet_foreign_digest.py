"""
Our endpoints against L{the foreign client and server<hypermail.test.foreign_digest>} of dialect C{digest} on real
sockets, in both roles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from hypermail.dialects.digest import Digest, DigestPayload
from hypermail.errors import (
    HandshakeFailed,
    MessageUndelivered,
    SessionClosed,
    SessionRejected,
    SessionReset,
    SessionTimedOut,
)
from hypermail.test.foreign_digest import ForeignDigestClient, ForeignDigestServer
from hypermail.test.foreign_digest_ends import ForeignDigestState
from hypermail.test.foreign_digest_mail import ForeignDigestOptions
from hypermail.test.meetings import MeetingCase, MetProtocol, bad_link, messages

OUR_UUID, THEIR_UUID, ANOTHER_UUID = (UUID(f"00000000-0000-4000-8000-00000000000{number}") for number in (1, 2, 3))

OURS = Digest(
    uuid=str(OUR_UUID), secret=b"ours", secrets={str(THEIR_UUID): b"theirs"}, ping_interval=0.1, delivery_timeout=0.25
)
PLAIN = replace(OURS, secret=None, secrets=None, plain=True)

MOST_PAYLOAD = 65_442

STRICT = ForeignDigestOptions(ping_interval=0.05)
"""As the Java library is, but for its pings, which come ten times as often."""

PATIENT = ForeignDigestOptions(strict=False, repeat=0.05)
"""One that bears a bad link."""


def client(
    options: ForeignDigestOptions, secret: bytes | None = b"theirs", uuid: UUID = THEIR_UUID, **faults: Any
) -> ForeignDigestClient:
    """A foreign client that knows us; without a secret, digests are plain."""
    known = None if secret is None else {OUR_UUID.bytes: b"ours"}
    return ForeignDigestClient(uuid.bytes, secret, known, options, **faults)


def server(
    options: ForeignDigestOptions, secret: bytes | None = b"theirs", friend: UUID = OUR_UUID, **faults: Any
) -> ForeignDigestServer:
    """A foreign server that knows us, or somebody else; without a secret, digests are plain."""
    known = None if secret is None else {friend.bytes: b"ours"}
    return ForeignDigestServer(THEIR_UUID.bytes, secret, known, options, **faults)


class Meeting:
    """What holds in both roles; mixed into L{MeetingCase}."""

    async def meet(self: Any, options: ForeignDigestOptions = STRICT, dialect: Digest = OURS, **faults: Any) -> None:
        """
        Open a session; C{ours} is our end, C{node} the foreign client or server, and C{mail} what it says to us and
        hears of us.
        """
        raise NotImplementedError

    async def closed(self: Any) -> None:
        """We close, and both ends are over."""
        raise NotImplementedError

    async def left(self: Any) -> None:
        """They close."""
        raise NotImplementedError

    def tell(self: Any, those: list[bytes]) -> None:
        """They send messages."""
        raise NotImplementedError

    async def exchange(self: Any, mine: list[bytes], yours: list[bytes]) -> None:
        """Exchange messages, and see that none is lost, and none comes twice."""
        acknowledged = self.say(self.ours, mine)
        self.tell(yours)
        await self.until(self.node, lambda core: self.mail.acknowledged == len(yours))
        await acknowledged
        self.assertEqual(sorted(self.mail.messages), sorted(mine))
        self.assertEqual(sorted(self.ours.messages), sorted(yours))
        self.assertEqual((self.node.core.counts["wrong digest"], self.node.core.counts["malformed"]), (0, 0))

    async def test_strict(self: Any) -> None:
        """500 messages each way with a peer that fails at whatever is malformed, or not what it expects."""
        await self.meet()
        await self.exchange(messages(1, 500, 3_000), messages(2, 500, 3_000))
        await self.closed()

    async def test_lossy(self: Any) -> None:
        """500 messages each way under 20 % loss and duplication each way: none lost, none twice."""
        await self.meet(PATIENT, **bad_link(1))
        await self.exchange(messages(1, 500, 1_500), messages(2, 500, 1_500))
        await self.ours.session.close()

    async def test_plain(self: Any) -> None:
        """Without secrets it is the same."""
        await self.meet(dialect=PLAIN)
        await self.exchange(messages(1, 100, 3_000), messages(2, 100, 3_000))
        await self.closed()

    async def test_large(self: Any) -> None:
        """The largest messages there are, both ways, with their custom ids."""
        await self.meet()
        largest = [bytes([number]) * MOST_PAYLOAD for number in range(20)]
        await self.exchange([DigestPayload(one, custom=one[0]) for one in largest], largest)
        self.assertEqual(sorted(self.mail.delivered), [(one, one[0]) for one in largest])
        await self.closed()

    async def test_directs(self: Any) -> None:
        """Messages that nobody acknowledges go both ways, with their custom ids."""
        await self.meet()
        said = [(b"x", 0), (bytes(60_000), 65_535), (b"y", 513)]
        arrived = self.ours.directs(len(said))
        for data, custom in said:
            self.ours.session.sendDatagram(DigestPayload(data, custom=custom))
            self.node.call(lambda core, now, data=data, custom=custom: self.mail.tell(data, custom))
        await arrived
        await self.until(self.node, lambda core: len(self.mail.telemetry) == len(said))
        self.assertEqual([(bytes(one), one.custom) for one in self.ours.datagrams], said)
        self.assertEqual(self.mail.telemetry, said)
        await self.closed()

    async def pinged(self: Any, steps: int) -> None:
        """Both sides have the same way to ping, and no other is seen."""
        await self.meet(replace(STRICT, ping_steps=steps), replace(OURS, ping_steps=steps))
        often, never = self.pings[steps]
        await self.until(self.node, lambda core: core.counts[often] >= 3)
        self.assertEqual([self.node.core.counts[one] for one in never], [0] * len(never))
        await self.closed()

    async def test_pings(self: Any) -> None:
        """As the library has it, PING is answered with PANG, and that with PONG."""
        await self.pinged(3)

    async def test_pings_of_two_steps(self: Any) -> None:
        """As the seed has it, PING is answered with PONG."""
        await self.pinged(2)

    async def test_closed_by_us(self: Any) -> None:
        """What was sent before we close is delivered first."""
        await self.meet()
        acknowledged = self.say(self.ours, messages(1, 100, 3_000))
        await self.closed()
        await acknowledged
        self.assertEqual(sorted(self.mail.messages), sorted(messages(1, 100, 3_000)))

    async def test_closed_by_them(self: Any) -> None:
        """When they close, our session ends at once."""
        await self.meet()
        await self.left()
        self.assertIsInstance(await self.ours.lost, SessionClosed)
        await self.assertFailure(self.ours.session.sendMessage(b"late"), MessageUndelivered)


class ServerTests(Meeting, MeetingCase):
    """
    We are the server.

    @cvar pings: what a foreign client counts again and again, and what never, by the steps of a ping.
    """

    pings = {3: ("PANG", ("PONG",)), 2: ("PONG", ("PANG",))}

    async def meet(self, options: ForeignDigestOptions = STRICT, dialect: Digest = OURS, **faults: Any) -> None:
        """See L{Meeting.meet}."""
        address = await self.listen(dialect)
        self.node = self.keep(client(options, None if dialect.plain else b"theirs", **faults))
        await deferToThread(self.node.connected, address)
        self.mail = self.node.core.mail
        self.ours: MetProtocol = await self.opened.get()

    async def closed(self) -> None:
        """See L{Meeting.closed}."""
        await self.ours.session.close()
        self.assertIsInstance(await self.ours.lost, SessionClosed)
        await self.until(self.node, lambda core: core.state is ForeignDigestState.OVER)
        self.assertEqual(self.node.core.why, "rejected")

    async def left(self) -> None:
        """See L{Meeting.left}."""
        await deferToThread(self.node.leave)
        self.assertEqual(self.node.core.why, "left")

    def tell(self, those: list[bytes]) -> None:
        """See L{Meeting.tell}."""
        self.node.send(those)

    async def test_unknown(self) -> None:
        """A client whose secret we do not have is rejected."""
        address = await self.listen(OURS)
        stranger = self.keep(client(PATIENT, uuid=ANOTHER_UUID))
        stranger.call(lambda core, now: core.greet(now, address))
        await self.until(stranger, lambda core: core.state is ForeignDigestState.OVER)
        self.assertEqual((stranger.core.why, self.factory.built), ("rejected", []))
        self.assertGreaterEqual(self.port.statistics()["dropped_unknown_client"], 1)

    async def test_refused(self) -> None:
        """So is one that the application does not want."""

        def refuse(request: object) -> None:
            raise SessionRejected("not you")

        self.factory.decide = refuse
        address = await self.listen(OURS)
        unwanted = self.keep(client(PATIENT))
        unwanted.call(lambda core, now: core.greet(now, address))
        await self.until(unwanted, lambda core: core.state is ForeignDigestState.OVER)
        self.assertEqual((unwanted.core.why, self.factory.built), ("rejected", []))

    async def test_wrong_secret(self) -> None:
        """A client that has another secret hears nothing, however often it asks; the true one gets its session."""
        address = await self.listen(OURS)
        false = self.keep(client(PATIENT, b"guess"))
        false.call(lambda core, now: core.greet(now, address))
        first = false.core.due
        await self.until(false, lambda core: core.due > first)
        true = self.keep(client(STRICT))
        await deferToThread(true.connected, address)
        await self.opened.get()
        self.assertEqual((false.core.state, false.core.counts), (ForeignDigestState.GREETING, {}))
        self.assertGreaterEqual(self.port.statistics()["dropped_bad_digest"], 1)

    async def test_restarted(self) -> None:
        """A client that begins anew without a word has a new session, and its old one is over."""
        await self.meet()
        self.node.close()
        again = self.keep(client(STRICT))
        await deferToThread(again.connected, ("127.0.0.1", self.port.getHost().port))
        self.assertIsInstance(await self.ours.lost, SessionReset)
        new = await self.opened.get()
        again.send([b"hello"])
        await self.until(again, lambda core: core.mail.acknowledged == 1)
        self.assertEqual(new.messages, [b"hello"])


class ClientTests(Meeting, MeetingCase):
    """
    We are the client.

    @cvar pings: what a foreign server counts again and again, and what never, by the steps of a ping.
    """

    pings = {3: ("PONG", ()), 2: ("PING", ("PONG",))}

    async def meet(self, options: ForeignDigestOptions = STRICT, dialect: Digest = OURS, **faults: Any) -> None:
        """See L{Meeting.meet}."""
        self.node = self.keep(server(options, None if dialect.plain else b"theirs", **faults))
        self.ours = await self.connect(self.node.address, dialect)
        self.theirs = await deferToThread(self.node.accepted)
        self.mail = self.theirs.mail

    async def closed(self) -> None:
        """See L{Meeting.closed}."""
        await self.ours.session.close()
        self.assertIsInstance(await self.ours.lost, SessionClosed)
        await self.until(self.node, lambda core: self.theirs.why is not None)
        self.assertEqual((self.theirs.why, len(self.node.core.sessions)), ("left", 1))

    async def left(self) -> None:
        """See L{Meeting.left}."""
        self.node.call(lambda core, now: core.reject(now, self.theirs))

    def tell(self, those: list[bytes]) -> None:
        """See L{Meeting.tell}."""
        self.node.send(self.theirs, those)

    async def test_ping(self) -> None:
        """The application can measure the round trip, whichever way to ping the server has."""
        await self.meet()
        self.assertGreater(await self.ours.session.ping(), 0)
        await self.closed()

    async def test_forgotten(self) -> None:
        """A session that the server has forgotten is over when it says so, and we say no more."""
        await self.meet(replace(STRICT, silence=0.1), replace(OURS, ping_interval=1.0))
        self.assertIsInstance(await self.ours.lost, SessionClosed)
        self.assertEqual((self.theirs.why, self.node.core.counts["strangers"]), ("silence", 1))

    async def test_wrong_secret(self) -> None:
        """A server that has another secret is not believed, and the error says why."""
        self.node = self.keep(server(PATIENT, b"guess"))
        asking = self.connect(self.node.address, replace(OURS, connection_timeout=1.0))
        error = await self.assertFailure(Deferred.fromCoroutine(asking), HandshakeFailed)
        self.assertIn(f"what came from {THEIR_UUID} was not signed with its secret", str(error))

    async def test_unknown(self) -> None:
        """A server that does not know us says nothing."""
        self.node = self.keep(server(PATIENT, friend=ANOTHER_UUID))
        asking = self.connect(self.node.address, replace(OURS, connection_timeout=1.0))
        await self.assertFailure(Deferred.fromCoroutine(asking), SessionTimedOut)
        self.assertGreaterEqual(self.node.core.counts["unknown UUID"], 1)
