"""
The options of C{twistd hypermail} that are about dialects.
"""

from __future__ import annotations

from typing import Any

from twisted.python import usage

from hypermail.errors import UsageError
from hypermail.services.dialects import DIALECTS, DialectSettings

#: Options of the native protocol that are of no use in a dialect, and why.
_ENCRYPTS = "does not encrypt"
_USELESS = {
    "identity": _ENCRYPTS,
    "allow": _ENCRYPTS,
    "trust-roots": _ENCRYPTS,
    "pin": _ENCRYPTS,
    "plain": "is never encrypted, and goes wherever it is told",
    "allow-remote-plain": "is never encrypted, and goes wherever it is told",
    "state": "has no durable sessions",
    "outbox": "has no durable sessions",
    "outbox-remove": "has no durable sessions",
    "forward": "has no streams",
    "listen": "has no streams",
    "trace": "writes no traces",
    "workers": "does not say whose a datagram is, so that one process has to do",
}
_SECONDS = ("connection-timeout", "delivery-timeout", "ping-interval")
_NUMBERS = ("ping-packet-count", "ping-steps")
_FLAGS = ("no-secret", "repeat-requests")
_TEXTS = ("uuid", "secrets")


class DialectUsage(usage.Options):
    """What L{hypermail.services.tap.Command} understands besides."""

    optParameters = [
        ["dialect", None, None, f"Serve older devices: {' or '.join(DIALECTS)}. Neither encrypts."],
        ["delivery-timeout", None, None, "With --dialect: seconds after which what was not acknowledged goes again."],
        ["ping-interval", None, None, "With --dialect: seconds between two pings."],
        ["ping-packet-count", None, None, "With --dialect: pings in a row that may stay unanswered."],
        ["connection-timeout", None, None, "With --dialect: seconds that opening may take."],
        ["ping-steps", None, None, "With --dialect digest: 2 (PING, PONG) or 3 (PING, PANG, PONG) [3]."],
        ["uuid", None, None, "With --dialect digest: the own UUID [a new one each time]."],
        ["secrets", None, None, "With --dialect digest: file with a line `UUID SECRET` for each peer."],
    ]

    optFlags = [
        ["no-secret", None, "With --dialect digest: nobody has a secret; anybody can forge."],
        ["repeat-requests", None, "With --dialect batch: the peers understand requests to repeat."],
    ]

    def parseDialect(self, congestion: str) -> DialectSettings | None:
        """
        What the options say of a dialect.

        @param congestion: the default of C{--congestion}.
        @return: None when there is none.
        @raise usage.UsageError: when they make no sense.
        """
        name = self["dialect"]
        if name is None:
            for other in (*_SECONDS, *_NUMBERS, *_FLAGS, *_TEXTS):
                if self[other]:
                    raise usage.UsageError(f"--{other} is for a dialect: give --dialect {' or '.join(DIALECTS)}, too")
            return None
        if name not in DIALECTS:
            raise usage.UsageError(f"--dialect: there is no dialect {name!r}: give {' or '.join(DIALECTS)}")
        for other, why in _USELESS.items():
            if self[other]:
                raise usage.UsageError(f"dialect {name} {why}: leave out --{other}")
        if self["congestion"] != congestion:
            raise usage.UsageError(f"dialect {name} has a congestion control of its own: leave out --congestion")
        settings: dict[str, Any] = {each: self._number(each, float) for each in _SECONDS}
        settings |= {each: self._number(each, int) for each in _NUMBERS}
        settings |= {each: bool(self[each]) for each in _FLAGS} | {each: self[each] for each in _TEXTS}
        settings |= {"secret-file": self["secret-file"], "max-rate": self["max-rate"]}
        try:
            found = DialectSettings(name=name, **{each.replace("-", "_"): value for each, value in settings.items()})
            found.check()
        except UsageError as error:
            raise usage.UsageError(error.text) from None
        return found

    def _number(self, name: str, kind: type[float] | type[int]) -> float | int | None:
        if self[name] is None:
            return None
        try:
            return kind(self[name])
        except ValueError:
            what = "a number of seconds" if kind is float else "a whole number"
            raise usage.UsageError(f"--{name}: {self[name]!r} is not {what}") from None
