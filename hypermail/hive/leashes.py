"""
The queen's cells: who has logged in, what they have mounted, and their bands (seed 002, "Connection Initiation").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from hypermail.errors import UsageError
from hypermail.hive.aliases import Aliases
from hypermail.hive.away import Away
from hypermail.hive.bands import Band
from hypermail.hive.choosing import Health
from hypermail.hive.errors import FrameInvalid
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
from hypermail.hive.garden import Garden
from hypermail.hive.mounts import Match, Mounts, Pattern, parse_pattern
from hypermail.hive.pressure import LeashPressure
from hypermail.internet.deadlines import clockOf

#: s without a word of a cell that knows the extensions, which has a heartbeat, after which it is lost; or in which a
#: cell has taken nothing of what waits for it.
SILENCE = 60.0
#: s that a peer has to close its end, too; TLS waits for that.
CLOSING = 5.0
#: Cells of one queen, mounts of one cell, and logins whose keys are being looked at.
MOST_CELLS = 10_000
MOST_MOUNTS = 1_000
MOST_LOGINS = 64
#: Connections that have still to say whose they are.
MOST_STRANGE = 1_000

_ID_BYTES = 16
_NAME = 8  # characters


class Member:
    """
    One that has logged in: the queen's end of its leash.

    @ivar uuid: by which its bands name it.
    @ivar name: by which people know it, the beginning of that.
    @ivar key: by which they show that they are its.
    @ivar extended: whether it knows the extensions.
    @ivar garden: its bands.
    @ivar mounts: what it has mounted.
    @ivar health: how it has done lately.
    @ivar connection: the leash.
    @ivar since: s of L{Cells.seconds}, when it has logged in.
    @ivar heard: s of L{Cells.seconds}, when it has said something there.
    """

    def __init__(self, cells: Cells, connection: FrameProtocol, uuid: str, key: str, extended: bool) -> None:
        self._cells = cells
        self.connection = connection
        self.uuid = uuid
        self.name = uuid[:_NAME]
        self.key = key
        self.extended = extended
        self.garden: Garden[Band] = Garden(cells.clock, self._need, age=cells.band_age)
        self.mounts: dict[Pattern, None] = {}
        self.health = Health()
        self.since = self.heard = cells.seconds()
        self._pressure = LeashPressure(cells.clock, connection, SILENCE)
        connection.transport.registerProducer(self._pressure, True)

    @property
    def outstanding(self) -> int:
        """Requests that it has, or that wait for its bands."""
        return self.garden.outstanding

    def leave(self) -> None:
        """No request follows; those that are running are finished."""
        if self.extended:
            self.connection.send(Leave().frame())

    def take(self, frame: Frame | Body) -> None:
        """
        A frame of the cell's.

        @raise FrameInvalid: when it has no place.
        """
        self.heard = self._cells.seconds()
        if isinstance(frame, Mount):
            self._mount(frame)
        elif isinstance(frame, Unmount):
            self._unmount(frame)
        elif isinstance(frame, Heartbeat) and self.extended:
            if not frame.answer:
                self.connection.send(Heartbeat(1).frame())
        elif isinstance(frame, Leave) and self.extended:
            self._cells.unmount(self, list(self.mounts))
        else:
            raise FrameInvalid(f"{type(frame).__name__} on a leash")

    def lost(self) -> None:
        """The leash is, and all that hangs on it."""
        self._pressure.stopProducing()
        self._cells.forget(self)
        for band in self.garden.close():
            band.connection.abort()

    def _mount(self, frame: Mount) -> None:
        try:
            pattern = parse_pattern(frame.host, frame.path)
            self._cells.mount(self, pattern)
        except UsageError as error:
            self.connection.refused(f"cannot mount: {error.text}")
            if self.extended:
                self.connection.send(MountRefused(frame.host, frame.path, error.text).frame())
        else:
            if self.extended:
                self.connection.send(Mounted(pattern.host, pattern.path).frame())

    def _unmount(self, frame: Unmount) -> None:
        if not frame.host and not frame.path:
            self._cells.unmount(self, list(self.mounts))
            return
        try:
            self._cells.unmount(self, [parse_pattern(frame.host, frame.path)])
        except UsageError as error:
            raise FrameInvalid(error.text) from None

    def _need(self, count: int) -> None:
        self.connection.send(NeedBand(count).frame())


class Cells:
    """
    All of a queen's.

    @param is_key: whether a key is the one that cells log in with, a Deferred, since that takes time.
    @param chance: so many random bytes.
    @param login_timeout: s for TLS and C{IAm}.
    @param band_age: s that a band may be idle.
    @ivar seconds: the time, which goes on as it should when somebody sets the clock.
    """

    def __init__(
        self,
        clock: Any,
        is_key: Callable[[str], Deferred[bool]],
        chance: Callable[[int], bytes],
        *,
        login_timeout: float,
        band_age: float,
        aliases: Aliases,
    ) -> None:
        self.clock = clock
        self.seconds = clockOf(clock)
        self.login_timeout = login_timeout
        self.band_age = band_age
        self.aliases = aliases
        self.queens: tuple[str, ...] = ()
        self.logins = 0  # whose keys are being looked at
        self._strangers: dict[CellConnection, None] = {}  # who have still to say whose they are, oldest first
        self._known = b""  # digest of the key that has let in
        self._changes = 0  # of the configuration, after which it may be another key
        self._is_key = is_key
        self._chance = chance
        self._cells: dict[str, Member] = {}
        self._mounts: Mounts[Member] = Mounts()
        self._away = Away(self.seconds)

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def strange(self) -> int:
        """Connections that have still to say whose they are."""
        return len(self._strangers)

    def find(self, authority: str, path: str) -> Match[Member] | None:
        """Who gets a request. @param authority: of its host, perhaps with a port."""
        return self._mounts.find(self.aliases.resolve(authority), path)

    def is_away(self, authority: str, path: str) -> bool:
        """Whether a cell that would get a request was lost just now."""
        return self._away.find(self.aliases.resolve(authority), path)

    def __iter__(self) -> Iterator[Member]:
        """In the order in which they have logged in."""
        return iter(self._cells.values())

    def mounted(self) -> Iterator[tuple[Pattern, tuple[Member, ...]]]:
        """All that is mounted, by whom."""
        return iter(self._mounts)

    def configure(
        self, *, login_timeout: float, band_age: float, aliases: Aliases, queens: tuple[str, ...] = ()
    ) -> None:
        """
        What it was made with is something else now.

        @param queens: C{HOST:PORT} of others, whom cells that log in are told of.
        """
        self._known = b""
        self._changes += 1
        self.queens = queens
        self.login_timeout = login_timeout
        self.band_age = band_age
        self.aliases = aliases
        for cell in self._cells.values():
            cell.garden.age = band_age

    def prune(self) -> None:
        """Close bands that nobody has needed for long."""
        for cell in self._cells.values():
            for band in cell.garden.prune():
                band.connection.leave()

    def listen(self) -> None:
        """Cut off cells that have been silent for too long: those that know the extensions never are."""
        for cell in list(self._cells.values()):
            if cell.extended and cell.heard + SILENCE <= self.seconds():
                cell.connection.refused(f"the cell has said nothing for {SILENCE:.0f} s")
                cell.connection.abort()

    def leave(self) -> None:
        """Have all cells go elsewhere; requests that are running are finished."""
        for cell in self._cells.values():
            cell.leave()

    def close(self) -> None:
        """Cut all of them off, and whoever is about to be one."""
        for connection in (*self._strangers, *(cell.connection for cell in self._cells.values())):
            connection.abort()

    # For connections

    def meet(self, connection: CellConnection) -> None:
        """A connection is nobody's yet. When there are many the oldest is cut off, as who has a key is soon known."""
        while len(self._strangers) >= MOST_STRANGE:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()
        self._strangers[connection] = None

    def met(self, connection: CellConnection) -> None:
        """It is known, or gone."""
        self._strangers.pop(connection, None)

    def check(self, key: str) -> Deferred[bool]:
        """
        Whether a key lets in. One that has is known again at once, whatever strangers have the queen look at.

        @raise UsageError: when too many ask.
        """
        digest = sha256(key.encode()).digest()
        known = compare_digest(digest, self._known)
        if len(self._cells) >= MOST_CELLS or (self.logins >= MOST_LOGINS and not known):
            raise UsageError("the queen has too many cells, or they all log in at once: try again later")
        if known:
            return succeed(True)
        self.logins += 1
        return self._is_key(key).addBoth(self._checked, digest, self._changes)

    def _checked(self, result: Any, digest: bytes, changes: int) -> Any:
        self.logins -= 1
        if result is True and changes == self._changes:
            self._known = digest
        return result

    def let_in(self, connection: FrameProtocol, extended: bool) -> Member:
        """A new cell."""
        uuid, key = (str(UUID(bytes=self._chance(_ID_BYTES), version=4)) for _ in range(2))
        cell = self._cells[uuid] = Member(self, connection, uuid, key, extended)
        return cell

    def owner(self, uuid: str, key: str) -> Member | None:
        """Whose band somebody says that he is, if he shows it."""
        cell = self._cells.get(uuid)
        return cell if cell is not None and compare_digest(cell.key.encode(), key.encode()) else None

    def mount(self, cell: Member, pattern: Pattern) -> None:
        """@raise UsageError: when it has too many."""
        if pattern not in cell.mounts and len(cell.mounts) >= MOST_MOUNTS:
            raise UsageError(f"a cell has {MOST_MOUNTS:,} mounts at most")
        cell.mounts[pattern] = None
        self._mounts.add(pattern, cell)
        self._away.back(pattern)

    def unmount(self, cell: Member, patterns: list[Pattern]) -> None:
        """Harmless for what is not mounted."""
        for pattern in patterns:
            cell.mounts.pop(pattern, None)
            self._mounts.remove(pattern, cell)

    def forget(self, cell: Member) -> None:
        """It is gone."""
        mounts = list(cell.mounts)
        self.unmount(cell, mounts)
        self._away.lost(mounts)
        del self._cells[cell.uuid]


class CellConnection(FrameProtocol):
    """What a cell has opened: nobody's, until it has said whose it is; then a leash or a band."""

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self._cells = cells
        self._deadline: Any = None
        self._role: Member | Band | None = None

    def connectionMade(self) -> None:
        """See L{FrameProtocol}."""
        super().connectionMade()
        self._cells.meet(self)
        self._deadline = self._cells.clock.callLater(self._cells.login_timeout, self.abort)

    def leave(self) -> None:
        """See L{FrameProtocol}. A peer who does not close its end is cut off."""
        if self.ended:
            return
        if self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._cells.clock.callLater(CLOSING, self.abort)
        super().leave()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{FrameProtocol}."""
        super().connectionLost(reason)
        if self._deadline.active():
            self._deadline.cancel()
        self._cells.met(self)
        if self._role is not None:
            self._role.lost()

    def frameReceived(self, frame: Frame | Body) -> None:
        """See L{FrameProtocol}."""
        if self._role is not None:
            self._role.take(frame)
        elif isinstance(frame, IAm):
            self._deadline.cancel()
            (self._beBand if frame.connection is ConnectionKind.BAND else self._beLeash)(frame)
        else:
            raise FrameInvalid(f"{type(frame).__name__} before IAm")

    def _beLeash(self, said: IAm) -> None:
        try:
            checking = self._cells.check(said.key)
        except UsageError as error:
            self._refuse(said, error.text)
            return
        self.pauseProducing()
        checking.addCallback(partial(self._checked, said))
        checking.addErrback(self._notChecked, said)

    def _checked(self, said: IAm, right: bool) -> None:
        if self.ended:
            return
        if not right:
            self._refuse(said, "the key is wrong")
            return
        extended = said.extensions >= EXTENSIONS
        cell = self._cells.let_in(self, extended)
        if extended:
            accept = Accept(cell.uuid, cell.key, EXTENSIONS, self._cells.queens)
        else:
            accept = Accept(cell.uuid, cell.key)
        self._become(cell, accept)
        self.resumeProducing()

    def _notChecked(self, failure: Failure, said: IAm) -> None:
        self._log.failure("a key cannot be checked", failure)
        if not self.ended:
            self._refuse(said, "the queen cannot check keys now")

    def _beBand(self, said: IAm) -> None:
        cell = self._cells.owner(said.uuid, said.key)
        if cell is None:
            self._refuse(said, "there is no such leash, or this is not its key")
            return
        band = Band(self, cell.garden, cell.extended)
        self._become(band, Accept(cell.uuid, "", EXTENSIONS if cell.extended else 0))
        if not cell.garden.add(band):
            self.leave()

    def _become(self, role: Member | Band, accept: Accept) -> None:
        self._role = role
        self._cells.met(self)
        self.reader.largest = LARGEST
        self.send(accept.frame())

    def _refuse(self, said: IAm, reason: str) -> None:
        """Others than ours would not know what that is, so that to them it is silence."""
        self.refused(reason)
        if said.extensions >= EXTENSIONS:
            self.send(Refuse(reason).frame())
        self.leave()
