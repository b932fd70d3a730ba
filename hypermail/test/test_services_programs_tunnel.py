"""
Tests of tunnels as a user runs them: C{twistd hypermail} with C{--forward}, and with C{--connect} and C{--listen}, real
processes over loopback, between ordinary TCP and UDP sockets.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.services import TWISTD, ListenerProcess, StarterProcess, command, program
from hypermail.test.sessions import identityOf

HERE = "127.0.0.1"
ENTRANCE = f"tcp:0:interface={HERE}"
PATIENCE = 30.0
"""Seconds that a socket waits, at most."""


def numbers(count: int, start: int) -> bytes:
    """So many numbers, of 4 bytes each."""
    return b"".join(number.to_bytes(4) for number in range(start, start + count))


def read(end: socket.socket, size: int) -> bytes:
    """Read so many bytes; fewer when there are no more."""
    found = bytearray()
    while len(found) < size and (some := end.recv(min(65_536, size - len(found)))):
        found += some
    return bytes(found)


class Target:
    """A TCP server that a tunnel leads to, one connection after the other."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server((HERE, port))
        self._socket.settimeout(PATIENCE)
        self.port = self._socket.getsockname()[1]

    def accept(self) -> socket.socket:
        """The next connection."""
        end, _ = self._socket.accept()
        end.settimeout(PATIENCE)
        return end

    def close(self) -> None:
        """Nobody is there any more."""
        self._socket.close()


class TunnelCase(SynchronousTestCase):
    """A directory to run both ends of a tunnel in."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp())
        self.here.mkdir()

    def target(self, port: int = 0) -> Target:
        """A TCP server."""
        target = Target(port)
        self.addCleanup(target.close)
        return target

    def listen(self, *forwards: str, options: tuple[str, ...] = (), port: int = 0) -> ListenerProcess:
        """The listener's end."""
        forwarding = [word for forward in forwards for word in ("--forward", forward)]
        listener = ListenerProcess(self.here, *forwarding, *options, port=f"udp:{port}:interface={HERE}")
        self.addCleanup(listener.stop)
        return listener

    def start(self, listener: ListenerProcess, *listens: str, options: tuple[str, ...] = ()) -> StarterProcess:
        """The starter's end; returns when its session is open."""
        starter = StarterProcess(self.here, f"{HERE}:{listener.port}", "--pin", listener.pin, *options, listens=listens)
        self.addCleanup(starter.stop)
        starter.expect(r"session with \S+ is open")
        return starter

    def call(self, port: int) -> socket.socket:
        """Connect to an entrance."""
        end = socket.create_connection((HERE, port), PATIENCE)
        self.addCleanup(end.close)
        return end

    def through(self, port: int, target: Target) -> tuple[socket.socket, socket.socket]:
        """Connect to an entrance. @return: both ends of the connection."""
        near = self.call(port)
        far = target.accept()
        self.addCleanup(far.close)
        return near, far

    def assertTalk(self, near: socket.socket, far: socket.socket) -> None:
        """Something comes through, both ways."""
        for one, other in ((near, far), (far, near)):
            one.sendall(b"hello")
            self.assertEqual(read(other, 5), b"hello")

    def assertCutOff(self, end: socket.socket) -> None:
        """The connection is over, and does not look as if it had come to its end."""
        self.assertRaises(ConnectionResetError, end.recv, 1)


class StreamTests(TunnelCase):
    """TCP connections."""

    def test_bothWays(self) -> None:
        """Bytes arrive whole, both ways at once; the end of one direction comes through, and the other one goes on."""
        one, other = self.target(), self.target()
        listener = self.listen(f"one=tcp:{HERE}:{one.port}", f"other=tcp:{HERE}:{other.port}")
        starter = self.start(listener, f"other={ENTRANCE}", f"one={ENTRANCE}")
        for port, target in zip(starter.entrances, (other, one), strict=True):
            near, far = self.through(port, target)
            forth, back = numbers(1 << 20, target.port), numbers(1 << 19, 0)
            with ThreadPoolExecutor() as pool:
                sending = pool.submit(near.sendall, forth), pool.submit(far.sendall, back)
                arriving = pool.submit(read, far, len(forth)), pool.submit(read, near, len(back))
            self.assertEqual([each.result() for each in sending], [None, None])
            for each, data in zip(arriving, (forth, back), strict=True):
                self.assertTrue(each.result() == data)
            first, last = (near, far) if target is one else (far, near)
            first.shutdown(socket.SHUT_WR)
            self.assertEqual(last.recv(1), b"")
            last.sendall(b"the last word")
            last.close()
            self.assertEqual(read(first, 100), b"the last word")

    def test_targetDown(self) -> None:
        """A target that is down: the connection is cut off, both logs name it; others go on, and it when it is up."""
        down, up = self.target(), self.target()
        down.close()
        listener = self.listen(f"down=tcp:{HERE}:{down.port}", f"up=tcp:{HERE}:{up.port}")
        starter = self.start(listener, f"down={ENTRANCE}", f"up={ENTRANCE}")
        self.assertCutOff(self.call(starter.entrances[0]))
        listener.expect(f"--forward down=tcp:{HERE}:{down.port}: a stream cannot go on: .*refused")
        starter.expect(
            f"--listen down={ENTRANCE}: a connection cannot go through .* target cannot be reached: .*refused"
        )
        self.assertTalk(*self.through(starter.entrances[1], up))
        self.assertTalk(*self.through(starter.entrances[0], self.target(down.port)))

    def test_oneSide(self) -> None:
        """A name that one side has only: the connection is cut off, both logs name it, and say what there is."""
        web = self.target()
        listener = self.listen(f"web=tcp:{HERE}:{web.port}", f"spare=tcp:{HERE}:1")
        starter = self.start(listener, f"ssh={ENTRANCE}", f"web={ENTRANCE}")
        self.assertCutOff(self.call(starter.entrances[0]))
        why = "no stream is forwarded by the name 'ssh'; there is 'spare', 'web'"
        listener.expect(why)
        starter.expect(f"--listen ssh={ENTRANCE}: a connection cannot go through the tunnel: {why}")
        self.assertTalk(*self.through(starter.entrances[1], web))

    def test_killed(self) -> None:
        """A listener that was killed and is started again: the starter finds it by itself, and goes on."""
        target = self.target()
        listener = self.listen(f"tcp:{HERE}:{target.port}")
        starter = self.start(listener, ENTRANCE)
        near, far = self.through(starter.entrances[0], target)
        self.assertTalk(near, far)
        listener.signal(signal.SIGKILL)
        listener.stop()
        self.assertEqual(far.recv(1), b"")
        self.listen(f"tcp:{HERE}:{target.port}", port=listener.port)
        starter.expect(f"no session with {HERE}:{listener.port}: .*; the next attempt is in")
        self.assertCutOff(near)
        # Whoever comes between two sessions waits for the next.
        self.assertTalk(*self.through(starter.entrances[0], target))
        starter.expect(r"session with \S+ is open")


class DatagramTests(TunnelCase):
    """UDP."""

    def socket(self) -> socket.socket:
        """A UDP socket."""
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(one.close)
        one.settimeout(PATIENCE)
        one.bind((HERE, 0))
        return one

    def test_both(self) -> None:
        """The target sees a sender each, and each gets the answers to what it has asked."""
        target, senders = self.socket(), [self.socket() for _ in range(3)]
        listener = self.listen(f"dns=udp:{HERE}:{target.getsockname()[1]}")
        starter = self.start(listener, f"dns=udp:0:interface={HERE}")
        entrance = (HERE, starter.entrances[0])
        seen = set()
        for turn in range(3):
            for number, sender in enumerate(senders):
                sender.sendto(b"%d asks %d" % (number, turn), entrance)
                question, where = target.recvfrom(2_000)
                self.assertEqual(question, b"%d asks %d" % (number, turn))
                seen.add(where)
                target.sendto(b"answer to " + question, where)
                self.assertEqual(sender.recvfrom(2_000), (b"answer to " + question, entrance))
        self.assertEqual(len(seen), len(senders))


class HangupTests(TunnelCase):
    """C{SIGHUP}"""

    def identity(self, name: str, file: str) -> str:
        """Write an identity in place of what is there. @return: its pin."""
        path = self.here / file
        path.write_bytes(identityOf(name).to_pem())
        path.chmod(0o600)
        return identityOf(name).pin

    def test_reload(self) -> None:
        """Both ends with other identities: what is connected stays so, and who comes sees the new one."""
        first = self.identity("first.example", "listener.pem")
        allowed = self.identity("starter.example", "starter.pem")
        target = self.target()
        listener = self.listen(f"tcp:{HERE}:{target.port}", options=("--identity", "listener.pem", "--allow", allowed))
        self.assertEqual(listener.pin, first)
        starter = self.start(listener, ENTRANCE, options=("--identity", "starter.pem"))
        before = self.through(starter.entrances[0], target)
        second = self.identity("second.example", "listener.pem")
        self.identity("another.example", "starter.pem")
        for end in (listener, starter):
            end.signal(signal.SIGHUP)
            end.expect("identity and trust were read again")
        self.assertTalk(*before)
        self.assertTalk(*self.through(starter.entrances[0], target))
        self.identity("starter.example", "starter.pem")
        where = f"{HERE}:{listener.port}"
        for pin, code in ((second, 0), (first, 1)):
            done = command(self.here, "ping", "-c", "1", "--identity", "starter.pem", "--pin", pin, where)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertTalk(*before)
        starter.stop()
        self.assertEqual([line for line in starter.log if "no session with" in line], [])


class RefusingTests(TunnelCase):
    """What cannot be."""

    def refused(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run C{twistd hypermail}, which does not run."""
        done = program(self.here, *TWISTD, "-n", "--pidfile=", "hypermail", *options)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done

    def test_endpoints(self) -> None:
        """An endpoint that is none: one line with the option, what is wrong, and what would be right; exit code 1."""
        listener, starter = ("--port", f"udp:0:interface={HERE}", "--forward"), ("--connect", f"{HERE}:1", "--listen")
        for option, text, parts in (
            (listener, f"a=tcp:{HERE}:22:shape=round", ("shape", "as tcp:127.0.0.1:22")),
            (
                listener,
                "a=hypermail:host=h:port=1:shape=round",
                ("no argument 'shape'", "hypermail:host=HOST:port=PORT"),
            ),
            (listener, "a=hypermail:host=h:port=1:keep=warm", ("keep is a number of seconds, not 'warm'",)),
            (starter, f"{ENTRANCE}:shape=round", ("shape", "as tcp:2222:interface=127.0.0.1")),
            (starter, "a=hypermail:1:plain=maybe", ("plain is yes or no, not 'maybe'", "hypermail:PORT[:interface=")),
            (starter, "a=carrier:pigeon", ("'carrier'", "as tcp:2222:interface=127.0.0.1")),
        ):
            done = self.refused(*option, text)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            for part in (f"hypermail: {option[-1]} {text}: ", *parts):
                self.assertIn(part, done.stderr)

    def test_usage(self) -> None:
        """Options that do not fit: the last line has them. The exit code is Twisted's, as for any wrong usage."""
        expected = self.refused("--shape").returncode
        for options, text in (
            (("--listen", "tcp:1"), "--listen is for a starter: give --connect HOST:PORT, too"),
            (("--connect", "h:1"), "--connect needs --listen [NAME=]ENDPOINT"),
            (("--connect", "h:1", "--listen", "tcp:1", "--forward", "tcp:h:1"), "--forward is for a listener"),
            (
                ("--connect", "h:1", "--listen", "udp:1:shape=round"),
                "--listen: udp:1:shape=round: 'shape=round' is neither",
            ),
            (("--forward", "udp:h:1:shape=round"), "--forward: udp:h:1:shape=round: datagrams go on to udp:HOST:"),
            (("--forward", "a=tcp:h:1", "--forward", "a=tcp:h:2"), "--forward: a=tcp:h:1 and a=tcp:h:2 both have"),
        ):
            done = self.refused(*options)
            self.assertEqual((done.returncode, done.stderr), (expected, ""))
            self.assertIn(text, done.stdout.splitlines()[-1])


class OpenSSHTests(TunnelCase):
    """OpenSSH, which knows nothing of hypermail."""

    def setUp(self) -> None:
        super().setUp()
        # As root it insists on an absolute name, and sbin is not on everybody's path.
        programs = [which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("ssh", "sshd", "ssh-keygen")]
        if None in programs:
            raise SkipTest("OpenSSH's ssh, sshd and ssh-keygen are not all installed")
        self.ssh_, self.sshd, self.keygen = map(str, programs)
        if os.getuid() == 0 and not Path("/run/sshd").is_dir():
            raise SkipTest("sshd, as root, needs the directory /run/sshd")

    def serve(self) -> int:
        """Start a server. @return: its port."""
        for name in ("host", "user"):
            subprocess.run([self.keygen, "-q", "-t", "ed25519", "-N", "", "-f", self.here / name], check=True)
        (self.here / "sshd_config").write_text(
            f"HostKey {(self.here / 'host').resolve()}\n"
            f"AuthorizedKeysFile {(self.here / 'user.pub').resolve()}\n"
            "StrictModes no\nPidFile none\n"
        )
        with socket.create_server((HERE, 0)) as free:
            port = int(free.getsockname()[1])
        with open(self.here / "sshd.log", "wb") as log:
            server = subprocess.Popen(
                [self.sshd, "-D", "-e", "-f", self.here / "sshd_config", "-o", f"ListenAddress={HERE}:{port}"],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        while b"Server listening" not in (self.here / "sshd.log").read_bytes():
            try:
                server.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise SkipTest("sshd does not run: " + (self.here / "sshd.log").read_text())
        return port

    def ssh(self, port: int, remote: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command there."""
        options = ["BatchMode=yes", "IdentitiesOnly=yes", "LogLevel=ERROR"]
        options += ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        return subprocess.run(
            [self.ssh_, "-T", "-F", "/dev/null", "-p", str(port), "-i", str(self.here / "user")]
            + [word for option in options for word in ("-o", option)]
            + [HERE, remote],
            input=data,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def test_command(self) -> None:
        """A command's input, output, errors and exit code come through."""
        port = self.serve()
        direct = self.ssh(port, "true")
        if direct.returncode:
            raise SkipTest("sshd lets nobody in here: " + direct.stderr.decode())
        starter = self.start(self.listen(f"ssh=tcp:{HERE}:{port}"), f"ssh={ENTRANCE}")
        data = numbers(1 << 19, 0)
        done = self.ssh(starter.entrances[0], "cat; echo over >&2; exit 7", data)
        self.assertEqual((done.returncode, done.stderr), (7, b"over\n"))
        self.assertTrue(done.stdout == data)
