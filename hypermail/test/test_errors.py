"""
Tests for L{hypermail.errors}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail import errors
from hypermail.errors import Delivered, HypermailError, MessageUndelivered, Reason


class ReasonTests(SynchronousTestCase):
    """Codes on the wire."""

    def test_describe(self) -> None:
        """A known code is described in words, an unknown one stays a number."""
        self.assertEqual(Reason.describe(Reason.PEER_SILENT), "peer silent")
        self.assertEqual(Reason.describe(8), "peer silent")
        self.assertEqual(Reason.describe(0xFFFFFFFF), "reason 4294967295")

    def test_fit(self) -> None:
        """Every code fits its 32 bits."""
        for reason in Reason:
            self.assertTrue(0 <= reason < 1 << 32)


class HypermailErrorTests(SynchronousTestCase):
    """One tree of errors."""

    def test_tree(self) -> None:
        """Every exception of the module is a HypermailError with a default code, and can be made without arguments."""
        found = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Exception)]
        tree = [error for error in found if issubclass(error, HypermailError)]
        self.assertEqual(tree, found)
        self.assertGreater(len(tree), 20)
        for error in tree:
            if error is not MessageUndelivered:
                made = error()
                self.assertEqual(made.code, error.default_code)
                self.assertEqual(made.text, Reason.describe(error.default_code))

    def test_text_and_code(self) -> None:
        """Text and code that are given are kept, even a code of 0; the text is what is printed."""
        error = HypermailError("what happened", 0)
        self.assertEqual((error.text, error.code, str(error)), ("what happened", 0, "what happened"))
        self.assertEqual(HypermailError("", Reason.RESET).text, "reset")

    def test_undelivered(self) -> None:
        """A message that was not settled tells why, and honestly whether it may have arrived."""
        cause = errors.PeerSilent("nobody there")
        for delivered in Delivered:
            error = MessageUndelivered(cause, delivered)
            self.assertIs(error.cause, cause)
            self.assertIs(error.delivered, delivered)
            self.assertEqual(error.code, Reason.PEER_SILENT)
            self.assertIn(f"delivered: {delivered.value}", error.text)
            self.assertIn("nobody there", error.text)
