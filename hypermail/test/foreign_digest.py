"""
A client and a server of the C{digest} dialect as the existing Java library is, written from seed 003 and
C{dialects.md} alone, and with what the library lacks of the seed's text: data, DISCONNECT and REJECT. Nothing of ours
is imported: see L{hypermail.test.foreign_link}.

What is like the library, and not as one would write it today (unless an end is not strict):

  - the client says HELLO once, and what comes first must be a valid ACCEPT, or L{ForeignCrash} is raised;
  - it sends PING every 500 ms, is answered with PANG, and sends PONG;
  - a server has one order count for all packets to all clients;
  - timestamps are written as Java's ZonedDateTime does, and nobody looks at how old they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from hypermail.test.foreign_digest_ends import (
    ForeignDigestClientCore,
    ForeignDigestServerCore,
    ForeignDigestSession,
    ForeignDigestState,
)
from hypermail.test.foreign_digest_mail import ForeignDigestOptions
from hypermail.test.foreign_link import DEADLINE, ForeignAddress, ForeignFaults, ForeignNode


def wall_at_zero() -> float:
    """The calendar's time, in seconds since 1970, when the monotonic clock was 0."""
    return time.time() - time.monotonic()


class ForeignDigestServer(ForeignNode[ForeignDigestServerCore]):
    """A server on a real socket."""

    def __init__(
        self,
        uuid: bytes,
        secret: bytes | None,
        secrets: Mapping[bytes, bytes] | None,
        options: ForeignDigestOptions | None = None,
        outgoing: ForeignFaults | None = None,
        incoming: ForeignFaults | None = None,
        interface: str = "127.0.0.1",
    ) -> None:
        """As L{ForeignDigestEnd} and L{ForeignNode}."""
        wall = wall_at_zero()
        super().__init__(
            lambda port: ForeignDigestServerCore(uuid, secret, secrets, options, wall),
            outgoing,
            incoming,
            interface=interface,
        )

    def accepted(self, count: int = 1) -> ForeignDigestSession:
        """Wait until so many have been accepted, and return the newest."""
        self.wait(lambda core: len(core.sessions) >= count)
        return self.core.sessions[-1]

    def send(self, session: ForeignDigestSession, messages: Iterable[bytes]) -> None:
        """Send messages to a client until they are acknowledged."""

        def act(core: ForeignDigestServerCore, now: float) -> None:
            for message in messages:
                session.mail.send(now, message)

        self.call(act)


class ForeignDigestClient(ForeignNode[ForeignDigestClientCore]):
    """A client on a real socket."""

    def __init__(
        self,
        uuid: bytes,
        secret: bytes | None,
        secrets: Mapping[bytes, bytes] | None,
        options: ForeignDigestOptions | None = None,
        outgoing: ForeignFaults | None = None,
        incoming: ForeignFaults | None = None,
        interface: str = "127.0.0.1",
    ) -> None:
        """As L{ForeignDigestEnd} and L{ForeignNode}."""
        wall = wall_at_zero()
        super().__init__(
            lambda port: ForeignDigestClientCore(uuid, secret, secrets, options, wall),
            outgoing,
            incoming,
            interface=interface,
        )

    def connected(self, address: ForeignAddress, deadline: float = DEADLINE) -> None:
        """
        Say HELLO, and wait for ACCEPT.

        @param address: Where the server is.
        @param deadline: How long to wait, in seconds.
        @raise AssertionError: When it does not come.
        """
        self.call(lambda core, now: core.greet(now, address))
        self.wait(lambda core: core.state is not ForeignDigestState.GREETING, deadline)
        if self.core.state is not ForeignDigestState.ESTABLISHED:
            raise AssertionError(f"not accepted: {self.core!r}")

    def send(self, messages: Iterable[bytes]) -> None:
        """Send messages until they are acknowledged."""

        def act(core: ForeignDigestClientCore, now: float) -> None:
            for message in messages:
                core.mail.send(now, message)

        self.call(act)

    def leave(self, deadline: float = DEADLINE) -> None:
        """Say DISCONNECT, and wait for REJECT, or until there are no tries left."""
        self.call(lambda core, now: core.leave(now))
        self.wait(lambda core: core.state is ForeignDigestState.OVER, deadline)
