"""
Tests for L{hypermail.link.departures}: what was filled together leaves as if each had been sealed by itself.
"""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.departures import Departures
from hypermail.link.keys import SendingKeys
from hypermail.security.box import Box
from hypermail.security.keys import AeadSeal, Cipher
from hypermail.wire import header

TAG = 0x0102030405060708
SECRET = bytes(range(32))


def keys(sealings: int = 1 << 23) -> SendingKeys:
    """That bear so much."""
    return SendingKeys(AeadSeal.derive(Cipher("tiny", partial(Box, "AES-128-GCM"), 16, sealings, 8), SECRET))


def singly(numbers: list[int], key: SendingKeys) -> list[bytes]:
    """Datagrams sealed one by one; the content of each is its number."""
    sealed = []
    for number in numbers:
        key.prepare(number)
        sealed.append(key.seal(header.encode_short(TAG, number, key.phase), [b"%d" % number], number))
    return sealed


class DeparturesTests(SynchronousTestCase):
    """Filled first, then sealed."""

    def test_none(self) -> None:
        """Nothing waits, nothing is sealed."""
        departures = Departures()
        self.assertEqual((departures.waiting, departures.seal(keys(), TAG)), (0, []))

    def test_order(self) -> None:
        """They leave in the order of filling, whatever gaps their numbers have, and nothing waits then."""
        departures = Departures()
        departures.add(3, [b"3"])
        departures.add_run(4, [[b"4"], [b"5"]])
        departures.add(7, [b"7"])
        departures.add_run(9, [[b"", b"9"]])
        self.assertEqual(departures.waiting, 5)
        self.assertEqual(departures.seal(keys(), TAG), singly([3, 4, 5, 7, 9], keys()))
        self.assertEqual((departures.waiting, departures.seal(keys(), TAG)), (0, []))

    @given(st.lists(st.integers(1, 30), max_size=6), st.integers(2, 40), st.booleans())
    def test_updates(self, counts: list[int], sealings: int, confirmed: bool) -> None:
        """A key that is updated in the middle of a train changes its phase there, as it would without trains."""
        together, apart = keys(sealings), keys(sealings)
        departures = Departures()
        number = 0
        for count in counts:
            for key in (together, apart):
                if confirmed and number:
                    key.acknowledged(number - 1)
            departures.add_run(number, [[b"%d" % each] for each in range(number, number + count)])
            found = departures.seal(together, TAG)
            self.assertEqual(found, singly(list(range(number, number + count)), apart))
            self.assertEqual((together.updates, together.wants_ack), (apart.updates, apart.wants_ack))
            self.assertEqual(together.left, apart.left)
            number += count

    def test_spent(self) -> None:
        """What waits counts for what a key has still to bear once it is sealed."""
        key = keys(20)
        departures = Departures()
        departures.add_run(0, [[b""]] * 19)
        self.assertEqual(key.left, 20)
        departures.seal(key, TAG)
        self.assertEqual(key.left, 1)
