"""
Tests for claims to sessions of before: who may make them, how they are answered, what becomes of what came with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    PeerSilent,
    Reason,
    SessionAborted,
    SessionKilled,
    SessionLost,
    SessionRejected,
    SessionReset,
    UsageError,
)
from hypermail.events import SessionClaimed
from hypermail.options import Delivery, ListenerOptions, Persistence, Role
from hypermail.session.session import Session
from hypermail.session.states import Input, State
from hypermail.session.survival import Channel, Survival
from hypermail.test.reopening import DARK, NEAR, OPTIONS, ReopeningTestCase, is_suspended, session_of
from hypermail.testing import Pair, World, secret_handshakes
from hypermail.testing.conditions import Conditions
from hypermail.testing.side import Side
from hypermail.wire import packets as p
from hypermail.wire.parameters import Parameters


class ProofTests(SynchronousTestCase):
    """What a proof binds."""

    def survival(self, role: Role) -> Survival:
        survival = Survival(role, 7, 60.0)
        survival.id, survival.secret, survival.peer_key = bytes(16), bytes(range(32)), b"the starter's"
        return survival

    def test_bound(self) -> None:
        """A proof holds for its role, session, generation, secret and channel only."""
        starter, listener = self.survival(Role.STARTER), self.survival(Role.LISTENER)
        channel = Channel(b"c" * 32, b"the starter's")
        proof = starter.proof(Role.STARTER, 3, channel)
        self.assertEqual(len(proof), 32)
        self.assertTrue(listener.proves(proof, 3, channel))
        self.assertFalse(starter.proves(proof, 3, channel), "reflected")
        self.assertFalse(listener.proves(proof, 4, channel))
        self.assertFalse(listener.proves(proof, 3, channel._replace(secret=b"d" * 32)))
        self.assertFalse(listener.proves(proof[:31], 3, channel))
        for name, other in (("id", b"x" * 16), ("secret", b"x" * 32)):
            another = self.survival(Role.LISTENER)
            setattr(another, name, other)
            self.assertFalse(another.proves(proof, 3, channel))

    def test_checked(self) -> None:
        """A claim is refused for its proof first, so that nobody else learns of the other reasons."""
        starter, listener = self.survival(Role.STARTER), self.survival(Role.LISTENER)
        channel = Channel(b"c" * 32, b"the starter's")
        listener.generation = 2
        listener.check(3, starter.proof(Role.STARTER, 3, channel), channel)
        another = channel._replace(peer_key=b"another's")
        for generation, proof, where, code in (
            (3, bytes(32), another, Reason.SESSION_UNKNOWN),
            (2, bytes(32), channel, Reason.SESSION_UNKNOWN),
            (3, starter.proof(Role.STARTER, 3, another), another, Reason.NOT_ALLOWED),
            (2, starter.proof(Role.STARTER, 2, channel), channel, Reason.SESSION_TAKEN),
            (1, starter.proof(Role.STARTER, 1, channel), channel, Reason.SESSION_TAKEN),
        ):
            error = self.assertRaises(SessionRejected, listener.check, generation, proof, where)
            self.assertEqual(error.code, code)
        listener.secret = b""
        error = self.assertRaises(SessionRejected, listener.check, 3, bytes(32), channel)
        self.assertEqual(error.code, Reason.CANNOT_REOPEN)


class RefusedTests(ReopeningTestCase):
    """Claims that do not hold end the session of who makes them, and change nothing for the session."""

    def refused(self, pair: Pair, code: int, kind: type[SessionLost]) -> None:
        """Let the starter claim, and be refused with this."""
        listener = pair.listener
        survival = session_of(listener).survival
        before = survival.generation
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        error = pair.starter.application.error
        assert error is not None
        self.assertIsInstance(error, kind)
        self.assertEqual(error.code, code)
        self.assertTrue(is_suspended(listener))
        self.assertEqual((survival.generation, listener.application.resumptions), (before, []))
        pair.run_for(30)
        self.assertEqual(len(pair.listener_node.demux), 0)
        reception = pair.listener_node.demux._reception
        self.assertEqual(0 if reception is None else len(reception.admission), 0)

    def test_secret(self) -> None:
        """Who does not know the session's secret learns that the session is not known; also in mode C{secret}."""
        pair = self.pair()
        self.suspend(pair)
        session_of(pair.starter).survival.secret = bytes(32)
        self.refused(pair, Reason.SESSION_UNKNOWN, SessionReset)

    def test_id(self) -> None:
        """Likewise who claims a session that there never was."""
        pair = self.pair()
        self.suspend(pair)
        session_of(pair.listener).survival.id = b"another session."
        session_of(pair.starter).survival.id = bytes(16)
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        self.assertIsInstance(pair.starter.application.error, SessionReset)

    def test_generation(self) -> None:
        """A claim of a generation that was there already comes too late: the session has gone on elsewhere."""
        pair = self.pair()
        self.suspend(pair)
        session_of(pair.listener).survival.generation = 1_000
        self.refused(pair, Reason.SESSION_TAKEN, SessionRejected)

    def test_link(self) -> None:
        """A session that was to end with its link goes on over no other, whoever knows its secret."""
        pair = self.pair()
        self.suspend(pair)
        session = session_of(pair.listener)
        session._peer = session._peer._replace(persistence=Persistence.LINK)
        self.refused(pair, Reason.CANNOT_REOPEN, SessionRejected)

    def test_certificate(self) -> None:
        """A session goes on with the certificate only that it was opened with."""
        pair = self.pair()
        self.suspend(pair)
        session_of(pair.listener).survival.peer_key = b"somebody's"
        self.refused(pair, Reason.NOT_ALLOWED, SessionRejected)

    def test_without(self) -> None:
        """A session that has no secret, as in mode C{plain}, is claimed by nobody."""
        pair = self.pair()
        self.suspend(pair)
        session_of(pair.listener).survival.secret = b""
        self.refused(pair, Reason.CANNOT_REOPEN, SessionRejected)

    def test_incarnation(self) -> None:
        """Who says to have been restarted, in a session that outlives no process, has no part in it."""
        pair = self.pair()
        session_of(pair.starter).survival.incarnation += 1
        self.suspend(pair)
        self.refused(pair, Reason.SESSION_UNKNOWN, SessionReset)

    def test_restartsWithoutEnd(self) -> None:
        """A peer that is restarted again and again cannot make an application hold more than twice its allowance."""
        self.patch(Session, "may_restart", lambda session, incarnation: True)
        pair = self.pair(replace(OPTIONS, allowance_bytes=40_000, max_message=10_000))
        listener = pair.listener
        listener.application.pause()
        for _ in range(4):
            if listener.application.error is not None:
                break
            for _ in range(30):
                pair.starter.send_message(bytes(1_000))
            pair.run_for(1)
            session_of(pair.starter).survival.incarnation += 1
            session_of(pair.starter).sending.peer_restarted(SessionReset("as it says"))
            pair.network.set_conditions(DARK)
            pair.run_for(8)
            pair.network.set_conditions(NEAR)
            pair.run(lambda: pair.starter.application.error or pair.starter.connection.linked, limit=60)
        for side in (pair.starter, listener):
            error = side.application.error
            assert error is not None
            self.assertEqual(error.code, Reason.LIMIT_EXCEEDED)
        held = sum(len(messages) for messages in listener.application.received.values())
        self.assertLessEqual(held * 1_000, 2 * 40_000)

    def test_listenersIncarnation(self) -> None:
        """Nor does a listener that says so: it breaks the rules, and nothing of the session is dropped for it."""
        pair = self.pair()
        self.suspend(pair)
        stream = pair.starter.open_stream()
        session_of(pair.listener).survival.incarnation += 1
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        error = pair.starter.application.error
        assert error is not None
        self.assertEqual(error.code, Reason.PROTOCOL_VIOLATION)
        self.assertIs(stream.error, error)

    def test_listenersOtherIncarnation(self) -> None:
        """Likewise when it lets the session go on nevertheless."""
        pair = self.pair()
        self.suspend(pair)
        usual = Session.carry_on

        def carry_on(session: Session, parameters: Parameters, learn: Callable[[Parameters], None]) -> None:
            usual(session, parameters._replace(incarnation=99), learn)

        pair.network.set_conditions(NEAR)
        pair.run(lambda: session_of(pair.starter).survival.claiming, limit=60)
        self.patch(Session, "carry_on", carry_on)
        pair.run(lambda: pair.starter.application.error, limit=60)
        error = pair.starter.application.error
        assert error is not None
        self.assertEqual(error.code, Reason.PROTOCOL_VIOLATION)

    def test_text(self) -> None:
        """The starter reads why."""
        pair = self.pair()
        self.suspend(pair)
        self.answer_claims(pair, lambda candidate, _: candidate.connection.reject(4_711, "not you", now=pair.now))
        self.refused(pair, 4_711, SessionRejected)
        self.assertIn("refused to go on with the session: not you", str(pair.starter.application.error))


class LyingListenerTests(ReopeningTestCase):
    """Listeners that cannot prove that the session is theirs."""

    def test_proof(self) -> None:
        """A false proof is a breach, and nothing that came with it is taken."""
        pair = self.pair()
        self.suspend(pair)
        usual = Survival.proof

        def lie(survival: Survival, role: Role, generation: int, channel: Channel) -> bytes:
            proof = usual(survival, role, generation, channel)
            return bytes(32) if role is Role.LISTENER and survival._role is role else proof

        self.patch(Survival, "proof", lie)
        pair.listener.send_message(b"lies")
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        error = pair.starter.application.error
        assert error is not None
        self.assertIsInstance(error, SessionAborted)
        self.assertEqual(error.code, Reason.PROTOCOL_VIOLATION)
        self.assertEqual(pair.starter.application.received, {})

    def test_dataBeforeProof(self) -> None:
        """What comes before the proof waits for it."""
        pair = self.pair()
        self.suspend(pair)
        pair.listener.send_message(b"early")
        usual = Session.claim_answered
        answers: list[p.SessionReopenAck] = []

        def lost(session: Session, packet: p.SessionReopenAck, channel: Channel, now: float) -> None:
            answers.append(packet)

        self.patch(Session, "claim_answered", lost)
        pair.network.set_conditions(NEAR)
        pair.run(lambda: answers, limit=60)
        pair.run_for(0.5)
        self.assertEqual(pair.starter.application.received, {})
        self.patch(Session, "claim_answered", usual)
        pair.run(lambda: pair.starter.application.received)
        self.finish(pair)

    def test_streamsBeforeProof(self) -> None:
        """A listener that answers nothing makes the starter try again, and again, and send nothing twice to itself."""
        pair = self.pair()
        self.suspend(pair)
        candidates = self.answer_claims(pair, lambda candidate, event: None, times=3)
        pair.network.set_conditions(NEAR)
        pair.starter.connection.awaken(now=pair.now)
        pair.starter.touch()
        pair.starter.send_message(b"x")
        pair.run(lambda: pair.starter.connection.linked, limit=60)
        self.assertEqual(len(candidates), 4)
        pair.run_for(60)
        self.assertEqual(len(pair.listener_node.demux), 1, "those without an answer are gone")
        self.finish(pair)


class PassingTests(ReopeningTestCase):
    """Claims that are refused for now: the starter tries again, and nothing is lost that came with them."""

    def everything(self, pair: Pair) -> None:
        """Give the starter things to say of every kind that a link could acknowledge and forget."""
        starter = pair.starter
        starter.configure_lane(2, redundancy=3)
        starter.configure_lane(3, delivery=Delivery.BUFFERED)
        for number in range(5):
            for lane in range(4):
                starter.send_message(b"%d" % number, lane=lane)
        starter.open_stream(b"opened", b"x" * 100)
        starter.ask(b"asked")
        starter.close()

    def goes_on(self, pair: Pair, candidates: list[Side], count: int, conditions: Conditions = NEAR) -> None:
        listener = pair.listener
        pair.network.set_conditions(conditions)
        pair.run(lambda: pair.starter.connection.linked, limit=60)
        self.assertEqual(len(candidates), count + 1)
        pair.run(lambda: not len(pair.listener_node.demux), limit=60)
        pair.run_to_quiescence()
        pair.assert_clean()
        pair.assert_delivered()
        self.assertEqual(listener.application.resumptions, [False])
        (gathered,) = listener.application.streams.values()
        self.assertEqual(bytes(gathered.data), b"x" * 100)

    def test_refused(self) -> None:
        """What the listener has acknowledged with a claim that it refuses is sent again with the next."""
        for code in (Reason.TOO_MANY_SESSIONS, Reason.SHUTTING_DOWN, Reason.STORE_FAILED, Reason.INTERNAL_ERROR):
            pair = self.pair()
            self.suspend(pair)
            self.everything(pair)

            def refuse(candidate: Side, event: SessionClaimed, code: int = code, pair: Pair = pair) -> None:
                candidate.connection.reject(code, "not now", now=pair.now)

            self.goes_on(pair, self.answer_claims(pair, refuse, 2), 2)

    def test_overtaken(self) -> None:
        """... also what comes before the claim that it was sent behind."""
        for seed in range(12):
            pair = self.pair(seed=seed)
            self.suspend(pair)
            for number in range(20):
                pair.starter.send_message(bytes((number,)) * 1_000, lane=4)
            self.everything(pair)

            def refuse(candidate: Side, event: SessionClaimed, pair: Pair = pair) -> None:
                candidate.connection.reject(Reason.SHUTTING_DOWN, "not now", now=pair.now)

            conditions = Conditions(delay=0.01, reordering=0.5)
            self.goes_on(pair, self.answer_claims(pair, refuse, 2), 2, conditions)

    def test_heldAndForgotten(self) -> None:
        """Likewise what a listener holds that takes its time, and then does not answer at all."""
        pair = self.pair()
        self.suspend(pair)
        self.everything(pair)
        self.goes_on(pair, self.answer_claims(pair, lambda candidate, event: None), 1)

    def test_death(self) -> None:
        """A listener that ends the new link for a reason that is the link's, or passes, has not ended the session."""
        for code in (Reason.SHUTTING_DOWN, Reason.CONNECTION_TIMEOUT, Reason.PEER_SILENT, Reason.INTERNAL_ERROR):
            pair = self.pair()
            self.suspend(pair)
            self.everything(pair)

            def die(candidate: Side, event: SessionClaimed, code: int = code, pair: Pair = pair) -> None:
                candidate.connection.abort(code, "not now", now=pair.now)

            self.goes_on(pair, self.answer_claims(pair, die), 1)

    def test_killed(self) -> None:
        """For any other reason it has."""
        pair = self.pair()
        self.suspend(pair)
        self.answer_claims(pair, lambda candidate, event: candidate.connection.abort(77, "never", now=pair.now))
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        self.assertIsInstance(pair.starter.application.error, SessionKilled)

    def test_full(self) -> None:
        """A listener that is full takes the session back when it has a place."""
        world = World(
            3,
            NEAR,
            options=OPTIONS,
            strangers=ListenerOptions(max_sessions=1),
            handshakes=secret_handshakes(Random(3).randbytes),
            starters=1,
        )
        (first,) = world.sides
        world.run(lambda: first.application.opened)
        world.network.set_conditions(DARK)
        world.run_for(8)
        self.assertEqual(len(world.listener_node.demux), 0)
        second = world.start()
        world.network.set_conditions(DARK, source=first.node.address[0])
        world.network.set_conditions(NEAR, source=second.node.address[0])
        world.network.set_conditions(NEAR, destination=second.node.address[0])
        world.run(lambda: second.application.opened, limit=60)
        world.network.set_conditions(NEAR)
        world.run_for(20)
        self.assertFalse(first.connection.linked)
        self.assertIsNone(first.application.error)
        refusal = session_of(first).survival.error
        assert refusal is not None
        self.assertEqual(refusal.code, Reason.TOO_MANY_SESSIONS)
        second.close()
        world.run(lambda: first.connection.linked, limit=60)
        world.close()


class RaceTests(ReopeningTestCase):
    """Claims that come twice, late, or while the session has a link."""

    def test_oldLinkLives(self) -> None:
        """A listener that has not noticed the loss lets the session go on; it is told of the loss first."""
        pair = self.pair()
        listener = pair.listener
        listener.ping()
        starter = pair.starter
        pair.network.set_conditions(DARK)
        starter.send_message(b"x")
        pair.run_for(0.1)
        starter.connection._ending.lose(PeerSilent("says the test"), pair.now)
        starter.touch()
        pair.network.set_conditions(NEAR)
        pair.run(lambda: starter.connection.linked, limit=1)
        self.assertEqual(len(listener.application.suspensions), 1)
        self.assertEqual(listener.application.resumptions, [False])
        self.finish(pair)

    def test_heard(self) -> None:
        """Who claims a session has heard of it, whatever was acknowledged: it outlives that link, too."""
        pair = self.pair()
        starter, listener = pair.starter, pair.listener
        session_of(listener)._heard = False
        starter.connection._ending.lose(PeerSilent("says the test"), pair.now)
        starter.touch()
        pair.run(lambda: listener.application.resumptions, limit=1)
        pair.network.set_conditions(DARK)
        pair.run_for(10)
        self.assertTrue(is_suspended(listener))
        self.resume(pair)
        self.finish(pair)

    def test_claimedTwice(self) -> None:
        """Of two claims the one with the greater generation has the session, whichever comes first."""
        for order in (1, -1):
            self.race(order)

    def race(self, order: int) -> None:
        """Two claims are answered in the order in which they came, or the other way round."""
        pair = self.pair()
        self.suspend(pair)
        waiting: list[tuple[Side, SessionClaimed]] = []
        usual = pair.listener_node.claimed
        self.answer_claims(pair, lambda candidate, event: waiting.append((candidate, event)), times=2)
        pair.network.set_conditions(NEAR)
        pair.run(lambda: len(waiting) == 2, limit=60)
        listener = next(side for side in pair.listener_node.sides if side.application.opened)
        for candidate, event in waiting[::order]:
            if candidate.connection.state is State.DECIDING:
                usual(candidate, event)
            candidate.touch()
        pair.run(lambda: pair.starter.connection.linked, limit=60)
        pair.run_for(20)
        self.assertTrue(pair.starter.connection.linked)
        self.assertIs(pair.listener, listener)
        self.assertEqual(
            session_of(listener).survival.generation, session_of(pair.starter).survival.generation, "the last one"
        )
        self.finish(pair)

    def test_givenUp(self) -> None:
        """A claim whose starter ends everything in the same breath is no claim."""
        pair = self.pair()
        self.suspend(pair)
        usual = Session.claim

        def claim_and_die(session: Session, channel: Channel) -> None:
            usual(session, channel)
            session.control.put("death", p.SessionDeath(5, "never mind"))

        self.patch(Session, "claim", claim_and_die)
        pair.network.set_conditions(NEAR)
        pair.run_for(8)
        self.assertTrue(is_suspended(pair.listener))
        self.assertIsNone(pair.listener.application.error)

    def test_notClaimed(self) -> None:
        """Only what was claimed goes on."""
        pair = self.pair()
        connection = pair.listener.connection
        self.assertRaises(UsageError, connection.go_on, connection, now=pair.now)

    def test_ended(self) -> None:
        """A session that is over does not go on, though somebody still holds it."""
        pair = self.pair()
        self.suspend(pair)
        listener = pair.listener

        def go_on(candidate: Side, event: SessionClaimed) -> None:
            listener.abort(5)
            self.assertFalse(candidate.connection.go_on(listener.connection, now=pair.now))

        self.answer_claims(pair, go_on)
        pair.network.set_conditions(NEAR)
        pair.run(lambda: pair.starter.application.error, limit=60)
        self.assertIsInstance(pair.starter.application.error, SessionReset)
        self.assertIsInstance(listener.application.error, SessionAborted)

    def test_replayed(self) -> None:
        """The datagrams of a reopening, sent once more, reach nobody; they make no session go anywhere."""
        pair = self.pair()
        self.suspend(pair)
        said: list[tuple[tuple[str, int], list[bytes]]] = []
        usual = pair.network.send

        def listening(source: tuple[str, int], target: tuple[str, int], datagrams: list[bytes], ecn: int = 0) -> None:
            if source == pair.starter.node.address:
                said.append((source, datagrams))
            usual(source, target, datagrams, ecn)

        self.patch(pair.network, "send", listening)
        self.resume(pair)
        pair.run_for(1)
        generation = session_of(pair.listener).survival.generation
        connection = pair.listener.connection
        for there in (pair.starter.node.address, ("10.9.9.9", 9)):
            for _, datagrams in list(said):
                usual(there, pair.listener_node.address, datagrams)
        pair.run_for(30)
        self.assertIs(pair.listener.connection, connection)
        self.assertEqual(session_of(pair.listener).survival.generation, generation)
        self.assertEqual(len(pair.listener_node.demux), 1)
        self.finish(pair)

    def test_claimOfAnother(self) -> None:
        """A claim that somebody has seen is worth nothing over another link, even with the same shared secret."""
        handshakes = secret_handshakes(Random(4).randbytes)
        world = World(4, NEAR, options=OPTIONS, handshakes=handshakes, starters=1)
        (victim,) = world.sides
        world.run(lambda: victim.application.opened)
        made = self.claims()
        world.network.set_conditions(DARK)
        world.run_for(8)
        world.network.set_conditions(NEAR)
        world.run(lambda: victim.connection.linked, limit=60)
        (claim,) = made[-1:]

        def ask(session: Session) -> None:
            session._move(Input.ASK)
            session.control.put("session", claim._replace(generation=claim.generation + 1))

        self.patch(Session, "ask", ask)
        thief = world.start()
        world.run(lambda: thief.connection.ended, limit=60)
        self.assertFalse(thief.application.opened)
        self.assertTrue(victim.connection.linked)
        victim.send_message(b"still here")
        victim.close()
        world.run(lambda: victim.connection.ended)
        world.assert_delivered()


class OffsetTests(ReopeningTestCase):
    """What the peer says of streams."""

    def said(self, packet: p.Packet, *, open: bool = True) -> Pair:
        """Have the starter say something; there is stream 0, of which it has had 100 bytes."""
        pair = self.pair()
        stream = pair.starter.open_stream()
        stream.write(b"x" * 10)
        pair.run_for(1)
        (theirs,) = session_of(pair.listener).streams._streams.values()
        theirs.write(b"y" * 100)
        pair.listener.touch()
        pair.run_for(1)
        session_of(pair.starter).control.put("nonsense", packet)
        pair.starter.touch()
        pair.run_for(1)
        return pair

    def test_neverSent(self) -> None:
        """Bytes that were never sent, and streams that were never opened, are a breach."""
        for kind in (p.StreamReopen, p.StreamReopenAck):
            for id, offset in ((0, 101), (0, 1 << 62), (1, 0), (2, 1), (1 << 63, 0)):
                pair = self.said(kind(id, offset, 1 << 20))
                error = pair.starter.application.error
                assert error is not None
                self.assertIn(error.code, (Reason.PROTOCOL_VIOLATION, Reason.LIMIT_EXCEEDED))

    def test_harmless(self) -> None:
        """What was said before, a lower limit, and all that in the middle of a session changes nothing."""
        for offset, limit in ((100, 0), (50, 10), (0, 0), (100, 1 << 20)):
            pair = self.said(p.StreamReopen(0, offset, limit))
            self.assertIsNone(pair.starter.application.error)
            (theirs,) = session_of(pair.listener).streams._streams.values()
            self.assertEqual(theirs.outgoing._limit, max(limit, OPTIONS.stream_window))
            theirs.write(b"z" * 1_000)
            theirs.finish()
            pair.listener.touch()
            pair.run_for(2)
            stream = pair.starter.application.streams[0]
            self.assertTrue(stream.finished)
            self.assertEqual(len(stream.data), 1_100)
            self.finish(pair)

    def test_over(self) -> None:
        """A stream that is over gets no answer."""
        pair = self.pair()
        pair.starter.open_stream(b"", b"x")
        pair.run_for(1)
        for packet in (p.StreamReopen(0, 1_000, 0), p.StreamReopenAck(0, 1_000, 0)):
            session_of(pair.starter).control.put("late", packet)
            pair.starter.touch()
            pair.run_for(1)
        self.finish(pair)


class FloodTests(ReopeningTestCase):
    """Many claims at once."""

    def test_strangers(self) -> None:
        """Claims to sessions that there are not leave nothing behind, and no place taken."""
        pair = self.pair()
        usual = Session.ask

        def ask(session: Session) -> None:
            usual(session)
            session.control.put("session", p.SessionReopen(bytes(16), 1, bytes(32), 1, session._parameters))

        self.patch(Session, "ask", ask)
        thieves = [pair.start(options=replace(OPTIONS, allow_reopen=False)) for _ in range(50)]
        pair.run(lambda: all(thief.connection.ended for thief in thieves), limit=60)
        self.assertFalse(any(thief.application.opened for thief in thieves))
        pair.run_for(30)
        demux = pair.listener_node.demux
        assert demux._reception is not None
        self.assertEqual((len(demux), len(demux._reception.admission)), (1, 0))

    def test_places(self) -> None:
        """Sessions that have gone on hold no place of strangers; those that wait for a link are no connections."""
        world = World(
            5,
            NEAR,
            options=OPTIONS,
            strangers=ListenerOptions(max_unproved=4, max_unproved_per_prefix=4, max_opening=60),
            handshakes=secret_handshakes(Random(5).randbytes),
            starters=30,
        )
        starters = list(world.sides)
        world.run(lambda: all(side.application.opened for side in starters), limit=60)
        for _ in range(3):
            world.network.set_conditions(DARK)
            world.run_for(10)
            self.assertEqual(len(world.listener_node.demux), 0)
            world.network.set_conditions(NEAR)
            world.run(lambda: all(side.connection.linked for side in starters), limit=120)
            world.run_for(1)
            demux = world.listener_node.demux
            assert demux._reception is not None
            self.assertEqual((len(demux), len(demux._reception.admission)), (30, 0))
        world.close()

    def test_heldIsTaken(self) -> None:
        """What has come beside a claim is taken when the claim holds, and need not come again."""
        pair = self.pair()
        self.suspend(pair)
        pair.starter.send_message(b"a")
        pair.network.set_conditions(NEAR)
        pair.starter.connection.awaken(now=pair.now)
        pair.starter.touch()
        pair.run(lambda: pair.listener.connection.linked, limit=60)
        pair.run_for(0.05)
        self.assertEqual([message.data for message in pair.listener.application.received[0]], [b"a"])
        self.finish(pair)

    def test_held(self) -> None:
        """A starter may send no more beside its claim than a listener holds; the rest comes when it is answered."""
        pair = self.pair(replace(OPTIONS, hold_bytes=2_400))
        self.suspend(pair)
        for _ in range(200):
            pair.starter.send_message(bytes(500))
        self.resume(pair)
        self.finish(pair)
