"""
Where the peer is now: another address is believed once somebody there has answered a challenge (RFC 9000 §8.2, §9).

Only the starter moves, so only a listener doubts. Until the answer has come nothing but challenges goes to the new
address: who merely sends on what others have sent gains no more than those.
"""

from __future__ import annotations

import hmac
from math import inf
from typing import Any

from hypermail.link.path import Path
from hypermail.wire.packets import PathChallenge

#: Challenges to one new address, before it is given up until something comes from there again.
TRIES = 8
#: s; the time between two of them doubles no further.
LONGEST_WAIT = 1.0
#: Challenges whose answers are remembered: two for each try.
MOST_ASKED = 2 * TRIES
#: Bytes of a datagram that has nothing but a challenge.
LEAST_CHALLENGE = 64


class Moving:
    """
    A listener's doubt where its starter is.

    @param secret: what nobody else knows; the challenges follow from it.
    @ivar candidate: the address that the newest datagram came from, when that is not the path's.
    @ivar due: s when the next challenges are to be sent, or the candidate is given up; C{inf} without one.
    """

    __slots__ = ("_asked", "_not_before", "_secret", "_serial", "_tries", "candidate", "due")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._serial = 0
        self._asked: dict[bytes, tuple[Any, float]] = {}
        self._tries = 0
        self._not_before = -inf
        self.candidate: Path | None = None
        self.due = inf

    def seen(self, address: Any, size: int, newest: bool, now: float) -> None:
        """
        An authentic datagram of C{size} bytes has come from another address than the path's.

        @param newest: whether no later one has arrived yet: only those tell where the peer is now (RFC 9000 §9.3).
        """
        candidate = self.candidate
        if newest and (candidate is None or candidate.address != address):
            candidate = self.candidate = Path(address, 0, validated=False)
            self._tries = 0
            self.due = max(now, self._not_before)  # however many addresses there are, challenges are few
        if candidate is not None and candidate.address == address:
            candidate.received(size)

    def stay(self) -> None:
        """The newest datagram has come from where the peer was before."""
        self.candidate = None
        self.due = inf

    def timeout(self, now: float) -> None:
        """Time has passed; harmless when early."""
        if now >= self.due and self._tries >= TRIES:
            self.stay()

    def challenges(self, home: Path, full: int, now: float, interval: float) -> list[tuple[Path, bytes, int]]:
        """
        What is to be sent now: to the new address, and to the old one, which induces an answer from there if somebody
        else only sends on what comes from it (RFC 9000 §9.3.3).

        @param full: bytes of a datagram that shows that the path carries such (RFC 9000 §8.2.1).
        @param interval: s to wait for an answer, the first time.
        @return: paths, what each is to be sent, and the size of the datagram that takes it there.
        """
        candidate = self.candidate
        if candidate is None or now < self.due or self._tries >= TRIES:
            return []
        self._tries += 1
        wait = min(interval * 2.0 ** (self._tries - 1), LONGEST_WAIT)
        self.due = now + wait
        self._not_before = now + interval
        # Not in between: a little of what may be sent there is left for further tries.
        sizes = [(path, full if path.credit >= full else LEAST_CHALLENGE) for path in (candidate, home)]
        return [(path, self._ask(path, now), size) for path, size in sizes if path.credit >= size]

    def _ask(self, path: Path, now: float) -> bytes:
        self._serial += 1
        what = b"path challenge %d" % self._serial
        data = hmac.digest(self._secret, what, "sha256")[:8]
        if len(self._asked) >= MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[data] = (path.address, now)
        return PathChallenge(data).encode()

    def answered(self, data: bytes) -> tuple[Any, float] | None:
        """
        A challenge was answered; wherever the answer came from, somebody has received it (RFC 9000 §8.2.3).

        @return: where it was sent, and when in s; None when nobody has asked.
        """
        return self._asked.pop(data, None)
