"""
What goes out: short datagrams, filled from what the rooms of one connection have to say.

Acknowledgements and control packets go first and wait for nothing; data follows as far as window and pace
allow. A turn is the batch: what is small shares datagrams, and no timer waits for more.
"""

from __future__ import annotations

from hypermail.link.link import Link
from hypermail.link.outbound import LARGEST
from hypermail.link.payload import Payload, Run
from hypermail.session.session import Session

#: Datagrams of one filling, at most; more is asked for again.
MOST_DATAGRAMS = 256
#: Datagrams that are worth being filled all at once.
LEAST_RUN = 2


class Outlet:
    """Makes datagrams of what link and session have to say."""

    __slots__ = ("_allowance", "_link", "_outbound", "_session", "_streams_first")

    def __init__(self, link: Link, session: Session) -> None:
        self._link = link
        self._outbound, self._allowance = link.outbound, link.allowance
        self._session = session
        self._streams_first = False

    def carry(self, session: Session) -> None:
        """It is this session from now on that speaks."""
        self._session = session

    def fill(self, now: float) -> tuple[list[bytes], bool]:
        """
        Short datagrams, while there is something to say and leave to say it.

        @return: the datagrams; whether there is still more, since these are enough for one time.
        """
        more = self._fill(now)
        return self._outbound.depart(now), more

    def _fill(self, now: float) -> bool:
        out, allowance, session = self._outbound, self._allowance, self._session
        control, path = session.control, self._link.path
        speaks = out.speaks
        carrying = speaks and session.carrying
        allowed = allowance.data(now)
        room = out.room
        copies = session.sending.copies
        if copies is not None:
            copies.begin(now, self._link.rtt.smoothed)
        filled = 0
        full = True  # a datagram that was not has taken all that there was
        while filled < MOST_DATAGRAMS:
            more = carrying and full and (session.sending.has_more or session.streams.has_more)
            again = carrying and copies is not None and copies.due
            # What is new may use up the window; copies by themselves keep out of its way.
            talking = (more and allowed > 0) or (again and allowed >= path.mtu)
            controlling = speaks and bool(control.waiting) and allowance.control > 0
            if not talking and not controlling and not out.interrupted:
                allowance.blocked(now, more, again)
                return False
            payload = out.begin(now, talking or controlling, allowance.datagram(allowed if talking else LARGEST))
            if controlling:
                control.fill(payload)
            if talking and not payload.full:
                self._fill_data(payload, room)
                if control.waiting and not payload.full:
                    control.fill(payload)
                if copies is not None:
                    copies.fill(payload, 0)
            size = out.finish(payload, now)
            if not size:
                allowance.blocked(now, more, again)
                return False
            filled += 1
            allowed -= size
            full = payload.full or not talking
            if talking and copies is None and payload.full and not control.waiting:
                run = self._run(room, min(MOST_DATAGRAMS - filled, allowed // path.mtu))
                if run is not None:
                    filled += len(run.contents)
                    allowed -= out.finish_run(run, now)
        return True

    def _run(self, room: int, most: int) -> Run | None:
        """
        What can be said without looking at each datagram: when nobody but one stream has anything to say.

        @param most: datagrams.
        """
        session = self._session
        if most < LEAST_RUN or self._outbound.interrupted or session.sending.has_more:
            return None
        return session.streams.run(room, most)

    def _fill_data(self, payload: Payload, room: int) -> None:
        """
        Copies that have waited for long enough first, in half of the datagram, so that they come whatever else does;
        then urgent messages; other messages and streams take turns in going before each other.
        """
        session = self._session
        copies = session.sending.copies
        if copies is not None and copies.due:
            copies.fill(payload, room // 2)
        session.sending.fill(payload, room, urgent=True)
        self._streams_first = not self._streams_first
        if self._streams_first and not payload.full:
            session.streams.fill(payload)
        if not payload.full:
            session.sending.fill(payload, room, urgent=False)
        if not self._streams_first and not payload.full:
            session.streams.fill(payload)
