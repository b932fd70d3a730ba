"""
The cell's end of a leash (seed 002, "Connection Initiation").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from hypermail.errors import HypermailError
from hypermail.hive.errors import FrameInvalid, LeashLost, LeashRefused, MountRejected
from hypermail.hive.frames import (
    EXTENSIONS,
    LARGEST,
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
    Unmount,
)
from hypermail.hive.framing import FrameProtocol
from hypermail.hive.mounts import Pattern
from hypermail.internet.deadlines import clockOf

#: s between two heartbeats, and s without a word of the queen after which the leash is cut off.
HEARTBEAT = 20.0
SILENCE = 50.0
#: Bands that are opened at one C{NeedBand}, whatever its count is.
MOST_AT_ONCE = 100


class Leash(FrameProtocol):
    """
    @param key: that cells log in with.
    @param need: called when the queen wants a band more.
    @param leave: called when the queen wants this cell to go elsewhere.

    @ivar accepted: fires with this when the queen has let it in. It errbacks with L{LeashLost}, and with
        L{LeashRefused} if she has given a reason.
    @ivar uuid: of the leash, once it is let in.
    @ivar band_key: the key of its bands.
    @ivar queens: HOST:PORT of others where this cell is wanted, as its queen says.
    @ivar extended: whether the queen knows the extensions.
    @ivar lost: fires with L{LeashLost} when the connection is lost after that.
    """

    def __init__(self, clock: IReactorTime, key: str, need: Callable[[], object], leave: Callable[[], object]) -> None:
        super().__init__()
        self.reader.largest = LARGEST
        self.uuid = self.band_key = ""
        self.queens: tuple[str, ...] = ()
        self.extended = False
        self.accepted: Deferred[Leash] = Deferred(lambda _: self.abort())
        self.lost: Deferred[LeashLost] = Deferred()
        self._clock = clock
        self._seconds = clockOf(clock)
        self._key = key
        self._need = need
        self._leave = leave
        self._reason = ""
        self._error = LeashLost
        self._mounted: dict[Pattern, None] = {}  # what was asked for
        self._mounting: dict[Pattern, list[Deferred[Pattern]]] = {}  # of which the queen has still to tell
        self._beat: Any = None
        self._heard = 0.0  # s when the queen has said something

    @property
    def is_in(self) -> bool:
        """Whether the queen has let it in."""
        return bool(self.uuid) and not self.ended

    # What the cell says

    def mount(self, pattern: Pattern) -> Deferred[Pattern]:
        """
        Ask for the requests of a host and path.

        @return: fires when they will come; queens without extensions don't tell, so that it is at once. It errbacks
            with L{MountRejected}, or L{LeashLost}.
        """
        if not self.is_in:
            return fail(LeashLost("there is no leash"))
        self._mounted[pattern] = None
        self.send(Mount(pattern.host, pattern.path).frame())
        if not self.extended:
            return succeed(pattern)
        mounting: Deferred[Pattern] = Deferred()
        self._mounting.setdefault(pattern, []).append(mounting)
        return mounting

    def unmount(self, pattern: Pattern) -> None:
        """Want them no more. Queens without extensions take back all mounts, so that the others are asked for again."""
        self._mounted.pop(pattern, None)
        if self.extended:
            self.send(Unmount(pattern.host, pattern.path).frame())
            return
        self.send(Unmount().frame())
        for other in self._mounted:
            self.send(Mount(other.host, other.path).frame())

    def quit(self) -> None:
        """No requests, please; those that are running will be finished. Other queens are told to unmount."""
        self._mounted.clear()
        self.send((Leave() if self.extended else Unmount()).frame())

    # What the connection says

    def connectionMade(self) -> None:
        """See L{FrameProtocol}."""
        super().connectionMade()
        self.send(IAm(ConnectionKind.CELL, "", self._key, EXTENSIONS).frame())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{FrameProtocol}."""
        super().connectionLost(reason)
        if self._beat is not None:
            self._beat.cancel()
        why = self._reason or _why(reason)
        if not self.uuid and reason.check(ConnectionDone) and not self._reason:
            why += " before the queen has let the cell in: other programs' queens say nothing else of a wrong key"
        error = self._error(why)
        mounting = [one for several in self._mounting.values() for one in several]
        self._mounting.clear()
        for one in mounting:
            one.errback(error)
        if self.uuid:
            self.lost.callback(error)
        elif not self.accepted.called:
            self.accepted.errback(error)

    def violated(self, error: HypermailError) -> None:
        """See L{FrameProtocol}."""
        self._reason = error.text
        super().violated(error)

    def frameReceived(self, frame: Frame | Body) -> None:
        """See L{FrameProtocol}."""
        self._heard = self._seconds()
        if not self.uuid:
            self._enter(frame)
        elif isinstance(frame, NeedBand):
            for _ in range(min(frame.count, MOST_AT_ONCE)):
                self._need()
        elif isinstance(frame, Heartbeat):
            if not frame.answer:
                self.send(Heartbeat(1).frame())
        elif isinstance(frame, Mounted):
            self._settle(frame, None)
        elif isinstance(frame, MountRefused):
            self._settle(frame, MountRejected(frame.reason))
        elif isinstance(frame, Leave):
            self._leave()
        else:
            raise FrameInvalid(f"{type(frame).__name__} on a leash")

    def _enter(self, frame: Frame | Body) -> None:
        if isinstance(frame, Refuse):
            self._error = LeashRefused
            raise FrameInvalid(f"the queen refuses the cell: {frame.reason}")
        if not isinstance(frame, Accept) or not frame.uuid:
            raise FrameInvalid(f"{type(frame).__name__} before Accept")
        self.uuid, self.band_key = frame.uuid, frame.key
        self.extended = frame.extensions >= EXTENSIONS
        self.queens = frame.queens
        if self.extended:
            self._beat = self._clock.callLater(HEARTBEAT, self._ask)
        self.accepted.callback(self)

    def _settle(self, frame: Mounted | MountRefused, error: MountRejected | None) -> None:
        pattern = Pattern(frame.host, frame.path)
        several = self._mounting.get(pattern)
        if not several:
            return
        mounting = several.pop(0)
        if not several:
            del self._mounting[pattern]
        if error is None:
            mounting.callback(pattern)
        else:
            mounting.errback(error)

    def _ask(self) -> None:
        """Queens that are gone say nothing, and their hosts may not tell, either."""
        self._beat = self._clock.callLater(HEARTBEAT, self._ask)
        if self._seconds() >= self._heard + SILENCE:
            self._reason = f"the queen has said nothing for {SILENCE:.0f} s"
            self.abort()
        else:
            self.send(Heartbeat().frame())


def _why(reason: Failure) -> str:
    """Why a connection was lost, if there is more to say than that."""
    if reason.check(ConnectionDone, ConnectionLost):
        return "the connection was lost"
    error = reason.value
    errors = error.args[0] if isinstance(error, SSL.Error) and error.args else ()
    text = "; ".join(str(entry[-1]) for entry in errors) or reason.getErrorMessage()
    return f"the connection was lost: {text}" if text else "the connection was lost"
