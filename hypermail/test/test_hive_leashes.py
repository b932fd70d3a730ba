"""
Tests for L{hypermail.hive.leashes}, L{hypermail.hive.bands} and L{hypermail.hive.framing}.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import hypermail.hive.leashes
from hypermail.hive.aliases import Aliases
from hypermail.hive.away import AWAY, MOST_AWAY
from hypermail.hive.band import End, Response
from hypermail.hive.bands import MOST_UNSENT, Band
from hypermail.hive.choosing import Choice
from hypermail.hive.entrance import Entrance
from hypermail.hive.errors import RequestRefused
from hypermail.hive.frames import (
    LARGEST,
    LARGEST_STRANGE,
    Accept,
    Body,
    ConnectionKind,
    Frame,
    Heartbeat,
    IAm,
    Leave,
    Mount,
    Mounted,
    MountRefused,
    NeedBand,
    Refuse,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    ResponseWant,
    Unmount,
)
from hypermail.hive.leashes import (
    CLOSING,
    MOST_LOGINS,
    MOST_STRANGE,
    SILENCE,
    CellConnection,
    Cells,
    Member,
)
from hypermail.test.certificates import self_signed
from hypermail.test.hive import FrameTransport, Remembering, written

GET = RequestHead(method="GET", path="/")


class Peer:
    """The cell's end of a connection."""

    def __init__(self, cells: Cells) -> None:
        self._lost = False
        self.transport = FrameTransport()
        self.protocol = CellConnection(cells)
        self.protocol.makeConnection(self.transport)
        self.heard = self.transport.heard

    def say(self, *frames: Frame | Body) -> Peer:
        """Send frames, in one piece."""
        self.raw(written(*frames))
        return self

    def raw(self, data: bytes) -> None:
        """Send bytes."""
        self.protocol.dataReceived(data)

    def hang_up(self) -> None:
        """The connection is lost, unless it was before."""
        if not self._lost:
            self._lost = True
            self.protocol.connectionLost(Failure(ConnectionLost()))

    @property
    def left(self) -> bool:
        """Whether the queen has closed it."""
        return self.transport.left

    @property
    def cut(self) -> bool:
        """Whether she has cut it off."""
        return self.transport.cut


class CellsCase(SynchronousTestCase):
    """A queen whose key is C{key}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.checking: list[Deferred[bool]] = []
        self.slow = False
        self.counter = 0
        self.cells = Cells(self.clock, self.isKey, self.chance, login_timeout=1.0, band_age=60.0, aliases=Aliases())
        self.peers: list[Peer] = []

    def tearDown(self) -> None:
        """When all have gone nothing is left."""
        for peer in self.peers:
            peer.hang_up()
        self.assertEqual((len(self.cells), self.cells.logins, self.clock.getDelayedCalls()), (0, 0, []))
        self.assertEqual(len(self.cells._mounts), 0)

    def isKey(self, key: str) -> Deferred[bool]:
        """Whether a key is right: at once, or when a test says so."""
        if not self.slow:
            return succeed(key == "key")
        self.checking.append(Deferred())
        return self.checking[-1]

    def chance(self, size: int) -> bytes:
        """No chance at all."""
        self.counter += 1
        return self.counter.to_bytes(size, "big")

    def connect(self) -> Peer:
        """Open a connection."""
        self.peers.append(Peer(self.cells))
        return self.peers[-1]

    def leash(self, extended: bool = False, *mounts: str) -> tuple[Peer, Accept]:
        """Log in."""
        peer = self.connect().say(IAm(ConnectionKind.CELL, "", "key", int(extended)))
        [accept] = peer.heard()
        assert isinstance(accept, Accept)
        for path in mounts:
            peer.say(Mount("@", path))
        peer.heard()
        return peer, accept

    def band(self, accept: Accept) -> Peer:
        """Open a band; what comes after C{Accept} is still to be heard."""
        peer = self.connect().say(IAm(ConnectionKind.BAND, accept.uuid, accept.key))
        return peer

    def found(self, path: str = "/") -> tuple[Member, ...]:
        """Who has mounted a path."""
        match = self.cells.find("localhost:443", path)
        return () if match is None else match.cells


class LoginTests(CellsCase):
    """Who is let in."""

    def test_leash(self) -> None:
        """A cell with the right key has a name and a key for its bands; extensions are answered by themselves."""
        peer = self.connect().say(IAm(ConnectionKind.CELL, "", "key"))
        [accept] = peer.heard()
        assert isinstance(accept, Accept)
        self.assertRegex(accept.uuid, "^[0-9a-f-]{36}$")
        self.assertNotEqual(accept.uuid, accept.key)
        self.assertEqual((accept.extensions, len(self.cells)), (0, 1))
        _, other = self.leash(True)
        self.assertEqual((other.extensions, len({accept.uuid, accept.key, other.uuid, other.key})), (1, 4))

    def test_wrong(self) -> None:
        """With another key it is not: who knows the extensions learns why, to others there is silence."""
        peer = self.connect().say(IAm(ConnectionKind.CELL, "", "kez"))
        self.assertEqual((peer.heard(), peer.left), ([], True))
        peer = self.connect().say(IAm(ConnectionKind.CELL, "", "", 1))
        self.assertEqual((peer.heard(), peer.left), ([Refuse("the key is wrong")], True))
        self.assertEqual(len(self.cells), 0)

    def test_late(self) -> None:
        """A connection that does not say who it is is cut off, and nothing of it is too large."""
        peer = self.connect()
        peer.raw(b"\x00")
        self.clock.advance(0.9)
        self.assertFalse(peer.cut)
        self.clock.advance(0.1)
        self.assertTrue(peer.cut)
        peer = self.connect()
        peer.raw((LARGEST_STRANGE + 1).to_bytes(4, "big"))
        self.assertTrue(peer.cut)

    def test_slow_check(self) -> None:
        """Checking a key may take longer than the login, and nothing is read meanwhile."""
        self.slow = True
        peer = self.connect().say(IAm(ConnectionKind.CELL, "", "key"), Mount("@", "/"))
        self.assertEqual(peer.transport.producerState, "paused")
        self.clock.advance(5)
        self.assertEqual((peer.heard(), self.found(), self.cells.logins), ([], (), 1))
        self.checking[0].callback(True)
        self.assertEqual((len(peer.heard()), len(self.found())), (1, 1))
        self.assertEqual(peer.transport.producerState, "producing")

    def test_gone_while_checked(self) -> None:
        """Who goes while his key is checked is no cell."""
        self.slow = True
        for result in (False, Failure(ValueError()), True):
            peer = self.connect().say(IAm(ConnectionKind.CELL, "", "key"))
            peer.hang_up()
            self.peers.remove(peer)
            self.checking[-1].callback(result)
            self.assertEqual((peer.heard(), len(self.cells), peer.left), ([], 0, False))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stays(self) -> None:
        """One who is refused and does not close its end is cut off; until then what it says is heard, and dropped."""
        self.slow = True
        for hold in (False, True):
            peer = self.connect().say(IAm(ConnectionKind.CELL, "", "wrong"))
            self.assertEqual(peer.transport.producerState, "paused")
            self.checking.pop().callback(False)
            self.assertEqual((peer.left, peer.transport.producerState), (True, "producing"))
            peer.raw(bytes(1 << 20))
            self.assertIsNone(peer.protocol.reader.next())
            peer.protocol.leave()
            self.clock.advance(CLOSING - 0.1 if hold else 0.0)
            self.assertEqual((peer.left, self.cells.strange), (True, 1))
            if hold:
                self.clock.advance(0.1)
                self.assertTrue(peer.cut)
            peer.hang_up()
            self.assertEqual((self.cells.strange, self.clock.getDelayedCalls()), (0, []))

    def test_cannot_check(self) -> None:
        """A queen that cannot check keys lets nobody in, and says so."""
        self.patch(self.cells, "_is_key", lambda _: fail(ValueError()))
        peer = self.connect().say(IAm(ConnectionKind.CELL, "", "key", 1))
        self.assertEqual((peer.heard(), peer.left), ([Refuse("the queen cannot check keys now")], True))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_many(self) -> None:
        """There is a limit to logins at once, and one to cells."""
        self.patch(hypermail.hive.leashes, "MOST_LOGINS", 2)
        self.slow = True
        for _ in range(2):
            self.connect().say(IAm(ConnectionKind.CELL, "", "key"))
        peer = self.connect().say(IAm(ConnectionKind.CELL, "", "key", 1))
        [refuse] = peer.heard()
        assert isinstance(refuse, Refuse)
        self.assertIn("try again later", refuse.reason)
        for one in self.checking:
            one.callback(True)
        self.patch(hypermail.hive.leashes, "MOST_CELLS", 2)
        self.assertTrue(self.connect().say(IAm(ConnectionKind.CELL, "", "key")).left)

    def test_known(self) -> None:
        """A key that has let in is not looked at again, however many strangers wait, until the key may be another."""
        self.slow = True
        said = IAm(ConnectionKind.CELL, "", "key")
        for _ in range(MOST_LOGINS - 1):
            self.connect().say(IAm(ConnectionKind.CELL, "", "wrong"))
        first = self.connect().say(said)
        refused = self.connect().say(said)
        self.checking[-1].callback(True)
        self.connect().say(IAm(ConnectionKind.CELL, "", "wrong"))
        again = self.connect().say(said)
        other = self.connect().say(IAm(ConnectionKind.CELL, "", "keys"))
        self.assertEqual([bool(peer.heard()) for peer in (first, refused, again, other)], [True, False, True, False])
        self.assertTrue(other.left)
        [checked, *_] = self.checking
        self.cells.configure(login_timeout=1.0, band_age=60.0, aliases=Aliases())
        checked.callback(True)  # by the key before
        for one in self.checking[1:]:
            if not one.called:
                one.callback(False)
        late = self.connect().say(said)
        self.assertEqual((late.heard(), self.cells.logins), ([], 1))
        self.checking[-1].callback(False)

    def test_band(self) -> None:
        """A band belongs to the leash that it names, if it has its key."""
        _, accept = self.leash()
        peer = self.band(accept)
        self.assertEqual(peer.heard(), [Accept(accept.uuid)])
        for uuid, key in ((accept.uuid, "x"), (accept.uuid, ""), ("", accept.key), (accept.uuid, "é"), ("x", "y")):
            peer = self.connect().say(IAm(ConnectionKind.BAND, uuid, key, 1))
            self.assertEqual(len(peer.heard()), 1)
            self.assertTrue(peer.left)

    def test_after_refusal(self) -> None:
        """Who was refused, or cut off, is heard no more, and told no more."""
        for first in (IAm(ConnectionKind.CELL, "", "x"), IAm(ConnectionKind.BAND, "x", "y")):
            peer = self.connect().say(first, IAm(ConnectionKind.CELL, "", "key"))
            self.assertEqual((peer.heard(), peer.left, len(self.cells)), ([], True, 0))
        peer, _ = self.leash(True, "/a")
        [cell] = self.found("/a")
        peer.say(IAm())
        peer.say(Mount("@", "/b"))
        cell.leave()
        self.assertEqual((peer.cut, self.found("/b"), peer.heard()), (True, (), []))

    def test_largest(self) -> None:
        """Who was let in may say more at once."""
        peer, _ = self.leash()
        self.assertFalse(peer.say(Mount("@", "/" + "a" * LARGEST_STRANGE)).cut)
        peer.raw((LARGEST + 1).to_bytes(4, "big"))
        self.assertTrue(peer.cut)

    def test_too_many_bands(self) -> None:
        """Bands beyond the limit are closed."""
        _, accept = self.leash(False, "/")
        self.found()[0].garden._most = 1
        self.assertFalse(self.band(accept).left)
        self.assertTrue(self.band(accept).left)

    def test_order(self) -> None:
        """Frames that have no place end the connection: before who it is, twice, of the other kind."""
        leash, accept = self.leash()
        for frames in ((Mount("@", "/"),), (ResponseEnd(),), (IAm(ConnectionKind.CELL, "", "key"), IAm())):
            self.assertTrue(self.connect().say(*frames).cut)
        for frame in (ResponseHead(200), IAm(), Accept(), RequestBody(b"x"), Leave(), Heartbeat()):
            peer, _ = self.leash()
            self.assertTrue(peer.say(frame).cut, frame)
        for other in (Mount("@", "/"), ResponseEnd(), RequestHead(), ResponseWant(1)):
            self.assertTrue(self.band(accept).say(other).cut, other)
        for raw in (b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\x77", b"\x00\x00\x00\x02\x10{", b"\x7f\xff\xff\xff"):
            peer, _ = self.leash()
            peer.raw(raw)
            self.assertTrue(peer.cut, raw)
        self.assertFalse(leash.cut)


class QueenTests(CellsCase):
    """What the queen does with all of her cells."""

    def test_silent(self) -> None:
        """Cells that know the extensions say something now and then; one that does not is lost."""
        peer, _ = self.leash(True)
        other, _ = self.leash(False)
        self.clock.advance(SILENCE - 1)
        peer.say(Heartbeat())
        self.clock.advance(SILENCE - 1)
        self.cells.listen()
        self.assertFalse(peer.cut)
        self.clock.advance(1)
        self.cells.listen()
        self.assertEqual((peer.cut, other.cut), (True, False))

    def test_clock(self) -> None:
        """That somebody sets the clock is nobody's silence, and no band's age."""

        class Wall:
            """A reactor's."""

            now = 0.0

            def seconds(self) -> float:
                """The wall clock."""
                return self.now

            def callLater(self, *arguments: Any) -> Any:
                """Never."""
                return Clock().callLater(*arguments)

        wall = Wall()
        self.cells = Cells(wall, self.isKey, self.chance, login_timeout=1.0, band_age=60.0, aliases=Aliases())
        peer, accept = self.leash(True)
        band = self.band(accept)
        wall.now = 1e9
        self.cells.listen()
        self.cells.prune()
        self.assertFalse(peer.cut or band.left)

    def test_pressure(self) -> None:
        """Who does not take what is answered is not heard, and cut off if that goes on."""
        peer, _ = self.leash(True)
        self.producer(peer).pauseProducing()
        peer.say(Heartbeat())
        self.assertEqual((peer.heard(), peer.transport.producerState), ([], "paused"))
        self.clock.advance(SILENCE - 1)
        self.producer(peer).resumeProducing()
        self.assertEqual((peer.heard(), peer.transport.producerState), ([Heartbeat(1)], "producing"))
        self.clock.advance(SILENCE)
        self.assertFalse(peer.cut)
        self.producer(peer).pauseProducing()
        self.clock.advance(SILENCE)
        self.assertTrue(peer.cut)

    def producer(self, peer: Peer) -> Any:
        """Who writes to a connection."""
        return peer.transport.producer

    def test_pressure_lost(self) -> None:
        """One that is lost meanwhile leaves no deadline."""
        peer, _ = self.leash(True)
        self.producer(peer).pauseProducing()
        peer.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_strange(self) -> None:
        """Of those who have still to say whose they are there is a limit: the oldest goes, whoever is known stays."""
        leash, accept = self.leash()
        band = self.band(accept)
        self.slow = True
        checked = self.connect().say(IAm(ConnectionKind.CELL, "", "other"))
        self.connect().hang_up()
        strangers = [self.connect() for _ in range(MOST_STRANGE - 1)]
        self.assertFalse(any(peer.cut for peer in self.peers))
        late = self.connect()
        self.assertEqual([peer for peer in self.peers if peer.cut], [checked])
        self.checking[0].callback(True)
        self.assertEqual(checked.heard(), [])
        late.say(IAm(ConnectionKind.BAND, accept.uuid, accept.key))
        self.connect()
        self.assertFalse(strangers[0].cut)
        self.connect()
        self.assertTrue(strangers[0].cut)
        self.assertFalse(strangers[1].cut or leash.cut or band.cut or late.cut)

    def test_entrance(self) -> None:
        """There is an end to all, with TLS, too."""
        entrance = Entrance(self.cells)
        self.assertIsInstance(entrance.buildProtocol(None), CellConnection)
        entrance.closed = True
        options = PrivateCertificate.loadPEM(self_signed("localhost", now=datetime.now(UTC)).to_pem()).options()
        for factory in (entrance, TLSMemoryBIOFactory(options, False, entrance, self.clock)):
            transport = FrameTransport()
            protocol = factory.buildProtocol(None)
            assert protocol is not None
            protocol.makeConnection(transport)
            self.assertTrue(transport.cut)
            protocol.connectionLost(Failure(ConnectionLost()))

    def test_configure(self) -> None:
        """What is changed counts for cells that are there, too."""
        leash, accept = self.leash(False, "/")
        band = self.band(accept)
        self.cells.configure(login_timeout=2.0, band_age=5.0, aliases=Aliases({"localhost": "elsewhere"}))
        self.clock.advance(5.0)
        self.cells.prune()
        self.assertTrue(band.left)
        self.assertEqual(self.found(), ())
        late = self.connect()
        self.clock.advance(1.9)
        self.assertFalse(late.cut)
        self.clock.advance(0.1)
        self.assertTrue(late.cut)
        self.assertEqual([str(pattern) for pattern, _ in self.cells.mounted()], ["@/"])
        self.assertEqual([member.uuid for member in self.cells], [accept.uuid])
        self.assertFalse(leash.cut)

    def test_away(self) -> None:
        """For a while it is known what a cell had mounted that was lost; not what it has unmounted, or is back."""
        peer, _ = self.leash(True, "/a/", "/b/", "/c/")
        peer.say(Unmount("@", "/b/"))
        self.assertFalse(self.cells.is_away("localhost", "/a/x"))
        peer.hang_up()
        paths = ("/a/x", "/b/", "/c/", "/", "/d/")
        away = [self.cells.is_away("localhost:443", path) for path in paths]
        self.assertEqual(away, [True, False, True, False, False])
        again, _ = self.leash(False, "/c/")
        again.say(Unmount())
        self.assertEqual([self.cells.is_away("localhost", path) for path in ("/a/x", "/c/")], [True, False])
        self.clock.advance(AWAY - 1)
        self.assertTrue(self.cells.is_away("localhost", "/a/"))
        self.clock.advance(1)
        self.assertFalse(self.cells.is_away("localhost", "/a/"))

    def test_away_many(self) -> None:
        """There is a limit to that; who was lost last counts."""
        for start in range(0, MOST_AWAY + 10, 10):
            peer, _ = self.leash(False, *(f"/{number}/" for number in range(start, start + 10)))
            peer.hang_up()
        away = [self.cells.is_away("localhost", f"/{number}/") for number in (9, 10, MOST_AWAY + 9)]
        self.assertEqual((away, len(self.cells._away)), ([False, True, True], MOST_AWAY))

    def test_queens(self) -> None:
        """Cells that know what that is are told of others whom they should ask, too."""
        self.cells.configure(login_timeout=1.0, band_age=60.0, aliases=Aliases(), queens=("b:2001",))
        self.assertEqual([self.leash(extended)[1].queens for extended in (True, False)], [("b:2001",), ()])

    def test_all(self) -> None:
        """All are sent away, those that know what that is; or cut off."""
        ours, _ = self.leash(True)
        other, _ = self.leash(False)
        self.cells.leave()
        self.assertEqual((ours.heard(), other.heard()), ([Leave()], []))
        self.slow = True
        stranger, asking = self.connect(), self.connect().say(IAm(ConnectionKind.CELL, "", "another"))
        self.cells.close()
        self.assertEqual([peer.cut for peer in (ours, other, stranger, asking)], [True] * 4)
        self.checking[0].callback(True)
        self.assertEqual(len(self.cells), 2)


class MountTests(CellsCase):
    """What cells mount."""

    def test_mount(self) -> None:
        """It is found, until it is taken back or the leash is lost; only ours hear of it."""
        peer, _ = self.leash()
        peer.say(Mount("@", "/app/"))
        self.assertEqual((len(self.found("/app/x")), self.found("/")), (1, ()))
        peer.say(Unmount())
        self.assertEqual((self.found("/app/x"), peer.heard()), ((), []))
        peer.say(Mount("@", "/"))
        peer.hang_up()
        self.peers.remove(peer)
        self.assertEqual(self.found("/"), ())

    def test_ours(self) -> None:
        """Ours hear that it was mounted, or why not, and can take back one of several."""
        peer, _ = self.leash(True)
        peer.say(Mount("Example.org", "/"), Mount("@", "x"), Mount("@", "/a"), Mount("@", "/b"))
        mounted, refused, *others = peer.heard()
        self.assertEqual(mounted, Mounted("example.org", "/"))
        assert isinstance(refused, MountRefused)
        self.assertEqual((refused.host, refused.path), ("@", "x"))
        self.assertIn("is no path to mount on", refused.reason)
        self.assertEqual(others, [Mounted("@", "/a"), Mounted("@", "/b")])
        peer.say(Unmount("@", "/a"), Unmount("@", "/never"))
        self.assertEqual((len(self.found("/a")), len(self.found("/b"))), (0, 1))

    def test_wrong(self) -> None:
        """A mount that can't be is no reason to cut off a cell."""
        peer, _ = self.leash()
        peer.say(Mount("", "x"), Mount("@", "/"))
        self.assertEqual((peer.heard(), peer.cut, len(self.found())), ([], False, 1))

    def test_many(self) -> None:
        """There is a limit."""
        self.patch(hypermail.hive.leashes, "MOST_MOUNTS", 2)
        peer, _ = self.leash(True)
        peer.say(*(Mount("@", path) for path in ("/a", "/b", "/a", "/c")))
        self.assertEqual([type(frame) for frame in peer.heard()], [Mounted, Mounted, Mounted, MountRefused])
        peer.say(Unmount("@", "/a"), Mount("@", "/c"))
        self.assertEqual([type(frame) for frame in peer.heard()], [Mounted])

    def test_several(self) -> None:
        """Several cells on one mount; when one goes the other stays."""
        first, _ = self.leash(False, "/")
        self.leash(False, "/")
        self.assertEqual(len(self.found()), 2)
        first.hang_up()
        self.peers.remove(first)
        self.assertEqual(len(self.found()), 1)

    def test_choosing(self) -> None:
        """Of several the one gets a request that has fewer."""
        for _ in range(2):
            self.leash(False, "/")
        choice, cells = Choice(self.clock.seconds), self.found()
        first = choice.choose(cells)
        assert first is not None
        first.garden.lend().addErrback(lambda _: None)
        self.assertNotIn(first, [choice.choose(cells) for _ in range(3)])

    def test_leave(self) -> None:
        """One that leaves gets no more requests, and keeps its leash and bands; the queen may leave, too."""
        peer, accept = self.leash(True, "/")
        [cell] = self.found()
        band = self.band(accept)
        peer.say(Leave())
        self.assertEqual((self.found(), peer.cut, band.cut, len(self.cells)), ((), False, False, 1))
        cell.leave()
        self.assertEqual(peer.heard(), [Leave()])
        other, _ = self.leash(False, "/")
        self.found()[0].leave()
        self.assertEqual(other.heard(), [])

    def test_heartbeat(self) -> None:
        """It is answered, and the answer is not."""
        peer, _ = self.leash(True)
        peer.say(Heartbeat(), Heartbeat(1))
        self.assertEqual(peer.heard(), [Heartbeat(1)])


class BandTests(CellsCase):
    """Requests on bands."""

    def setUp(self) -> None:
        super().setUp()
        self.leashed, self.accept = self.leash(True, "/")
        [self.cell] = self.found()

    def asked(self, head: RequestHead = GET) -> tuple[Peer, Band, Remembering]:
        """A request that is on a new band."""
        lending = self.cell.garden.lend()
        self.assertEqual(self.leashed.heard(), [NeedBand(1)])
        peer, asker = self.band(self.accept), Remembering()
        band = self.successResultOf(lending)
        band.ask(asker, head)
        self.assertEqual(peer.heard(), [Accept(self.accept.uuid, extensions=1), head])
        return peer, band, asker

    def test_request(self) -> None:
        """A request, its body, its response; then the band is free for another."""
        peer, band, asker = self.asked(RequestHead(method="POST"))
        peer.say(ResponseWant(10))
        band.body(b"abc")
        band.endBody()
        self.assertEqual(peer.heard(), [RequestBody(b"abc"), RequestEnd()])
        peer.say(ResponseHead(200, {}), ResponseBody(b"x"), ResponseBody(b"y"), ResponseEnd())
        self.assertEqual(asker.learnt, [10, Response(200, {}, None, False), b"x", b"y", End({})])
        self.assertIs(self.successResultOf(self.cell.garden.lend()), band)

    def test_unread(self) -> None:
        """A cell that answers what it has not read gets no more on that band."""

        class Slow(FileDescriptor):
            """A socket whose peer takes nothing."""

            connected = True

            def startWriting(self) -> None:
                """In vain."""

        for waiting, stays in ((MOST_UNSENT, True), (MOST_UNSENT + 1, False)):
            peer, _, asker = self.asked()
            slow = Slow()
            slow.write(bytes(waiting))
            transport: Any = peer.transport
            transport.transport = slow  # as if that were TLS around it
            peer.say(ResponseHead(200, {}), ResponseEnd())
            self.assertEqual((asker.learnt[-1], peer.left), (End({}), not stays))
            if stays:
                self.assertEqual(peer.protocol.unsent, waiting)
                peer.hang_up()

    def test_at_once(self) -> None:
        """Who asks again when it learns of the end gets that band: no other is asked for."""
        peer, band, asker = self.asked()
        lent: list[Deferred[Band]] = []
        asker.ended = lambda end: lent.append(self.cell.garden.lend())  # type: ignore[method-assign]
        peer.say(ResponseHead(200, {}), ResponseEnd())
        self.assertIs(self.successResultOf(lent[0]), band)
        self.assertEqual(self.leashed.heard(), [])

    def test_accept_first(self) -> None:
        """Accept goes before a request that has waited for the band."""
        asker = Remembering()
        self.cell.garden.lend().addCallback(lambda band: band.ask(asker, GET))
        self.assertEqual([type(frame) for frame in self.band(self.accept).heard()], [Accept, RequestHead])

    def test_paused(self) -> None:
        """Back pressure reaches the cell, and ends with the response."""
        peer, band, asker = self.asked()
        band.connection.pauseProducing()
        self.assertEqual(peer.transport.producerState, "paused")
        peer.say(ResponseHead(200, {}), ResponseBody(b"x"))
        self.assertEqual(asker.learnt, [])
        band.connection.resumeProducing()
        self.assertEqual(len(asker.learnt), 2)
        self.patch(asker, "dataReceived", lambda _: band.connection.pauseProducing())
        peer.say(ResponseBody(b"x"), ResponseEnd())
        self.assertEqual(len(asker.learnt), 2)
        band.connection.resumeProducing()
        self.assertEqual(asker.learnt[2:], [End({})])

    def test_resumed_within(self) -> None:
        """Who pauses and resumes where he gets something gets each once, in order."""
        peer, band, asker = self.asked()

        def dataReceived(data: bytes) -> None:
            asker.learnt.append(data)
            band.connection.pauseProducing()
            band.connection.resumeProducing()

        self.patch(asker, "dataReceived", dataReceived)
        bodies = [b"%d" % one for one in range(5_000)]
        peer.say(ResponseHead(200, {}), *map(ResponseBody, bodies), ResponseEnd())
        self.assertEqual(asker.learnt[1:], [*bodies, End({})])

    def test_resumed_too_late(self) -> None:
        """Who resumes what is lost does no harm."""
        peer, band, _ = self.asked()
        band.connection.pauseProducing()
        peer.say(ResponseHead(200, {}))
        peer.hang_up()
        self.peers.remove(peer)
        band.connection.resumeProducing()
        self.assertEqual(peer.transport.producerState, "paused")

    def test_violated(self) -> None:
        """A cell that is out of step loses the band, and the request learns it; the leash stays."""
        for frames in ((ResponseBody(b"x"),), (ResponseHead(99, {}),), (ResponseHead(200, {}), ResponseWant(1))):
            peer, _, asker = self.asked()
            peer.say(*frames)
            self.assertTrue(peer.cut)
            peer.hang_up()
            self.peers.remove(peer)
            self.assertEqual(asker.learnt[-1], "lost")
            self.assertEqual(self.cell.garden.bands, 0)
        self.assertFalse(self.leashed.cut)

    def test_out_of_step(self) -> None:
        """A response that ends before the request's body is the last one of its band."""
        peer, _, asker = self.asked(RequestHead(method="POST"))
        peer.say(ResponseWant(10), ResponseHead(200, {}), ResponseEnd())
        self.assertTrue(peer.left)
        peer.hang_up()
        self.peers.remove(peer)
        self.assertEqual(asker.learnt[-1], End({}))
        self.assertEqual(self.failureResultOf(self.late(), RequestRefused).value.status, 503)

    def late(self) -> Deferred[Band]:
        """Wait for a band that does not come."""
        lending = self.cell.garden.lend()
        self.clock.advance(10)
        return lending

    def test_given_up(self) -> None:
        """A client that goes takes the band with it, and learns nothing more."""
        peer, band, asker = self.asked()
        band.giveUp()
        self.assertTrue(peer.cut)
        peer.say(ResponseHead(200, {}), ResponseEnd())
        peer.hang_up()
        self.peers.remove(peer)
        self.assertEqual((asker.learnt, self.cell.garden.bands), ([], 0))

    def test_cell_lost(self) -> None:
        """With the leash its bands go, and all requests learn it."""
        peer, _, asker = self.asked()
        waiting = self.cell.garden.lend()
        self.leashed.hang_up()
        self.peers.remove(self.leashed)
        self.assertTrue(peer.cut)
        self.assertEqual(self.failureResultOf(waiting, RequestRefused).value.status, 502)
        peer.hang_up()
        self.assertEqual(asker.learnt, ["lost"])
        self.assertTrue(self.band(self.accept).left, "there is no such leash")

    def test_prune(self) -> None:
        """Bands that nobody needs are closed, and not lent."""
        peer = self.band(self.accept)
        self.clock.advance(60)
        self.cells.prune()
        self.assertTrue(peer.left)
        self.assertNoResult(self.cell.garden.lend().addErrback(lambda _: None))
