"""
Tests that acknowledgements are not acknowledged: two links would talk about nothing at the speed of the path.
"""

from __future__ import annotations

from itertools import product
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.demux import Demux
from hypermail.events import SessionRequested
from hypermail.options import Options
from hypermail.security.handshake import PlainHandshake

#: s; the round trip of a fast path: thousands of turns pass before any timer.
ROUND_TRIP = 0.0001


class OpeningStormTests(SynchronousTestCase):
    """Whole connections on a fast path that loses some of the first datagrams."""

    def exchange(self, lost: tuple[bool, ...]) -> int:
        """Open a session and be quiet until 3 s have passed. @return: how many datagrams that took."""
        random_bytes = Random(1).randbytes
        now = 1_000.0
        starter = Connection.starter(
            "there", options=Options(), now=now, random_bytes=random_bytes, handshake=PlainHandshake
        )
        demux = Demux(options=Options(), handshake=PlainHandshake, random_bytes=random_bytes)
        fates = iter(lost)
        total = 0

        def leave(connection: Connection) -> list[memoryview]:
            nonlocal total
            datagrams: list[bytes] = []
            while trains := connection.trains(now=now):
                datagrams += [datagram for train in trains for datagram in train.datagrams]
            total += len(datagrams)
            return [memoryview(datagram) for datagram in datagrams if not next(fates, False)]

        while now < 1_003.0 and total < 1_000:
            before = total
            there = leave(starter)
            now += ROUND_TRIP / 2
            if there:
                demux.receive(there, "here", now=now)
            back = []
            for connection in list(demux.connections):
                while (event := connection.next_event()) is not None:
                    if isinstance(event, SessionRequested):
                        connection.accept(now=now)
                back += leave(connection)
            now += ROUND_TRIP / 2
            if back:
                starter.receive(back, "there", now=now)
            if total == before:
                sides = [starter, *demux.connections]
                now = max(now, min(side.next_timeout() or 2_000.0 for side in sides))
                for side in sides:
                    side.handle_timeout(now=now)
        return total

    def test_no_storm(self) -> None:
        """Whichever of the first six datagrams are lost, a session opens in dozens of datagrams, not in thousands."""
        for lost in product((False, True), repeat=6):
            self.assertLess(self.exchange(lost), 120, lost)
