"""
Tests for L{hypermail.security.handshake}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.options import Mode, Role
from hypermail.security.handshake import Handshake, HandshakeFactory, PlainHandshake, bind


class PlainHandshakeTests(SynchronousTestCase):
    """Each side says an empty flight."""

    def test_exchange(self) -> None:
        """The starter speaks first, the listener answers, each once; then both have keys that fit each other."""
        make: HandshakeFactory = PlainHandshake
        starter, listener = make(Role.STARTER), make(Role.LISTENER)
        self.assertIsNone(listener.outgoing())
        hello = starter.outgoing()
        self.assertEqual(hello, b"")
        self.assertIsNone(starter.outgoing())
        assert hello is not None
        self.assertEqual((starter.complete, listener.complete), (False, False))
        self.assertIsNone(listener.keys(b"binding"))
        listener.receive(hello)
        answer = listener.outgoing()
        self.assertEqual(answer, b"")
        self.assertIsNone(listener.outgoing())
        assert answer is not None
        self.assertIsNone(starter.keys(b"binding"))
        starter.receive(answer)
        self.assertIsNone(starter.outgoing())
        self.assertEqual((starter.complete, listener.complete), (True, True))
        ours, theirs = starter.keys(b"binding"), listener.keys(b"binding")
        assert ours is not None and theirs is not None
        for sealing, opening in ((ours.sending, theirs.receiving), (theirs.sending, ours.receiving)):
            self.assertEqual(opening.open(memoryview(sealing.seal(b"h", [b"content"], 1)), 1, 1), b"content")

    def test_repeated(self) -> None:
        """A flight that comes twice changes nothing and is not answered twice."""
        listener = PlainHandshake(Role.LISTENER)
        listener.receive(b"")
        listener.outgoing()
        listener.receive(b"")
        self.assertIsNone(listener.outgoing())
        self.assertTrue(listener.complete)

    def test_sessionID(self) -> None:
        """Both sides derive the same 16 bytes from what they are bound to; another binding gives others."""
        ids = []
        for role, binding in ((Role.STARTER, b"1"), (Role.LISTENER, b"1"), (Role.STARTER, b"2")):
            handshake = PlainHandshake(role)
            handshake.receive(b"")
            keys = handshake.keys(binding)
            assert keys is not None
            ids.append(keys.session_id)
        self.assertEqual(ids[0], ids[1])
        self.assertEqual(len(ids[0]), 16)
        self.assertNotEqual(ids[0], ids[2])

    def test_mode(self) -> None:
        """It says which mode it establishes, has nothing to hold, and shows no certificate."""
        handshake: Handshake = PlainHandshake(Role.STARTER)
        self.assertIs(handshake.mode, Mode.PLAIN)
        self.assertTrue(handshake.begun)
        self.assertIsNone(handshake.peer_certificate)
        handshake.close()


class BindTests(SynchronousTestCase):
    """What keys are bound to."""

    def test_everythingCounts(self) -> None:
        """Another mode, version, tag or token, or two tags swapped, and the binding is another."""
        same = (Mode.TLS, 1, 2, 3, 4, b"token")
        others = [
            (Mode.SECRET, 1, 2, 3, 4, b"token"),
            (Mode.TLS, 9, 2, 3, 4, b"token"),
            (Mode.TLS, 1, 9, 3, 4, b"token"),
            (Mode.TLS, 1, 2, 9, 4, b"token"),
            (Mode.TLS, 1, 2, 3, 9, b"token"),
            (Mode.TLS, 1, 2, 4, 3, b"token"),
            (Mode.TLS, 1, 2, 3, 4, b""),
        ]
        self.assertEqual(bind(*same), bind(*same))
        self.assertEqual(len({bind(*other) for other in (same, *others)}), 8)
