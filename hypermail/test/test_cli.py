"""
Tests for L{hypermail.cli}: what arguments are understood, and what exit code comes of what.
"""

from __future__ import annotations

from typing import Any

import click
from click.testing import Result
from twisted.trial.unittest import SynchronousTestCase

from hypermail import cli
from hypermail._version import __version__
from hypermail.errors import HypermailError, UsageError
from hypermail.internet.settings import StarterSettings
from hypermail.services import running, starter, watching
from hypermail.services.addresses import DEFAULT_STATUS_PORT, Destination
from hypermail.test.services import invoke


class CommandCase(SynchronousTestCase):
    """A command line whose work is done by the test."""

    def invoke(self, *arguments: str) -> Result:
        """Run the command."""
        return invoke(*arguments)


class UsageTests(CommandCase):
    """Wrong usage: exit code 2, a reason, no work."""

    def setUp(self) -> None:
        self.patch(running, "runReactor", lambda work: self.fail("there was work"))

    def test_wrong(self) -> None:
        """Every kind of wrong arguments."""
        for arguments, reason in (
            (["send"], "Missing argument 'HOST:PORT'"),
            (["send", "127.0.0.1:4700"], "nothing to send"),
            (["send", "127.0.0.1:0", "a"], "'0' is not a port"),
            (["send", "127.0.0.1:65536", "a"], "from 1 to 65535"),
            (["send", "127.0.0.1", "a"], "is not HOST:PORT"),
            (["send", "--timeout", "0", "127.0.0.1:1", "a"], "--timeout"),
            (["send", "--timeout", "soon", "127.0.0.1:1", "a"], "--timeout"),
            (["send", "--congestion", "vegas", "127.0.0.1:1", "a"], "'vegas' is not"),
            (["send", "--max-rate", "10 Mbit", "127.0.0.1:1", "a"], "'10 Mbit' is no rate"),
            (["send", "--frobnicate", "127.0.0.1:1", "a"], "--frobnicate"),
            (["ping"], "Missing argument 'HOST:PORT'"),
            (["ping", "[::1]:70000"], "from 1 to 65535"),
            (["ping", "--count", "-1", "[::1]:1"], "--count"),
            (["ping", "--interval", "-1", "[::1]:1"], "--interval"),
            (["ping", "[::1]:1", "more"], "unexpected extra argument"),
            (["frobnicate"], "No such command"),
            (["status", "x"], "'x' is not a port"),
            (["status", "0"], "from 1 to 65535"),
            (["status", "localhost:0"], "from 1 to 65535"),
            (["status", "::1:4701"], "is not HOST:PORT"),
            (["status", "--often"], "--often"),
            (["status", "1", "2"], "unexpected extra argument"),
        ):
            result = self.invoke(*arguments)
            self.assertEqual(result.exit_code, 2, result.stderr)
            self.assertIn(reason, result.stderr)

    def test_help(self) -> None:
        """Help and version end well."""
        for arguments, text in (
            (["--version"], f"hypermail, version {__version__}"),
            (["--help"], "send"),
            (["send", "--help"], "HOST:PORT [FILE]..."),
            (["ping", "-h"], "HOST:PORT"),
            (["status", "-h"], "[PORT|HOST:PORT]"),
        ):
            result = self.invoke(*arguments)
            self.assertEqual(result.exit_code, 0)
            self.assertIn(text, result.output)


class StatusTests(CommandCase):
    """C{hypermail status}."""

    def test_arguments(self) -> None:
        """Every argument reaches the work, which is done without a reactor."""
        asked: list[Any] = []

        def note(where: Destination, out: Any, *, once: bool, as_json: bool, sleep: Any) -> None:
            asked.append((where, once, as_json))
            out.write("shown")

        self.patch(watching, "show", note)
        for arguments, expected in (
            ([], (Destination("127.0.0.1", DEFAULT_STATUS_PORT), False, False)),
            (["80", "--once"], (Destination("127.0.0.1", 80), True, False)),
            (["[::1]:81", "--json"], (Destination("::1", 81), False, True)),
            (["host.example:82"], (Destination("host.example", 82), False, False)),
        ):
            result = self.invoke("status", *arguments)
            self.assertEqual((result.exit_code, result.output, asked.pop()), (0, "shown", expected))

    def test_nothing(self) -> None:
        """Without a status: one line, and code 1."""

        def fail(*_: object, **__: object) -> None:
            raise watching.NoStatus("nobody listens")

        self.patch(watching, "show", fail)
        result = self.invoke("status")
        self.assertEqual((result.exit_code, result.stdout, result.stderr), (1, "", "hypermail: nobody listens\n"))


class ExitTests(CommandCase):
    """What comes of the work."""

    def setUp(self) -> None:
        self.asked: list[Any] = []

    def working(self, result: bool | Exception) -> None:
        """Let the work end like this."""

        def runReactor(work: cli.Work) -> bool:
            coroutine = work(None)
            try:
                coroutine.send(None)
            except StopIteration:
                pass
            if isinstance(result, Exception):
                raise result
            return result

        async def note(*arguments: Any, **options: Any) -> bool:
            self.asked.append((arguments, options))
            return True

        self.patch(running, "runReactor", runReactor)
        self.patch(starter, "send", note)
        self.patch(starter, "ping", note)

    def test_codes(self) -> None:
        """0 for success, 1 for failure with a line at most, 2 for usage that only the work finds wrong."""
        for outcome, code, text in (
            (True, 0, ""),
            (False, 1, ""),
            (HypermailError("no session with x:1: nobody"), 1, "hypermail: no session with x:1: nobody\n"),
            (OSError(28, "No space left on device"), 1, "No space left on device\n"),
            (UsageError("'d' is a directory: --recursive sends what is in it"), 2, "Error: 'd' is a directory"),
            (running.Interrupted(2), 130, "hypermail: interrupted\n"),
        ):
            self.working(outcome)
            result = self.invoke("send", "x:1", "d")
            self.assertEqual(result.exit_code, code)
            self.assertIn(text, result.stderr)
            if code == 1:
                self.assertLessEqual(result.stderr.count("\n"), 1)

    def test_bug(self) -> None:
        """What nobody has thought of is not hidden."""
        self.working(ZeroDivisionError())
        self.assertIsInstance(self.invoke("send", "x:1", "d").exception, ZeroDivisionError)

    def test_send(self) -> None:
        """Every argument of C{send} reaches the work."""
        self.working(True)
        (congestion,) = (parameter for parameter in cli.send.params if parameter.name == "congestion")
        self.patch(congestion, "type", click.Choice(["vegas"]))
        arguments = (
            "send -r -q --timeout 3 --trace t --identity i --congestion vegas --max-rate 800k -m one --message two"
        )
        self.assertEqual(self.invoke(*arguments.split(), "[::1]:4700", "a", "b").exit_code, 0)
        (((_, calling, load, _), _),) = self.asked
        self.assertEqual(
            calling,
            starter.Calling(
                destination=Destination("::1", 4700),
                timeout=3.0,
                traceDirectory="t",
                settings=StarterSettings(identity="i"),
                congestion="vegas",
                maxRate=800e3,
            ),
        )
        self.assertEqual(load, starter.Load(files=("a", "b"), messages=(b"one", b"two"), recursive=True))

    def test_security(self) -> None:
        """So does what decides whom to trust; what doesn't fit together is wrong usage."""
        pin = "sha256/" + "A" * 43 + "="
        for arguments, expected in (
            ([], StarterSettings()),
            (["--pin", pin, "--identity", "i"], StarterSettings(pin=pin, identity="i")),
            (["--trust-roots", "r"], StarterSettings(trustRoots="r")),
            (["--secret-file", "s"], StarterSettings(secretFile="s")),
            (["--plain"], StarterSettings(plain=True)),
            (["--plain", "--allow-remote-plain"], StarterSettings(plain=True, allowRemotePlain=True)),
        ):
            self.working(True)
            self.assertEqual(self.invoke("ping", *arguments, "x:1").exit_code, 0)
            self.assertEqual(self.asked.pop()[0][1].settings, expected)
        for arguments, text in (
            (["--pin", "sha256/short"], "a pin is sha256/"),
            (["--pin", pin, "--trust-roots", "r"], "give one of --pin and --trust-roots"),
            (["--plain", "--pin", pin], "mode plain has no use for --pin"),
            (["--secret-file", "s", "--identity", "i"], "mode secret has no use for --identity"),
            (["--allow-remote-plain"], "give --plain, too"),
        ):
            result = self.invoke("ping", *arguments, "x:1")
            self.assertEqual(result.exit_code, 2)
            self.assertIn(text, result.stderr)

    def test_ping(self) -> None:
        """Every argument of C{ping} reaches the work."""
        self.working(True)
        self.assertEqual(self.invoke("ping", "--count", "3", "-i", "0.5", "localhost:1").exit_code, 0)
        (((_, calling, _), options),) = self.asked
        self.assertEqual(calling.destination, Destination("localhost", 1))
        self.assertEqual(options, {"times": 3, "interval": 0.5})
