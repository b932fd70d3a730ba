"""
For tests of sessions that lose their link and go on over another: a pair of sides, and a network that goes away.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.events import SessionClaimed
from hypermail.options import Options
from hypermail.session.session import Session
from hypermail.session.survival import Channel
from hypermail.testing import Conditions, Pair, World, secret_handshakes
from hypermail.testing.side import Side
from hypermail.wire import packets as p
from hypermail.wire.codec import decode

#: A network of 20 ms there and back, and none.
NEAR = Conditions(delay=0.01)
DARK = Conditions(loss=1.0)
#: Links are given up after 3 to 4 s of silence.
OPTIONS = Options(ping_interval=1.0, ping_packet_count=2, connection_timeout=3.0)


class ReopeningTestCase(SynchronousTestCase):
    """Has a session that may lose its link."""

    def pair(
        self,
        options: Options = OPTIONS,
        *,
        starter_options: Options | None = None,
        conditions: Conditions = NEAR,
        seed: int = 1,
    ) -> Pair:
        """An open session, in mode C{secret}."""
        pair = Pair(
            seed,
            conditions,
            options=options,
            starter_options=starter_options,
            handshakes=secret_handshakes(Random(seed).randbytes),
            start=1_000.0,
        )
        pair.open()
        pair.run_for(1.0)
        return pair

    def suspend(self, pair: Pair) -> None:
        """Take the network away until both sides have noticed."""
        pair.network.set_conditions(DARK)
        pair.run(lambda: is_suspended(pair.starter) and is_suspended(pair.listener), limit=20)

    def resume(self, pair: Pair, conditions: Conditions = NEAR) -> None:
        """Bring the network back, and wait until both sides go on."""
        pair.network.set_conditions(conditions)
        pair.starter.connection.awaken(now=pair.now)
        pair.starter.touch()
        pair.run(lambda: pair.starter.connection.linked and pair.listener.connection.linked, limit=60)

    def finish(self, pair: Pair, *, complete: bool = True) -> None:
        """Close the session; everything has come about, and nothing is left."""
        pair.close()
        pair.assert_delivered(complete=complete)
        self.assertEqual(len(pair.listener_node.demux), 0)

    def answer_claims(
        self, pair: World, answer: Callable[[Side, SessionClaimed], object], times: int = 1
    ) -> list[Side]:
        """Have claims answered another way, so many times. @return: the candidates, as they come."""
        node = pair.listener_node
        usual, candidates = node.claimed, list[Side]()

        def claimed(candidate: Side, event: SessionClaimed) -> None:
            candidates.append(candidate)
            if len(candidates) > times:
                usual(candidate, event)
            else:
                answer(candidate, event)

        self.patch(node, "claimed", claimed)
        return candidates

    def claims(self) -> list[p.SessionReopen]:
        """All claims that are made from now on."""
        made: list[p.SessionReopen] = []
        usual = Session.claim

        def claim(session: Session, channel: Channel) -> None:
            usual(session, channel)
            made.append(claim_of(session))

        self.patch(Session, "claim", claim)
        return made


def claim_of(session: Session) -> p.SessionReopen:
    """The claim that a session is making."""
    control = session.control
    _, data, _ = control._unacked[control._current["session"]]
    (packet,) = decode(memoryview(data))
    assert isinstance(packet, p.SessionReopen)
    return packet


def session_of(side: Side) -> Session:
    """The core's session of one side."""
    return side.connection._session


def is_suspended(side: Side) -> bool:
    """Whether a side has no link, or not yet another."""
    return bool(side.connection.statistics()["state"] == "suspended")
