"""
Tests for L{hypermail.services.tap}.
"""

from __future__ import annotations

import subprocess
import sys

from twisted.application.service import IService
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from hypermail.services.addresses import Listening
from hypermail.services.tap import Options, makeService
from hypermail.test.services import environment


class OptionsTests(SynchronousTestCase):
    """The options of C{twistd hypermail}."""

    def test_defaults(self) -> None:
        """Without options: port 4700, nothing stored, nothing echoed, nothing remote."""
        options = Options()
        options.parseOptions([])
        self.assertEqual(options["listening"], Listening(4700, ""))
        rest = [options[name] for name in ("inbox", "trace", "echo", "allow-remote-plain")]
        self.assertEqual(rest, [None, None, 0, 0])

    def test_all(self) -> None:
        """Every option reaches the service."""
        options = Options()
        options.parseOptions(
            "--port udp:0:interface=127.0.0.1 --inbox in --trace log --echo --allow-remote-plain".split()
        )
        self.assertEqual(options["listening"], Listening(0, "127.0.0.1"))
        self.assertEqual([options["inbox"], options["trace"]], ["in", "log"])
        hook = sys.excepthook
        self.addCleanup(setattr, sys, "excepthook", hook)
        self.assertTrue(IService.providedBy(makeService(options)))

    def test_wrong(self) -> None:
        """What makes no sense is wrong usage, with the option's name."""
        for arguments, reason in (
            (["--port", "65536"], "--port: '65536' is not a port"),
            (["--port", "-1"], "--port"),
            (["--port", "tcp:1"], "only udp"),
            (["--inbox", ""], "--inbox needs"),
            (["--trace", "a\0b"], "--trace needs"),
            (["--outbox", "x"], "outbox"),
            (["surplus"], "Wrong number"),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, arguments)
            self.assertIn(reason, str(error))

    def test_noReactor(self) -> None:
        """Reading the options installs no reactor: C{twistd --reactor} decides."""
        code = "import hypermail.services.tap, sys; sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], check=False, env=environment())
        self.assertEqual(done.returncode, 0)
