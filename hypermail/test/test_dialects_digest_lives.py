"""
Tests for dialect C{digest} when a process is killed and begins again, and what shows it is lost on the way.
"""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.client import DigestClient
from hypermail.dialects.digest.packets import PacketType
from hypermail.dialects.digest.server import DigestServer
from hypermail.dialects.digest.states import ClientPhase
from hypermail.errors import Delivered, MessageUndelivered, SessionRejected, SessionReset
from hypermail.session.states import State
from hypermail.test.digests import CLIENT, SERVER, Host, Pair, Place, Sent, Stranger, client_options, server_options

P = PacketType


class RestartedClientTests(SynchronousTestCase):
    """A client whose last life was so short that its count was small when it began again."""

    def restart(self, pair: Pair, place: Place, lost: int) -> tuple[Host, DigestClient]:
        """Kill the client; its next life begins at C{place}, and so many of its HELLOs are lost."""
        left = lost

        def change(sent: Sent) -> bytes | None:
            nonlocal left
            if sent.packet.type is P.HELLO and left:
                left -= 1
                return None
            return sent.datagram

        pair.network.hosts.pop(CLIENT[:2])
        pair.network.change = change
        client = Host(pair.network, place, client_options())
        return client, client.start()

    def exchange(self, lost: int, place: Place) -> None:
        """Messages, a new life, and messages again: all of them arrive, and each session has its own."""
        pair = Pair()
        ours, theirs = pair.open()
        for number in range(10):
            ours.send_message(b"old %d" % number, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(0.3)
        client, again = self.restart(pair, place, lost)
        pair.network.run(8)
        for number in range(10):
            again.send_message(b"new %d" % number, now=pair.network.now)
        client.attend(again)
        pair.network.run(5)
        self.assertEqual(client.fates(again), [None] * 10)
        self.assertIsInstance(pair.server.end_of(theirs), SessionReset)
        self.assertEqual([len(each) for each in pair.server.received.values()], [10, 10])

    def test_same_count(self) -> None:
        """A count that another packet has had is of another life, wherever it comes from."""
        self.exchange(1, CLIENT)
        self.exchange(3, CLIENT._replace(port=51_000))

    def test_lower_count(self) -> None:
        """From another address a HELLO with a count below that of data is of another life."""
        for place, sessions in ((CLIENT, 1), (CLIENT._replace(port=51_000), 2)):  # else it was overtaken
            pair = Pair()
            stranger = Stranger(pair.network)
            stranger.say(P.HELLO)
            stranger.say(P.DATA_ACK, b"old", order=2)
            pair.network.run(1)
            Stranger(pair.network, address=place).say(P.HELLO, order=1)
            self.assertEqual(len(pair.server.sessions), sessions)

    def test_nothing_said(self) -> None:
        """What was sent to a life that had only said HELLO does not wait for ever for the next one to take it."""
        for lost in (1, 2):
            pair = Pair()
            _, theirs = pair.open()
            client, again = self.restart(pair, CLIENT._replace(port=51_000), lost)
            theirs.send_message(b"to the old one", now=pair.network.now)
            pair.server.attend(theirs)
            pair.network.run(8)
            self.assertEqual(again.state, State.OPEN)
            [fate] = pair.server.fates(theirs)
            self.assertIsInstance(fate, MessageUndelivered)
            self.assertEqual(fate.delivered, Delivered.UNKNOWN)
            self.assertEqual(client.received[again], [])

    def test_moved_while_missing(self) -> None:
        """A client that misses its server, and says HELLO from two addresses, keeps its session."""
        pair = Pair()
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        stranger.say(P.PING)
        pair.network.run(4)
        stranger.say(P.HELLO)
        pair.network.run(1)
        stranger.address = CLIENT._replace(port=51_000)
        stranger.say(P.HELLO)
        self.assertEqual(len(pair.server.sessions), 1)
        self.assertEqual(pair.server.sessions[0].address, stranger.address)

    def test_dropped_before(self) -> None:
        """A client that was dropped for its silence is told from one that lives on by the counts of its data, too."""
        pair = Pair()
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        for _ in range(5):
            stranger.say(P.DATA_ACK, b"old")
        pair.network.run(12, lambda: pair.server.sessions[0].ended)
        stranger.say(P.HELLO, order=4)
        self.assertEqual(len(pair.server.sessions), 2)


class RestartedServerTests(SynchronousTestCase):
    """A server that does not know what a client has sent before, and whose counts do not tell."""

    def missing(self, pair: Pair) -> tuple[DigestClient, DigestServer]:
        """A session with two messages on their way, whose client misses the server; nothing arrives."""
        ours, theirs = pair.open()
        pair.network.run(1.2)
        pair.network.loss = 1.0
        ours.send_message(b"before", now=pair.network.now)
        ours.send_message(b"too", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(4)
        self.assertEqual(ours.phase, ClientPhase.MISSING)
        return ours, theirs

    def test_restarted(self) -> None:
        """It has served others meanwhile. What was sent before is undelivered in the end, and not repeated for ever."""
        pair = Pair()
        ours, _ = self.missing(pair)
        server = Host(pair.network, SERVER, server_options(), listening=True)
        server.demux.signer.order = 1_000
        pair.network.loss = 0.0
        pair.network.run(3)
        self.assertEqual((ours.phase, len(server.sessions)), (ClientPhase.ALIVE, 1))
        pair.network.run(11)
        self.assertIsInstance(pair.client.end_of(ours), SessionReset)
        self.assertEqual([fate.delivered for fate in pair.client.fates(ours)], [Delivered.UNKNOWN] * 2)
        self.assertTrue(server.sessions[0].ended)  # it was told

    def test_not_restarted(self) -> None:
        """A server that was only out of reach acknowledges something, if late, and the session goes on."""
        pair = Pair()
        pair.server.taking = False
        ours, theirs = self.missing(pair)
        for number in range(3):
            ours.send_message(b"%d" % number, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.loss = 0.0
        pair.network.run(8)
        lane, number = pair.server.untaken.pop(pair.server.received[theirs].index(b"before"))
        lane.take(number)
        pair.server.attend(theirs)
        pair.network.run(30)
        self.assertEqual((ours.phase, pair.client.fates(ours)), (ClientPhase.ALIVE, [None]))
        pair.server.taking = True
        pair.server.take_all()
        pair.network.run(2)
        self.assertEqual(pair.client.fates(ours), [None] * 5)
        self.assertEqual(sorted(pair.server.received[theirs]), [b"0", b"1", b"2", b"before", b"too"])

    def test_given_up(self) -> None:
        """What nobody waits for any more is no reason to end."""
        pair = Pair()
        pair.server.taking = False
        ours, _ = self.missing(pair)
        pair.network.loss = 0.0
        pair.network.run(3)
        for message in list(ours.sending.begun):
            ours.cancel_message(message, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(30)
        self.assertEqual(ours.phase, ClientPhase.ALIVE)

    def test_missing_again(self) -> None:
        """The time begins again when the server falls silent again."""
        pair = Pair()
        pair.server.taking = False
        ours, theirs = self.missing(pair)
        pair.network.loss = 0.0
        pair.network.run(6)
        pair.network.loss = 1.0
        pair.network.run(6)
        self.assertEqual(ours.phase, ClientPhase.MISSING)
        pair.network.loss = 0.0
        pair.network.run(5)
        self.assertEqual(ours.phase, ClientPhase.ALIVE)
        pair.server.take_all()
        pair.network.run(20)
        self.assertEqual((ours.phase, pair.client.fates(ours)), (ClientPhase.ALIVE, [None] * 2))
        self.assertFalse(theirs.ended)

    def test_accept_lost(self) -> None:
        """What a server says at once arrives, though its ACCEPT is lost again and again."""
        for lost in range(1, 6):
            pair = Pair()
            accepts = 0

            def change(sent: Sent, lost: int = lost) -> bytes | None:
                nonlocal accepts
                if sent.packet.type is P.ACCEPT:
                    accepts += 1
                    return sent.datagram if accepts > lost else None
                return sent.datagram

            pair.network.change = change
            ours = pair.client.start()
            pair.network.run(0.015)
            [theirs] = pair.server.sessions
            theirs.send_message(b"welcome", now=pair.network.now)
            pair.server.attend(theirs)
            pair.network.run(10)
            self.assertEqual(pair.client.received[ours], [b"welcome"])
            self.assertEqual(pair.server.fates(theirs), [None])

    def test_late_reject(self) -> None:
        """A second answer to DISCONNECT ends no next session of the socket; an answer to HELLO does."""
        for accepts in (True, False):
            pair = Pair()
            ours, _ = pair.open()
            pair.network.run(1.2)
            pair.network.change = partial(self.doubled, pair)
            ours.close(now=pair.network.now)
            pair.client.attend(ours)
            pair.network.run(0.022)
            self.assertTrue(ours.ended)
            pair.server.answer = accepts
            again = pair.client.start()
            pair.network.run(5)
            self.assertEqual(again.state, State.OPEN if accepts else State.ENDED)
            self.assertGreater(pair.client.demux.dropped["late"], 0)
            if not accepts:
                self.assertIsInstance(pair.client.end_of(again), SessionRejected)

    def doubled(self, pair: Pair, sent: Sent) -> bytes:
        """DISCONNECT comes again a bit later."""
        if sent.packet.type is P.DISCONNECT:
            pair.network.deliver(sent, 0.015)
        return sent.datagram

    def test_same_socket(self) -> None:
        """A client whose DISCONNECT was lost has another session: what waits for the one before ends that."""
        pair = Pair()
        ours, theirs = pair.open()
        pair.network.run(1.2)
        pair.network.loss = 1.0
        theirs.send_message(b"old", now=pair.network.now)
        pair.server.attend(theirs)
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(6, lambda: ours.ended)
        pair.network.loss = 0.0
        again = pair.client.start()
        pair.network.run(9)
        self.assertEqual((again.state, theirs.ended), (State.OPEN, False))
        pair.network.run(3)
        self.assertIsInstance(pair.server.end_of(theirs), SessionReset)
        [fate] = pair.server.fates(theirs)
        self.assertEqual(fate.delivered, Delivered.UNKNOWN)
        self.assertTrue(again.ended)  # it was told
        self.assertEqual(pair.client.received[again], [])
