"""
For tests that interrupt programs.
"""

from __future__ import annotations

import signal

from twisted.trial.unittest import SynchronousTestCase


def interruptible(test: SynchronousTestCase) -> None:
    """
    Have programs that a test starts hear SIGINT, even when the tests themselves run in a shell's background, where
    it is ignored, and what is ignored is inherited.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    test.addCleanup(signal.signal, signal.SIGINT, before)
