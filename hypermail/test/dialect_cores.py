"""
Our side of a dialect as a core that a L{ForeignWorld} drives, so that it meets the foreign peers in virtual time.
"""

from __future__ import annotations

from typing import Any

from hypermail.dialects.dialect import Dialect
from hypermail.options import ListenerOptions
from hypermail.test.dialects import Application, Place, World
from hypermail.test.foreign_link import ForeignAddress, ForeignDatagram

MOST_STEPS = 10_000
"""How many timers can be due at one time; with more, one of them is always due."""


class DialectCore(World):
    """
    One socket of ours with its sessions, and a clock that a L{ForeignWorld} puts forward.

    @ivar side: the socket.
    """

    def __init__(
        self,
        address: ForeignAddress,
        dialect: Dialect,
        *,
        listening: bool = False,
        limits: ListenerOptions = ListenerOptions(),
        seed: int = 1,
    ) -> None:
        super().__init__(seed)
        self.side = self.host(Place(*address), dialect, listening=listening, limits=limits)
        self._taken: list[ForeignDatagram] = []

    @property
    def sessions(self) -> list[Application]:
        """What the application was told of each session, in the order in which these came."""
        return self.side.sessions

    @property
    def due(self) -> float | None:
        """See L{ForeignCore}."""
        return self._queue[0][0] if self._queue else None

    def receive(self, now: float, data: bytes, source: ForeignAddress) -> None:
        """See L{ForeignCore}."""
        self.now = now
        self.side.receive(data, Place(*source))

    def wake(self, now: float) -> None:
        """See L{ForeignCore}."""
        self.now = now
        for _ in range(MOST_STEPS):
            if not self.step(now):
                return
        raise AssertionError(f"time stands still at {now}: timers are due again and again")

    def take(self) -> list[ForeignDatagram]:
        """See L{ForeignCore}."""
        taken, self._taken = self._taken, []
        return taken

    def send(self, datagram: bytes, source: Place, destination: Place) -> None:
        """A datagram leaves for the foreign world."""
        self._taken.append(ForeignDatagram(bytes(datagram), (destination.host, destination.port)))

    def start(self, now: float, address: ForeignAddress) -> Application:
        """Ask a foreign listener for a session."""
        self.now = now
        return self.side.start(Place(*address))

    def say(self, now: float, session: Application, messages: list[bytes]) -> list[Any]:
        """Send messages in a session."""
        self.now = now
        sent = [session.connection.send_message(message, now=now) for message in messages]
        self.side.attend(session.connection)
        return sent

    def close(self, now: float, session: Application) -> None:
        """End a session when everything is delivered."""
        self.now = now
        session.connection.close(now=now)
        self.side.attend(session.connection)
