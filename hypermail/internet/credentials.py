"""
Identities, secrets, pins and trusted certificates in files.

Everything here blocks, so it belongs to the start of a program, not to the reactor's time. Every error is a
L{CredentialError} of one line, which names the file and says what to do. A file is opened once, and what is
checked is what was opened: nobody can exchange it between the check and the reading.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import socket
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from cryptography import x509

from hypermail.errors import CredentialError, UsageError
from hypermail.security.identity import Identity, parse_pin, read_certificates

FilePath = str | os.PathLike[str]

IDENTITY_FILE = "identity.pem"
"""What a listener's own identity is called in its state directory."""

_MOST_IDENTITY = 1 << 20
_MOST_CERTIFICATES = 8 << 20  # a system's bundle has some hundred KiB
_MOST_PINS = 1 << 20
_LEAST_SECRET = 32
_MOST_SECRET = 64 << 10
_MOST_HIVE_KEY = 1 << 10
_SUFFIXES = (".pem", ".crt")
_MACHINE = Path("/etc/machine-id")
_NO_NAME = "that cannot be the name of a file"

# A fifo that nobody writes to must not hold us up; a terminal must not become ours.
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
# EACCES: Android forbids links where it allows files.
_NO_LINKS = frozenset((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK))


def readIdentity(path: FilePath) -> Identity:
    """
    Read an identity.

    @raise CredentialError: when the file cannot be read, others can read it, too, or no identity is in it.
        Its C{__cause__} is the L{OSError}, if there was one.
    """
    what = f"the identity {_shown(path)} cannot be used"
    missing = f"`hypermail identity --new --name NAME {_word(path)}` makes one"
    data = readFile(path, what, missing, most=_MOST_IDENTITY, private=True)
    try:
        return Identity.from_pem(data)
    except CredentialError as error:
        raise CredentialError(f"{what}: {error.text}") from None


def readPair(certificates: FilePath, key: FilePath) -> tuple[bytes, bytes]:
    """
    Read a certificate and its key from the files of another program.

    @param certificates: the certificate, and those above it; perhaps all in one with the key.
    @return: what is in the two; nobody has looked at it.
    @raise CredentialError: when a file cannot be read, has more than 1 MiB, or others can read the key, too.
    """
    chain, secret = f"the certificate {_shown(certificates)}", f"the key {_shown(key)}"
    found = readFile(certificates, f"{chain} cannot be used", "name a PEM file with a certificate", most=_MOST_IDENTITY)
    return found, readFile(
        key, f"{secret} cannot be used", "name a PEM file with the certificate's key", most=_MOST_IDENTITY, private=True
    )


def writeIdentity(identity: Identity, path: FilePath) -> None:
    """
    Write an identity, see L{writePrivate}.

    @raise CredentialError: when it cannot be written, or there is such a file.
    """
    writePrivate(identity.to_pem(), path, "the identity")


def writePrivate(data: bytes, path: FilePath, kind: str) -> None:
    """
    Write a new file that only its owner can read.

    The name appears when all of it is on the disk. Missing directories are made, for the owner only.

    @param kind: of what it is, for errors.
    @raise CredentialError: when it cannot be written, or there is such a file; that one is never touched.
        Its C{__cause__} is the L{OSError}, if there was one.
    """
    what = f"{kind} {_shown(path)} cannot be made"
    directory, name = os.path.split(os.fspath(path))
    if not name:
        raise CredentialError(f"{what}: {_NO_NAME}")
    try:
        _makeDirectories(directory or os.curdir)
        _writeNew(data, directory or os.curdir, name)
    except FileExistsError as error:
        raise CredentialError(f"{what}: there is such a file, and it stays as it is; name another one") from error
    except OSError as error:
        raise CredentialError(f"{what}: {_reason(error)}") from error
    except ValueError:  # a null character, say
        raise CredentialError(f"{what}: {_NO_NAME}") from None


def identityIn(directory: FilePath, name: str, *, now: datetime) -> tuple[Identity, Path, bool]:
    """
    The identity that belongs to a directory, which is made when it is asked for the first time.

    @param directory: of the program's state; made when it is missing.
    @param name: what a new identity is called, see L{Identity.self_signed}.
    @param now: the time, with its zone.
    @return: the identity, its file, and whether it was made just now. Of several processes that come at once, one
        makes it, and all have the same.
    @raise CredentialError: when it can be neither read nor made.
    """
    path = Path(directory) / IDENTITY_FILE
    try:
        return readIdentity(path), path, False
    except CredentialError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    identity = Identity.self_signed(name, now=now)
    try:
        writeIdentity(identity, path)
    except CredentialError as error:
        if not isinstance(error.__cause__, FileExistsError):
            raise
        return readIdentity(path), path, False
    return identity, path, True


def thisMachine() -> str:
    """
    What tells this machine from others that have the same identity or secret: its machine-id(5), where there is
    one, and its name, as containers of one image share the former.
    """
    try:
        machine = _MACHINE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = ""
    return f"{machine} {socket.gethostname()}"


def stateDirectory() -> Path:
    """
    Where programs of this user keep what must outlive them: C{$XDG_STATE_HOME/hypermail}, or
    C{~/.local/state/hypermail} (XDG Base Directory Specification 0.8, which ignores relative paths).

    @raise CredentialError: when the user has no home.
    """
    told = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(told):
        return Path(told) / "hypermail"
    try:
        return Path.home() / ".local" / "state" / "hypermail"
    except RuntimeError:
        text = "there is no home directory to keep an identity in; name a file, or set XDG_STATE_HOME"
        raise CredentialError(text) from None


def readSecret(path: FilePath) -> bytes:
    """
    Read a shared secret: exactly the bytes of the file, a newline at its end included.

    @raise CredentialError: when the file cannot be read, others can read it, too, or it has fewer than 32 bytes or
        more than 64 KiB.
    """
    what = f"the secret {_shown(path)} cannot be used"
    making = f"`(umask 077; head -c {_LEAST_SECRET} /dev/urandom > {_word(path)})` makes one"
    data = readFile(path, what, making, most=_MOST_SECRET, private=True)
    if len(data) < _LEAST_SECRET:
        raise CredentialError(f"{what}: it has {len(data)} bytes, {_LEAST_SECRET} are the least; {making}")
    return data


def readHiveKey(path: FilePath) -> str:
    """
    Read the key by which a cell logs in: the text of the file, without white space around it.

    @raise CredentialError: when the file cannot be read, others can read it, too, or it has no text of 1,024 bytes or
        less.
    """
    what = f"the key {_shown(path)} cannot be used"
    data = readFile(path, what, f"`hypermail hive-key {_word(path)}` makes one", most=_MOST_HIVE_KEY, private=True)
    try:
        key = data.decode().strip()
    except UnicodeDecodeError:
        raise CredentialError(f"{what}: it is no text in UTF-8") from None
    if not key:
        raise CredentialError(f"{what}: it is empty")
    return key


def readTrustRoots(path: FilePath) -> list[x509.Certificate]:
    """
    Read the certificates that others are checked against, each once.

    @param path: of a PEM with one or more, or of a directory, whose files C{*.pem} and C{*.crt} are all read.
    @raise CredentialError: when one of the files cannot be read, has no certificate or may be written by
        everybody, or when there is none.
    """
    if not os.path.isdir(path):
        return _certificates(path)
    what = f"the certificates in {_shown(path)} cannot be used"
    try:
        files = sorted(each.path for each in os.scandir(path) if _isCertificateFile(each))
    except OSError as error:
        raise CredentialError(f"{what}: {_reason(error)}") from error
    if not files:
        raise CredentialError(f"{what}: no file there is called *.pem or *.crt")
    return list(dict.fromkeys(certificate for file in files for certificate in _certificates(file)))


def readPins(text: str) -> frozenset[str]:
    """
    Read pins.

    @param text: a pin, or a file of pins: one in a line; empty lines, and what is behind a C{#}, mean nothing. The
        file may be read by everybody, but not written.
    @raise CredentialError: when it is neither, a line is no pin, or there is none at all.
    """
    if text.lstrip().startswith("sha256/"):
        try:
            return frozenset((parse_pin(text),))
        except UsageError as error:
            raise CredentialError(error.text) from None
    what = f"the pins {_shown(text)} cannot be used"
    data = readFile(text, what, "name a pin (sha256/...), or a file with one in each line", most=_MOST_PINS)
    pins = set()
    for number, line in enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1):
        pin = line.partition("#")[0].strip()
        try:
            if pin:
                pins.add(parse_pin(pin))
        except UsageError as error:
            raise CredentialError(f"{what}: in line {number}, {error.text}") from None
    if not pins:
        raise CredentialError(f"{what}: there is no pin in it, so that it would let nobody in")
    return frozenset(pins)


def _certificates(path: FilePath) -> list[x509.Certificate]:
    what = f"the certificates in {_shown(path)} cannot be used"
    data = readFile(path, what, "name a PEM file with certificates", most=_MOST_CERTIFICATES)
    try:
        found = read_certificates(data)
    except CredentialError as error:
        raise CredentialError(f"{what}: {error.text}") from None
    if not found:
        conversion = "`openssl x509 -in FILE` converts one that is in DER"
        raise CredentialError(f"{what}: there is no certificate in it, as PEM; {conversion}")
    return list(dict.fromkeys(found))


def _isCertificateFile(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(_SUFFIXES) and not entry.is_dir()


def readFile(path: FilePath, what: str, missing: str, *, most: int, private: bool = False) -> bytes:
    """
    The content of a file that somebody is trusted for.

    @param what: the beginning of each error.
    @param missing: what to do when there is no such file.
    @param most: the most bytes.
    @param private: whether nobody but its owner may read it; otherwise everybody may, but not write.
    @raise CredentialError: when it cannot be read, is larger, or others may do with it what they must not.
    """
    try:
        descriptor = os.open(path, _READING)
    except FileNotFoundError as error:
        raise CredentialError(f"{what}: there is no such file; {missing}") from error
    except PermissionError as error:
        needed = "belong to" if private else "be readable for"
        raise CredentialError(f"{what}: {_reason(error)}; it must {needed} the user who runs this") from error
    except OSError as error:
        raise CredentialError(f"{what}: {_reason(error)}") from error
    except ValueError:  # a null character, say
        raise CredentialError(f"{what}: {_NO_NAME}") from None
    try:
        _check(os.fstat(descriptor), path, what, private)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise CredentialError(f"{what}: {_reason(error)}") from error
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise CredentialError(f"{what}: it has more than {most:,} bytes, the most that one may have")
    return data


def _check(status: os.stat_result, path: FilePath, what: str, private: bool) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise CredentialError(f"{what}: it is a directory; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise CredentialError(f"{what}: it is not a regular file; name one")
    if os.name != "posix":
        return  # where modes say nothing of who may read
    mode = stat.S_IMODE(status.st_mode)
    if private and mode & _OTHERS:
        doing = "read" if mode & (stat.S_IRGRP | stat.S_IROTH) else "write"
        raise CredentialError(f"{what}: others may {doing} it (mode {mode:04o}); `chmod 600 {_word(path)}` forbids it")
    if mode & stat.S_IWOTH:
        raise CredentialError(f"{what}: all may write it (mode {mode:04o}); `chmod o-w {_word(path)}` forbids it")


def _makeDirectories(path: str) -> None:
    """Make a directory and those above it, where they are missing, each for its owner only."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path.rstrip(os.sep)) or os.curdir
    _makeDirectories(above)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    else:
        _sync(above)


def _writeNew(data: bytes, directory: str, name: str) -> None:
    """
    Write a file under a name that nobody has.

    @raise FileExistsError: when somebody has it.
    """
    final = os.path.join(directory, name)
    partial = os.path.join(directory, f".hypermail-{secrets.token_hex(8)}.part")
    descriptor = os.open(partial, _CREATING, 0o600)
    try:
        with open(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o600)  # whatever the umask is
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _take(partial, final)
    finally:
        with suppress(FileNotFoundError):  # it was renamed
            os.unlink(partial)
    try:
        _sync(directory)
    except OSError:
        os.unlink(final)
        raise


def _take(partial: str, final: str) -> None:
    """Give a file its final name, unless somebody has it; the other name may stay."""
    try:
        os.link(partial, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return
    # A file system without links: for a moment the name is an empty file.
    os.close(os.open(final, _CREATING, 0o600))
    try:
        os.replace(partial, final)
    except OSError:
        os.unlink(final)
        raise


def _sync(directory: str) -> None:
    """Wait until a directory's entries are on the disk."""
    if os.name != "posix":
        return  # a directory cannot be opened there
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _shown(path: FilePath) -> str:
    """A path in one line, whatever is in it."""
    return repr(os.fspath(path))


def _word(path: FilePath) -> str:
    """A path as a word for the shell; what a terminal would obey is not written at all."""
    text = os.fspath(path)
    return shlex.quote(text) if text.isprintable() else "FILE"
