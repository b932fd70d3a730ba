"""
Tests for L{hypermail.hive.leash}: the cell's end of a leash, with the queen's end, and with one that we play.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.aliases import Aliases
from hypermail.hive.errors import LeashLost, LeashRefused, MountRejected
from hypermail.hive.frames import (
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
    ResponseEnd,
    Unmount,
)
from hypermail.hive.leash import HEARTBEAT, MOST_AT_ONCE, SILENCE, Leash
from hypermail.hive.leashes import CellConnection, Cells
from hypermail.hive.mounts import Pattern, parse_mount
from hypermail.test.hive import FrameTransport, written


class LeashCase(SynchronousTestCase):
    """A leash, whose queen we are."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.needed = 0
        self.left = 0
        self.leash = Leash(self.clock, "key", self.need, self.leave)
        self.transport = FrameTransport()
        self.leash.makeConnection(self.transport)
        self.heard = self.transport.heard

    def need(self) -> None:
        """The queen wants a band."""
        self.needed += 1

    def leave(self) -> None:
        """The queen leaves."""
        self.left += 1

    def say(self, *frames: Frame | Body) -> None:
        """The queen says something."""
        for frame in frames:
            self.leash.dataReceived(written(frame))

    def enter(self, extensions: int = 1) -> None:
        """The cell is let in."""
        self.say(Accept("uuid", "band key", extensions))
        self.heard()

    def hang_up(self) -> None:
        """The connection is lost."""
        self.leash.connectionLost(Failure(ConnectionError()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def reason(self, lost: Deferred[Any]) -> str:
        """Why somebody has failed."""
        error = self.failureResultOf(lost, LeashLost).value
        assert isinstance(error, LeashLost)
        return error.text


class LoginTests(LeashCase):
    """Being let in."""

    def test_accepted(self) -> None:
        """It says who it is, and has what bands need when it is let in."""
        self.assertEqual(self.heard(), [IAm(ConnectionKind.CELL, "", "key", 1)])
        self.assertFalse(self.leash.is_in)
        self.enter()
        self.assertIs(self.successResultOf(self.leash.accepted), self.leash)
        self.assertEqual((self.leash.uuid, self.leash.band_key, self.leash.extended), ("uuid", "band key", True))
        self.assertTrue(self.leash.is_in)
        self.hang_up()
        self.assertIsInstance(self.successResultOf(self.leash.lost), LeashLost)
        self.assertFalse(self.leash.is_in)

    def test_refused(self) -> None:
        """The queen's reason reaches who waits; without one it was lost."""
        self.say(Refuse("the key is wrong"))
        self.assertTrue(self.transport.disconnected)
        self.hang_up()
        error = self.failureResultOf(self.leash.accepted, LeashRefused).value
        self.assertEqual(str(error), "the queen refuses the cell: the key is wrong")
        self.setUp()
        self.hang_up()
        error = self.failureResultOf(self.leash.accepted, LeashLost).value
        self.assertEqual((str(error), type(error)), ("the connection was lost", LeashLost))

    def test_why(self) -> None:
        """Why the connection was lost is in the reason, unless there is nothing to say."""
        silent = "the connection was lost before the queen has let the cell in: "
        silent += "other programs' queens say nothing else of a wrong key"
        untrusted = SSL.Error([("SSL routines", "", "certificate verify failed")])
        for why, text in (
            (ConnectionLost("whatever"), "the connection was lost"),
            (ConnectionDone(), silent),
            (untrusted, "the connection was lost: certificate verify failed"),
            (SSL.Error(), "the connection was lost"),
            (OSError("no route"), "the connection was lost: no route"),
        ):
            self.setUp()
            self.leash.connectionLost(Failure(why))
            self.assertEqual(self.reason(self.leash.accepted), text)
        self.setUp()
        self.enter()
        self.leash.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(self.leash.lost).text, "the connection was lost")

    def test_queens(self) -> None:
        """A queen may name others."""
        self.say(Accept("u", "k", 1, ("a:1", "b:2")))
        self.assertEqual(self.leash.queens, ("a:1", "b:2"))
        self.hang_up()

    def test_cancelled(self) -> None:
        """Who gives up before is connected no more."""
        self.leash.accepted.cancel()
        self.assertTrue(self.transport.disconnected)
        self.failureResultOf(self.leash.accepted, CancelledError)
        self.hang_up()

    def test_order(self) -> None:
        """What has no place cuts off the leash, and its end has that as its reason."""
        for frame in (NeedBand(1), Accept(), Mounted("@", "/")):
            self.setUp()
            self.say(frame)
            self.hang_up()
            self.assertIn("before Accept", self.reason(self.leash.accepted))
        for late in (Accept("u", "k"), ResponseEnd(), Mount("@", "/"), IAm()):
            self.setUp()
            self.enter()
            self.say(late)
            self.hang_up()
            self.assertIn("on a leash", self.successResultOf(self.leash.lost).text)


class TalkTests(LeashCase):
    """What is said on a leash."""

    def mounted(self, text: str) -> Deferred[Pattern]:
        """Mount something."""
        return self.leash.mount(parse_mount(text))

    def test_mount(self) -> None:
        """A mount comes about when the queen says so, or fails with her reason."""
        self.enter()
        first, second, again = (self.mounted(text) for text in ("@/", "@/a", "@/"))
        self.assertEqual(self.heard(), [Mount("@", "/"), Mount("@", "/a"), Mount("@", "/")])
        self.assertNoResult(first)
        self.say(MountRefused("@", "/a", "why"), Mounted("@", "/"), Mounted("@", "/never"))
        self.assertEqual(self.successResultOf(first), Pattern("@", "/"))
        error = self.failureResultOf(second, MountRejected).value
        assert isinstance(error, MountRejected)
        self.assertEqual(error.text, "why")
        self.assertNoResult(again)
        self.hang_up()
        self.assertEqual(self.reason(again), "the connection was lost")
        self.assertEqual(self.reason(self.mounted("@/")), "there is no leash")

    def test_cancelled(self) -> None:
        """Who does not wait for a mount any more does not confuse others."""
        self.enter()
        first, second = self.mounted("@/"), self.mounted("@/")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.say(Mounted("@", "/"))
        self.assertNoResult(second)
        self.say(Mounted("@", "/"))
        self.successResultOf(second)

    def test_plain(self) -> None:
        """A queen without extensions tells nothing of mounts, and takes them back all at once."""
        self.enter(0)
        for text in ("@/a", "@/b", "@/c"):
            self.successResultOf(self.mounted(text))
        self.heard()
        self.leash.unmount(parse_mount("@/b"))
        self.assertEqual(self.heard(), [Unmount(), Mount("@", "/a"), Mount("@", "/c")])
        self.leash.quit()
        self.leash.unmount(parse_mount("@/c"))
        self.assertEqual(self.heard(), [Unmount(), Unmount()])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ours(self) -> None:
        """Ours knows which one, and what it means to leave."""
        self.enter()
        self.leash.unmount(parse_mount("@/b"))
        self.leash.quit()
        self.assertEqual(self.heard(), [Unmount("@", "/b"), Leave()])
        self.say(Leave())
        self.assertEqual(self.left, 1)

    def test_need(self) -> None:
        """As many bands as the queen wants, within reason."""
        self.enter()
        self.say(NeedBand(1), NeedBand(3), NeedBand(0))
        self.assertEqual(self.needed, 4)
        self.say(NeedBand(1 << 60))
        self.assertEqual(self.needed, 4 + MOST_AT_ONCE)

    def test_heartbeat(self) -> None:
        """Asked, it answers; it asks by itself, and gives up a queen who says nothing."""
        self.enter()
        self.say(Heartbeat())
        self.assertEqual(self.heard(), [Heartbeat(1)])
        for _ in range(10):
            self.clock.advance(HEARTBEAT)
            self.assertEqual(self.heard(), [Heartbeat()])
            self.say(Heartbeat(1))
            self.assertEqual(self.heard(), [])
        self.clock.pump([HEARTBEAT] * 2)
        self.assertFalse(self.transport.disconnected)
        self.clock.pump([HEARTBEAT])
        self.assertTrue(self.transport.disconnected)
        self.hang_up()
        self.assertEqual(self.successResultOf(self.leash.lost).text, f"the queen has said nothing for {SILENCE:.0f} s")


class WallClock:
    """Of a reactor that somebody sets to another time."""

    def __init__(self) -> None:
        self.timers = Clock()
        self.now = 0.0
        self.callLater = self.timers.callLater

    def seconds(self) -> float:
        """What the clock shows."""
        return self.now


class SetClockTests(SynchronousTestCase):
    """Somebody sets the clock."""

    def test_set(self) -> None:
        """That is not the queen's silence."""
        clock: Any = WallClock()
        transport = FrameTransport()
        leash = Leash(clock, "key", lambda: None, lambda: None)
        leash.makeConnection(transport)
        leash.dataReceived(written(Accept("uuid", "band key", 1)))
        clock.now = 1e9
        clock.timers.advance(HEARTBEAT)
        self.assertFalse(transport.cut)
        self.assertEqual(transport.heard()[-1], Heartbeat())
        leash.connectionLost(Failure(ConnectionLost()))
        self.successResultOf(leash.lost)


class BothTests(LeashCase):
    """With the queen's end."""

    def test_both(self) -> None:
        """They let in, mount, beat and leave."""
        cells = Cells(
            self.clock, lambda key: succeed(key == "key"), bytes, login_timeout=1.0, band_age=60.0, aliases=Aliases()
        )
        queen = CellConnection(cells)
        queen.makeConnection(FrameTransport())

        def flush() -> None:
            for here, there in ((self.leash, queen), (queen, self.leash)) * 3:
                data = here.transport.value()
                here.transport.clear()
                there.dataReceived(data)

        flush()
        self.assertTrue(self.leash.extended)
        mounting = self.leash.mount(parse_mount("Example.org/app/"))
        flush()
        self.assertEqual(self.successResultOf(mounting), Pattern("example.org", "/app/"))
        match = cells.find("example.org:443", "/app/x")
        assert match is not None
        match.cells[0].garden.lend().addErrback(lambda _: None)
        self.clock.pump([HEARTBEAT] * 1)
        flush()
        self.assertEqual(self.needed, 2, "asked again, as the first one did not come")
        self.leash.quit()
        match.cells[0].leave()
        flush()
        self.assertEqual((cells.find("example.org", "/app/x"), self.left), (None, 1))
        self.hang_up()
        queen.connectionLost(Failure(ConnectionError()))
