"""
Dialects as people ask for them, in options of a command: C{--dialect batch}, names of files, numbers of seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from uuid import UUID, uuid4

import attrs
from twisted.logger import Logger

from hypermail.dialects.batch.dialect import Batch
from hypermail.dialects.dialect import Dialect
from hypermail.dialects.digest.dialect import Digest
from hypermail.errors import CredentialError, HypermailError, UsageError
from hypermail.internet.credentials import readFile
from hypermail.services.progress import count

BATCH, DIGEST = Batch.name, Digest.name
DIALECTS = (BATCH, DIGEST)

#: Bytes of a secret, and of a file of them, at most.
MOST_SECRET = 64 * 1024
MOST_SECRETS = 16 * 1024 * 1024

#: Settings that only one dialect has a use for.
_OF_ONE = {
    "repeat_requests": BATCH,
    "ping_steps": DIGEST,
    "uuid": DIGEST,
    "secret_file": DIGEST,
    "secrets": DIGEST,
    "no_secret": DIGEST,
}
#: Those that go into the dialect's options as they are, when they are given.
_NUMBERS = ("connection_timeout", "delivery_timeout", "ping_interval", "ping_packet_count", "max_rate", "ping_steps")


def read_own_secret(path: str) -> bytes:
    """
    Read one's own secret: exactly the bytes of the file, a newline at its end included.

    @raise CredentialError: when the file cannot be read, others can read it, too, it is empty or has more than 64 KiB.
    """
    what = f"the secret {path!r} cannot be used"
    making = "write one into a file that only you can read, without a newline behind it: `(umask 077; printf %s ...)`"
    secret = readFile(path, what, making, most=MOST_SECRET, private=True)
    if not secret:
        raise CredentialError(f"{what}: it is empty; {making}")
    return secret


def read_secrets(path: str) -> dict[str, bytes]:
    """
    Read the secrets of others: in each line a UUID, blanks, and the secret, which is all that follows up to the end of
    the line. Empty lines, and those that begin with C{#}, mean nothing.

    @return: by UUID, in lower case with hyphens.
    @raise CredentialError: when the file cannot be read, others can read it, too, a line is of another form, or a UUID
        comes twice.
    """
    what = f"the secrets {path!r} cannot be used"
    data = readFile(path, what, "write one with a line `UUID SECRET` for each peer", most=MOST_SECRETS, private=True)
    found: dict[str, bytes] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if not line.strip() or line.startswith(b"#"):
            continue
        name, _, rest = line.partition(b" ") if b" " in line else line.partition(b"\t")
        secret = rest.lstrip(b" \t")
        try:
            uuid = canonical(name.decode("ascii", "replace"))
        except UsageError as error:
            raise CredentialError(f"{what}: in line {number}, {error.text}") from None
        if not secret:
            raise CredentialError(f"{what}: in line {number}, there is no secret behind the UUID")
        if uuid in found:
            raise CredentialError(f"{what}: in line {number}, {uuid} comes again")
        found[uuid] = secret
    return found


def canonical(text: str) -> str:
    """
    A UUID in lower case with hyphens.

    @param text: the same, or in upper case, or without hyphens.
    @raise UsageError: when it is none.
    """
    try:
        uuid = str(UUID(text))
    except ValueError:
        uuid = ""
    if text.lower() not in (uuid, uuid.replace("-", "")) or not uuid:
        raise UsageError(f"{text!r} is no UUID, as 00112233-4455-6677-8899-aabbccddeeff")
    return uuid


class Secrets:
    """
    The secrets of others, which may be read anew while they are in use.

    @param path: of the file; None for one that has none.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._secrets: Mapping[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._secrets)

    def __call__(self, uuid: str) -> bytes | None:
        """The secret of one; None when that is not known here."""
        return self._secrets.get(uuid)

    def read(self) -> None:
        """@raise CredentialError: see L{read_secrets}; nothing has changed then."""
        if self._path is not None:
            self._secrets = read_secrets(self._path)


@attrs.frozen(kw_only=True)
class DialectSettings:
    """
    What somebody may be told who speaks a dialect; None for what was not said.

    @ivar name: one of L{DIALECTS}.
    @ivar repeat_requests: C{batch}: the peer understands requests to repeat.
    @ivar ping_steps: C{digest}: 2 or 3.
    @ivar uuid: C{digest}: one's own; None for a new one each time.
    @ivar secret_file: C{digest}: with one's own secret.
    @ivar secrets: C{digest}: file with those of others.
    @ivar no_secret: C{digest}: nobody has any.
    """

    name: str
    connection_timeout: float | None = None
    delivery_timeout: float | None = None
    ping_interval: float | None = None
    ping_packet_count: int | None = None
    max_rate: float | None = None
    repeat_requests: bool | None = None
    ping_steps: int | None = None
    uuid: str | None = attrs.field(default=None, converter=attrs.converters.optional(canonical))
    secret_file: str | None = None
    secrets: str | None = None
    no_secret: bool | None = None

    _book: Secrets = attrs.field(init=False, eq=False)
    _ownUUID: str = attrs.field(init=False, eq=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_book", Secrets(self.secrets))
        object.__setattr__(self, "_ownUUID", self.uuid or str(uuid4()))

    def check(self) -> None:
        """@raise UsageError: when the settings don't fit together, before any file is read."""
        for setting, name in _OF_ONE.items():
            if getattr(self, setting) and name != self.name:
                self._wrong(f"{_option(setting)} is for dialect {name}")
        if self.name == DIGEST:
            self._checkSecrets()
        self._make(b"" if self.secret_file is None else b"not read yet")

    def _checkSecrets(self) -> None:
        for setting in ("secret_file", "secrets"):
            given = getattr(self, setting) is not None
            if given and self.no_secret:
                self._wrong(f"{_option(setting)} and --no-secret exclude each other")
            if not given and not self.no_secret:
                whose = "one's own secret" if setting == "secret_file" else "a line `UUID SECRET` for each peer"
                self._wrong(f"dialect digest needs {_option(setting)} FILE, with {whose}, or --no-secret on both sides")

    def _wrong(self, text: str) -> NoReturn:
        raise UsageError(text)

    def dialect(self) -> Dialect:
        """
        Read what the settings name.

        @raise UsageError: when they don't fit together; L{CredentialError}, which is one, when a file can't be used.
        """
        self.check()
        self._book.read()
        secret = b"" if self.secret_file is None else read_own_secret(self.secret_file)
        if secret.endswith(b"\n"):
            self._log.warn("the secret in {file!r} ends with a newline, which counts", file=self.secret_file)
        return self._make(secret)

    def _make(self, secret: bytes) -> Dialect:
        numbers: dict[str, Any] = {name: getattr(self, name) for name in _NUMBERS if getattr(self, name) is not None}
        if self.name == BATCH:
            return Batch(repeat_requests=bool(self.repeat_requests), **numbers)
        return Digest(
            uuid=self._ownUUID,
            secret=secret or None,
            secrets=None if self.no_secret else self._book,
            plain=bool(self.no_secret),
            **numbers,
        )

    @property
    def most(self) -> int:
        """Bytes of a message, at most."""
        return self._make(b"").max_message

    def reload(self) -> None:
        """Read the secrets of others again. What cannot be read is logged, and nothing changes."""
        if self.secrets is None:
            return
        try:
            self._book.read()
        except HypermailError as error:
            self._log.error("the secrets stay as they were: {reason}", reason=error.text)
        else:
            self._log.info("the secrets of {count} were read again", count=count(len(self._book), "peer"))

    def sayWhoMayCome(self) -> None:
        """What an operator has to know of a listener."""
        if self.name == DIGEST:
            self._log.info("this side's UUID is {uuid}", uuid=self._ownUUID)
        if self.secrets is not None:
            self._log.info("who may come: the {count} of --secrets", count=count(len(self._book), "peer"))
        else:
            self._log.warn("anybody may send to it: nothing in this dialect shows who somebody is")


def _option(setting: str) -> str:
    """A setting as it is written in a command."""
    return "--" + setting.replace("_", "-")
