"""
Tests for L{hypermail.internet.credentials}: real files in a temporary directory.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import SkipTest

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import CredentialError, UsageError
from hypermail.internet import credentials
from hypermail.internet.credentials import (
    identityIn,
    readIdentity,
    readPins,
    readSecret,
    readTrustRoots,
    stateDirectory,
    writeIdentity,
)
from hypermail.security.identity import Identity
from hypermail.test.certificates import NOW, authority, encrypted_pem, issue, p256_key, pem, self_signed
from hypermail.test.privileges import obeying
from hypermail.test.services import PATIENCE, environment

#: A name as somebody might choose it who wants a terminal to do something.
NASTY = "a\x1b]0;title\x07\nb"


def _root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def failing(number: int) -> Callable[..., Any]:
    """A system call that fails."""

    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


class FileCase(SynchronousTestCase):
    """A directory to keep files in, and a look that no descriptor is left open."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.top.mkdir()
        self.before = _descriptors()

    def tearDown(self) -> None:
        self.assertLessEqual(_descriptors(), self.before)

    def write(self, name: str, content: bytes, mode: int = 0o600) -> str:
        """Make a file; its path."""
        path = self.top / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    def refusal(self, function: Callable[..., object], path: str | Path, *arguments: Any, **options: Any) -> str:
        """Why a file cannot be used; the text is one line for a terminal, and names the file."""
        text: str = self.assertRaises(CredentialError, function, path, *arguments, **options).text
        self.assertTrue(text.isprintable(), text)
        self.assertIn(repr(str(path)), text)
        return text

    def assertMode(self, path: str | Path, mode: int) -> None:
        """A file or directory has this mode."""
        self.assertEqual(f"{stat.S_IMODE(os.stat(path).st_mode):04o}", f"{mode:04o}")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


class CommonTests(FileCase):
    """What holds for every kind of file."""

    readers: tuple[Callable[[str], object], ...] = (readIdentity, readSecret, readTrustRoots, readPins)

    def test_missing(self) -> None:
        """A missing file, and one below something that is no directory."""
        plain = self.write("plain", b"")
        for reader in self.readers:
            self.assertIn("there is no such file; ", self.refusal(reader, str(self.top / "missing")))
            self.assertIn("Not a directory", self.refusal(reader, f"{plain}/below"))

    def test_advice(self) -> None:
        """Who misses a file learns how to come by one, in words that a shell takes."""
        path = str(self.top / "not there")
        advice = f"`hypermail identity --new --name NAME '{path}'` makes one"
        self.assertIn(advice, self.refusal(readIdentity, path))
        advice = f"`(umask 077; head -c 32 /dev/urandom > '{path}')` makes one"
        self.assertIn(advice, self.refusal(readSecret, path))
        self.assertIn("a file with one in each line", self.refusal(readPins, path))

    def test_nastyName(self) -> None:
        """What a terminal would obey in a name is not printed, and no advice is given with it."""
        path = str(self.top / NASTY)
        for reader in self.readers:
            self.refusal(reader, path)
        self.assertIn("--name NAME FILE`", self.refusal(readIdentity, path))
        self.assertIn("chmod 600 FILE`", self.refusal(readIdentity, self.write(NASTY, b"", 0o644)))

    def test_noName(self) -> None:
        """What cannot be the name of a file."""
        for reader in self.readers:
            for path in ("a\0b", "\ud800"):
                self.assertIn("cannot be the name of a file", self.refusal(reader, path))
            self.refusal(reader, "")

    def test_directory(self) -> None:
        """A directory is no file."""
        for reader in (readIdentity, readSecret, readPins):
            self.assertIn("it is a directory", self.refusal(reader, str(self.top)))

    def test_notRegular(self) -> None:
        """Devices, and fifos that nobody writes to, are refused at once."""
        fifo = str(self.top / "fifo")
        os.mkfifo(fifo, 0o600)
        for reader in self.readers:
            for path in (fifo, "/dev/zero"):
                found: list[str] = []
                thread = threading.Thread(target=lambda: found.append(self.refusal(reader, path)), daemon=True)  # noqa: B023
                thread.start()
                thread.join(PATIENCE)
                self.assertEqual(len(found), 1, f"{reader} waits")
                self.assertIn("it is not a regular file", found[0])

    def test_socket(self) -> None:
        """A socket cannot even be opened."""
        here = os.getcwd()
        os.chdir(self.top)  # a socket's name is at most 108 bytes long
        self.addCleanup(os.chdir, here)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
            for reader in self.readers:
                self.assertIn("cannot be used: ", self.refusal(reader, "socket"))

    def test_large(self) -> None:
        """A file that is too large is not read to its end; one that just fits is."""
        for reader, most in ((readIdentity, 1 << 20), (readSecret, 64 << 10), (readTrustRoots, 8 << 20)):
            path = self.write("large", b"")
            os.truncate(path, most + 1)
            self.assertIn(f"more than {most:,} bytes", self.refusal(reader, path))
            os.truncate(path, 1 << 40)
            self.assertIn(f"more than {most:,} bytes", self.refusal(reader, path))
        content = self_signed().to_pem()
        self.assertEqual(readIdentity(self.write("fits", content.ljust((1 << 20), b"\n"))), Identity.from_pem(content))
        self.assertEqual(len(readSecret(self.write("secret", bytes(64 << 10)))), 64 << 10)

    def test_links(self) -> None:
        """Files may be reached through symbolic links; the mode that counts is the file's."""
        identity = self_signed()
        path = self.write("real", identity.to_pem())
        link = self.top / "link"
        link.symlink_to("real")
        self.assertEqual(readIdentity(link), identity)
        os.chmod(path, 0o640)
        self.assertIn("others may read it (mode 0640)", self.refusal(readIdentity, link))

    def test_exchanged(self) -> None:
        """What is checked is what was opened: a file that is exchanged meanwhile is not read unchecked."""
        good = self.write("good", self_signed().to_pem())
        open_ = os.open

        def exchanging(path: Any, *arguments: Any) -> int:
            descriptor = open_(path, *arguments)
            os.replace(self.write("bad", b"forged", 0o666), good)
            return descriptor

        self.patch(os, "open", exchanging)
        expected = (self.top / "good").read_bytes()
        self.assertEqual(readIdentity(good), Identity.from_pem(expected))
        self.assertEqual((self.top / "good").read_bytes(), b"forged")

    def test_disk(self) -> None:
        """A disk that fails is named as the reason."""
        path = self.write("file", bytes(100))
        self.patch(os, "fstat", failing(errno.EIO))
        for reader in self.readers:
            self.assertIn("Input/output error", self.refusal(reader, path))

    def test_private(self) -> None:
        """Identities and secrets that others may read or write are refused, with the command that forbids it."""
        for content, reader in ((self_signed().to_pem(), readIdentity), (bytes(32), readSecret)):
            for mode, doing in (
                (0o640, "read"),
                (0o604, "read"),
                (0o620, "write"),
                (0o602, "write"),
                (0o666, "read"),
                (0o777, "read"),
            ):
                path = self.write("file", content, mode)
                expected = f"others may {doing} it (mode {mode:04o}); `chmod 600 {path}` forbids it"
                self.assertIn(expected, self.refusal(reader, path))
            for mode in (0o600, 0o400, 0o700):
                reader(self.write("file", content, mode))

    def test_public(self) -> None:
        """Trust roots and pins may be read by all, and written by a group, but not written by all."""
        identity = self_signed()
        for content, reader in ((pem(identity.certificate), readTrustRoots), (identity.pin.encode(), readPins)):
            for mode in (0o644, 0o664, 0o444, 0o600):
                self.assertEqual(len(reader(self.write("file", content, mode))), 1)
            for mode in (0o646, 0o666, 0o602):
                path = self.write("file", content, mode)
                expected = f"all may write it (mode {mode:04o}); `chmod o-w {path}` forbids it"
                self.assertIn(expected, self.refusal(reader, path))

    def test_permissions(self) -> None:
        """A file that we may not read is refused, with who may."""
        obeying(self)
        for reader in self.readers:
            path = self.write("file", b"", 0o000)
            text = self.refusal(reader, path)
            self.assertIn("Permission denied; it must be", text)
            self.assertIn("the user who runs this", text)


class ReadIdentityTests(FileCase):
    """L{readIdentity}."""

    def test_read(self) -> None:
        """Key, certificate and chain are read."""
        identity = issue(authority(issuer=authority()), "example.org")
        self.assertEqual(readIdentity(self.write("id.pem", identity.to_pem())), identity)

    def test_content(self) -> None:
        """A file with something else in it is named, with what is wrong."""
        identity = self_signed()
        for content, reason in (
            (b"", "there is no private key in it"),
            (bytes(100), "there is no private key in it"),
            (pem(identity.key), "there is no certificate in it"),
            (pem(p256_key(), identity.certificate), "its key does not belong to its certificate"),
            (encrypted_pem(identity), "its key is encrypted"),
            (identity.to_pem()[:-20], "the PEM is damaged"),
        ):
            path = self.write("id.pem", content)
            self.assertIn(f"the identity {path!r} cannot be used: {reason}", self.refusal(readIdentity, path))


class WriteIdentityTests(FileCase):
    """L{writeIdentity}."""

    def setUp(self) -> None:
        super().setUp()
        self.identity = self_signed()

    def test_written(self) -> None:
        """It can be read again; its mode is 0600 whatever the umask is; nothing else is left in the directory."""
        for mask in (0o000, 0o022, 0o077, 0o277):
            path = self.top / f"{mask}.pem"
            self.addCleanup(os.umask, os.umask(mask))
            writeIdentity(self.identity, path)
            self.assertMode(path, 0o600)
            self.assertEqual(os.stat(path).st_nlink, 1)
            self.assertEqual(readIdentity(path), self.identity)
            path.unlink()
            self.assertEqual(os.listdir(self.top), [])

    def test_neverOpen(self) -> None:
        """Not for a moment may others read what is written, under any name."""
        self.addCleanup(os.umask, os.umask(0))
        modes: list[int] = []
        link = os.link

        def looking(*arguments: Any, **options: Any) -> None:
            modes.extend(stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(self.top))
            link(*arguments, **options)

        self.patch(os, "link", looking)
        open_ = os.open

        def opening(path: Any, *arguments: Any, **options: Any) -> int:
            descriptor = open_(path, *arguments, **options)
            if os.path.isfile(path):
                modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return descriptor

        self.patch(os, "open", opening)
        writeIdentity(self.identity, self.top / "id.pem")
        self.assertEqual(modes, [0o600, 0o600])

    def test_relative(self) -> None:
        """A name without a directory is one in the current directory."""
        here = os.getcwd()
        os.chdir(self.top)
        self.addCleanup(os.chdir, here)
        writeIdentity(self.identity, "id.pem")
        self.assertEqual(readIdentity("id.pem"), self.identity)

    def test_directories(self) -> None:
        """Missing directories are made, each for its owner only; those that are there stay as they are."""
        self.addCleanup(os.umask, os.umask(0o022))
        self.top.chmod(0o755)
        writeIdentity(self.identity, self.top / "a" / "b" / "id.pem")
        self.assertMode(self.top / "a", 0o700)
        self.assertMode(self.top / "a" / "b", 0o700)
        self.assertMode(self.top, 0o755)

    def test_existing(self) -> None:
        """Whatever has the name keeps it, and stays as it was."""
        (self.top / "directory").mkdir()
        (self.top / "dangling").symlink_to("nowhere")
        self.write("file", b"precious", 0o644)
        for links in (True, False):
            if not links:
                self.patch(os, "link", failing(errno.EPERM))
            for name in ("directory", "dangling", "file"):
                text = self.refusal(writeIdentity_, self.top / name, self.identity)
                self.assertIn("cannot be made: there is such a file, and it stays as it is", text)
        self.assertEqual((self.top / "file").read_bytes(), b"precious")
        self.assertEqual(sorted(os.listdir(self.top)), ["dangling", "directory", "file"])

    def test_synced(self) -> None:
        """The content is on the disk before it has its name, and the name before this returns."""
        done: list[str] = []
        for name in ("fsync", "link", "unlink"):
            self.patch(os, name, noting(done, name, getattr(os, name)))
        writeIdentity(self.identity, self.top / "id.pem")
        self.assertEqual(done, ["fsync", "link", "unlink", "fsync"])

    def test_newDirectorySynced(self) -> None:
        """So are the names of the directories that were made."""
        done: list[str] = []
        self.patch(os, "fsync", noting(done, "fsync", os.fsync))
        writeIdentity(self.identity, self.top / "a" / "b" / "id.pem")
        self.assertEqual(len(done), 4)

    def test_noLinks(self) -> None:
        """Where the file system knows no links, or forbids them, it is written all the same."""
        for number in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS):
            self.patch(os, "link", failing(number))
            path = self.top / f"{number}.pem"
            writeIdentity(self.identity, path)
            self.assertMode(path, 0o600)
            self.assertEqual(readIdentity(path), self.identity)
        self.assertEqual(len(os.listdir(self.top)), 4)

    def test_faults(self) -> None:
        """Whichever step fails, nothing is left, and the reason is told."""
        for steps in (("fchmod",), ("fsync",), ("link",), ("link", "replace")):
            undo = [self.patch(os, step, failing(errno.EPERM if steps[1:] else errno.EIO)) for step in steps]
            text = self.refusal(writeIdentity_, self.top / "id.pem", self.identity)
            self.assertIn("Operation not permitted" if steps[1:] else "Input/output error", text)
            for each in undo:
                each.restore()
            self.assertEqual(os.listdir(self.top), [], steps)

    def test_nameNotSynced(self) -> None:
        """A name of which nobody knows whether it is on the disk is taken away again."""
        self.patch(credentials, "_sync", failing(errno.EIO))
        self.assertIn("Input/output error", self.refusal(writeIdentity_, self.top / "id.pem", self.identity))
        self.assertEqual(os.listdir(self.top), [])

    def test_wrongNames(self) -> None:
        """What cannot be the name of a file, or of a directory on the way."""
        plain = self.write("plain", b"")
        for path, reason in (
            ("", "cannot be the name of a file"),
            (f"{self.top}/", "cannot be the name of a file"),
            (f"{self.top}/a\0b", "cannot be the name of a file"),
            (f"{self.top}/\ud800/x", "cannot be the name of a file"),
            (f"{plain}/id.pem", "Not a directory"),
            (f"{self.top}/{'x' * 300}", "File name too long"),
        ):
            self.assertIn(reason, self.refusal(writeIdentity_, path, self.identity))
        self.assertEqual(os.listdir(self.top), ["plain"])

    def test_permissions(self) -> None:
        """A directory that we may not write is named as the reason."""
        obeying(self)
        self.top.chmod(0o500)
        self.addCleanup(self.top.chmod, 0o700)
        self.assertIn("Permission denied", self.refusal(writeIdentity_, self.top / "id.pem", self.identity))


def writeIdentity_(path: str | Path, identity: Identity) -> None:
    """L{writeIdentity}, with the file first as everywhere else."""
    writeIdentity(identity, path)


def noting(done: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which notes that it was called."""

    def noted(*arguments: Any, **options: Any) -> Any:
        done.append(name)
        return function(*arguments, **options)

    return noted


class IdentityInTests(FileCase):
    """L{identityIn}."""

    def test_once(self) -> None:
        """It is made once, under the name that was asked for, and is the same ever after."""
        directory = self.top / "state" / "hypermail"
        identity, path, made = identityIn(directory, "example.org", now=NOW)
        self.assertEqual((path, made), (directory / "identity.pem", True))
        self.assertIn("CN=example.org", identity.certificate.subject.rfc4514_string())
        self.assertMode(path, 0o600)
        self.assertMode(directory, 0o700)
        self.assertEqual(identityIn(directory, "another name", now=NOW), (identity, path, False))

    def test_race(self) -> None:
        """Of many that come at once one makes it, and all have the same."""
        for number in range(20):
            directory = self.top / str(number)
            barrier = threading.Barrier(8)

            def come(directory: Path = directory, barrier: threading.Barrier = barrier) -> tuple[Identity, Path, bool]:
                barrier.wait(PATIENCE)
                return identityIn(directory, "example.org", now=NOW)

            with ThreadPoolExecutor(8) as pool:
                results = [future.result() for future in [pool.submit(come) for _ in range(8)]]
            self.assertEqual(len({identity for identity, _, _ in results}), 1)
            self.assertEqual(sum(made for _, _, made in results), 1)
            self.assertEqual(os.listdir(directory), ["identity.pem"])

    def test_overtaken(self) -> None:
        """Who finds that another process was faster takes what that one has made."""
        other = self_signed()

        def overtaken(identity: Identity, path: Path) -> None:
            writeIdentity(other, path)
            writeIdentity(identity, path)

        self.patch(credentials, "writeIdentity", overtaken)
        self.assertEqual(identityIn(self.top, "example.org", now=NOW), (other, self.top / "identity.pem", False))

    def test_unusable(self) -> None:
        """One that is there but cannot be used is neither used nor replaced."""
        for content, mode, reason in ((b"", 0o600, "no private key"), (self_signed().to_pem(), 0o644, "chmod 600")):
            path = self.write("identity.pem", content, mode)
            error = self.assertRaises(CredentialError, identityIn, self.top, "example.org", now=NOW)
            self.assertIn(reason, error.text)
            self.assertEqual(Path(path).read_bytes(), content)

    def test_dangling(self) -> None:
        """A link to nowhere is an error, not a reason to go on for ever."""
        (self.top / "identity.pem").symlink_to("nowhere")
        error = self.assertRaises(CredentialError, identityIn, self.top, "example.org", now=NOW)
        self.assertIn("identity.pem", error.text)

    def test_noDirectory(self) -> None:
        """Where no directory can be, there is no identity."""
        error = self.assertRaises(CredentialError, identityIn, self.write("file", b""), "example.org", now=NOW)
        self.assertIn("Not a directory", error.text)

    def test_wrongName(self) -> None:
        """A name that cannot be is told, and nothing is made."""
        self.assertRaises(UsageError, identityIn, self.top / "state", "a\nb", now=NOW)
        self.assertEqual(os.listdir(self.top), [])


class StateDirectoryTests(SynchronousTestCase):
    """L{stateDirectory}."""

    def setUp(self) -> None:
        environ = dict(os.environ)
        self.patch(os, "environ", environ)
        self.environ = environ

    def test_told(self) -> None:
        """C{XDG_STATE_HOME} says where."""
        self.environ["XDG_STATE_HOME"] = "/var/state"
        self.assertEqual(stateDirectory(), Path("/var/state/hypermail"))

    def test_home(self) -> None:
        """Without it, or when it is empty or relative, it is below the home directory."""
        self.environ["HOME"] = "/home/anna"
        for value in (None, "", "state", "./state", "~/state"):
            self.environ.pop("XDG_STATE_HOME", None)
            if value is not None:
                self.environ["XDG_STATE_HOME"] = value
            self.assertEqual(stateDirectory(), Path("/home/anna/.local/state/hypermail"))

    def test_homeless(self) -> None:
        """A user without a home is told what to do."""
        code = (
            "import os\n"
            "from hypermail.errors import CredentialError\n"
            "from hypermail.internet.credentials import stateDirectory\n"
            "os.setuid(54321)\n"
            "try:\n    print(stateDirectory())\nexcept CredentialError as error:\n    print(error)"
        )
        if not _root():
            raise SkipTest("only root can become a user without a home")
        variables = {name: value for name, value in environment().items() if name not in ("HOME", "XDG_STATE_HOME")}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=True)
        self.assertIn("there is no home directory", done.stdout)
        self.assertIn("XDG_STATE_HOME", done.stdout)


class ReadSecretTests(FileCase):
    """L{readSecret}."""

    def test_exact(self) -> None:
        """A secret is exactly what is in the file: zeros, line ends and all."""
        for secret in (bytes(32), b"\r\n" * 16, os.urandom(100), b"x" * 31 + b"\n"):
            self.assertEqual(readSecret(self.write("secret", secret)), secret)

    def test_short(self) -> None:
        """A secret that is too short is refused, with its length and how to make a better one."""
        for size in (0, 1, 31):
            path = self.write("secret", bytes(size))
            text = self.refusal(readSecret, path)
            self.assertIn(f"it has {size} bytes, 32 are the least; `(umask 077; head -c 32", text)

    def test_advice(self) -> None:
        """The command that makes one makes one that is taken, under any umask."""
        for mask in (0o000, 0o022):
            path = str(self.top / f"a 'secret' {mask}")
            command = self.refusal(readSecret, path).split("`")[1]
            self.addCleanup(os.umask, os.umask(mask))
            subprocess.run(["sh", "-c", command], check=True)
            self.assertEqual(len(readSecret(path)), 32)

    def test_notTold(self) -> None:
        """No error has anything of the secret in it."""
        self.assertNotIn("hunter2", self.refusal(readSecret, self.write("s", b"hunter2")))


class ReadTrustRootsTests(FileCase):
    """L{readTrustRoots}."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two, self.three = (authority(name).certificate for name in ("one", "two", "three"))

    def test_file(self) -> None:
        """All certificates of a file, in order, each once; a key or text among them does no harm."""
        data = b"# roots\n" + pem(self.two, self.one, p256_key(), self.two)
        self.assertEqual(readTrustRoots(self.write("roots", data, 0o644)), [self.two, self.one])

    def test_directory(self) -> None:
        """All files *.pem and *.crt of a directory, by name, each certificate once; nothing else in it is looked at."""
        self.write("b.pem", pem(self.one, self.two))
        self.write("A.CRT", pem(self.three))
        self.write("c.crt", pem(self.one))
        self.write("README", b"-----BEGIN nothing")
        self.write("0123abcd.0", b"")
        (self.top / "d.pem").mkdir()
        (self.top / "e.pem").symlink_to("b.pem")
        for path in (self.top, str(self.top), f"{self.top}/"):
            self.assertEqual(readTrustRoots(path), [self.three, self.one, self.two])

    def test_empty(self) -> None:
        """Where there is no certificate, there is an error, as everybody would be refused."""
        for content in (b"", b"text", pem(p256_key())):
            text = self.refusal(readTrustRoots, self.write("file", content))
            self.assertIn("there is no certificate in it, as PEM", text)
        self.assertIn("no file there is called *.pem or *.crt", self.refusal(readTrustRoots, self.top))

    def test_damaged(self) -> None:
        """One bad file in a directory is named; it is not left out."""
        self.write("a.pem", pem(self.one))
        for content, reason in (
            (b"", "no certificate"),
            (self.one.public_bytes(Encoding.DER), "no certificate in it, as PEM; `openssl x509"),
            (pem(self.one)[:-20], "the PEM is damaged"),
            (pem(self.one).replace(b"\nM", b"\n!", 1), "certificate 1 in it is damaged"),
        ):
            path = self.write("b.crt", content)
            text = self.assertRaises(CredentialError, readTrustRoots, self.top).text
            self.assertIn(f"the certificates in {path!r} cannot be used: ", text)
            self.assertIn(reason, text)
        self.write("b.crt", pem(self.two), 0o666)
        self.assertIn("chmod o-w", self.assertRaises(CredentialError, readTrustRoots, self.top).text)

    def test_system(self) -> None:
        """The system's own bundle, where there is one, can be read."""
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        if not os.path.exists(bundle):
            raise SkipTest("this system keeps its certificates elsewhere")
        self.assertTrue(all(isinstance(each, x509.Certificate) for each in readTrustRoots(bundle)))


class ReadPinsTests(FileCase):
    """L{readPins}."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = self_signed().pin, self_signed().pin

    def test_pin(self) -> None:
        """A pin itself, in each form."""
        for text in (self.one, self.one.replace("/", "//", 1), f" {self.one} "):
            self.assertEqual(readPins(text), {self.one})

    def test_file(self) -> None:
        """A file of pins: one in a line, with comments, empty lines and a Windows machine's line ends."""
        other = self.two.replace("/", "//", 1)
        lines = ("# all laptops, bücher", "", f"{self.one}  # Anna's", f"\t{other}", "  # none", self.one, "")
        for data in ("\n".join(lines), "\r\n".join(lines), "\ufeff" + "\n".join(lines), "\n".join(lines).rstrip()):
            self.assertEqual(readPins(self.write("pins", data.encode(), 0o644)), {self.one, self.two})
        latin = "# bücher\n".encode("latin-1") + self.one.encode()
        self.assertEqual(readPins(self.write("pins", latin)), {self.one})

    def test_badLine(self) -> None:
        """A line that is no pin is told with the file and its number, and no pin of the file counts."""
        for bad in ("nonsense", self.one[:-1], f"{self.one} {self.two}", "\x1b[2J", "\xff", f"sha1/{self.two[7:]}"):
            path = self.write("pins", f"# first\n\n{self.one}\n{bad}\n{self.two}\n".encode("latin-1"))
            text = self.refusal(readPins, path)
            self.assertIn(f"the pins {path!r} cannot be used: in line 4, ", text)
            self.assertIn("is not a pin: a pin is sha256/", text)

    def test_badPin(self) -> None:
        """What begins like a pin and is none is not taken for a file."""
        error = self.assertRaises(CredentialError, readPins, "sha256/abc")
        self.assertIn("'sha256/abc' is not a pin", error.text)

    def test_empty(self) -> None:
        """A file without any pin is an error: it would let nobody in."""
        for content in (b"", b"\n\n", b"# nobody\n"):
            self.assertIn("would let nobody in", self.refusal(readPins, self.write("pins", content)))
