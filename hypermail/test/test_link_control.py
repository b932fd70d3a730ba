"""
Tests for L{hypermail.link.control}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import LimitExceeded
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.wire.packets import SessionDeath, StreamGo, StreamLater


class ControlTests(SynchronousTestCase):
    """Control packets of one session."""

    def setUp(self) -> None:
        self.control = Control()
        self.called: list[str] = []

    def fill(self, room: int = 1_000) -> Payload:
        """A datagram with what waits."""
        payload = Payload(room)
        self.control.fill(payload)
        return payload

    def acked(self, payload: Payload) -> None:
        """The peer has a datagram."""
        for source, start, stop in payload.contents:
            source.acked(start, stop)

    def lost(self, payload: Payload) -> None:
        """A datagram was lost."""
        for source, start, stop in payload.contents:
            source.lost(start, stop)

    def test_sent_once(self) -> None:
        """A packet leaves once, in the order of their putting, and counts until it is acknowledged."""
        self.assertFalse(self.control.waiting)
        self.control.put("b", StreamGo(1, 2))
        self.control.put("a", StreamLater(1))
        self.assertTrue(self.control.waiting)
        payload = self.fill()
        self.assertEqual(payload.parts, [StreamGo(1, 2).encode(), StreamLater(1).encode()])
        self.assertEqual(payload.room, 1_000 - sum(map(len, payload.parts)))
        self.assertFalse(self.control.waiting)
        self.assertEqual(self.fill().parts, [])
        self.assertEqual(len(self.control), 2)
        self.acked(payload)
        self.assertEqual(len(self.control), 0)

    def test_lost(self) -> None:
        """What was lost is sent again, as often as it is lost, and not once more after it was acknowledged."""
        self.control.put("a", StreamGo(1, 2))
        first = self.fill()
        self.lost(first)
        self.assertTrue(self.control.waiting)
        second = self.fill()
        self.assertEqual(second.parts, first.parts)
        self.lost(second)
        self.acked(first)  # late, but it arrived
        self.assertFalse(self.control.waiting)
        self.assertEqual(self.fill().parts, [])
        self.lost(second)
        self.assertFalse(self.control.waiting)
        self.acked(second)
        self.assertEqual(len(self.control), 0)

    def test_replaced_before_it_left(self) -> None:
        """A newer packet under a key takes the place of one that has not left."""
        self.control.put("a", StreamGo(1, 2))
        self.control.put("a", StreamGo(1, 3))
        self.assertEqual(self.fill().parts, [StreamGo(1, 3).encode()])

    def test_replaced_in_flight(self) -> None:
        """A newer packet makes the older one irrelevant: lost, it is not sent again; acked, it settles nothing."""
        self.control.put("a", StreamGo(1, 2), lambda: self.called.append("old"))
        old = self.fill()
        self.control.put("a", StreamGo(1, 3), lambda: self.called.append("new"))
        new = self.fill()
        self.assertEqual(new.parts, [StreamGo(1, 3).encode()])
        self.lost(old)
        self.assertFalse(self.control.waiting)
        self.acked(old)
        self.assertEqual((self.called, len(self.control)), ([], 1))
        self.lost(new)
        self.assertEqual(self.fill().parts, [StreamGo(1, 3).encode()])
        self.acked(new)
        self.assertEqual((self.called, len(self.control)), (["new"], 0))

    def test_callback_once(self) -> None:
        """The callback comes once, with the first acknowledgement, and may put a packet itself."""

        def acked() -> None:
            self.called.append("acked")
            self.control.put("a", StreamGo(1, 9))

        self.control.put("a", StreamGo(1, 2), acked)
        payload = self.fill()
        self.acked(payload)
        self.acked(payload)
        self.assertEqual(self.called, ["acked"])
        self.assertEqual(self.fill().parts, [StreamGo(1, 9).encode()])

    def test_withdraw(self) -> None:
        """What was withdrawn never leaves (again), and nobody is called; to withdraw nothing is no error."""
        self.control.put("a", StreamGo(1, 2), lambda: self.called.append("acked"))
        payload = self.fill()
        self.control.withdraw("a")
        self.control.withdraw("a")
        self.control.withdraw("b")
        self.lost(payload)
        self.acked(payload)
        self.assertEqual((self.called, self.control.waiting, len(self.control)), ([], {}, 0))
        self.control.put("a", StreamGo(1, 2))
        self.control.withdraw("a")
        self.assertEqual(self.fill().parts, [])

    def test_retain(self) -> None:
        """All but the keys that are named is forgotten, whether it waits or flies."""
        for key in "abcd":
            self.control.put(key, SessionDeath(1, key))
        self.fill(room=2 * 8)
        self.control.retain(("b", "d", "unknown"))
        self.assertEqual(len(self.control), 2)
        self.assertEqual(self.fill().parts, [SessionDeath(1, "d").encode()])
        self.control.retain(())
        self.assertEqual(len(self.control), 0)

    def test_when_acked(self) -> None:
        """A callback can be given to a packet on its way; without such a packet there is nothing to wait for."""
        self.assertFalse(self.control.when_acked("a", lambda: self.called.append("never")))
        self.control.put("a", StreamGo(1, 2))
        payload = self.fill()
        self.assertTrue(self.control.when_acked("a", lambda: self.called.append("acked")))
        self.lost(payload)
        self.assertEqual(self.fill().parts, payload.parts)
        self.acked(payload)
        self.assertEqual(self.called, ["acked"])
        self.assertFalse(self.control.when_acked("a", lambda: self.called.append("never")))

    def test_room(self) -> None:
        """What does not fit stays for the next datagram, in order, and the payload says so."""
        for key in range(5):
            self.control.put(key, StreamLater(key))
        payload = self.fill(room=2 * 9 + 8)
        self.assertEqual(payload.parts, [StreamLater(0).encode(), StreamLater(1).encode()])
        self.assertTrue(payload.full)
        self.assertEqual(payload.room, 8)
        rest = self.fill(room=3 * 9)
        self.assertEqual(len(rest.parts), 3)
        self.assertFalse(rest.full)

    def test_limit(self) -> None:
        """A peer that acknowledges none of too many is broken; replacing one is still possible at the limit."""
        for key in range(Control.MOST_UNACKED):
            self.control.put(key, StreamLater(key))
        self.control.put(0, StreamGo(0, 1))
        error = self.assertRaises(LimitExceeded, self.control.put, "more", StreamLater(0))
        self.assertIn("unacknowledged", error.text)
        self.assertEqual(len(self.control), Control.MOST_UNACKED)
