"""
How many workers there are: what C{--workers} says.
"""

from __future__ import annotations

import os
import re

from hypermail.errors import UsageError

MOST = 64
"""Workers: with more the 256 values of a tag's first byte would not be shared evenly any more."""

AUTO = "auto"


def parse_workers(text: str) -> int:
    """
    Read a number of workers; C{auto} is that of the cores that this process may use.

    @raise UsageError: when it is none, with what is wrong.
    """
    if text == AUTO:
        return min(_cores(), MOST)
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise UsageError(
            f"{text!r} is no number of workers: give one from 1 to {MOST}, or {AUTO} for one for each core"
        )
    return int(text)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
