"""
Tests for L{hypermail.link.congestion}: the controllers that there are.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.demux import Demux
from hypermail.errors import UsageError
from hypermail.link.congestion import controller, names
from hypermail.options import Options, Role
from hypermail.testing import PLAIN


class NamesTests(SynchronousTestCase):
    """
    Finding controllers
    """

    def test_all(self) -> None:
        """Each file is a controller; what it makes has a window of ten datagrams, and a rate."""
        self.assertIn(Options().congestion, names())
        for name in names():
            made = controller(name)(1_000)
            self.assertEqual(made.window, 10_000)

    def test_unknown(self) -> None:
        """Another name is wrong usage, that says which there are: for a starter, and for a listener at once."""
        for name in ("", "vegas", "../newreno", "__init__"):
            error = self.assertRaises(UsageError, controller, name)
            for known in names():
                self.assertIn(known, str(error))
        options = Options(congestion="vegas")
        self.assertRaises(UsageError, Demux, options=options, handshake=PLAIN.listener, random_bytes=bytes)
        self.assertRaises(
            UsageError,
            Connection.starter,
            ("10.0.0.1", 1),
            options=options,
            now=0.0,
            random_bytes=bytes,
            handshake=PLAIN[Role.STARTER],
        )
