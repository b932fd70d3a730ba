"""
The round trip: measured, smoothed, and what follows for timers (RFC 9002 §5).
"""

from __future__ import annotations

from hypermail.link.acks import MAX_ACK_DELAY

#: s; timers are no finer than this (RFC 9002 §6.1.2, kGranularity).
GRANULARITY = 0.001


class RoundTrip:
    """
    An estimate of one path's round trip, in seconds.

    @ivar latest: the last sample; 0 before the first.
    @ivar smoothed: exponentially weighted mean.
    @ivar variation: mean deviation.
    @ivar least: the smallest sample.
    @ivar probe_timeout: RFC 9002 §6.2.1, without back-off; timers ask for it much more often than it changes.
    """

    __slots__ = ("latest", "least", "measured", "probe_timeout", "smoothed", "variation")

    #: s; taken for true before the first sample.
    INITIAL = 0.1

    def __init__(self) -> None:
        self.restart()

    def restart(self, assumed: float = INITIAL) -> None:
        """
        The path is another one: nothing was measured there yet.

        @param assumed: s; taken for true before the first sample.
        """
        self.measured = False
        self.latest = 0.0
        self.least = 0.0
        self.smoothed = assumed
        self.variation = assumed / 2
        self.probe_timeout = assumed + max(2 * assumed, GRANULARITY) + MAX_ACK_DELAY

    def forget_least(self) -> None:
        """The path has changed: the smallest sample may be another path's (RFC 9002 §5.2)."""
        self.least = self.latest

    def sample(self, elapsed: float, ack_delay: float) -> None:
        """
        Take a sample.

        @param elapsed: s between sending and the arrival of the acknowledgement.
        @param ack_delay: s that the peer says it waited; believed up to its limit (RFC 9002 §5.3).
        """
        self.latest = elapsed
        if not self.measured:
            self.measured = True
            self.least = self.smoothed = elapsed
            self.variation = elapsed / 2
        else:
            if elapsed < self.least:
                self.least = elapsed
            delay = ack_delay if ack_delay < MAX_ACK_DELAY else MAX_ACK_DELAY
            adjusted = elapsed - delay if elapsed >= self.least + delay else elapsed
            self.variation += (abs(self.smoothed - adjusted) - self.variation) / 4
            self.smoothed += (adjusted - self.smoothed) / 8
        spread = 4 * self.variation
        self.probe_timeout = self.smoothed + (spread if spread > GRANULARITY else GRANULARITY) + MAX_ACK_DELAY

    @property
    def loss_delay(self) -> float:
        """s after which a datagram that was overtaken is lost: 9/8 of the round trip (RFC 9002 §6.1.2)."""
        return max(1.125 * max(self.smoothed, self.latest), GRANULARITY)
