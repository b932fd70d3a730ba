"""
Times as packets bear them: text that Java's ZonedDateTime prints, which is ISO 8601 with a zone.

Fractions of a second have no digits, or 3, 6 or 9; those of any number up to 9 are read. Seconds that are zero, with
nothing behind the point, are left out.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import NamedTuple

#: ns of a second.
SECOND = 1_000_000_000

#: Bytes of the forms that are written: with ns and a named zone as the original writes it, with ns, with s, with min.
NAMED, EXACT, WHOLE, COARSE = 39, 30, 20, 17

#: s that the coarsest form may leave out.
_MOST_LEFT_OUT = 20
_LONGEST_ZONE = 18 * 3600
_EPOCH = date(1970, 1, 1).toordinal()
_BEGINNING = datetime(1970, 1, 1)

_TEXT = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    rb"(?:Z|([+-])(\d\d):(\d\d)(?::(\d\d))?)(?:\[[!-Z^-~]{1,64}\])?"
)


class Timestamp(NamedTuple):
    """
    What a timestamp says, in ns since 1970: a span, for it is no finer than its digits.

    @ivar first: its begin.
    @ivar last: its end.
    """

    first: int
    last: int

    def near(self, now: int, most: int) -> bool:
        """Whether it is at most C{most} ns older or newer than C{now}."""
        return abs(now - self.first) <= most


def read(text: bytes) -> Timestamp | None:
    """
    What a timestamp says.

    @return: None for what is none.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, *zone = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        return None
    of_day = _seconds(hour, minute, second)
    ahead = _seconds(*zone) if sign else 0
    if of_day is None or ahead is None or ahead > _LONGEST_ZONE:
        return None
    if sign == b"-":
        ahead = -ahead
    digits = len(fraction or b"")
    first = (days * 86_400 + of_day - ahead) * SECOND + int((fraction or b"").ljust(9, b"0"))
    return Timestamp(first, first + 10 ** (9 - digits) - 1)


def _seconds(hour: bytes, minute: bytes, second: bytes | None) -> int | None:
    """s of a time of day; None when there is no such time."""
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    return hours * 3600 + minutes * 60 + seconds if hours < 24 and minutes < 60 and seconds < 60 else None


def write(now: int, room: int = EXACT) -> bytes | None:
    """
    A timestamp.

    @param now: ns since 1970.
    @param room: bytes that it may have; the most exact that fits is taken.
    @return: None when none fits, or what fits would be too far from the truth.
    """
    seconds, fraction = divmod(now, SECOND)
    moment = _BEGINNING + timedelta(seconds=seconds)
    if room >= EXACT:
        text = f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09}Z"
        return (text + "[Etc/UTC]" if room >= NAMED else text).encode()
    if room >= WHOLE:
        return f"{moment:%Y-%m-%dT%H:%M:%S}Z".encode()
    if room >= COARSE and moment.second < _MOST_LEFT_OUT:
        return f"{moment:%Y-%m-%dT%H:%M}Z".encode()
    return None
