"""
Tests of the programs as a user runs them: C{twistd hypermail} and C{hypermail}, real processes over loopback.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from unittest import SkipTest
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

import hypermail.services
from hypermail.test.services import COMMAND, TWIST, TWISTD, ListenerProcess, command, environment, program, tree
from hypermail.test.signals import interruptible

LARGE = 4 << 30
"""Bytes of a file that takes longer than anything here waits for; it is sparse, so it costs nothing."""


class ProgramCase(SynchronousTestCase):
    """A directory to run programs in."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp())
        self.here.mkdir()
        self.inbox = self.here / "in"
        self.trust: tuple[str, ...] = ()

    def listen(
        self, *options: str, port: str = "udp:0:interface=127.0.0.1", limit: int | None = None
    ) -> ListenerProcess:
        """
        Start a listener, which is stopped after the test.

        @param limit: bytes of the largest file that it may write.
        """

        def limited() -> None:
            assert limit is not None
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        listener = ListenerProcess(self.here, *options, port=port, preexec_fn=None if limit is None else limited)
        self.addCleanup(listener.stop)
        self.where = f"127.0.0.1:{listener.port}"
        self.trust = ("--pin", listener.pin) if listener.pin else ()
        return listener

    def run_(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run C{hypermail}, which trusts the listener; its exit code is checked, and that it shows no traceback."""
        verb, *rest = arguments
        done = command(self.here, verb, *self.trust, *rest)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        if code == 0:
            self.assertEqual(done.stderr, "")
        return done

    def write(self, name: str, content: bytes = b"") -> str:
        """Make a file."""
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    def startSendingLarge(self) -> subprocess.Popen[str]:
        """Begin to send a file that takes a while; returns when it is arriving."""
        with open(self.here / "large", "wb") as file:
            file.truncate(LARGE)
        sender = subprocess.Popen(
            [*COMMAND, "send", *self.trust, "-q", "--timeout", "0.5", self.where, "large"],
            cwd=self.here,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(sender.communicate)
        self.addCleanup(sender.kill)
        while not any(path.stat().st_size > 1 << 20 for path in self.inbox.glob(".hypermail/*.part")):
            try:
                sender.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
            self.fail(f"the sender has ended: {sender.communicate()}")
        return sender

    def assertOneLine(self, text: str, *parts: str) -> None:
        """The text is one line for people that has these parts."""
        self.assertEqual(text.count("\n"), 1, text)
        for part in parts:
            self.assertIn(part, text)


class StatusTests(ProgramCase):
    """What a listener tells of itself, and C{hypermail status}."""

    def test_real(self) -> None:
        """A listener with --status-port tells of a session, as JSON, as a table, and for Prometheus."""
        interruptible(self)
        listener = self.listen("--echo", "--status-port", "0")
        (port,) = (
            match[1] for line in listener.log if (match := re.search(r"status at http://127\.0\.0\.1:(\d+)/", line))
        )
        self.assertIn("0 sessions open", command(self.here, "status", port, "--once").stdout)
        pinging = subprocess.Popen(
            [*COMMAND, "ping", *self.trust, "--count", "0", "--interval", "0.05", self.where],
            cwd=self.here,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(pinging.__exit__, None, None, None)
        self.addCleanup(pinging.kill)
        assert pinging.stdout is not None
        pinging.stdout.readline()
        done = command(self.here, "status", f"localhost:{port}", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found = json.loads(done.stdout)
        (session,) = found["sessions"]
        self.assertEqual((session["mode"], session["state"], session["pin"]), ("tls", "open", None))
        self.assertEqual(found["program"]["listening"], [self.where])
        self.assertGreater(session["rates"]["bytes_received"], 0)
        self.assertGreater(found["totals"]["bytes_sent"], 1_000)
        done = command(self.here, "status", port)
        self.assertEqual((done.returncode, done.stdout.count("\n"), done.stderr), (0, 3, ""))
        self.assertIn(session["address"], done.stdout)
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            self.assertIn(b"\nhypermail_sessions_opened_total 1.0\n", answer.read())
        pinging.send_signal(signal.SIGINT)
        pinging.stdout.read()
        done = command(self.here, "status", port, "--json")
        self.assertEqual(json.loads(done.stdout)["sessions"], [])
        self.assertEqual(listener.stop(), -signal.SIGTERM)
        done = command(self.here, "status", port)
        self.assertEqual(done.returncode, 1)
        self.assertOneLine(done.stderr, "hypermail: nobody listens at", "--status-port")

    def test_inUse(self) -> None:
        """A port that is in use gives one line and exit code 1, under twistd and twist."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            options = ["hypermail", "--plain", "--port", "udp:0:interface=127.0.0.1", "--status-port", str(port)]
            for runner in ([*TWISTD, "-n", "--pidfile="], TWIST):
                done = program(self.here, *runner, *options)
                self.assertEqual(done.returncode, 1)
                self.assertOneLine(done.stderr, f"--status-port: cannot listen on TCP port {port} of 127.0.0.1")


class StoringTests(ProgramCase):
    """Files and messages that arrive."""

    def test_files(self) -> None:
        """Files arrive as they are, an empty one too; the last line says where they are, the log that they came."""
        listener = self.listen("--inbox", "in")
        contents = {"empty": b"", "a.txt": b"hello", "grüße.bin": os.urandom(300_000)}
        done = self.run_("send", self.where, *(self.write(name, content) for name, content in contents.items()))
        self.assertEqual(tree(str(self.inbox)), contents)
        self.assertIn(f"stored 3 files, 300,005 bytes at {self.where} in ", done.stdout.splitlines()[-1])
        self.assertEqual(listener.stop(), -signal.SIGTERM)
        stored = [line for line in listener.log if "stored" in line]
        self.assertEqual(len(stored), 3)
        self.assertRegex("\n".join(stored), r"stored 'a.txt' \(5 bytes\) from 127\.0\.0\.1:\d+")

    def test_tree(self) -> None:
        """A directory arrives with its name and all that is below it, identical."""
        self.listen("--inbox", "in")
        source = os.path.dirname(hypermail.services.__path__[0])
        shutil.copytree(source, self.here / "tree", ignore=shutil.ignore_patterns("__pycache__"))
        for _ in range(2):
            self.run_("send", "--recursive", "--quiet", self.where, "tree")
        sent, arrived = tree(str(self.here / "tree")), tree(str(self.inbox / "tree"))
        self.assertGreater(len(sent), 80)
        self.assertEqual({name: arrived.pop(name) for name in sent}, sent)
        # Nothing was overwritten: the second time all have numbers.
        self.assertEqual(sorted(arrived.values()), sorted(sent.values()))
        self.assertEqual([name for name in arrived if " (2)" not in name], [])

    def test_message(self) -> None:
        """A message is a file of its own when the command ends."""
        self.listen("--inbox", "in")
        done = self.run_("send", "--message", "grüße", "-m", "", self.where)
        self.assertEqual(sorted(tree(str(self.inbox)).values()), [b"", "grüße".encode()])
        self.assertIn(f"stored 2 messages at {self.where}", done.stdout)

    def test_bothFamilies(self) -> None:
        """Without an interface the listener is on all addresses of both families, and says so."""
        if not socket.has_ipv6:
            raise SkipTest("there is no IPv6 here")
        listener = self.listen("--inbox", "in", port="0")
        both = rf"listening on 0\.0\.0\.0:{listener.port} and \[::\]:{listener.port} in mode tls"
        self.assertRegex("\n".join(listener.log), both)
        for host in ("127.0.0.1", "[::1]", "localhost"):
            self.run_("send", f"{host}:{listener.port}", self.write("a", b"x"))
        self.assertEqual(sorted(tree(str(self.inbox))), ["a", "a (2)", "a (3)"])

    def test_plain(self) -> None:
        """In mode plain it is on 127.0.0.1 and ::1 only, and says that this is all."""
        listener = self.listen("--inbox", "in", "--plain", port="0")
        self.assertIn("in mode plain, for this machine only", "\n".join(listener.log))
        self.assertNotIn("0.0.0.0", "\n".join(listener.log))
        self.run_("send", "--plain", self.where, self.write("a", b"x"))
        self.assertEqual(tree(str(self.inbox)), {"a": b"x"})

    def test_trace(self) -> None:
        """With --trace each side writes what happened."""
        listener = self.listen("--inbox", "in", "--trace", "listening")
        self.run_("send", "--trace", "sending", self.where, self.write("a", b"x"))
        listener.stop()
        for name in ("listening", "sending"):
            (path,) = (self.here / name).iterdir()
            self.assertIn("packet_sent", path.read_text())

    def test_echo(self) -> None:
        """--echo takes messages, and is no inbox; a ping has its round trips."""
        self.listen("--echo")
        self.run_("send", "--message", "hello", self.where)
        done = self.run_("send", self.where, self.write("a", b"not an answer\n"), code=1)
        self.assertOneLine(done.stderr, "'a' was not stored: the other side is no inbox")
        done = self.run_("ping", "--count", "2", "--interval", "0", self.where)
        self.assertRegex(done.stdout, rf"^({self.where}: [\d.]+ ms\n){{2}}2 round trips to {self.where}: least")

    def test_neither(self) -> None:
        """Without --inbox and --echo, both sides are told the options; pings are answered."""
        listener = self.listen()
        self.run_("ping", "-c", "1", self.where)
        done = self.run_("send", self.where, self.write("a"), code=1)
        self.assertOneLine(done.stderr, "'a' was not stored", "--inbox DIR", "--echo")
        self.assertIn("--inbox DIR", listener.expect("refused a file from").string)


class FailingTests(ProgramCase):
    """What goes wrong is one line and an exit code."""

    def test_nobody(self) -> None:
        """Nobody listening is found out within the timeout."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{deaf.getsockname()[1]}"
            for arguments in (["send", "-m", "x"], ["ping"]):
                done = self.run_(*arguments, "--timeout", "0.2", where, code=1)
                self.assertOneLine(done.stderr, f"hypermail: nobody has answered at {where} for 0.2 s")

    def test_unknownHost(self) -> None:
        """A host that does not exist is named."""
        done = self.run_("ping", "nobody.invalid:4700", code=1)
        self.assertOneLine(done.stderr, "nobody.invalid")

    def test_remote(self) -> None:
        """Mode plain does not leave the machine unless it is told to."""
        done = self.run_("ping", "--plain", "192.0.2.1:4700", code=1)
        self.assertOneLine(done.stderr, "192.0.2.1", "--allow-remote-plain")

    def test_usage(self) -> None:
        """Wrong usage is exit code 2, before anything is sent."""
        (self.here / "d").mkdir()
        done = self.run_("send", "127.0.0.1:1", "d", code=2)
        self.assertIn("'d' is a directory: --recursive sends what is in it", done.stderr)
        self.run_("send", "127.0.0.1:65536", "d", code=2)
        self.run_("send", "127.0.0.1:1", code=2)

    def test_unreadable(self) -> None:
        """A file that cannot be read does not keep the others; nothing is sent when there are none."""
        self.listen("--inbox", "in")
        done = self.run_("send", "-q", self.where, "missing", self.write("a"), code=1)
        self.assertOneLine(done.stderr, "cannot read 'missing': No such file or directory")
        self.assertEqual(tree(str(self.inbox)), {"a": b""})
        done = self.run_("send", "127.0.0.1:1", "missing", code=1)
        self.assertOneLine(done.stderr, "cannot read 'missing'")

    def test_inboxFull(self) -> None:
        """An inbox that cannot take a file says why, keeps nothing of it, and takes the next."""
        listener = self.listen("--inbox", "in", limit=1_000_000)
        done = self.run_("send", self.where, self.write("big", bytes(3_000_000)), code=1)
        self.assertOneLine(done.stderr, "'big' was not stored: the other side could not store it: File too large")
        listener.expect("could not store 'big' from .*: File too large")
        self.run_("send", self.where, self.write("small", bytes(900_000)))
        self.assertEqual(list(tree(str(self.inbox))), ["small"])

    def test_inboxRemoved(self) -> None:
        """An inbox that was removed fails what comes, and does not end the listener."""
        self.listen("--inbox", "in")
        shutil.rmtree(self.inbox)
        for _ in range(2):
            done = self.run_("send", self.where, self.write("a"), code=1)
            self.assertOneLine(done.stderr, "No such file or directory")

    def parts(self) -> list[Path]:
        """What the inbox has of files that are not whole."""
        return list(self.inbox.glob(".hypermail/*.part"))

    def test_listenerStops(self) -> None:
        """SIGTERM in the middle: the sender waits for the listener in vain, and says so; the part is kept."""
        listener = self.listen("--inbox", "in")
        sender = self.startSendingLarge()
        self.assertEqual(listener.stop(), -signal.SIGTERM)
        _, errors = sender.communicate()
        self.assertEqual(sender.returncode, 1)
        self.assertOneLine(errors, self.where, "the listener is shutting down", "for 0.5 s")
        self.assertEqual(tree(str(self.inbox)), {})
        self.assertEqual(len(self.parts()), 1)
        self.assertNotIn("Traceback", "\n".join(listener.log))

    def test_interrupted(self) -> None:
        """Control-C in the middle: the listener keeps the part, and goes on."""
        interruptible(self)
        listener = self.listen("--inbox", "in")
        sender = self.startSendingLarge()
        sender.send_signal(signal.SIGINT)
        _, errors = sender.communicate()
        self.assertEqual(errors, "hypermail: interrupted\n")
        self.assertEqual(sender.returncode, 128 + signal.SIGINT)
        listener.expect("could not store 'large'")
        listener.expect("bytes of 'large' are kept")
        self.run_("send", self.where, self.write("a"))
        self.assertEqual(tree(str(self.inbox)), {"a": b""})


class StartingTests(ProgramCase):
    """A listener that cannot start."""

    def assertRefused(
        self, *parts: str, port: str = "udp:0:interface=127.0.0.1", options: tuple[str, ...] = ()
    ) -> None:
        """C{twistd} and C{twist} end with exit code 1 and one line on standard error; no pid file is left."""
        for start in ([*TWISTD, "-n"], TWIST):
            done = program(self.here, *start, "hypermail", "--port", port, *options)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertOneLine(done.stderr, "hypermail: ", *parts)
            self.assertNotIn("Traceback", done.stdout)
        self.assertFalse((self.here / "twistd.pid").exists())

    def test_portInUse(self) -> None:
        """A port that somebody else has is named."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            number = taken.getsockname()[1]
            port = f"udp:{number}:interface=127.0.0.1"
            self.assertRefused(f"cannot listen on UDP port {number}", "Address already in use", port=port)

    def test_halfInUse(self) -> None:
        """So is one that somebody else has for IPv6 only."""
        if not socket.has_ipv6:
            raise SkipTest("there is no IPv6 here")
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            taken.bind(("::", 0))
            number = taken.getsockname()[1]
            self.assertRefused(f"cannot listen on UDP port {number} of ::: Address already in use", port=str(number))

    def test_inbox(self) -> None:
        """An inbox that is no directory is named."""
        self.write("file")
        self.assertRefused("the inbox 'file' cannot be used: Not a directory", options=("--inbox", "file"))

    def test_trace(self) -> None:
        """So is a directory for traces."""
        self.write("file")
        self.assertRefused("no traces can be written to 'file': Not a directory", options=("--trace", "file"))

    def test_remote(self) -> None:
        """Mode plain does not listen on other addresses unless it is told to."""
        port = "udp:0:interface=192.0.2.1"
        self.assertRefused("192.0.2.1", "--allow-remote-plain", port=port, options=("--plain",))

    def test_daemon(self) -> None:
        """A daemon's parent knows, too."""
        self.write("file")
        done = program(self.here, *TWISTD, "hypermail", "--port", "udp:0:interface=127.0.0.1", "--inbox", "file")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the inbox 'file'", done.stderr)
        # The daemon tells its parent, which ends then, before it removes this.
        for _ in range(200):
            if not (self.here / "twistd.pid").exists():
                break
            time.sleep(0.05)
        self.assertFalse((self.here / "twistd.pid").exists())

    def test_usage(self) -> None:
        """Wrong options are wrong usage; the exit code is Twisted's business (26.4 has 0 for it, 26.10 has 1)."""
        done = program(self.here, *TWISTD, "-n", "hypermail", "--port", "70000")
        self.assertEqual(done.stderr, "")
        self.assertIn("--port: '70000' is not a port", done.stdout)
