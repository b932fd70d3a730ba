"""
What the tests of messages share.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    HypermailError,
    MessageRejected,
)
from hypermail.test.sessions import Hosts
from hypermail.testing import Conditions


class MessagingTests(SynchronousTestCase):
    """
    A session over a network with a delay of 10 ms.
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.ours, self.theirs = self.hosts.open()
        self.session = self.ours.session
        self.addCleanup(self.hosts.end)

    def assertRejected(self, sent: Deferred[None], code: int, text: str) -> HypermailError:
        self.hosts.settle()
        error = self.failureResultOf(sent, MessageRejected).value
        self.assertEqual(error.code, code)
        self.assertIn(text, error.text)
        assert isinstance(error, HypermailError)
        return error
