"""
Tests for the life of sessions in dialect C{digest}: asked for, opened, kept alive, ended.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.packets import PacketType
from hypermail.dialects.digest.server import SAME_ACCEPTS
from hypermail.dialects.digest.states import ClientPhase
from hypermail.errors import (
    Delivered,
    KeysSpent,
    NotSupported,
    PeerSilent,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    SessionRejected,
    SessionReset,
    SessionTimedOut,
    UsageError,
)
from hypermail.events import PingAnswered, SessionOpened, SessionRequested
from hypermail.options import ListenerOptions
from hypermail.session.states import State
from hypermail.test.digests import (
    CLIENT,
    CLIENT_UUID,
    SERVER,
    Host,
    Network,
    Pair,
    Stranger,
    client_options,
    server_options,
)

P = PacketType


def types(network: Network) -> list[PacketType]:
    """What was sent, in order."""
    return [sent.packet.type for sent in network.log]


class OpeningTests(SynchronousTestCase):
    """HELLO, and what follows."""

    def test_open(self) -> None:
        """HELLO is answered with ACCEPT, and the server is told who asks."""
        pair = Pair()
        ours, theirs = pair.open()
        self.assertEqual(types(pair.network), [P.HELLO, P.ACCEPT])
        request = pair.server.happened[theirs][0]
        self.assertIsInstance(request, SessionRequested)
        self.assertEqual((request.peer, request.address), (CLIENT_UUID, CLIENT))
        self.assertIsInstance(pair.client.happened[ours][0], SessionOpened)
        self.assertEqual(ours.session_id, theirs.session_id)

    def test_hello_again(self) -> None:
        """HELLO is said again, with another time and count, until somebody answers; and nothing else is said before."""
        pair = Pair()
        pair.network.loss = 1.0
        pair.client.start()
        pair.network.run(5)
        pair.network.loss = 0.0
        pair.network.run(3.2)
        self.assertEqual(pair.client.sessions[0].state, State.OPEN)
        hellos = [sent.packet for sent in pair.network.log if sent.to == SERVER][:5]
        self.assertEqual({packet.type for packet in hellos}, {P.HELLO})
        self.assertEqual([packet.order for packet in hellos], [0, 1, 2, 3, 4])
        self.assertEqual(len({packet.payload for packet in hellos}), 5)

    def test_nobody(self) -> None:
        """Nobody answers."""
        network = Network()
        client = Host(network, CLIENT, client_options())
        ours = client.start()
        network.run(9.9)
        self.assertIsNone(client.end_of(ours))
        network.run(0.2)
        self.assertIsInstance(client.end_of(ours), SessionTimedOut)
        sent = len(network.log)
        network.run(30)
        self.assertEqual(len(network.log), sent)
        self.assertEqual(len(client.demux), 0)

    def test_rejected(self) -> None:
        """The server's application does not want the session, and is asked once."""
        pair = Pair()
        pair.server.answer = False
        ours = pair.client.start()
        pair.network.run(5)
        self.assertIsInstance(pair.client.end_of(ours), SessionRejected)
        self.assertEqual(types(pair.network), [P.HELLO, P.REJECT])
        self.assertEqual(len(pair.server.demux), 0)

    def test_rejected_again(self) -> None:
        """A HELLO that crosses with REJECT is refused without asking; a later one is another request."""
        pair = Pair()
        pair.server.answer = False
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        pair.network.run(0.1)
        stranger.say(P.HELLO)
        self.assertEqual(stranger.heard_types(), [P.REJECT, P.REJECT])
        self.assertEqual(len(pair.server.sessions), 1)
        pair.network.run(2)
        stranger.say(P.HELLO)
        self.assertEqual(len(pair.server.sessions), 2)

    def test_deciding(self) -> None:
        """While the application decides, HELLO is no second request, and nothing else is answered."""
        pair = Pair()
        pair.server.answer = None
        ours = pair.client.start()
        pair.network.run(4)
        self.assertEqual(len(pair.server.sessions), 1)
        self.assertEqual(set(types(pair.network)), {P.HELLO})
        theirs = pair.server.sessions[0]
        theirs.accept({}, now=pair.network.now)
        pair.server.attend(theirs)
        pair.network.run(0.1)
        self.assertEqual(ours.state, State.OPEN)
        self.assertEqual(types(pair.network).count(P.ACCEPT), 1)

    def test_lost_accept(self) -> None:
        """
        A HELLO that comes again is answered again: with the same bytes, whether doubled or said again; with others once
        the client has said something else, when the old ones would be a replay.
        """
        pair = Pair()
        stranger = Stranger(pair.network)
        hello = stranger.say(P.HELLO)
        stranger.hand(hello)
        pair.network.run(0.5)
        stranger.say(P.HELLO)
        self.assertEqual(stranger.heard_types(), [P.ACCEPT] * 3)
        self.assertEqual(len({packet.digest for packet in stranger.heard()}), 1)
        stranger.say(P.PING)
        stranger.say(P.HELLO)
        self.assertEqual(stranger.heard_types()[3:], [P.PANG, P.ACCEPT])
        self.assertNotEqual(stranger.heard()[4].digest, stranger.heard()[0].digest)
        self.assertEqual(len(pair.server.sessions), 1)

    def test_same_accept(self) -> None:
        """The same ACCEPT is said so often in a row, while it is fresh, and where it is not too long."""
        pair = Pair(server={"freshness": 6.0})
        stranger = Stranger(pair.network)
        for _ in range(SAME_ACCEPTS + 1):
            stranger.say(P.HELLO)
        self.assertEqual(len({packet.digest for packet in stranger.heard()}), 2)
        pair.network.run(4)
        stranger.say(P.HELLO)
        self.assertEqual(len({packet.digest for packet in stranger.heard()}), 3)
        stranger.say(P.HELLO, room=20)
        self.assertEqual(len({packet.digest for packet in stranger.heard()}), 4)
        self.assertEqual(len(stranger.heard()[-1].payload), 20)

    def test_full(self) -> None:
        """A server that is full says REJECT."""
        pair = Pair(listener_options=ListenerOptions(max_sessions=0))
        ours = pair.client.start()
        pair.network.run(1)
        self.assertIsInstance(pair.client.end_of(ours), SessionRejected)
        self.assertEqual(pair.server.demux.dropped["full"], 1)

    def test_one_per_server(self) -> None:
        """A socket has one session with a server at a time, and a listening one asks for none."""
        pair = Pair()
        ours, _ = pair.open()
        with self.assertRaises(UsageError):
            pair.client.start()
        with self.assertRaises(UsageError):
            pair.server.start(CLIENT)
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(1)
        again, _ = pair.open()
        self.assertEqual(again.state, State.OPEN)

    def test_aborted_while_opening(self) -> None:
        """A session that nobody wants any more is given back."""
        pair = Pair()
        pair.server.answer = None
        ours = pair.client.start()
        pair.network.run(0.2)
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(0.2)
        self.assertIsInstance(pair.client.end_of(ours), SessionAborted)
        self.assertIsInstance(pair.server.end_of(pair.server.sessions[0]), SessionClosed)


class PingingTests(SynchronousTestCase):
    """PING, PANG, PONG."""

    def test_three_steps(self) -> None:
        """The client pings, first after C{ping_interval}; PING is answered with PANG, and that with PONG."""
        pair = Pair()
        pair.open()
        opened = pair.network.now
        pair.network.run(0.49)
        self.assertEqual(len(pair.network.log), 2)
        pair.network.run(0.1)
        self.assertEqual(types(pair.network)[2:], [P.PING, P.PANG, P.PONG])
        pair.network.run(opened + 30.25 - pair.network.now)
        self.assertEqual(types(pair.network).count(P.PANG), 60)

    def test_two_steps(self) -> None:
        """... or PING is answered with PONG, whatever the client would do itself."""
        pair = Pair(server={"ping_steps": 2})
        pair.open()
        pair.network.run(0.7)
        self.assertEqual(types(pair.network)[2:], [P.PING, P.PONG])

    def test_measured(self) -> None:
        """A ping of the application leaves at once, and its answer tells the round trip; however many ask."""
        pair = Pair()
        ours, theirs = pair.open()
        for _ in range(3):
            ours.ping(now=pair.network.now)
        pair.client.attend(ours)
        self.assertEqual(types(pair.network)[2:], [P.PING])
        pair.network.run(0.1)
        answers = [each.elapsed for each in pair.client.happened[ours] if isinstance(each, PingAnswered)]
        self.assertEqual(len(answers), 3)
        for elapsed in answers:
            self.assertAlmostEqual(elapsed, 0.02)
        with self.assertRaisesRegex(NotSupported, "digest"):
            theirs.ping(now=pair.network.now)

    def test_long_trips(self) -> None:
        """A round trip is measured also where it is longer than the time between two pings, and when one was lost."""
        pair = Pair(Network(delay=0.4))
        ours, _ = pair.open()
        pair.network.run(3)
        for loss in (0.0, 1.0):
            ours.ping(now=pair.network.now)
            pair.client.attend(ours)
            pair.network.run(0.85)  # there may have been one on its way
            pair.network.loss = loss
            pair.network.run(0.1)
            pair.network.loss = 0.0
            pair.network.run(5)
        trips = [each.elapsed for each in pair.client.happened[ours] if isinstance(each, PingAnswered)]
        self.assertEqual([round(trip, 3) for trip in trips], [0.8, 0.8])

    def test_many_pings(self) -> None:
        """An application that pings all the time does not keep a silent server alive."""
        pair = Pair()
        ours, _ = pair.open()
        del pair.network.hosts[SERVER[:2]]
        for _ in range(400):
            if ours.state is State.OPEN:
                ours.ping(now=pair.network.now)
                pair.client.attend(ours)
            pair.network.run(0.05)
        self.assertIsInstance(pair.client.end_of(ours), PeerSilent)

    def test_silent_server(self) -> None:
        """A server that answers no pings is greeted again, and given up when it does not answer that."""
        pair = Pair()
        ours, _ = pair.open()
        pair.network.run(1)
        del pair.network.hosts[SERVER[:2]]
        pair.network.run(3.5)
        self.assertEqual(ours.phase, ClientPhase.MISSING)
        pair.network.run(9.4)
        self.assertEqual(ours.state, State.OPEN)
        pair.network.run(1)
        self.assertIsInstance(pair.client.end_of(ours), PeerSilent)
        pings = len(pair.network.log)
        pair.network.run(20)
        self.assertEqual(len(pair.network.log), pings)

    def test_greeted_again(self) -> None:
        """A server that is back in time goes on with the same session, and with what was sent meanwhile."""
        pair = Pair()
        ours, theirs = pair.open()
        pair.network.run(1)
        pair.network.loss = 1.0
        ours.send_message(b"meanwhile", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(6)
        self.assertEqual(ours.phase, ClientPhase.MISSING)
        pair.network.loss = 0.0
        pair.network.run(4)
        self.assertEqual(ours.phase, ClientPhase.ALIVE)
        self.assertEqual(pair.server.sessions, [theirs])
        self.assertEqual(pair.server.received[theirs], [b"meanwhile"])
        self.assertEqual(pair.client.fates(ours), [None])
        pair.network.run(20)
        self.assertEqual((ours.state, theirs.state), (State.OPEN, State.OPEN))

    def test_nothing_new_meanwhile(self) -> None:
        """To a server that is missing nothing new is sent: what has not begun cannot have arrived."""
        pair = Pair()
        ours, _ = pair.open()
        del pair.network.hosts[SERVER[:2]]
        pair.network.run(5)
        self.assertEqual(ours.phase, ClientPhase.MISSING)
        ours.send_message(b"x", now=pair.network.now)
        ours.send_direct(b"x")
        pair.client.attend(ours)
        pair.network.run(20)
        self.assertTrue(ours.ended)
        self.assertEqual([fate.delivered for fate in pair.client.fates(ours)], [Delivered.NO])
        self.assertFalse({P.DATA_ACK, P.DATA_NOACK} & set(types(pair.network)))

    def test_silent_client(self) -> None:
        """A client that says nothing for C{connection_timeout} is dropped, and told so when it is back."""
        pair = Pair()
        ours, theirs = pair.open()
        pair.network.run(1)
        del pair.network.hosts[CLIENT[:2]]
        pair.network.run(9.3)
        self.assertEqual(theirs.state, State.OPEN)
        pair.network.run(1)
        self.assertIsInstance(pair.server.end_of(theirs), PeerSilent)
        pair.network.hosts[CLIENT[:2]] = pair.client
        pair.network.run(1)
        self.assertIsInstance(pair.client.end_of(ours), SessionReset | SessionClosed)
        self.assertEqual(len(pair.server.sessions), 1)

    def test_silent_client_says_hello(self) -> None:
        """A client that goes on with a session that was dropped is told that it is over, and may begin anew."""
        pair = Pair()
        ours, theirs = pair.open()
        pair.network.run(1)
        pair.network.loss = 1.0
        ours.send_message(b"meanwhile", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(until=lambda: theirs.ended, seconds=12)
        self.assertEqual(ours.phase, ClientPhase.MISSING)
        pair.network.loss = 0.0
        pair.network.run(3.2)
        self.assertIsInstance(pair.client.end_of(ours), SessionReset)
        self.assertEqual(len(pair.server.sessions), 1)
        pair.network.run(10)
        again, _ = pair.open()
        self.assertEqual(again.state, State.OPEN)


class ClosingTests(SynchronousTestCase):
    """DISCONNECT and REJECT."""

    def test_client_closes(self) -> None:
        """The client says DISCONNECT when all is delivered; the server answers REJECT, and both are through."""
        pair = Pair()
        ours, theirs = pair.open()
        ours.send_message(b"last", now=pair.network.now)
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(1)
        self.assertEqual(types(pair.network)[2:], [P.DATA_ACK, P.ACK, P.DISCONNECT, P.REJECT])
        self.assertIsInstance(pair.client.end_of(ours), SessionClosed)
        self.assertIsInstance(pair.server.end_of(theirs), SessionClosed)
        self.assertEqual(pair.server.received[theirs], [b"last"])
        self.assertEqual((len(pair.client.demux), len(pair.server.demux)), (0, 0))

    def test_disconnect_again(self) -> None:
        """DISCONNECT is said again until REJECT, by a server that has forgotten as well."""
        pair = Pair()
        ours, theirs = pair.open()
        refuse = [2]

        def lose(sent: object) -> bytes | None:
            packet = sent.packet  # type: ignore[attr-defined]
            if packet.type is P.REJECT and refuse[0]:
                refuse[0] -= 1
                return None
            return bytes(sent.datagram)  # type: ignore[attr-defined]

        pair.network.change = lose
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(5)
        self.assertEqual(types(pair.network)[2:], [P.DISCONNECT, P.REJECT] * 3)
        self.assertIsInstance(pair.client.end_of(ours), SessionClosed)
        self.assertIsInstance(pair.server.end_of(theirs), SessionClosed)

    def test_disconnect_unanswered(self) -> None:
        """... or until the tries are used up."""
        pair = Pair(client={"disconnect_tries": 3})
        ours, _ = pair.open()
        pair.network.loss = 1.0
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(5)
        self.assertEqual(types(pair.network)[2:], [P.DISCONNECT] * 3)
        self.assertIsInstance(pair.client.end_of(ours), SessionClosed)
        self.assertEqual(len(pair.client.demux), 0)

    def test_server_closes(self) -> None:
        """The server says REJECT when all is delivered; the client says nothing more."""
        pair = Pair()
        ours, theirs = pair.open()
        theirs.send_message(b"last", now=pair.network.now)
        theirs.close(now=pair.network.now)
        pair.server.attend(theirs)
        pair.network.run(10)
        self.assertEqual(types(pair.network)[2:], [P.DATA_ACK, P.ACK, P.REJECT])
        self.assertIsInstance(pair.client.end_of(ours), SessionClosed)
        self.assertEqual(pair.client.received[ours], [b"last"])

    def test_reject_lost(self) -> None:
        """When REJECT is lost, the client's next packet is answered with another one."""
        pair = Pair()
        ours, theirs = pair.open()
        pair.network.loss = 1.0
        theirs.close(now=pair.network.now)
        pair.server.attend(theirs)
        pair.network.loss = 0.0
        pair.network.run(1)
        self.assertIsInstance(pair.client.end_of(ours), SessionClosed)

    def test_killed(self) -> None:
        """Who is sent away with messages on their way is told so."""
        pair = Pair()
        pair.client.taking = pair.server.taking = False
        ours, theirs = pair.open()
        ours.send_message(b"up", now=pair.network.now)
        theirs.send_message(b"down", now=pair.network.now)
        pair.client.attend(ours)
        pair.server.attend(theirs)
        pair.network.run(0.1)
        theirs.abort(0, "enough", now=pair.network.now)
        pair.server.attend(theirs)
        pair.network.run(0.1)
        self.assertIsInstance(pair.client.end_of(ours), SessionKilled)
        self.assertIsInstance(pair.server.end_of(theirs), SessionAborted)
        self.assertEqual(len(pair.client.fates(ours)), 1)
        self.assertIsNotNone(pair.client.fates(ours)[0])

    def test_client_aborts(self) -> None:
        """A client that aborts says DISCONNECT once."""
        pair = Pair()
        ours, theirs = pair.open()
        ours.abort(0, "enough", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(1)
        self.assertEqual(types(pair.network)[2:], [P.DISCONNECT, P.REJECT])
        self.assertIsInstance(pair.client.end_of(ours), SessionAborted)
        self.assertIsInstance(pair.server.end_of(theirs), SessionClosed)


class RestartingTests(SynchronousTestCase):
    """Processes that begin again."""

    def test_client(self) -> None:
        """A client that was restarted counts from the beginning: its old session ends, and it has a new one."""
        pair = Pair()
        _, theirs = pair.open()
        pair.network.run(3.2)
        client = Host(pair.network, CLIENT, client_options())
        ours = client.start()
        pair.network.run(0.2)
        self.assertEqual(ours.state, State.OPEN)
        self.assertIsInstance(pair.server.end_of(theirs), SessionReset)
        self.assertEqual(len(pair.server.sessions), 2)
        self.assertEqual(len(pair.server.demux), 1)
        ours.send_message(b"new", now=pair.network.now)
        client.attend(ours)
        pair.network.run(0.2)
        self.assertEqual(pair.server.received[pair.server.sessions[1]], [b"new"])

    def test_client_that_was_silent(self) -> None:
        """A client that was dropped for its silence is welcome at once when it was restarted."""
        pair = Pair()
        _, theirs = pair.open()
        pair.network.run(3.2)
        del pair.network.hosts[CLIENT[:2]]
        pair.network.run(12, lambda: theirs.ended)
        ours = Host(pair.network, CLIENT, client_options()).start()
        pair.network.run(0.2)
        self.assertEqual(ours.state, State.OPEN)

    def test_client_of_a_full_server(self) -> None:
        """A client that was restarted finds the place that it had."""
        pair = Pair(listener_options=ListenerOptions(max_sessions=1))
        pair.open()
        pair.network.run(3.2)
        ours = Host(pair.network, CLIENT, client_options()).start()
        pair.network.run(0.2)
        self.assertEqual(ours.state, State.OPEN)

    def test_client_elsewhere(self) -> None:
        """... from wherever it comes."""
        pair = Pair()
        _, theirs = pair.open()
        pair.network.run(3.2)
        ours = Host(pair.network, CLIENT._replace(port=50_001), client_options()).start()
        pair.network.run(0.2)
        self.assertEqual(ours.state, State.OPEN)
        self.assertIsInstance(pair.server.end_of(theirs), SessionReset)

    def test_server(self) -> None:
        """A server that was restarted tells the client so."""
        pair = Pair()
        ours, _ = pair.open()
        pair.network.run(3.2)
        Host(pair.network, SERVER, server_options(), listening=True)
        pair.network.run(1)
        self.assertIsInstance(pair.client.end_of(ours), SessionReset)
        sent = [each for each in pair.network.log if each.to == SERVER]
        pair.network.run(10)
        self.assertEqual([each for each in pair.network.log if each.to == SERVER], sent)

    def test_server_while_parting(self) -> None:
        """A session whose close has delivered everything is closed, whoever answers DISCONNECT."""
        pair = Pair()
        ours, _ = pair.open()
        pair.network.run(3.2)
        pair.network.loss = 1.0
        ours.close(now=pair.network.now)
        pair.client.attend(ours)
        pair.network.loss = 0.0
        Host(pair.network, SERVER, server_options(), listening=True)
        pair.network.run(2)
        self.assertIsInstance(pair.client.end_of(ours), SessionClosed)

    def test_server_greeted(self) -> None:
        """A restarted server takes the HELLO of a client that missed it for a new one's; the client knows better."""
        pair = Pair()
        ours, _ = pair.open()
        pair.network.run(3.2)
        del pair.network.hosts[SERVER[:2]]
        pair.network.run(5)
        self.assertEqual(ours.phase, ClientPhase.MISSING)
        server = Host(pair.network, SERVER, server_options(), listening=True)
        pair.network.run(4)
        self.assertIsInstance(pair.client.end_of(ours), SessionReset)
        self.assertIsInstance(server.end_of(server.sessions[0]), SessionClosed)

    def test_moved(self) -> None:
        """A client that is found at another address is answered there from its next timestamp on."""
        pair = Pair()
        ours, theirs = pair.open()
        pair.network.run(1)
        elsewhere = CLIENT._replace(host="203.0.113.9", port=1)
        pair.client.address = elsewhere
        pair.network.hosts[elsewhere[:2]] = pair.network.hosts.pop(CLIENT[:2])
        pair.network.run(1)
        self.assertEqual(theirs.address, elsewhere)
        self.assertEqual(theirs.statistics()["moves"], 1)
        theirs.send_message(b"there", now=pair.network.now)
        pair.server.attend(theirs)
        pair.network.run(0.1)
        self.assertEqual(pair.client.received[ours], [b"there"])

    def test_plain_does_not_move(self) -> None:
        """With plain digests anybody could take a session along: nothing is believed that comes from elsewhere."""
        pair = Pair(plain=True)
        _, theirs = pair.open()
        pair.network.run(1)
        Stranger(pair.network, secret=None, address=CLIENT._replace(port=1)).say(P.PING, order=50)
        self.assertEqual(theirs.address, CLIENT)
        self.assertEqual(pair.server.demux.dropped["elsewhere"], 1)


class LastOrderTests(SynchronousTestCase):
    """Order counts near 2**64."""

    def test_across(self) -> None:
        """A socket works until its last order count, and then its sessions end: counts never begin again."""
        pair = Pair()
        pair.client.demux.signer.order = pair.server.demux.signer.order = 2**64 - 200
        ours, theirs = pair.open()
        for number in range(150):
            ours.send_message(b"%d" % number, now=pair.network.now)
            pair.client.attend(ours)
            pair.network.run(0.01)
        pair.network.run(0.1)
        self.assertEqual(len(pair.server.received[theirs]), 150)
        pair.network.run(20)
        self.assertIsInstance(pair.client.end_of(ours), KeysSpent)
        self.assertEqual(max(sent.packet.order for sent in pair.network.log), 2**64 - 1)
        with self.assertRaises(UsageError):
            pair.client.start()

    def test_server(self) -> None:
        """A server that has used them up ends its sessions, and answers nobody any more."""
        pair = Pair()
        _, theirs = pair.open()
        pair.server.demux.signer.order = 2**64
        pair.network.run(1)
        self.assertIsInstance(pair.server.end_of(theirs), KeysSpent)
        stranger = Stranger(pair.network, address=CLIENT._replace(port=1))
        stranger.say(P.PING)
        stranger.say(P.HELLO)
        self.assertEqual(stranger.heard(), [])
        self.assertEqual(pair.server.demux.dropped["spent"], 1)
        self.assertEqual(len(pair.server.demux), 0)
