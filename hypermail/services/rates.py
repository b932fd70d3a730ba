"""
Rates as people write them: C{800k}, C{2.5M}, C{1G}, in bits per second.
"""

from __future__ import annotations

import re

from hypermail.errors import UsageError
from hypermail.options import Options

_FACTORS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


def parse_rate(text: str) -> float:
    """
    Read a rate for C{Options.max_rate}.

    @return: bit/s.
    @raise UsageError: when it is none, or one that can't be kept to, with what is wrong.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kKMG]?)", text)
    if match is None:
        raise UsageError(f"{text!r} is no rate: give bits per second, with k, M or G behind it for thousands and so on")
    rate = float(match[1]) * _FACTORS[match[2]]
    try:
        Options(max_rate=rate)
    except UsageError:
        raise UsageError(
            f"{text!r} is no rate to talk at: give 8k (8,000 bits per second) or more, below 1000000G"
        ) from None
    return rate
