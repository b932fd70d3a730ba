"""
Tests for an attacker that has recorded everything, and says it again.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest import departed
from hypermail.dialects.digest.client import DigestClient
from hypermail.dialects.digest.departed import Departed
from hypermail.dialects.digest.memory import PeerMemory
from hypermail.dialects.digest.packets import DigestPacket, PacketType, build, parse
from hypermail.dialects.digest.server import DigestServer
from hypermail.dialects.digest.timestamps import Timestamp
from hypermail.session.states import State
from hypermail.test.digests import CLIENT, SERVER, Host, Network, Pair, Place, Sent, Stranger, client_options

P = PacketType

ELSEWHERE = Place("203.0.113.66", 6_666)


def talk(pair: Pair, count: int = 20) -> tuple[DigestClient, DigestServer]:
    """A session, some of which the network loses, and which is not closed."""
    ours, theirs = pair.open()
    for number in range(count):
        ours.send_message(b"up %d" % number, now=pair.network.now)
        theirs.send_message(b"down %d" % number, now=pair.network.now)
        ours.send_direct(b"direct up %d" % number)
        theirs.send_direct(b"direct down %d" % number)
        pair.client.attend(ours)
        pair.server.attend(theirs)
        pair.network.run(0.1)
    pair.network.run(3)
    return ours, theirs


class ReplayTests(SynchronousTestCase):
    """Recordings that are played again."""

    def _delivered(self, pair: Pair) -> tuple[int, int]:
        """How many messages were delivered, and how many sessions there were; direct messages may have been lost."""
        hosts = (pair.client, pair.server)
        for host in hosts:
            for messages in host.directs.values():
                self.assertEqual(len(set(messages)), len(messages))
        return sum(len(messages) for host in hosts for messages in host.received.values()), len(pair.server.sessions)

    def _replay(self, pair: Pair, recorded: list[Sent], elsewhere: bool) -> None:
        """Play it again: in its order, then backwards, from where it came or from elsewhere."""
        before = self._delivered(pair)
        for sent in recorded + recorded[::-1]:
            pair.network.deliver(sent._replace(source=ELSEWHERE) if elsewhere else sent)
            pair.network.run(0.001)
        self.assertEqual(self._delivered(pair), before)

    def test_live(self) -> None:
        """While the session lives nothing is delivered twice, nobody is moved, and it goes on."""
        for elsewhere in (False, True):
            pair = Pair(Network(3, loss=0.1, doubled=0.1, jitter=0.01))
            ours, theirs = talk(pair)
            pair.network.loss = 0.0
            self._replay(pair, list(pair.network.log), elsewhere)
            self.assertEqual(theirs.address, CLIENT)
            self.assertEqual((ours.state, theirs.state), (State.OPEN, State.OPEN))
            pair.network.run(20)
            self.assertEqual((ours.state, theirs.state), (State.OPEN, State.OPEN))
            if elsewhere:
                self.assertFalse([sent for sent in pair.network.log if sent.to == ELSEWHERE])

    def test_closed(self) -> None:
        """After the end no session opens."""
        for closer in ("client", "server"):
            pair = Pair(Network(4))
            ours, theirs = talk(pair)
            if closer == "client":
                ours.close(now=pair.network.now)
                pair.client.attend(ours)
            else:
                theirs.close(now=pair.network.now)
                pair.server.attend(theirs)
            pair.network.run(3)
            self.assertEqual(theirs.state, State.ENDED)
            recorded = list(pair.network.log)
            for elsewhere in (False, True):
                self._replay(pair, recorded, elsewhere)
            pair.network.run(40)
            self._replay(pair, recorded, False)

    def test_silent(self) -> None:
        """... nor after a client has fallen silent."""
        pair = Pair(Network(5))
        _, theirs = talk(pair)
        recorded = list(pair.network.log)
        del pair.network.hosts[CLIENT[:2]]
        pair.network.run(12)
        self.assertEqual(theirs.state, State.ENDED)
        self._replay(pair, recorded, False)
        self._replay(pair, recorded, True)

    def test_earlier_life(self) -> None:
        """In the session of a restarted client nothing of its earlier life is delivered, settled or not."""
        for taking in (True, False):
            pair = Pair(Network(6))
            talk(pair)
            pair.server.taking = taking
            early = pair.client.sessions[0]
            early.send_message(b"the last of the first life", now=pair.network.now)
            pair.client.attend(early)
            pair.network.run(0.1)
            recorded = [sent for sent in pair.network.log if sent.to == SERVER]
            client = Host(pair.network, CLIENT, client_options())
            ours = client.start()
            pair.network.run(0.1)
            theirs = pair.server.sessions[1]
            self.assertEqual(ours.state, State.OPEN)
            self._replay(pair, recorded, True)
            self._replay(pair, recorded, False)
            self.assertEqual(pair.server.received[theirs] + pair.server.directs[theirs], [])
            self.assertEqual(theirs.address, CLIENT)
            pair.network.run(5)
            self.assertEqual((ours.state, theirs.state), (State.OPEN, State.OPEN))
            ours.send_message(b"new", now=pair.network.now)
            client.attend(ours)
            pair.network.run(1)
            self.assertEqual(pair.server.received[theirs], [b"new"])

    def test_same_socket(self) -> None:
        """In a second session of the same socket nothing of the first is delivered."""
        pair = Pair(Network(7))
        ours, _ = talk(pair)
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(1)
        recorded = list(pair.network.log)
        again, theirs = pair.open()
        self._replay(pair, recorded, False)
        self.assertEqual((again.state, theirs.state), (State.OPEN, State.OPEN))
        pair.network.run(15)
        self.assertEqual((again.state, theirs.state), (State.OPEN, State.OPEN))

    def test_answers(self) -> None:
        """What a server has answered before is no answer to another HELLO."""
        pair = Pair()
        ours, _ = pair.open()
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(1)
        answers = [sent for sent in pair.network.log if sent.packet.type in (P.ACCEPT, P.REJECT)]
        self.assertEqual(len(answers), 2)
        del pair.network.hosts[SERVER[:2]]
        again = pair.client.start()
        for sent in answers:
            pair.network.deliver(sent)
        pair.network.run(1)
        self.assertEqual(again.state, State.OPENING)

    def test_late(self) -> None:
        """A ping that was lost moves nobody when it comes from elsewhere, behind later ones."""
        pair = Pair()
        _, theirs = pair.open()
        pair.network.loss = 1.0
        pair.network.run(0.7)
        lost = pair.network.log[-1]
        pair.network.loss = 0.0
        pair.network.run(2)
        pair.network.deliver(lost._replace(source=ELSEWHERE))
        pair.network.run(0.1)
        self.assertEqual(lost.packet.type, P.PING)
        self.assertEqual(theirs.address, CLIENT)

    def test_never_delivered(self) -> None:
        """What the first session of a socket has lost is not delivered in its second one."""
        pair = Pair()
        ours, _ = pair.open()
        pair.network.loss = 1.0
        ours.send_message(b"lost", now=pair.network.now)
        ours.send_direct(b"lost")
        pair.client.attend(ours)
        lost = pair.network.log[-2:]
        pair.network.loss = 0.0
        ours.abort(0, "", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(1)
        _, theirs = pair.open()
        for sent in lost:
            pair.network.deliver(sent)
        pair.network.run(1)
        self.assertEqual(pair.server.received[theirs] + pair.server.directs[theirs], [])

    def test_in_one_read(self) -> None:
        """A HELLO that is played again right behind DISCONNECT opens nothing."""
        pair = Pair()
        stranger = Stranger(pair.network)
        hello = stranger.say(P.HELLO)
        pair.network.run(0.1)
        datagrams = [memoryview(stranger.packet(P.DISCONNECT)), memoryview(hello)]
        touched = pair.server.demux.receive(datagrams, CLIENT, now=pair.network.now)
        self.assertEqual(touched, pair.server.sessions)
        self.assertEqual(pair.server.demux.dropped["replayed"], 1)

    def test_many(self) -> None:
        """The same for thousands of messages: what is remembered does not depend on how many there were."""
        pair = Pair(Network(8))
        pair.network.logging = True
        ours, theirs = pair.open()
        for number in range(3_000):
            ours.send_message(b"%d" % number, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(60, lambda: not ours.sending)
        self._replay(pair, [sent for sent in pair.network.log if sent.to == SERVER], False)
        self.assertEqual(len(pair.server.received[theirs]), 3_000)

    def test_acknowledged_again(self) -> None:
        """A message that was settled is acknowledged again when it is repeated, for its ACK may have been lost."""
        pair = Pair()
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        message = stranger.say(P.DATA_ACK, b"x")
        stranger.hand(message)
        self.assertEqual(stranger.heard_types(), [P.ACCEPT, P.ACK, P.ACK])
        self.assertEqual({packet.payload for packet in stranger.heard()[1:]}, {message[:32]})

    def test_same_order(self) -> None:
        """Another message with the same order count is none: it is neither given nor acknowledged."""
        pair = Pair()
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        stranger.say(P.DATA_ACK, b"x", order=5)
        stranger.say(P.DATA_ACK, b"y", order=5)
        self.assertEqual(pair.server.received[pair.server.sessions[0]], [b"x"])
        self.assertEqual(stranger.heard_types(), [P.ACCEPT, P.ACK])

    def test_jumps(self) -> None:
        """Order counts may jump as they like, and come out of order, up to the last."""
        pair = Pair()
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        orders = [2**64 - 1, 7, 2**63, 2**32, 9, 8, 2**64 - 2, 1]
        for order in orders:
            stranger.say(P.DATA_ACK, b"%d" % order, order=order)
            stranger.say(P.DATA_ACK, b"%d" % order, order=order)
        received = pair.server.received[pair.server.sessions[0]]
        self.assertEqual(received, [b"%d" % order for order in orders])
        self.assertEqual(stranger.heard_types().count(P.ACK), 2 * len(orders))


class PeerMemoryTests(SynchronousTestCase):
    """What is remembered of a sender whose counts jump, as a busy server's do."""

    def _packet(self, type: PacketType, order: int) -> DigestPacket:
        packet = parse(build(type, bytes(16), order, b"x" * 32, None))
        assert packet is not None
        return packet

    def test_others_push_no_messages_out(self) -> None:
        """However much else comes, a message that is late is new, and one that has come is known."""
        memory = PeerMemory(bytes(16), None)
        memory.begin(self._packet(P.ACCEPT, 0), Timestamp(5, 5))
        memory.take(self._packet(P.DATA_ACK, 10))
        for order in range(100, 100_000, 10):
            self.assertTrue(memory.see(self._packet(P.ACK, order)))
        self.assertTrue(memory.knows(self._packet(P.DATA_ACK, 10)))
        self.assertFalse(memory.knows(self._packet(P.DATA_ACK, 20)))
        self.assertFalse(memory.see(self._packet(P.ACK, 20)))

    def test_messages_and_others(self) -> None:
        """Where counts do not jump, what is no message closes the gaps between messages."""
        memory = PeerMemory(bytes(16), None)
        memory.begin(self._packet(P.HELLO, 0), Timestamp(5, 5))
        for order in range(1, 10_000, 2):
            memory.take(self._packet(P.DATA_ACK, order))
            memory.see(self._packet(P.ACK, order + 1))
        self.assertEqual(len(memory._messages), 1)


class DepartedTests(SynchronousTestCase):
    """Peers that are gone."""

    def test_bounded(self) -> None:
        """Only so many are remembered; what a forgotten one may have said before is believed from nobody."""
        gone = Departed()
        for number in range(departed.MOST_DEPARTED + 10):
            memory = PeerMemory(number.to_bytes(16), b"secret")
            memory.newest = number
            gone.bury(memory, 100.0)
        self.assertEqual(len(gone), departed.MOST_DEPARTED)
        self.assertEqual(gone.horizon, 9)
        self.assertIsNone(gone.find((9).to_bytes(16)))
        self.assertIsNotNone(gone.find((10).to_bytes(16)))

    def test_horizon(self) -> None:
        """A HELLO from before that is a replay, perhaps."""
        pair = Pair()
        pair.server.demux._departed.horizon = int(pair.network.wall() * 1e9)
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        self.assertEqual(pair.server.demux.dropped["replayed"], 1)
        pair.network.run(0.1)
        stranger.say(P.HELLO)
        self.assertEqual(len(pair.server.sessions), 1)

    def test_plain(self) -> None:
        """Anybody can make plain digests, and could move that time on."""
        gone = Departed()
        for number in range(departed.MOST_DEPARTED + 10):
            memory = PeerMemory(number.to_bytes(16), None)
            memory.newest = number
            gone.bury(memory, 0.0)
        self.assertEqual(gone.horizon, -1)
