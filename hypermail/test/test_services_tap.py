"""
Tests for L{hypermail.services.tap}.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

from twisted.application.service import IService
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from hypermail.internet.settings import ListenerSettings, StarterSettings
from hypermail.options import Options as SessionOptions
from hypermail.services import listener
from hypermail.services.addresses import Destination, Listening
from hypermail.services.passages import Passage
from hypermail.services.processes.service import WorkersService
from hypermail.services.status_site import StatusService
from hypermail.services.tap import Options, makeService
from hypermail.test.services import environment
from hypermail.test.sessions import identityOf


class OptionsTests(SynchronousTestCase):
    """The options of C{twistd hypermail}."""

    def test_defaults(self) -> None:
        """Without options: port 4700, nothing stored, nothing echoed, TLS with an identity of its own."""
        options = Options()
        options.parseOptions([])
        self.assertEqual(options["listening"], Listening(4700, ""))
        self.assertEqual([options[name] for name in ("inbox", "trace", "max-rate", "echo")], [None, None, None, 0])
        self.assertEqual(options["settings"], ListenerSettings())

    def test_all(self) -> None:
        """Every option reaches the service."""
        options = Options()
        options.parseOptions(
            "--port udp:0:interface=127.0.0.1 --inbox in --trace log --echo --congestion cubic --identity i --state s "
            "--trust-roots r --allow one --allow two --max-rate 2.5M --forward tcp:h:1 --forward d=udp:h:2".split()
        )
        expected = ListenerSettings(identity="i", state="s", trustRoots="r", allow=("one", "two"))
        self.assertEqual(options["settings"], expected)
        self.assertEqual(options["listening"], Listening(0, "127.0.0.1"))
        self.assertEqual([options["inbox"], options["trace"]], ["in", "log"])
        self.assertEqual(options["max-rate"], 2.5e6)
        hook = sys.excepthook
        self.addCleanup(setattr, sys, "excepthook", hook)
        self.assertTrue(IService.providedBy(makeService(options)))
        doings = []

        class Remembering(listener.ListenerService):
            def __init__(self, reactor: Any, doing: listener.Doing) -> None:
                super().__init__(reactor, doing)
                doings.append(doing)

        self.patch(listener, "ListenerService", Remembering)
        options["congestion"] = "vegas"
        makeService(options)
        self.assertEqual(doings[0].forwards, (Passage("", "tcp:h:1"), Passage("d", "udp:h:2")))
        self.assertEqual(doings[0].options, SessionOptions(congestion="vegas", max_rate=2.5e6))

    def test_starter(self) -> None:
        """With --connect it is a starter, with the trust of C{hypermail send}."""
        options = Options()
        pin = identityOf("listener.example").pin
        options.parseOptions(
            f"--connect example.org:4701 --listen tcp:1 --listen d=udp:2 --pin {pin} --identity i --max-rate 1M".split()
        )
        self.assertEqual(options["destination"], ("example.org", 4701))
        self.assertEqual(options["listen"], (Passage("", "tcp:1"), Passage("d", "udp:2")))
        self.assertEqual(options["settings"], StarterSettings(pin=pin, identity="i"))
        self.assertTrue(IService.providedBy(makeService(options)))

    def test_status(self) -> None:
        """Without --status-port nothing counts sessions; with it a service shows what the listener tells."""
        self.addCleanup(setattr, sys, "excepthook", sys.excepthook)
        for text, where in (
            ("4701", Destination("127.0.0.1", 4701)),
            ("localhost:0", Destination("127.0.0.1", 0)),
            ("0.0.0.0:80", Destination("0.0.0.0", 80)),
            ("[::1]:4701", Destination("::1", 4701)),
        ):
            options = Options()
            options.parseOptions(["--plain", "--status-port", text])
            self.assertEqual(options["status-port"], where)
            program: Any = makeService(options)
            showing, listening, _ = program
            self.assertIsInstance(showing, StatusService)
            self.assertIsInstance(listening, listener.ListenerService)
            self.assertIs(listening._sessions.status, showing._visits.wrappedFactory.resource._status)
        options = Options()
        options.parseOptions(["--plain"])
        alone, _ = cast(Any, makeService(options))
        self.assertEqual((alone._sessions.status, options["status-port"]), (None, None))

    def test_workers(self) -> None:
        """With --workers the service is a parent, that hands on what it was given; one worker is as none."""
        self.addCleanup(setattr, sys, "excepthook", sys.excepthook)
        given = ["--plain", "--workers", "3", "--status-port", "0", "--forward", "tcp:h:1"]
        options = Options()
        options.parseOptions(given)
        showing, parent, _ = cast(Any, makeService(options))
        self.assertIsInstance(parent, WorkersService)
        self.assertEqual((parent._count, parent._arguments), (3, given))
        self.assertEqual(parent._doing.forwards, (Passage("", "tcp:h:1"),))
        self.assertIs(parent._overview, showing._visits.wrappedFactory.resource._status)
        for alone in (["--plain"], ["--plain", "--workers", "1"]):
            options = Options()
            options.parseOptions(alone)
            service, _ = cast(Any, makeService(options))
            self.assertIsInstance(service, listener.ListenerService)

    def test_given(self) -> None:
        """What was given is what the process was started with when nobody says otherwise."""
        self.patch(sys, "argv", ["twistd", "--plain"])
        options = Options()
        options.parseOptions()
        self.assertEqual(options.given, ["--plain"])

    def test_otherModes(self) -> None:
        """So do those of the other modes."""
        for arguments, expected in (
            (["--plain"], ListenerSettings(plain=True)),
            (["--plain", "--allow-remote-plain"], ListenerSettings(plain=True, allowRemotePlain=True)),
            (["--secret-file", "f"], ListenerSettings(secretFile="f")),
        ):
            options = Options()
            options.parseOptions(arguments)
            self.assertEqual(options["settings"], expected)

    def test_nameOfFiles(self) -> None:
        """A passage may have the name that files have when there is no inbox for them, and where datagrams pass."""
        for arguments in (["file=tcp:h:1"], ["file=udp:h:1", "--inbox", "d"]):
            options = Options()
            options.parseOptions(["--forward", *arguments])
            self.assertEqual(options["forward"][0].name, "file")

    def test_wrong(self) -> None:
        """What makes no sense is wrong usage, with the option's name."""
        for arguments, reason in (
            (["--port", "65536"], "--port: '65536' is not a port"),
            (["--port", "-1"], "--port"),
            (["--port", "tcp:1"], "only udp"),
            (["--congestion", "vegas"], "--congestion: there is no congestion control 'vegas'"),
            (["--max-rate", "fast"], "--max-rate: 'fast' is no rate"),
            (["--max-rate", "7k"], "--max-rate: '7k' is no rate to talk at"),
            (["--status-port", ""], "--status-port: '' is not a port"),
            (["--status-port", "http"], "--status-port: 'http' is not a port"),
            (["--status-port", "65536"], "--status-port: '65536' is not a port"),
            (["--status-port", "::1:4701"], "--status-port: '::1:4701' is not HOST:PORT"),
            (["--status-port", ":4701"], "--status-port: ':4701' has no host"),
            (["--status-port", "example.org:1"], "--status-port: 'example.org' is not an IP address"),
            (["--workers", "0"], "--workers: '0' is no number of workers: give one from 1 to 64, or auto"),
            (["--connect", "h:1", "--listen", "tcp:1", "--workers", "2"], "--workers is for a listener"),
            (["--inbox", ""], "--inbox needs"),
            (["--trace", "a\0b"], "--trace needs"),
            (["--identity", ""], "--identity needs the name of a file"),
            (["--allow-remote-plain"], "give --plain, too"),
            (["--plain", "--identity", "i"], "mode plain has no use for --identity"),
            (["--plain", "--secret-file", "f"], "mode plain has no use for --secret-file"),
            (["--secret-file", "f", "--allow", "p"], "mode secret has no use for --allow"),
            (["--outbox", "x"], "--outbox is for a starter: give --connect HOST:PORT, too"),
            (["--connect", "h:1", "--outbox", ""], "--outbox needs the name of a directory"),
            (["--connect", "h:1", "--listen", "tcp:1", "--outbox-remove"], "give --outbox DIR, too"),
            (["--listen", "tcp:1"], "--listen is for a starter: give --connect HOST:PORT, too"),
            (["--pin", "sha256/x"], "--pin is for a starter"),
            (["--outbox-remove"], "--outbox-remove is for a starter"),
            (["--connect", "h:1"], "--connect needs --listen"),
            (["--connect", "h", "--listen", "tcp:1"], "--connect: 'h' is not HOST:PORT"),
            (["--connect", "h:1", "--listen", "tcp:1", "--port", "1"], "--port is for a listener"),
            (["--connect", "h:1", "--listen", "tcp:1", "--forward", "tcp:1"], "--forward is for a listener"),
            (["--connect", "h:1", "--listen", "tcp:1", "--pin", "x"], "pin"),
            (
                ["--connect", "h:1", "--listen", "tcp:1", "--listen", "udp:1"],
                "--listen: tcp:1 and udp:1 both have no name",
            ),
            (["--forward", "22"], "--forward: '22' is not [NAME=]ENDPOINT"),
            (["--forward", "udp:22"], "--forward: udp:22: datagrams go on to udp:HOST:PORT"),
            (
                ["--forward", "file=tcp:h:1", "--inbox", "d"],
                "--forward file=tcp:h:1: with --inbox this name is that of f",
            ),
            (["surplus"], "Wrong number"),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, arguments)
            self.assertIn(reason, str(error))

    def test_noReactor(self) -> None:
        """Reading the options installs no reactor: C{twistd --reactor} decides."""
        code = "import hypermail.services.tap, sys; sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], check=False, env=environment())
        self.assertEqual(done.returncode, 0)
