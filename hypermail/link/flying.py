"""
What is in flight, in the order of numbers. Datagrams that left together and are filled alike are one entry as long as
nothing tells them apart, so that what there is to do for them is done once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypermail.link.payload import Sent, Source
from hypermail.wire.ranges import RangeSet


class Flying:
    """
    Of one direction of one link.

    @ivar size: bytes of it.
    """

    __slots__ = ("_sent", "size")

    def __init__(self) -> None:
        self._sent: dict[int, Sent] = {}  # by the highest number of each entry
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        """The entries, oldest first."""
        return iter(self._sent.values())

    def add(self, sent: Sent) -> None:
        """It has left; its numbers are above all others."""
        self._sent[sent.number] = sent
        self.size += sent.size * sent.count

    def remove(self, sent: Sent) -> None:
        """An entry is in flight no more."""
        del self._sent[sent.number]
        self.size -= sent.size * sent.count

    def clear(self) -> None:
        """Nothing is in flight any more."""
        self._sent.clear()
        self.size = 0

    def take(self, ranges: Sequence[tuple[int, int]], long: bool) -> list[Sent]:
        """
        Take out what an acknowledgement covers.

        @param ranges: of numbers, half-open, the highest first.
        @param long: of which kind of datagram.
        """
        taken, apart = self._covered(ranges, long)
        while apart is not None:
            self.tell_apart(apart)
            taken, apart = self._covered(ranges, long)
        flying = self._sent
        if len(taken) == len(flying) and (not taken or taken[-1].number in flying):  # only the last may have been cut
            flying.clear()  # gives back the room that a full window took
            self.size = 0
            return taken
        for sent in taken:
            self.size -= sent.size * sent.count
            if flying.get(sent.number) is sent:  # not the first of several
                del flying[sent.number]
        return taken

    def _covered(self, ranges: Sequence[tuple[int, int]], long: bool) -> tuple[list[Sent], Sent | None]:
        """
        @return: what is covered, the first of several cut off where the others are not; and the first entry that is
            covered otherwise in part, when there is one: then nothing was cut.
        """
        covered: list[Sent] = []
        index = len(ranges) - 1
        start, stop = ranges[index]
        for sent in self._sent.values():
            number = sent.number
            first = number - sent.count + 1
            while first >= stop:
                if not index:
                    return covered, None
                index -= 1
                start, stop = ranges[index]
            if number < start or sent.long is not long:
                continue
            if first >= start and number < stop:
                covered.append(sent)
            elif first < start or index:  # a higher range may cover some of the rest
                return covered, sent
            else:
                covered.append(sent.cut(stop - first))
        return covered, None

    def tell_apart(self, several: Sent) -> None:
        """The datagrams of an entry have different fates."""
        sent: dict[int, Sent] = {}
        for entry in self._sent.values():
            for each in entry.each() if entry is several else (entry,):
                sent[each.number] = each
        self._sent = sent

    @property
    def oldest(self) -> Sent | None:
        """The first entry."""
        return next(iter(self._sent.values()), None)

    @property
    def newest(self) -> int:
        """The highest number; -1 when nothing is in flight."""
        return next(reversed(self._sent), -1)

    def of(self, source: Source) -> RangeSet:
        """What of one source's contents is in flight."""
        ranges = RangeSet()
        for sent in self._sent.values():
            for who, start, stop in sent.contents:
                if who is source:
                    ranges.add(start, stop)
        return ranges
