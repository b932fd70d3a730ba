"""
Tests for what strangers say to a socket of dialect C{digest}: nothing comes of it but bounded answers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.packets import PacketType, build, uuid_bytes, uuid_text
from hypermail.dialects.digest.peer_secrets import MOST_ASKED
from hypermail.dialects.digest.places import Places
from hypermail.dialects.digest.rates import IN_ALL, MOST_PREFIXES, PER_PREFIX, AnswerRates
from hypermail.errors import HandshakeFailed, SessionAborted, SessionRejected, SessionTimedOut
from hypermail.session.states import State
from hypermail.test.digests import (
    CLIENT,
    CLIENT_UUID,
    SECRETS,
    SERVER,
    SERVER_UUID,
    Host,
    Network,
    Pair,
    Place,
    Stranger,
    client_options,
    server_options,
)

P = PacketType

#: What a client without a session is told about.
TOLD = {P.DISCONNECT, P.PING, P.PANG, P.PONG, P.ACK, P.DATA_ACK, P.DATA_NOACK}
NOBODY = "deadbeef-0000-4000-8000-000000000000"


def payload_of(type: PacketType, size: int = 32) -> bytes | None:
    """A payload that a packet of this type may have; None for the time."""
    if type in (P.ACK, P.BAD_ACK):
        return bytes(32)
    return bytes(size) if type in (P.DATA_ACK, P.DATA_NOACK) else None


class PlacesTests(SynchronousTestCase):
    """Where clients with sessions are."""

    def test_moves(self) -> None:
        """Who moves leaves its place, which may be that of another, too."""
        places = Places()
        places.enter("one", ("a", 1))
        places.enter("two", ("a", 1, b"local"))
        places.enter("one", ("a", 1))
        places.enter("one", ("b", 1))
        self.assertEqual([places.taken(at) for at in (("a", 1), ("b", 1, b"x"), ("a", 2))], [True, True, False])
        places.leave("two")
        places.leave("two")
        self.assertEqual([places.taken(at) for at in (("a", 1), ("b", 1))], [False, True])
        places.leave("one")
        self.assertEqual(len(places), 0)


class UnknownTests(SynchronousTestCase):
    """Clients that have no session, or no secret."""

    def test_no_session(self) -> None:
        """Who has no session is told so, whatever it says, and known or not; but answers are never answered."""
        for known, cause in ((True, "no_session"), (False, "unknown_client")):
            for type in set(PacketType) - {P.HELLO}:
                pair = Pair()
                stranger = Stranger(pair.network) if known else Stranger(pair.network, uuid=NOBODY, secret=b"whatever")
                stranger.say(type, payload_of(type))
                self.assertEqual(stranger.heard_types(), [P.REJECT] if type in TOLD else [], type)
                for packet in stranger.heard():
                    self.assertTrue(packet.verifies(b"server"))
                    self.assertEqual(uuid_text(packet.sender), SERVER_UUID)
                self.assertEqual(pair.server.demux.dropped[cause if type in TOLD else "early"], 1)
                self.assertEqual(pair.server.sessions, [])

    def test_no_session_forged(self) -> None:
        """Nothing is said to one that is known, has no session, and has not signed with its secret."""
        for asks in (False, True):
            pair = Pair(server={"secrets": SECRETS.get} if asks else {})
            stranger = Stranger(pair.network, secret=b"a guess")
            for type in TOLD:
                stranger.say(type, payload_of(type))
            self.assertEqual(stranger.heard(), [])
            self.assertEqual(pair.server.demux.dropped["bad_digest"], len(TOLD))

    def test_no_session_asked(self) -> None:
        """Where secrets have to be asked for, so is that of one who has no session, before it is told."""
        pair = Pair(server={"secrets": SECRETS.get})
        Stranger(pair.network).say(P.PING)
        self.assertEqual(pair.server.demux.dropped, {"no_session": 1})
        Stranger(pair.network, uuid=NOBODY).say(P.PING)
        self.assertEqual(pair.server.demux.dropped, {"no_session": 1, "unknown_client": 1})
        self.assertEqual([sent.packet.type for sent in pair.network.log], [P.REJECT] * 2)

    def test_no_reject_for_others(self) -> None:
        """
        Whoever pretends to be at the address of a client that has a session gets no REJECT, which that client would
        take for the end of its session; wherever that client is.
        """
        for plain in (False, True):
            pair = Pair(plain=plain)
            ours = pair.client.start()
            pair.network.run(1)
            self.assertEqual(ours.state, State.OPEN)
            forged = Stranger(pair.network, uuid=NOBODY, secret=None if plain else b"x", address=CLIENT)
            for type in TOLD:
                forged.say(type, payload_of(type))
            if not plain:
                forged.say(P.HELLO)
            pair.network.run(5)
            self.assertEqual(ours.state, State.OPEN)
            self.assertGreaterEqual(pair.server.demux.dropped["place_taken"], len(TOLD))
            ours.close(now=pair.network.now)
            pair.client.attend(ours)
            pair.network.run(5)
            forged.say(P.PING)
            self.assertEqual(forged.heard_types()[-1], P.REJECT)

    def test_unknown(self) -> None:
        """A client whose secret is not known gets REJECT, which its own server's secret lets it believe."""
        pair = Pair(client={"uuid": NOBODY})
        ours = pair.client.start()
        pair.network.run(1)
        self.assertIsInstance(pair.client.end_of(ours), SessionRejected)
        self.assertEqual(pair.server.demux.dropped["unknown_client"], 1)

    def test_wrong_secret(self) -> None:
        """A HELLO with a wrong digest is dropped silently."""
        pair = Pair(client={"secret": b"no"})
        ours = pair.client.start()
        pair.network.run(11)
        self.assertIsInstance(pair.client.end_of(ours), SessionTimedOut)
        self.assertEqual({sent.packet.type for sent in pair.network.log}, {P.HELLO})
        self.assertGreater(pair.server.demux.dropped["bad_digest"], 3)

    def test_plain_is_not_keyed(self) -> None:
        """Plain digests are none to a keyed server, and the other way round."""
        for plain, keys in ((True, {}), (False, {"secret": None, "secrets": None, "plain": True})):
            pair = Pair(plain=plain)
            keyed: dict[str, Any] = {"secret": b"client", "secrets": SECRETS, "plain": False}
            client = Host(pair.network, CLIENT, client_options(**(keyed | keys)))
            ours = client.start()
            pair.network.run(5)
            self.assertEqual(ours.state, State.OPENING)
            self.assertGreater(pair.server.demux.dropped["bad_digest"], 0)

    def test_stale(self) -> None:
        """A timestamp that is too old or too new is discarded, in any packet that bears one."""
        for late in (30.1, -30.1):
            pair = Pair()
            stranger = Stranger(pair.network)
            stranger.say(P.HELLO, late=late)
            self.assertEqual(pair.server.sessions, [])
            stranger.say(P.HELLO, late=late * 0.99)
            self.assertEqual(len(pair.server.sessions), 1)
            for type in (P.HELLO, P.PING, P.PONG, P.DISCONNECT):
                stranger.say(type, late=late)
            self.assertEqual(pair.server.demux.dropped["stale"], 5)
            self.assertEqual(pair.server.sessions[0].state, State.OPEN)
            self.assertEqual(stranger.heard_types(), [P.ACCEPT])

    def test_no_time(self) -> None:
        """A timestamp that is none is told apart from a stale one."""
        pair = Pair()
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO, b"yesterday")
        self.assertEqual(pair.server.demux.dropped["malformed"], 1)
        self.assertEqual(stranger.heard(), [])

    def test_malformed(self) -> None:
        """What is no packet is dropped, from strangers and from those that have a session."""
        pair = Pair()
        pair.open()
        header = bytes(32) + uuid_bytes(CLIENT_UUID)
        causes: list[bytes] = [
            b"",
            b"x",
            bytes(64),
            header + b"\x09\0\0\0\0\0\0\0" + bytes(8),
            header + b"\x09\0\0\0\0\0\0\0" + bytes(9),
            header + b"\x09\0\0\1\0\1\0\0" + bytes(9),
            header + b"\x0b\0\0\0\0\1\0\0" + bytes(9),
            header + b"\x09\0\0\0\0\2\0\0" + bytes(9),
            header + b"\x08\0\0\0\0\1\0\0" + bytes(9),
        ]
        before = len(pair.network.log)
        for datagram in causes:
            Stranger(pair.network).hand(datagram)
        self.assertEqual(pair.server.demux.dropped["malformed"], len(causes))
        self.assertEqual(len(pair.network.log), before)

    def test_own(self) -> None:
        """What bears our own UUID is not from a peer: it was thrown back."""
        pair = Pair()
        _, theirs = pair.open()
        theirs.send_message(b"x", now=pair.network.now)
        pair.server.attend(theirs)
        sent = pair.network.log[-1]
        pair.network.deliver(sent._replace(source=CLIENT, to=SERVER))
        pair.network.run(0.001)
        self.assertEqual(pair.server.demux.dropped["own"], 1)

    def test_other_server(self) -> None:
        """A client believes the server that has accepted it, and no other that it knows."""
        other = "99999999-9999-4999-8999-999999999999"
        pair = Pair(client={"secrets": {**SECRETS, other: b"other"}})
        ours, _ = pair.open()
        Stranger(pair.network, uuid=other, secret=b"other", address=SERVER).say(P.REJECT, to=CLIENT)
        self.assertEqual(ours.state, State.OPEN)
        self.assertEqual(pair.client.demux.dropped["another_server"], 1)

    def test_unknown_server(self) -> None:
        """A client whose server has another UUID than those it knows says so in the end."""
        pair = Pair(server={"uuid": NOBODY})
        ours = pair.client.start()
        pair.network.run(11)
        error = pair.client.end_of(ours)
        self.assertIsInstance(error, HandshakeFailed)
        self.assertIn(NOBODY, str(error))

    def test_wrong_clock(self) -> None:
        """... and so does one whose clock is wrong, or its server's."""
        pair = Pair()
        pair.server.demux.signer._wall = lambda: pair.network.wall() + 25
        pair.server.demux.signer._freshness = 10**20
        pair.client.demux.signer._freshness = 10**10
        ours = pair.client.start()
        pair.network.run(11)
        self.assertIn("clock", str(pair.client.end_of(ours)))

    def test_from_elsewhere(self) -> None:
        """A client drops what comes from where it has asked nobody."""
        pair = Pair()
        Stranger(pair.network, address=CLIENT).hand(
            build(P.ACCEPT, uuid_bytes(SERVER_UUID), 0, b"2026-09-21T14:15:03Z", b"server"), CLIENT
        )
        self.assertEqual(pair.client.demux.dropped["no_session"], 1)


class SecretsTests(SynchronousTestCase):
    """Where secrets come from."""

    def test_callable(self) -> None:
        """A callable is asked for each peer by its UUID, on both sides."""
        asked: list[str] = []

        def find(uuid: str) -> bytes | None:
            asked.append(uuid)
            return SECRETS.get(uuid)

        pair = Pair(client={"secrets": find}, server={"secrets": find})
        pair.open()
        pair.network.run(5)
        self.assertEqual(asked, [CLIENT_UUID, SERVER_UUID])

    def test_long(self) -> None:
        """What is long does not wait for an answer, and is not asked about."""
        pair = Pair(server={"secrets": SECRETS.get})
        pair.server.asking = False
        stranger = Stranger(pair.network)
        for type in (P.HELLO, P.DATA_ACK):
            stranger.say(type, bytes(60_000))
        self.assertEqual((pair.server.inquiries, len(pair.server.demux._secrets)), ([], 0))
        self.assertEqual(pair.server.demux.dropped["crowded"], 2)
        stranger.say(P.HELLO, b"2026-11-21T03:17:32.460172909+01:00[" + b"z" * 64 + b"]")
        self.assertEqual(len(pair.server.inquiries), 1)

    def test_later(self) -> None:
        """An answer may come later; HELLO is asked about once meanwhile, and nothing else is told."""
        pair = Pair(server={"secrets": SECRETS.get})
        pair.server.asking = False
        ours = pair.client.start()
        pair.network.run(4)
        self.assertEqual(len(pair.server.inquiries), 1)
        Stranger(pair.network).say(P.PING, order=100)
        self.assertEqual(pair.server.demux.dropped["early"], 1)
        pair.server.answered(pair.server.inquiries[0], b"client")
        pair.network.run(0.1)
        self.assertEqual(ours.state, State.OPEN)
        pair.server.answered(pair.server.inquiries[0], b"client")
        self.assertEqual(len(pair.server.sessions), 1)

    def test_later_at_client(self) -> None:
        """... at a client too."""
        pair = Pair(client={"secrets": SECRETS.get})
        pair.client.asking = False
        ours = pair.client.start()
        pair.network.run(2)
        self.assertEqual(ours.state, State.OPENING)
        pair.client.answered(pair.client.inquiries[0], b"server")
        self.assertEqual(ours.state, State.OPEN)

    def test_none(self) -> None:
        """None, nothing, and what is no secret mean that the peer is not known."""
        for answer in (None, b"", "text"):
            pair = Pair(server={"secrets": lambda uuid, answer=answer: answer})
            ours = pair.client.start()
            pair.network.run(1)
            self.assertIsInstance(pair.client.end_of(ours), SessionRejected)

    def test_none_at_client(self) -> None:
        """A client that does not know its server has no session."""
        pair = Pair(client={"secrets": lambda uuid: None})
        ours = pair.client.start()
        pair.network.run(11)
        self.assertIn(SERVER_UUID, str(pair.client.end_of(ours)))

    def test_gone_meanwhile(self) -> None:
        """An answer that comes when the session is over is of no use."""
        pair = Pair(client={"secrets": SECRETS.get})
        pair.client.asking = False
        ours = pair.client.start()
        pair.network.run(0.1)
        ours.abort(0, "", now=pair.network.now)
        pair.client.attend(ours)
        pair.client.answered(pair.client.inquiries[0], b"server")
        self.assertEqual(ours.state, State.ENDED)

    def test_bounded(self) -> None:
        """However many strangers come, only so many are asked about at once."""
        pair = Pair(server={"secrets": SECRETS.get})
        pair.server.asking = False
        for number in range(MOST_ASKED + 50):
            Stranger(pair.network, uuid=f"{number:032x}").say(P.HELLO)
        self.assertEqual(len(pair.server.inquiries), MOST_ASKED)
        self.assertEqual(pair.server.demux.dropped["crowded"], 50)
        for inquiry in pair.server.inquiries:
            pair.server.answered(inquiry, None)
        self.assertEqual(pair.server.demux.statistics()["asked"], 0)


class BoundedTests(SynchronousTestCase):
    """Floods."""

    def test_hello_flood_plain(self) -> None:
        """Plain HELLOs from everywhere cost bounded memory; who has shown itself keeps its place."""
        pair = Pair(plain=True, server={"max_unproved": 20, "max_unproved_per_prefix": 10})
        ours, theirs = pair.open()
        foreign = Stranger(pair.network, uuid=NOBODY, secret=None, address=CLIENT._replace(port=1))
        foreign.say(P.HELLO)
        pair.network.run(1)
        foreign.say(P.PING)
        for number in range(200):
            place = Place(f"203.0.{number}.1", 1_000 + number)
            Stranger(pair.network, uuid=f"{number:032x}", secret=None, address=place).say(P.HELLO)
            pair.network.run(0.001)
        self.assertLessEqual(len(pair.server.demux), 22)
        self.assertFalse(pair.server.sessions[1].ended)
        self.assertEqual(pair.server.demux.statistics()["opening"], 20)
        self.assertEqual((ours.state, theirs.state), (State.OPEN, State.OPEN))
        crowded = [session for session in pair.server.sessions if session.ended]
        self.assertEqual(len(crowded), 180)
        self.assertIsInstance(pair.server.end_of(crowded[0]), SessionAborted)
        pair.network.run(15)
        self.assertEqual(len(pair.server.demux), 1)
        self.assertEqual(pair.server.demux.statistics()["departed"], 0)

    def test_one_prefix(self) -> None:
        """One prefix takes the places of others no more than it may."""
        pair = Pair(plain=True, server={"max_unproved": 20, "max_unproved_per_prefix": 5})
        pair.server.answer = None
        honest = Stranger(pair.network, secret=None)
        honest.say(P.HELLO)
        for number in range(50):
            place = Place("203.0.113.1", 1_000 + number)
            Stranger(pair.network, uuid=f"{number:032x}", secret=None, address=place).say(P.HELLO)
        self.assertFalse(pair.server.sessions[0].ended)
        self.assertEqual(len(pair.server.demux), 6)

    def test_rates(self) -> None:
        """REJECT is said so often to a prefix, and so often in all, in bounded memory."""
        rates = AnswerRates()
        self.assertEqual(sum(rates.allow("a", 5.0) for _ in range(2_000)), PER_PREFIX)
        self.assertEqual(sum(rates.allow("b", 5.0) for _ in range(2_000)), PER_PREFIX)
        self.assertEqual(sum(rates.allow("b", 5.5) for _ in range(2_000)), PER_PREFIX / 2)
        self.assertEqual(sum(rates.allow(number, 100.0) for number in range(5_000)), IN_ALL)
        self.assertEqual(len(rates), MOST_PREFIXES)

    def test_reject_rate(self) -> None:
        """... by a server."""
        pair = Pair()
        stranger = Stranger(pair.network, uuid=NOBODY)
        for _ in range(1_000):
            stranger.say(P.PING)
        self.assertEqual(len(stranger.heard()), PER_PREFIX)
        self.assertEqual(pair.server.demux.dropped["unknown_client"], 1_000)


def says() -> st.SearchStrategy[Any]:
    """What a stranger may say: type, whose name, with which secret, how late, what it carries, what stands behind."""
    return st.lists(
        st.tuples(
            st.sampled_from(PacketType),
            st.sampled_from([CLIENT_UUID, NOBODY, SERVER_UUID]),
            st.booleans(),
            st.sampled_from([0.0, 0.0, 40.0]),
            st.sampled_from([17, 20, 24, 30, 39, 200]),
            st.integers(0, 50),
            st.floats(0, 3),
        ),
        max_size=40,
    )


class ReflectionTests(SynchronousTestCase):
    """Nobody who was never valid gets more bytes than it has sent, whatever it says, and whatever waits for it."""

    def _look(self, plain: bool, sayings: list[Any], chatty: bool) -> None:
        pair = Pair(plain=plain)
        spoken: Counter[Place] = Counter()
        stranger = Stranger(pair.network)
        for type, uuid, known, late, size, behind, wait in sayings:
            stranger.uuid = uuid_bytes(uuid)
            stranger.secret = None if plain or known else b"wrong"
            room = size if size in (20, 30, 39) else 30
            packet = stranger.packet(type, payload_of(type, size), late=late, room=room) + bytes(behind)
            spoken[CLIENT] += len(packet)
            stranger.hand(packet)
            if chatty:
                for session in pair.server.sessions:
                    if session.state is State.OPEN:
                        session.send_message(bytes(300), now=pair.network.now)
                        session.send_direct(bytes(30))
                        pair.server.attend(session)
            self._check(pair, spoken)
            pair.network.run(wait)
            self._check(pair, spoken)
        pair.network.run(20)
        self._check(pair, spoken)

    def _check(self, pair: Pair, spoken: Counter[Place]) -> None:
        told: Counter[Place] = Counter()
        for sent in pair.network.log:
            told[sent.to] += len(sent.datagram)
        for place, size in told.items():
            self.assertLessEqual(size, spoken[place])

    @settings(deadline=None, max_examples=60)
    @given(says())
    def test_keyed(self, sayings: list[Any]) -> None:
        """... to a keyed server; known secrets aside, which plain ones are not."""
        self._look(False, sayings, False)

    @settings(deadline=None, max_examples=60)
    @given(says(), st.booleans())
    def test_plain(self, sayings: list[Any], chatty: bool) -> None:
        """... to a plain server, whose application has much to say to whoever comes."""
        self._look(True, sayings, chatty)

    def test_accept(self) -> None:
        """ACCEPT is no longer than HELLO, of whatever form."""
        for room in (20, 30, 39):
            for plain in (False, True):
                pair = Pair(plain=plain)
                stranger = Stranger(pair.network, secret=None if plain else b"client")
                hello = stranger.say(P.HELLO, room=room)
                (accept,) = stranger.heard()
                self.assertEqual(accept.type, P.ACCEPT)
                self.assertLessEqual(accept.size, len(hello))

    def test_reject(self) -> None:
        """So is REJECT; and what cannot be answered so shortly is not answered."""
        for room in (20, 30, 39):
            pair = Pair()
            stranger = Stranger(pair.network, uuid=NOBODY)
            ping = stranger.say(P.PING, room=room)
            self.assertEqual(stranger.heard_types(), [P.REJECT])
            self.assertLessEqual(stranger.heard()[0].size, len(ping))
            stranger.say(P.DATA_ACK, b"x")
            self.assertEqual(stranger.heard_types(), [P.REJECT])

    def test_plain_data_waits(self) -> None:
        """A plain server's data waits until an ACK names what it has sent, or pings have paid for it."""
        pair = Pair(plain=True)
        stranger = Stranger(pair.network, secret=None)
        stranger.say(P.HELLO)
        theirs = pair.server.sessions[0]
        theirs.send_message(bytes(1_000), now=pair.network.now)
        pair.server.attend(theirs)
        pair.network.run(2)
        self.assertEqual(stranger.heard_types(), [P.ACCEPT])
        stranger.say(P.ACK, bytes(32))
        self.assertNotIn(P.DATA_ACK, stranger.heard_types())
        stranger.say(P.ACK, stranger.heard()[0].digest)
        self.assertEqual(stranger.heard_types(), [P.ACCEPT, P.DATA_ACK])

    def test_plain_foreign_client(self) -> None:
        """A plain client that acknowledges no ACCEPT, and only pings, is told small messages in time."""
        pair = Pair(plain=True)
        stranger = Stranger(pair.network, secret=None)
        stranger.say(P.HELLO)
        theirs = pair.server.sessions[0]
        theirs.send_message(bytes(200), now=pair.network.now)
        pair.server.attend(theirs)
        for _ in range(6):
            pair.network.run(0.5)
            stranger.say(P.PING)
        self.assertIn(P.DATA_ACK, stranger.heard_types())
        self.assertIn(P.PANG, stranger.heard_types())
        data = next(packet for packet in stranger.heard() if packet.type is P.DATA_ACK)
        stranger.say(P.ACK, data.digest)
        self.assertIsNone(theirs.credit)


class PlainCreditTests(SynchronousTestCase):
    """Our own client shows a plain server where it is."""

    def test_proof(self) -> None:
        """It acknowledges ACCEPT."""
        pair = Pair(plain=True)
        _, theirs = pair.open()
        pair.network.run(0.1)
        self.assertIsNone(theirs.credit)

    def test_proof_lost(self) -> None:
        """... and answers to its pings, when that was lost."""
        pair = Pair(plain=True)
        lost = [2]

        def lose(sent: Any) -> bytes | None:
            if sent.packet.type is P.ACK and lost[0]:
                lost[0] -= 1
                return None
            return bytes(sent.datagram)

        pair.network.change = lose
        _, theirs = pair.open()
        pair.network.run(1.2)
        self.assertIsNone(theirs.credit)

    def test_keyed_needs_none(self) -> None:
        """With secrets nothing of that is said."""
        pair = Pair()
        pair.open()
        pair.network.run(3)
        self.assertNotIn(P.ACK, {sent.packet.type for sent in pair.network.log})


class ServerOptionsTests(SynchronousTestCase):
    """Sockets without a UUID of their own."""

    def test_random(self) -> None:
        """They have a random one each."""
        network = Network()
        uuids = {
            Host(network, Place("192.0.2.1", port), server_options(uuid=None), listening=True).demux.uuid
            for port in range(1, 20)
        }
        self.assertEqual(len(uuids), 19)
