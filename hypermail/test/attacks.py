"""
What the tests of attacks share: sessions that are sealed, strangers, and what has to be so after every attack.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.events import MessagesSettled, SessionEnded
from hypermail.options import Mode, Role
from hypermail.security.keys import long_seals
from hypermail.session.states import State
from hypermail.test.sealed import tls
from hypermail.test.wired import Wire
from hypermail.testing.modes import Handshakes, secret_handshakes
from hypermail.wire import header
from hypermail.wire import packets as p

#: s, one way; and bytes that a first datagram's content may have.
DELAY = 0.05
HELLO_ROOM = header.LEAST_HELLO - header.LONG.size - 16


@cache
def usual_tls() -> Handshakes:
    """Mode C{tls} with which all is well; contexts are made once."""
    return tls()


def usual_secret() -> Handshakes:
    """Mode C{secret}, with the same keys each time."""
    return secret_handshakes(Random(1).randbytes)


#: The modes that are sealed.
MODES: dict[Mode, Callable[[], Handshakes]] = {Mode.TLS: usual_tls, Mode.SECRET: usual_secret}


def stranger_datagrams(
    mode: Mode, flight: bytes, tag: int, *, source: int | None = None, token: bytes = b"", number: int = 0
) -> list[bytes]:
    """
    Long datagrams of a stranger that carry a flight, sealed as they should be.

    @param tag: its first tag.
    @param source: its own tag.
    @param number: of the first datagram.
    """
    sealing, _ = long_seals(mode, Role.STARTER, tag)
    datagrams: list[bytes] = []
    room = HELLO_ROOM - len(token)
    offset = 0
    while offset < len(flight) or not datagrams:
        packet = p.Handshake(offset, flight[offset : offset + room - p.HANDSHAKE.size])
        offset += len(packet.data)
        head = header.Long(mode, header.VERSION, tag, tag + 1 if source is None else source, number, token, 0)
        body = packet.encode()
        if room > len(body):
            body += p.Padding(room - len(body)).encode()
        datagrams.append(sealing.seal(header.encode_long(head), [body], number))
        number += 1
    return datagrams


def hello_of(handshakes: Handshakes) -> bytes:
    """A starter's first flight."""
    return handshakes.starter(Role.STARTER).outgoing() or b""


class AttackCase(SynchronousTestCase):
    """Sealed sessions, and what has to be so after an attack."""

    def wire(self, mode: Mode = Mode.SECRET, handshakes: Handshakes | None = None, **settings: Any) -> Wire:
        """A starter and a listener."""
        return Wire(handshakes=handshakes or MODES[mode](), delay=DELAY, **settings)

    def assertWorks(self, wire: Wire) -> None:
        """The session is open, and carries messages both ways, each once."""
        self.assertIsNone(wire.here.error)
        sides = [wire.starter, *[side for side in wire.demux.connections if side.session_id == wire.starter.session_id]]
        self.assertEqual([side.state for side in sides], [State.OPEN, State.OPEN])
        question = b"are you there? %d" % len(wire.sent)
        sent = [side.send_message(question, now=wire.now) for side in sides]
        wire.until(lambda: all(message.settled for message in sent))
        for message, application in zip(sent, (wire.there, wire.here)):
            self.assertIsNone(message.error)
            self.assertEqual(application.messages[0].count(question), 1)

    def assertServes(self, wire: Wire, handshakes: Handshakes) -> None:
        """The listener serves another starter, from another host."""
        other = Wire(handshakes=handshakes, delay=DELAY, seed=99, now=wire.now)
        other.demux = wire.demux
        other.open()
        self.assertWorks(other)
        other.starter.close(now=other.now)
        other.until(lambda: other.starter.ended)

    def assertNothingRequested(self, wire: Wire, *, listener: bool = False) -> None:
        """No application has heard of anything, or at least not the listener's."""
        for application in (wire.there,) if listener else (wire.here, wire.there):
            self.assertLessEqual(set(application.kinds), {SessionEnded, MessagesSettled})

    def assertNothingLeft(self, wire: Wire) -> None:
        """Both sides have forgotten everything."""
        self.assertTrue(wire.starter.ended)
        self.assertEqual(len(wire.demux), 0)
        self.assertEqual(wire.demux.statistics()["opening"], 0)
        self.assertIsNone(wire.starter.next_timeout())
