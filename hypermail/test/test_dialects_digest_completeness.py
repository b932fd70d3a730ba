"""
Tests for dialect C{digest}: every state of both sides knows what to do with every packet, and with time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.connection import DigestConnection
from hypermail.dialects.digest.packets import PacketType
from hypermail.dialects.digest.states import ClientPhase
from hypermail.errors import HypermailError
from hypermail.session.states import State
from hypermail.test.digests import CLIENT, SERVER, SERVER_UUID, Host, Pair, Stranger

P = PacketType


def payload_of(type: PacketType) -> bytes | None:
    """A payload for each type; None for the time."""
    if type in (P.ACK, P.BAD_ACK):
        return bytes(32)
    return b"data" if type in (P.DATA_ACK, P.DATA_NOACK) else None


class Situation:
    """A session in some state, and whoever is its peer."""

    def __init__(self, side: str, state: str) -> None:
        self.pair = pair = Pair()
        self.network = pair.network
        self.host: Host = pair.client if side == "client" else pair.server
        if side == "client":
            self.peer = Stranger(pair.network, uuid=SERVER_UUID, secret=b"server", address=SERVER)
            self.to = CLIENT
        else:
            self.peer = Stranger(pair.network)
            self.to = SERVER
        self.session: DigestConnection = self._client(state) if side == "client" else self._server(state)

    def _client(self, state: str) -> DigestConnection:
        pair = self.pair
        del pair.network.hosts[SERVER[:2]]
        session = pair.client.start()
        if state == "GREETING":
            return session
        self.peer.say(P.ACCEPT, to=CLIENT)
        if state == "CLOSING":
            session.send_message(b"x", now=pair.network.now)
        if state in ("PARTING", "CLOSING"):
            session.close(now=pair.network.now)
            pair.client.attend(session)
        if state == "MISSING":
            pair.network.run(4)
        if state == "OVER":
            session.abort(0, "", now=pair.network.now)
            pair.client.attend(session)
        expected = ClientPhase.ALIVE if state == "CLOSING" else ClientPhase[state]
        assert session.phase is expected, session.phase
        return session

    def _server(self, state: str) -> DigestConnection:
        pair = self.pair
        pair.server.answer = None if state == "DECIDING" else True
        self.peer.say(P.HELLO)
        session = pair.server.sessions[0]
        if state == "CLOSING":
            session.send_message(b"x", now=pair.network.now)
        if state in ("CLOSING", "ENDED"):
            session.close(now=pair.network.now)
            pair.server.attend(session)
        assert session.state is State[state], session.state
        return session

    def say(self, type: PacketType) -> None:
        """The peer says something, as it may say it."""
        self.peer.say(type, payload_of(type), self.to)


CLIENT_STATES = ["GREETING", "ALIVE", "MISSING", "PARTING", "OVER", "CLOSING"]
SERVER_STATES = ["DECIDING", "OPEN", "CLOSING", "ENDED"]
SITUATIONS = [("client", state) for state in CLIENT_STATES] + [("server", state) for state in SERVER_STATES]

#: Which packets do something to a session: all others are dropped, and counted.
MEANINGFUL: dict[tuple[str, str], set[PacketType]] = {
    ("client", "GREETING"): {P.ACCEPT, P.REJECT},
    ("client", "ALIVE"): {P.ACCEPT, P.REJECT, P.PANG, P.PONG, P.BAD_ACK, P.DATA_ACK, P.DATA_NOACK},
    ("client", "MISSING"): {P.ACCEPT, P.REJECT, P.PANG, P.PONG, P.BAD_ACK, P.DATA_ACK, P.DATA_NOACK},
    ("client", "CLOSING"): {P.ACCEPT, P.REJECT, P.PANG, P.PONG, P.BAD_ACK, P.DATA_ACK, P.DATA_NOACK},
    ("client", "PARTING"): {P.ACCEPT, P.REJECT, P.PANG, P.PONG, P.BAD_ACK},
    ("client", "OVER"): set(),
    ("server", "DECIDING"): {P.HELLO, P.DISCONNECT, P.PONG},
    ("server", "OPEN"): {P.HELLO, P.DISCONNECT, P.PING, P.PONG, P.BAD_ACK, P.DATA_ACK, P.DATA_NOACK},
    ("server", "CLOSING"): {P.HELLO, P.DISCONNECT, P.PING, P.PONG, P.BAD_ACK, P.DATA_ACK, P.DATA_NOACK},
    ("server", "ENDED"): {P.HELLO},
}


class CompletenessTests(SynchronousTestCase):
    """State by packet, and state by time."""

    def test_packets(self) -> None:
        """Each packet has its meaning in each state, or is counted as dropped."""
        for side, state in SITUATIONS:
            for type in PacketType:
                situation = Situation(side, state)
                demux = situation.host.demux
                before = demux.dropped.total()
                situation.network.run(0.01)
                situation.say(type)
                dropped = demux.dropped.total() - before
                meant = type in MEANINGFUL[side, state]
                self.assertEqual(dropped == 0, meant, (side, state, type.name, demux.dropped))

    def test_ends(self) -> None:
        """REJECT ends a client in each state, and DISCONNECT a server's session; everybody ends in silence."""
        for side, state in SITUATIONS:
            situation = Situation(side, state)
            situation.network.run(0.01)
            situation.say(P.REJECT if side == "client" else P.DISCONNECT)
            self.assertTrue(situation.session.ended, (side, state))
            self.assertEqual(len(situation.host.demux), 0)
            situation = Situation(side, state)
            situation.network.run(60)
            self.assertTrue(situation.session.ended, (side, state))
            self.assertIsNotNone(situation.host.end_of(situation.session))
            self.assertEqual(len(situation.host.demux), 0)
            self.assertIsNone(situation.session.next_timeout())

    def test_early(self) -> None:
        """A timer that comes early is harmless in each state."""
        for side, state in SITUATIONS:
            situation = Situation(side, state)
            log = len(situation.network.log)
            was = situation.session.state
            for _ in range(5):
                situation.session.handle_timeout(now=situation.network.now)
                if not situation.session.ended:
                    situation.host.attend(situation.session)
            self.assertEqual(situation.session.state, was)
            self.assertEqual(len(situation.network.log), log)

    def test_application(self) -> None:
        """What the application does is done in each state, or refused with an error of ours."""
        calls: list[Callable[[Any, float], object]] = [
            lambda session, now: session.send_message(b"x", now=now),
            lambda session, now: session.send_direct(b"x"),
            lambda session, now: session.ping(now=now),
            lambda session, now: session.accept({}, now=now),
            lambda session, now: session.reject(0, "", now=now),
            lambda session, now: session.close(now=now),
            lambda session, now: session.abort(0, "", now=now),
            lambda session, now: session.statistics(),
        ]
        for side, state in SITUATIONS:
            for call in calls:
                situation = Situation(side, state)
                try:
                    call(situation.session, situation.network.now)
                except HypermailError:
                    continue
                finally:
                    if not situation.session.ended or situation.session in situation.host._live:
                        situation.host.attend(situation.session)
                situation.network.run(60)
                self.assertTrue(situation.session.ended)

    @settings(deadline=None, max_examples=100)
    @given(
        st.sampled_from(SITUATIONS),
        st.lists(
            st.tuples(
                st.sampled_from(PacketType), st.sampled_from([0.0, 0.01, 0.5, 3.0]), st.booleans(), st.booleans()
            ),
            max_size=15,
        ),
    )
    def test_sequences(self, where: tuple[str, str], sayings: list[tuple[PacketType, float, bool, bool]]) -> None:
        """Whatever an authentic peer says, and when, and however it counts: everything ends in order."""
        situation = Situation(*where)
        for type, wait, restart, send in sayings:
            situation.network.run(wait)
            if restart:
                situation.peer.order = 0
            situation.say(type)
            session = situation.session
            if send and session.state is State.OPEN:
                session.send_message(b"x", now=situation.network.now)
                situation.host.attend(session)
        situation.network.run(80)
        self.assertEqual(len(situation.host.demux), 0)
        for session in situation.host.sessions:
            self.assertIsNotNone(situation.host.end_of(session))
