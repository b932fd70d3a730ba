"""
A client and a server of the C{digest} dialect, without their sockets; see L{hypermail.test.foreign_digest}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from hypermail.test.foreign_digest_mail import ForeignDigestEnd, ForeignDigestMail, ForeignDigestOptions
from hypermail.test.foreign_digest_packets import (
    ACCEPT,
    ANSWERS,
    DATA_ACK,
    DATA_NOACK,
    DISCONNECT,
    HELLO,
    PANG,
    PING,
    PONG,
    REJECT,
    ForeignDigestPacket,
)
from hypermail.test.foreign_link import ForeignAddress, ForeignCrash

MAIL = ANSWERS | {DATA_ACK, DATA_NOACK}
"""The types that L{ForeignDigestMail} takes."""


class ForeignDigestState(Enum):
    """The states of a client."""

    IDLE = "idle"
    GREETING = "greeting"
    ESTABLISHED = "established"
    LEAVING = "leaving"
    OVER = "over"


class ForeignDigestClientCore(ForeignDigestEnd):
    """
    A client.

    @ivar state: Its state.
    @ivar why: What ended it: C{"rejected"}, C{"left"} (DISCONNECT was answered), C{"unanswered"} (it was not), or
        C{"silence"}.
    @ivar server: The UUID of the server, once it has accepted.
    @ivar mail: What it and the server say to each other.
    @ivar established: How often a server has accepted.
    """

    state = ForeignDigestState.IDLE
    why: str | None = None
    server: bytes | None = None
    established = 0
    _alarm: float | None = None
    _heard = 0.0
    _tries = 0

    def __repr__(self) -> str:
        """What is of interest when a test waits in vain."""
        mail = self.mail if self.state is not ForeignDigestState.IDLE else None
        return f"<digest client {self.state.value} ({self.why}), {mail}, {dict(self.counts)}>"

    def greet(self, now: float, address: ForeignAddress) -> None:
        """Say HELLO to a server."""
        self.mail = ForeignDigestMail(self, address)
        self._hello(now)

    def leave(self, now: float) -> None:
        """Say DISCONNECT, until REJECT comes."""
        self.state = ForeignDigestState.LEAVING
        self.mail.open = False
        self._tries = 0
        self._disconnect(now)

    @property
    def due(self) -> float | None:
        """When L{wake} is to be called next."""
        times = [self._alarm]
        if self.state is ForeignDigestState.ESTABLISHED:
            times += [self._heard + self.options.silence, self.mail.due]
        return min((when for when in times if when is not None), default=None)

    def wake(self, now: float) -> None:
        """Do what is due."""
        if self.state is ForeignDigestState.ESTABLISHED:
            self.mail.wake(now)
            if now >= self._heard + self.options.silence:
                self._bereft(now)
        if self._alarm is not None and now >= self._alarm:
            if self.state is ForeignDigestState.ESTABLISHED:
                self._alarm = now + self.options.ping_interval
                self.say(now, PING, self.mail.address)
            elif self.state is ForeignDigestState.GREETING:
                self._hello(now)
            else:
                self._disconnect(now)

    def receive(self, now: float, data: bytes, source: ForeignAddress) -> None:
        """
        Take a datagram.

        @raise ForeignCrash: When the library would fail, or when it is not one that a server sends.
        """
        if self.state in (ForeignDigestState.IDLE, ForeignDigestState.OVER):
            self.counts[f"while {self.state.value}"] += 1
            return
        packet = self.opened(data)
        if packet is None:
            return
        if not self.is_genuine(packet):
            self._forged(now, packet)
        elif not self.is_current(now, packet):
            self.counts["stale"] += 1
        elif self.state is ForeignDigestState.GREETING:
            self._answered(now, packet)
        elif packet.uuid != self.server:
            self.counts["other servers"] += 1
        else:
            self._heard = now
            self._take(now, packet)

    def _hello(self, now: float) -> None:
        self.state = ForeignDigestState.GREETING
        self.mail.open = False
        self._alarm = None if self.options.strict else now + self.options.repeat
        self.say(now, HELLO, self.mail.address)

    def _disconnect(self, now: float) -> None:
        if self._tries == self.options.tries:
            self._end("unanswered")
            return
        self._tries += 1
        self._alarm = now + self.options.repeat
        self.say(now, DISCONNECT, self.mail.address)

    def _bereft(self, now: float) -> None:
        if self.options.strict:
            self._end("silence")
        else:
            self._hello(now)

    def _end(self, why: str) -> None:
        self.state = ForeignDigestState.OVER
        self.why = why
        self.mail.open = False
        self._alarm = None

    def _forged(self, now: float, packet: ForeignDigestPacket) -> None:
        if self.state is ForeignDigestState.GREETING and self.options.strict:
            raise ForeignCrash("the first datagram is not a valid ACCEPT")
        self.counts["wrong digest"] += 1
        if packet.uuid == self.server:
            self.complain(now, packet, self.mail.address)

    def _answered(self, now: float, packet: ForeignDigestPacket) -> None:
        if packet.kind == ACCEPT:
            self.server = packet.uuid
            self.established += 1
            self.state = ForeignDigestState.ESTABLISHED
            self._heard = now
            self._alarm = now + self.options.ping_interval
            self.mail.open = True
            self.mail.pump(now)
        elif self.options.strict:
            raise ForeignCrash(f"the first datagram is not ACCEPT, but of type {packet.kind}")
        elif packet.kind == REJECT:
            self._end("rejected")
        else:
            self.counts["before ACCEPT"] += 1

    def _take(self, now: float, packet: ForeignDigestPacket) -> None:
        if packet.kind in MAIL:
            self.mail.receive(now, packet)
        elif packet.kind == REJECT:
            self._end("left" if self.state is ForeignDigestState.LEAVING else "rejected")
        elif packet.kind == PANG and self.state is ForeignDigestState.ESTABLISHED:
            self.counts["PANG"] += 1
            self.say(now, PONG, self.mail.address)
        elif packet.kind == PONG:
            self.counts["PONG"] += 1
        elif packet.kind not in (ACCEPT, PANG):
            raise ForeignCrash(f"a server has sent type {packet.kind}")


@dataclass
class ForeignDigestSession:
    """
    A client, as a server knows it.

    @ivar uuid: Its UUID.
    @ivar mail: What it and the server say to each other.
    @ivar heard: When something valid came of it.
    @ivar why: What ended it: C{"left"}, C{"rejected"}, C{"silence"}, or C{"replaced"}, when it began anew.
    @ivar hellos: The digests of its HELLOs, by order count: it began anew if one count has two.
    """

    uuid: bytes
    mail: ForeignDigestMail
    heard: float
    why: str | None = None
    hellos: dict[int, bytes] = field(default_factory=dict)


class ForeignDigestServerCore(ForeignDigestEnd):
    """
    A server.

    @ivar sessions: The clients that it has accepted, in the order of their first HELLOs, those that are over, too.
    """

    def __init__(
        self,
        uuid: bytes,
        secret: bytes | None,
        secrets: Mapping[bytes, bytes] | None,
        options: ForeignDigestOptions | None = None,
        wall: float | None = None,
    ) -> None:
        """As L{ForeignDigestEnd}."""
        super().__init__(uuid, secret, secrets, options, *(() if wall is None else (wall,)))
        self.sessions: list[ForeignDigestSession] = []
        self._clients: dict[bytes, ForeignDigestSession] = {}

    def __repr__(self) -> str:
        """What is of interest when a test waits in vain."""
        mails = [(session.why, session.mail) for session in self.sessions]
        return f"<digest server, {mails}, {dict(self.counts)}>"

    def reject(self, now: float, session: ForeignDigestSession) -> None:
        """End a session with REJECT."""
        self.say(now, REJECT, session.mail.address)
        self._forget(session, "rejected")

    @property
    def due(self) -> float | None:
        """When L{wake} is to be called next."""
        times = [session.mail.due for session in self._clients.values()]
        times += [session.heard + self.options.silence for session in self._clients.values()]
        return min((when for when in times if when is not None), default=None)

    def wake(self, now: float) -> None:
        """Do what is due."""
        for session in list(self._clients.values()):
            session.mail.wake(now)
            if now >= session.heard + self.options.silence:
                self._forget(session, "silence")

    def receive(self, now: float, data: bytes, source: ForeignAddress) -> None:
        """
        Take a datagram.

        @raise ForeignCrash: When the library would fail, or when it is not one that a client sends.
        """
        packet = self.opened(data)
        if packet is None:
            return
        session = self._clients.get(packet.uuid)
        if not self.is_genuine(packet):
            self.counts["wrong digest" if self.knows(packet) else "unknown UUID"] += 1
            if session is not None:
                self.complain(now, packet, session.mail.address)
        elif not self.is_current(now, packet):
            self.counts["stale"] += 1
        elif packet.kind == HELLO:
            self._greet(now, packet, session, source)
        elif session is None:
            self.counts["strangers"] += 1
            self.say(now, REJECT, source)
        else:
            session.heard = now
            session.mail.address = source
            self._take(now, packet, session)

    def _greet(
        self, now: float, packet: ForeignDigestPacket, session: ForeignDigestSession | None, source: ForeignAddress
    ) -> None:
        if session is not None and session.hellos.get(packet.order, packet.digest) != packet.digest:
            self._forget(session, "replaced")
            session = None
        if session is None:
            session = ForeignDigestSession(packet.uuid, ForeignDigestMail(self, source), now)
            self.sessions.append(session)
            session.mail.open = True
            self._clients[packet.uuid] = session
        session.hellos[packet.order] = packet.digest
        session.heard = now
        session.mail.address = source
        self.say(now, ACCEPT, source)

    def _take(self, now: float, packet: ForeignDigestPacket, session: ForeignDigestSession) -> None:
        if packet.kind in MAIL:
            session.mail.receive(now, packet)
        elif packet.kind == DISCONNECT:
            self.say(now, REJECT, session.mail.address)
            self._forget(session, "left")
        elif packet.kind == PING:
            self.counts["PING"] += 1
            self.say(now, PANG if self.options.ping_steps == 3 else PONG, session.mail.address)
        elif packet.kind == PONG:
            self.counts["PONG"] += 1
        else:
            raise ForeignCrash(f"a client has sent type {packet.kind}")

    def _forget(self, session: ForeignDigestSession, why: str) -> None:
        session.why = why
        session.mail.open = False
        del self._clients[session.uuid]
