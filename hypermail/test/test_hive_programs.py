"""
Tests of the queen as a user runs her: C{twistd hypermail-queen} and C{hlhv-queen}, processes of their own.
"""

from __future__ import annotations

import signal
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.keys import argon2id
from hypermail.test.queens import HERE, KEY, write_identity
from hypermail.test.services import TWISTD, ServiceProcess, program
from hypermail.test.sessions import identityOf

SCRIPT = (sys.executable, "-c", "from hypermail.hive.script import main; main()")
READY = r"the queen serves HTTPS at port (\d+), and cells connect at port (\d+)"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment."""
    sockets = [socket.create_server((HERE, 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


class QueenProcess(ServiceProcess):
    """A queen, who serves."""

    def __init__(self, directory: Path, *options: str, **popen: Any) -> None:
        super().__init__(directory, *options, plugin="hypermail-queen", **popen)

    def started(self) -> None:
        """See L{ServiceProcess}."""
        self.port = int(self.expect(READY)[1])


class ProgramCase(SynchronousTestCase):
    """A directory with all that a queen needs."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp())
        self.here.mkdir()
        self.identity = identityOf("localhost")
        write_identity(self.identity, self.here / "cert.pem", self.here / "key.pem")
        self.configure()

    def configure(self, *lines: str) -> None:
        """Write the configuration. @param lines: besides what is needed."""
        self.https, self.hlhv = free_ports(2)
        text = [
            "# of a test",
            f"keyPath {self.here.absolute()}/key.pem",
            f"certPath {self.here.absolute()}/cert.pem",
            f"connKey {argon2id(KEY, bytes(16))}",
            f"portHttps {self.https}",
            f"portHlhv {self.hlhv}",
            f"bind {HERE}",
            *lines,
        ]
        (self.here / "queen.conf").write_text("\n".join(text) + "\n")

    def begin(self, *options: str) -> QueenProcess:
        """The queen."""
        queen = QueenProcess(self.here, "--conf-path", "queen.conf", *options)
        self.addCleanup(queen.stop)
        return queen

    def get(self, port: int) -> bytes:
        """What comes for a request."""
        context = ssl.create_default_context(cafile=str(self.here / "cert.pem"))
        with (
            socket.create_connection((HERE, port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            found = b""
            while some := secure.recv(65_536):
                found += some
        return found


class RunTests(ProgramCase):
    """What it does."""

    def test_serves(self) -> None:
        """It serves, reads its configuration again at SIGHUP, and ends at SIGTERM."""
        queen = self.begin()
        self.assertIn(b" 404 ", self.get(self.https))
        self.configure("alias www.example.org -> example.org")
        queen.signal(signal.SIGHUP)
        queen.expect("the configuration was read again")
        self.assertIn(b" 404 ", self.get(self.https))
        self.configure("portHtps 1")
        queen.signal(signal.SIGHUP)
        line = queen.expect("the configuration stays as it was").string
        self.assertIn("queen.conf, line 8: there is no 'portHtps'; is it portHttps?", line)
        self.assertEqual(queen.stop(), -signal.SIGTERM)  # as C{twistd} has it

    def test_script(self) -> None:
        """C{hlhv-queen} does as much; it logs to a file of a directory, and only what it is told to."""
        (self.here / "logs").mkdir()
        ready = threading.Event()
        command = (*SCRIPT, "--conf-path", "queen.conf", "-L", "logs", "-l", "error")
        results: list[Any] = []

        def run() -> None:
            results.append(program(self.here, "timeout", "-s", "TERM", "5", *command))
            ready.set()

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        for _ in range(100):
            try:
                found = self.get(self.https)
            except OSError:
                ready.wait(0.1)
            else:
                break
        self.assertIn(b" 404 ", found)
        self.assertEqual((self.here / "logs" / "hlhv-queen.log").read_text(), "")
        thread.join()
        self.assertEqual((results[0].stdout, results[0].stderr), ("", ""))


class WrongTests(ProgramCase):
    """What is wrong is said in one line that tells what would be right."""

    def refused(self, *arguments: str) -> str:
        """It ends; the exit code of wrong usage is Twisted's (26.4 has 0). @return: what it has said last."""
        done = program(self.here, *TWISTD, "-n", "--pidfile=", "hypermail-queen", *arguments)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return (done.stderr or done.stdout).strip().splitlines()[-1]

    def test_options(self) -> None:
        """Options, and the file that they name."""
        self.assertIn("--conf-path names another file", self.refused("--conf-path", "missing.conf"))
        self.assertIn("no-such-option", self.refused("--no-such-option"))
        (self.here / "binary.conf").write_bytes(b"\xff\xfe")
        self.assertIn("it is no text in UTF-8", self.refused("--conf-path", "binary.conf"))

    def test_configuration(self) -> None:
        """Lines of the file."""
        for line, said in (
            ("portHttp https", "line 8: portHttp: 'https' is no port, 1 to 65535"),
            ("webroot /var/www", "line 8: webroot needs portHttp"),
            ("connKey x", "line 8: connKey is in line 4 already"),
            ("statusPort 65536", "line 8: statusPort: '65536' is no port, 1 to 65535"),
            ("trailingSlash yes", "line 8: trailingSlash: it takes on or off, not 'yes'"),
            ("stickyCookie a=b", "line 8: stickyCookie: 'a=b' is no name of a cookie: letters, digits, _ and -"),
        ):
            self.configure(line)
            self.assertIn(said, self.refused("--conf-path", "queen.conf"))

    def test_start(self) -> None:
        """What turns out to be wrong at the start: certificates and ports."""
        (self.here / "cert.pem").unlink()
        self.assertIn("cert.pem", self.refused("--conf-path", "queen.conf"))
        self.setUp()
        with socket.create_server((HERE, self.https)):
            self.assertIn(f"cannot listen at portHttps {self.https}: ", self.refused("--conf-path", "queen.conf"))

    def test_script(self) -> None:
        """The script's own options."""
        for arguments, said in (
            (("-l", "loud"), "--log-level is one of debug, normal, error, none, not 'loud'"),
            (("-L", "missing"), "--log-directory 'missing' is no directory that can be written in"),
            (("--conf-path", "missing"), "cannot read the configuration 'missing': No such file or directory"),
        ):
            done = program(self.here, *SCRIPT, *arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(said, done.stderr)
