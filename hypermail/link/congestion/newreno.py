"""
NewReno, as RFC 9002 §7 and appendix B have it.
"""

from __future__ import annotations

from hypermail.link.congestion import Acked, Lost
from hypermail.link.rtt import RoundTrip


class NewReno:
    """
    Additive increase, multiplicative decrease.

    @param datagram: bytes of a full datagram.
    """

    __slots__ = ("_credit", "_datagram", "_recovery_start", "_saved", "_threshold", "window")

    def __init__(self, datagram: int) -> None:
        self._datagram = datagram
        self._threshold: float = float("inf")
        self._recovery_start = -1.0
        self._credit = 0
        self._saved: tuple[int, float] | None = None
        self.window = 10 * datagram  # RFC 9002 §7.2

    @property
    def _least(self) -> int:
        return 2 * self._datagram

    def acked(self, news: Acked, rtt: RoundTrip) -> None:
        if not news.limited:
            return
        size = sum(sent.size for sent in news.datagrams if sent.time > self._recovery_start)
        if self.window < self._threshold:
            self.window += size
            return
        self._credit += size
        if self._credit >= self.window:  # one datagram for each window that was acknowledged
            self._credit -= self.window
            self.window += self._datagram

    def lost(self, losses: Lost, rtt: RoundTrip) -> None:
        if losses.first:
            self._saved = None
        self.marked(losses.datagrams[-1].time, losses.now)
        if losses.persistent:
            self._recovery_start = -1.0
            self.window = self._least

    def marked(self, sent: float, now: float) -> None:
        if sent <= self._recovery_start:  # one reaction for each round trip
            return
        if self._saved is None:
            self._saved = self.window, self._threshold
        self._recovery_start = now
        self.window = max(self.window // 2, self._least)
        self._threshold = self.window
        self._credit = 0

    def undo(self) -> None:
        if self._saved is not None:
            window, self._threshold = self._saved
            self.window = max(self.window, window)
            self._saved = None

    def resized(self, datagram: int) -> None:
        self._datagram = datagram
        self.window = max(self.window, self._least)

    def rate(self, rtt: RoundTrip) -> float:
        gain = 2.0 if self.window < self._threshold else 1.25  # RFC 9002 §7.7
        return gain * self.window / max(rtt.smoothed, 1e-4)


CONTROLLER = NewReno
