"""
Durable sessions whose disks are slow, or fail: nothing is said before what it rests on is written down.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import MessageTooLarge, NotSupported, Reason, SessionAborted, StoreFailed, UsageError
from hypermail.events import StreamOptions
from hypermail.link.payload import Payload
from hypermail.options import Role, Way
from hypermail.session.journal import SessionIdentity, StoredReceiving, StoredSession, identity_of
from hypermail.session.linked import EARLY
from hypermail.session.session import Session
from hypermail.session.states import State
from hypermail.streams.states import Opening
from hypermail.test.durability import LANE, NAME, NEAR, OPTIONS, DurableTestCase, DurableWorld, Host
from hypermail.test.reopening import DARK, is_suspended, session_of
from hypermail.testing.node import Node
from hypermail.testing.side import Side
from hypermail.wire.codec import decode
from hypermail.wire.packets import SessionReopenAck, StreamBlockAck, Verdict


def _node(host: Host) -> Node:
    assert host.process is not None
    return host.process


class OpeningTests(SynchronousTestCase):
    """A session that is asked for, and accepted."""

    def setUp(self) -> None:
        self.world = DurableWorld(1)
        self.listener, self.starter = self.world.listener, self.world.starter
        self.world.start_listener()

    def begin(self, *, starter: float = 0.001, listener: float = 0.001) -> Side:
        """The starter asks for a session. The disks take so many s."""
        side = self.world.start_starter()
        self.starter.begin = lambda: None
        _node(self.starter).store_delay, _node(self.listener).store_delay = starter, listener
        return side

    def test_starter(self) -> None:
        """A starter asks for nothing, and sends nothing, before its session is on its disk."""
        side = self.begin(starter=1.0)
        side.send_message(b"a")
        self.world.run_for(0.9)
        self.assertIsNone(self.starter.store.named(NAME))
        self.assertEqual((self.listener.sides, side.connection.statistics()["messages_begun"]), ([], 0))
        self.world.run_for(1.0)
        self.assertEqual(list(self.listener.received.values()), [[(0, b"a")]])

    def test_starterAborts(self) -> None:
        """One that is not wanted any more when that is done is not asked for."""
        side = self.begin(starter=1.0)
        self.world.run_for(0.9)
        side.abort(0)
        self.world.run_for(5.0)
        self.assertEqual((self.listener.sides, len(self.listener.store)), ([], 0))
        self.assertEqual(session_of(side).control._unacked, {})

    def test_listener(self) -> None:
        """A listener accepts nothing before the session is on its disk. The starter writes down that it has opened."""
        side = self.begin(listener=1.0)
        self.world.run_for(0.9)
        self.assertEqual((side.connection.state, self.listener.sides), (State.OPENING, []))
        self.world.run_for(0.5)
        self.assertEqual(side.connection.state, State.OPEN)
        stored = self.starter.store.named(NAME)
        assert stored is not None
        self.assertTrue(stored.opened)

    def test_timeout(self) -> None:
        """Both sides wait for a link as long as a durable session may."""
        side = self.begin()
        self.world.run_for(1.0)
        for one in (side, self.listener.side):
            self.assertEqual(session_of(one).survival.timeout, OPTIONS.durable_timeout)

    def test_listenerFails(self) -> None:
        """... and refuses a session that cannot be put there."""
        self.listener.store.full = True
        side = self.begin()
        self.world.run(lambda: side.application.error)
        error = side.application.error
        assert error is not None
        self.assertEqual((error.code, self.listener.sides), (Reason.STORE_FAILED, []))

    def test_listenerTooLate(self) -> None:
        """A session that is over when it is written down does not open, and does not stay on the disk."""
        side = self.begin(listener=1.0)
        self.world.run_for(0.5)
        side.abort(0)
        self.world.run_for(5.0)
        self.assertEqual((self.listener.sides, len(self.listener.store)), ([], 0))


class ClaimTests(DurableTestCase):
    """A session that is claimed over another link."""

    def suspended(self) -> DurableWorld:
        """A session without a link, that no claim is made of at the moment."""
        world = self.world()
        world.network.set_conditions(DARK)
        survival = session_of(world.starter.side).survival
        world.run(lambda: is_suspended(world.listener.side) and not survival.linked and not survival.claiming)
        return world

    def reach(self, world: DurableWorld) -> None:
        """Bring the network back."""
        world.network.set_conditions(NEAR)
        world.starter.side.connection.awaken(now=world.now)
        world.starter.side.touch()

    def test_generations(self) -> None:
        """A listener hears of no generation that is not on the starter's disk, however many claims wait for that."""
        world = self.suspended()
        _node(world.starter).store_delay = 4.0
        self.reach(world)

        def checked() -> bool:
            stored = world.starter.store.named(NAME)
            assert stored is not None
            self.assertLessEqual(session_of(world.listener.side).survival.generation, stored.identity.generation)
            generations.add(session_of(world.starter.side).survival.generation)
            return world.now > until

        generations: set[int] = set()
        until = world.now + 10.0
        world.run(checked)
        self.assertGreaterEqual(len(generations), 3)
        _node(world.starter).store_delay = 0.001
        world.settle()

    def test_nothingBefore(self) -> None:
        """Until the generation is on disk no messages leave."""
        world = self.suspended()
        _node(world.starter).store_delay = 1.0
        self.reach(world)
        side = world.starter.side
        side.send_message(b"a")
        world.run_for(0.9)
        self.assertTrue(session_of(side).survival.claiming)
        self.assertEqual(side.connection.statistics()["messages_begun"], 0)
        world.settle()

    def test_starterFails(self) -> None:
        """A claim that cannot be written down costs the link at once, and not the session."""
        world = self.suspended()
        world.starter.store.full = True
        self.reach(world)
        world.run_for(0.5)
        self.assertIsInstance(session_of(world.starter.side).survival.error, StoreFailed)
        world.starter.store.full = False
        world.settle()

    def test_listenerFails(self) -> None:
        """Nor does a listener go on with a session whose claim it cannot write down."""
        world = self.suspended()
        world.listener.store.full = True
        self.reach(world)
        world.run_for(2.0)
        self.assertTrue(is_suspended(world.starter.side))
        self.assertTrue(is_suspended(world.listener.side))
        world.listener.store.full = False
        world.settle()
        stored = world.listener.store.find(world.listener.side.connection.session_id)
        assert stored is not None
        self.assertEqual(stored.identity.generation, session_of(world.starter.side).survival.generation)

    def test_lostMeanwhile(self) -> None:
        """A link that is lost while the listener writes the claim down is not gone on over."""
        world = self.suspended()
        _node(world.listener).store_delay = 6.0
        self.reach(world)
        world.run(lambda: session_of(world.listener.side).survival.claiming)
        world.network.set_conditions(DARK)
        world.run_for(10.0)
        self.assertTrue(is_suspended(world.listener.side))
        _node(world.listener).store_delay = 0.001
        self.reach(world)
        world.settle()

    def test_abortedMeanwhile(self) -> None:
        """A session that the listener ends while it writes the claim down does not go on."""
        world = self.suspended()
        _node(world.listener).store_delay = 1.0
        self.reach(world)
        world.run(lambda: session_of(world.listener.side).survival.claiming)
        world.listener.side.abort(0)
        world.run_for(5.0)
        self.assertEqual(world.starter.side.application.resumptions, [])
        self.assertEqual((len(world.starter.store), len(world.listener.store)), (0, 0))

    def test_abortedBefore(self) -> None:
        """One that the starter ends while it writes the claim down is not claimed."""
        world = self.suspended()
        _node(world.starter).store_delay = 1.0
        self.reach(world)
        world.run(lambda: session_of(world.starter.side).survival.claiming)
        world.run_for(0.5)
        world.starter.side.abort(0)
        world.run_for(5.0)
        self.assertEqual(world.listener.side.application.resumptions, [])

    def test_answeredAgain(self) -> None:
        """An answer to a claim that holds already changes nothing."""
        world = self.suspended()
        self.reach(world)
        world.settle()
        session = session_of(world.starter.side)
        answer = SessionReopenAck(b"", code=Reason.SESSION_UNKNOWN)
        session_of(world.listener.side).control.put("late", answer)
        world.listener.side.touch()
        world.run_for(1.0)
        self.assertEqual((session.state, session.survival.linked), (State.OPEN, True))

    def test_incarnation(self) -> None:
        """Which of its peer's memories a session goes on with is on the disks: a restart of both ends nothing twice."""
        world = self.world()
        world.restart(world.listener)
        world.settle()
        incarnation = session_of(world.listener.side).survival.incarnation
        stored = world.starter.store.named(NAME)
        assert stored is not None
        self.assertEqual(stored.identity.peer_incarnation, incarnation)
        world.restart(world.starter)
        world.settle()
        found = world.listener.store.find(world.listener.side.connection.session_id)
        assert found is not None
        self.assertEqual(found.identity.peer_incarnation, session_of(world.starter.side).survival.incarnation)
        self.assertEqual(world.listener.side.application.resumptions, [True])
        self.assertEqual(world.starter.side.application.resumptions, [False])

    def test_worker(self) -> None:
        """By which byte a session is found is on both disks, and the same over all of its links."""
        world = self.world()
        byte = world.starter.side.connection.first_tag >> 56
        for host in (world.listener, world.starter, world.listener):
            world.restart(host)
            world.settle()
        connection = world.listener.side.connection
        self.assertEqual((connection.first_tag >> 56, connection.local_tag >> 56), (byte, byte))
        starters, listeners = world.starter.store.named(NAME), world.listener.store.find(connection.session_id)
        assert starters is not None and listeners is not None
        self.assertEqual((starters.identity.worker, listeners.identity.worker), (byte, byte))


IDENTITY = SessionIdentity(
    id=b"i" * 16,
    secret=b"s" * 32,
    role=Role.STARTER,
    name=NAME,
    way=Way.TWO_WAY,
    generation=7,
    peer_incarnation=99,
    peer_key=b"key",
    worker=3,
    parameters=EARLY._replace(max_message=100, max_streams=1).encode(),
    timeout=12.0,
)


class RestoredTests(SynchronousTestCase):
    """L{Session.restored}."""

    def restored(self, way: Way = Way.TWO_WAY, role: Role = Role.STARTER) -> Session:
        """One that was read back."""
        identity = replace(IDENTITY, way=way, role=role)
        return Session.restored(role, OPTIONS, EARLY, StoredSession(identity=identity))

    def test_identity(self) -> None:
        """It is what it was: it would be written down again as it was."""
        for way in Way:
            for role in Role:
                session = self.restored(way, role)
                expected = replace(IDENTITY, way=way, role=role)
                self.assertEqual(identity_of(session.survival, role, session.way, session._peer), expected)

    def test_way(self) -> None:
        """It may send what it might before."""
        with self.assertRaises(NotSupported):
            self.restored(Way.READ_ONLY).check_sending()
        self.restored().check_sending()

    def test_limits(self) -> None:
        """It keeps within the limits that the peer has told, before it has a link."""
        session = self.restored()
        with self.assertRaises(MessageTooLarge):
            session.sending.send(bytes(101), LANE, None, True)
        first, second = (session.streams.open(b"", StreamOptions()) for _ in range(2))
        self.assertEqual((first.opening, second.opening), (Opening.REQUESTED, Opening.WAITING))

    def test_verdicts(self) -> None:
        """It tells again why messages were not taken that the peer may not know of."""
        reject = Verdict(0, False, 7, "no")
        stored = StoredSession(identity=IDENTITY, receiving={LANE: StoredReceiving(taken=1, verdicts=(reject,))})
        session = Session.restored(Role.STARTER, OPTIONS, EARLY, stored)
        session.receiving.acknowledge()
        payload = Payload(1_000)
        session.control.fill(payload)
        self.assertEqual(decode(memoryview(b"".join(payload.parts))), [StreamBlockAck(LANE, 1, (), (reject,))])

    def test_parked(self) -> None:
        """What leaves for the disk may yet be delivered; and a session that is over leaves for nowhere."""
        session = self.restored()
        session.park(SessionAborted("later"))
        with self.assertRaises(UsageError):
            session.park(SessionAborted("later"))
