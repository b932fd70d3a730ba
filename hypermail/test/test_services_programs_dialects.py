"""
Tests of the programs in dialects: C{twistd hypermail --dialect}, C{hypermail send} and C{ping}, real processes over
loopback.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess

from hypermail.test.services import COMMAND, TWISTD, ListenerProcess, ServiceProcess, environment, tree
from hypermail.test.signals import interruptible
from hypermail.test.test_services_programs import ProgramCase

OURS = "ffeeddcc-bbaa-9988-7766-554433221100"
THEIRS = "00112233-4455-6677-8899-aabbccddeeff"
#: Times that make a test short.
FAST = ("--ping-interval", "0.1", "--ping-packet-count", "3")


class DialectProgramCase(ProgramCase):
    """Programs that speak dialects, and files with their secrets."""

    def setUp(self) -> None:
        super().setUp()
        interruptible(self)
        for name, content in (
            ("server", b"server's"),
            ("client", b"client's"),
            ("other", b"somebody's"),
            ("clients", f"# who may come\n{THEIRS} client's\n".encode()),
            ("servers", f"{OURS} server's\n".encode()),
        ):
            self.write(name, content)
            os.chmod(self.here / name, 0o600)
        self.digest = (
            "--dialect digest --secret-file server --secrets clients --uuid".split() + [OURS],
            "--dialect digest --secret-file client --secrets servers --uuid".split() + [THEIRS],
        )

    def stored(self) -> list[bytes]:
        """What is in the inbox."""
        return sorted(tree(str(self.inbox)).values())


class DialectProgramTests(DialectProgramCase):
    """From one program to another."""

    def test_send(self) -> None:
        """Messages and files arrive, one file each; the name of a file does not."""
        content = os.urandom(60_000)
        self.write("a", content)
        for serving, calling in ((["--dialect", "batch"], ["--dialect", "batch"]), self.digest):
            self.inbox = self.here / serving[1]
            self.listen(*serving, "--inbox", serving[1])
            done = self.run_("send", *calling, "-m", "hello", self.where, "a")
            self.assertIn("stored 1 message and 1 file, 60,000 bytes", done.stdout)
            self.assertEqual(self.stored(), sorted([content, b"hello"]))
            self.assertEqual([path.suffix for path in self.inbox.iterdir() if path.is_file()], [".txt"] * 2)

    def test_ping(self) -> None:
        """Round trips are measured."""
        for dialect in (["--dialect", "batch"], ["--dialect", "digest", "--no-secret", "--ping-steps", "2"]):
            self.listen(*dialect, "--echo")
            done = self.run_("ping", *dialect, "-c", "2", "-i", "0.01", self.where)
            self.assertIn("2 round trips", done.stdout)

    def test_wrongSecrets(self) -> None:
        """Whose answers cannot be verified is said, where to somebody who does not answer at all nothing can be."""
        self.listen(*self.digest[0], "--echo")
        for secrets, why in (
            (f"{OURS} guess\n", "not signed with its secret"),
            (f"{THEIRS} x\n", f"the secret of {OURS}"),
        ):
            self.write("servers", secrets.encode())
            done = self.run_("ping", *self.digest[1], "--timeout", "1", self.where, code=1)
            self.assertIn(why, done.stderr)
            self.assertNotIn("nobody has answered", done.stderr)

    def test_log(self) -> None:
        """The listener says that nothing is encrypted, who it is, and who may come."""
        listener = self.listen(*self.digest[0], "--echo")
        log = "\n".join(listener.log)
        self.assertIn("in dialect digest, which does not encrypt", log)
        self.assertIn(f"this side's UUID is {OURS}", log)
        listener = self.listen("--dialect", "batch", "--echo")
        self.assertIn("anybody may send to it", "\n".join(listener.log))

    def test_wrong(self) -> None:
        """What goes wrong is one line that says what to do."""
        self.listen(*self.digest[0], "--inbox", "in")
        self.write("large", bytes(65_443))
        self.write("empty")
        done = self.run_("send", *self.digest[1], self.where, "large", code=1)
        self.assertOneLine(done.stderr, "'large' was not stored", "more than 65,442 bytes")
        done = self.run_("send", *self.digest[1], self.where, "empty", code=1)
        self.assertOneLine(done.stderr, "'empty' was not stored", "no empty messages")
        stranger = [*self.digest[1][:-1], THEIRS.replace("0", "1")]
        done = self.run_("send", *stranger, "-m", "x", self.where, code=1)
        self.assertOneLine(done.stderr, "no session with", "REJECT")
        os.chmod(self.here / "client", 0o644)
        done = self.run_("send", *self.digest[1], "-m", "x", self.where, code=1)
        self.assertOneLine(done.stderr, "client", "chmod 600")
        self.assertEqual(self.stored(), [])

    def test_listenerCannotStart(self) -> None:
        """Nor does a listener start with files that cannot be used."""
        self.write("clients", b"nonsense\n")
        process = subprocess.run(
            [*TWISTD, "-n", "--pidfile=", "--logfile=log", "hypermail", "--port", "0", *self.digest[0], "--echo"],
            cwd=self.here, env=environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        self.assertEqual(process.returncode, 1)
        self.assertOneLine(process.stderr, "in line 1, 'nonsense' is no UUID")

    def test_hangup(self) -> None:
        """SIGHUP has the secrets read again: a client that is added may come."""
        self.write("clients", b"")
        listener = self.listen(*self.digest[0], "--inbox", "in")
        self.run_("send", *self.digest[1], "-m", "x", self.where, code=1)
        self.write("clients", f"{THEIRS} client's".encode())
        listener.signal(signal.SIGHUP)
        listener.expect("the secrets of 1 peer were read again")
        self.run_("send", *self.digest[1], "-m", "x", self.where)
        self.assertEqual(self.stored(), [b"x"])

    def test_notStored(self) -> None:
        """What cannot be stored is not acknowledged."""
        for serving, calling in ((["--dialect", "batch"], ["--dialect", "batch"]), self.digest):
            inbox = self.here / serving[1]
            listener = self.listen(*serving, "--inbox", serving[1])
            shutil.rmtree(inbox)
            done = self.run_("send", *calling, "-m", "x", self.where, code=1)
            self.assertIn("may have been stored, or not", done.stderr)
            listener.expect("could not store")

    def test_direct(self) -> None:
        """A direct message of a device becomes a file, too."""
        listener = self.listen("--dialect", "batch", "--inbox", "in")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.bind(("127.0.0.1", 0))
            device.settimeout(30)
            connect = b"\x01" + device.getsockname()[1].to_bytes(2, "big") + b"\0\0\0\x07" + b"\0" * 7 + b"\1"
            device.sendto(connect + (8_196).to_bytes(8, "big"), ("127.0.0.1", listener.port))
            id = device.recv(100)[5:9]
            device.sendto(b"\x08" + id + b"now", ("127.0.0.1", listener.port))
            listener.expect("stored 'message-")
        self.assertEqual(self.stored(), [b"now"])

    def test_killed(self) -> None:
        """A listener that is killed and comes back: the sender waits for it, and what it sends then arrives."""
        for serving, calling in ((["--dialect", "batch"], ["--dialect", "batch"]), self.digest):
            self.inbox = self.here / serving[1]
            first = self.listen(*serving, *FAST[:2], "--inbox", serving[1])
            port = first.port
            self.run_("send", *calling, *FAST, "-m", "before", self.where)
            first.signal(signal.SIGKILL)
            first.stop()
            sender = subprocess.Popen(
                [*COMMAND, "send", *calling, *FAST, "-m", "after", f"127.0.0.1:{port}"],
                cwd=self.here, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            self.addCleanup(sender.kill)
            self.listen(*serving, "--inbox", serving[1], port=f"udp:{port}:interface=127.0.0.1")
            out, err = sender.communicate(timeout=60)
            self.assertEqual((sender.returncode, err), (0, ""), out)
            self.assertEqual(self.stored(), [b"after", b"before"])

    def test_starter(self) -> None:
        """With --connect a session is kept, also with a listener that comes back; it ends in order."""
        for serving, calling in ((["--dialect", "batch"], ["--dialect", "batch"]), self.digest):
            name = serving[1]
            self.inbox = self.here / name
            listener = self.listen(*serving, "--echo")
            starter = ServiceProcess(self.here, "--connect", self.where, *calling, *FAST, "--inbox", name)
            self.addCleanup(starter.stop)
            starter.expect("is not encrypted: anyone on the path can read it")
            starter.expect("is open")
            self.assertEqual(starter.stop(), -signal.SIGTERM)
            listener.expect("the peer has closed the session")
            port = listener.port
            listener.signal(signal.SIGKILL)
            listener.stop()
            starter = ServiceProcess(self.here, "--connect", f"127.0.0.1:{port}", *calling, *FAST, "--echo")
            self.addCleanup(starter.stop)
            again = self.listen(*serving, "--echo", port=f"udp:{port}:interface=127.0.0.1")
            self.assertIsInstance(again, ListenerProcess)
            starter.expect("is open")
            self.assertEqual(starter.stop(), -signal.SIGTERM)
