"""
Tests for L{hypermail.security.handshake}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.options import Mode, Role
from hypermail.security.handshake import Handshake, HandshakeFactory, PlainHandshake


class PlainHandshakeTests(SynchronousTestCase):
    """Each side says an empty flight."""

    def test_exchange(self) -> None:
        """The starter speaks first, the listener answers, each once; then both have seals that fit each other."""
        make: HandshakeFactory = PlainHandshake
        starter, listener = make(Role.STARTER), make(Role.LISTENER)
        self.assertIsNone(listener.outgoing())
        hello = starter.outgoing()
        self.assertEqual(hello, b"")
        self.assertIsNone(starter.outgoing())
        assert hello is not None
        self.assertEqual((starter.complete, listener.complete), (False, False))
        self.assertIsNone(listener.session_seals())
        listener.receive(hello)
        answer = listener.outgoing()
        self.assertEqual(answer, b"")
        self.assertIsNone(listener.outgoing())
        assert answer is not None
        self.assertIsNone(starter.session_seals())
        starter.receive(answer)
        self.assertIsNone(starter.outgoing())
        self.assertEqual((starter.complete, listener.complete), (True, True))
        ours, theirs = starter.session_seals(), listener.session_seals()
        assert ours is not None and theirs is not None
        for sealing, opening in ((ours[0], theirs[1]), (theirs[0], ours[1])):
            self.assertEqual(opening.open(memoryview(sealing.seal(b"h", [b"content"], 1)), 1, 1), b"content")

    def test_repeated(self) -> None:
        """A flight that comes twice changes nothing and is not answered twice."""
        listener = PlainHandshake(Role.LISTENER)
        listener.receive(b"")
        listener.outgoing()
        listener.receive(b"")
        self.assertIsNone(listener.outgoing())
        self.assertTrue(listener.complete)

    def test_long_seals(self) -> None:
        """Long datagrams of either side open on the other."""
        tag = 99
        ours = PlainHandshake(Role.STARTER).long_seals(tag)
        theirs = PlainHandshake(Role.LISTENER).long_seals(tag)
        for sealing, opening in ((ours[0], theirs[1]), (theirs[0], ours[1])):
            self.assertEqual(opening.open(memoryview(sealing.seal(b"h", [b"content"], 1)), 1, 1), b"content")

    def test_session_id(self) -> None:
        """Both sides derive the same 16 bytes from the first tag, another tag gives others."""
        one, other = PlainHandshake(Role.STARTER), PlainHandshake(Role.LISTENER)
        self.assertEqual(one.session_id(1), other.session_id(1))
        self.assertEqual(len(one.session_id(1)), 16)
        self.assertNotEqual(one.session_id(1), one.session_id(2))
        self.assertEqual(len(one.session_id((1 << 64) - 1)), 16)

    def test_mode(self) -> None:
        """It says which mode it establishes."""
        handshake: Handshake = PlainHandshake(Role.STARTER)
        self.assertIs(handshake.mode, Mode.PLAIN)
