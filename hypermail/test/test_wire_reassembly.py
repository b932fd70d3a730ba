"""
Tests for L{hypermail.wire.reassembly}, against a bytearray.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import LimitExceeded
from hypermail.wire.ranges import RangeSet
from hypermail.wire.reassembly import Reassembly

SIZE = 48
pieces = st.lists(st.tuples(st.integers(0, SIZE), st.binary(max_size=12), st.booleans()), max_size=40)


class ReassemblyTests(SynchronousTestCase):
    """Ordered bytes out of pieces."""

    @settings(deadline=None, max_examples=300)
    @given(pieces, st.integers(0, 5))
    def test_model(self, pieces: list[tuple[int, bytes, bool]], begin: int) -> None:
        """Whatever pieces come, each byte is the one that came first, is handed over once, in order and at once."""
        reassembly = Reassembly(begin)
        model: dict[int, int] = {}
        delivered = bytearray()
        at = begin
        for offset, piece, view in pieces:
            for index, byte in enumerate(piece, offset):
                if index >= at:
                    model.setdefault(index, byte)
            ready = reassembly.add(offset, memoryview(piece) if view else piece, SIZE)
            expected = bytearray()
            while at in model:
                expected.append(model[at])
                at += 1
            self.assertNotIn(b"", ready)
            self.assertEqual(b"".join(ready), bytes(expected))
            delivered += expected
            arrived = RangeSet((index, index + 1) for index in model)
            self.assertEqual(reassembly.offset, at)
            self.assertEqual(reassembly.waiting, sum(index >= at for index in model))
            self.assertEqual(reassembly.highest, max([at, *(index + 1 for index in model)]))
            for stop in (0, at, at + 1, SIZE // 2, SIZE + 20):
                self.assertEqual(reassembly.missing(stop), arrived.missing(at, stop))
        self.assertEqual(bytes(delivered), bytes(model[index] for index in range(begin, at)))

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=200), st.integers(1, 20), st.randoms(use_true_random=False))
    def test_shuffled(self, data: bytes, size: int, random: object) -> None:
        """Data cut into pieces, doubled and shuffled comes out whole."""
        cut = [(offset, data[offset : offset + size]) for offset in range(0, len(data), size)] * 2
        random.shuffle(cut)  # type: ignore[attr-defined]
        reassembly = Reassembly()
        ready = [piece for offset, part in cut for piece in reassembly.add(offset, part, 1 << 20)]
        self.assertEqual(b"".join(ready), data)
        self.assertEqual((reassembly.offset, reassembly.waiting), (len(data), 0))

    def test_copies(self) -> None:
        """Pieces are copied, whether they wait or are handed over at once: datagrams' buffers are used again."""
        reassembly = Reassembly()
        buffer = bytearray(b"bbbaaa")
        reassembly.add(3, memoryview(buffer)[:3], 100)
        (first, second) = reassembly.add(0, memoryview(buffer)[3:], 100)
        buffer[:] = b"------"
        self.assertEqual((first, second), (b"aaa", b"bbb"))
        (third,) = reassembly.add(6, memoryview(buffer), 100)
        buffer[:] = b"++++++"
        self.assertEqual(third, b"------")

    def test_first_wins(self) -> None:
        """Where pieces disagree, what came first counts: before, within and behind what is there."""
        reassembly = Reassembly()
        reassembly.add(2, b"BB", 100)
        reassembly.add(6, b"DD", 100)
        reassembly.add(1, b"xxxxxxxx", 100)
        self.assertEqual(b"".join(reassembly.add(0, b"yyyyyyyyyyyy", 100)), b"yxBBxxDDxyyy")
        self.assertEqual(reassembly.add(0, b"zzzz", 100), [])

    def test_piece_limit(self) -> None:
        """More separate pieces than the window's share are refused; the last that is allowed is not."""
        for window, most in ((0, 64), (511, 64), (512, 65), (16_384, 96)):
            reassembly = Reassembly()
            for index in range(most):
                reassembly.add(2 * index + 1, b"x", window)
            self.assertEqual(reassembly.waiting, most)
            error = self.assertRaises(LimitExceeded, reassembly.add, 2 * most + 1, b"x", window)
            self.assertIn(f"more than {most} ", error.text)

    def test_small_pieces_behind_one_hole(self) -> None:
        """A sender of many small pieces, of which one was lost, is honest: neighbours don't count one by one."""
        reassembly = Reassembly()
        data = bytes(index % 251 for index in range(16_384))
        for offset in range(1, len(data)):
            reassembly.add(offset, data[offset : offset + 1], len(data))
        self.assertEqual(reassembly.missing(len(data)), [(0, 1)])
        self.assertEqual(b"".join(reassembly.add(0, data[:1], len(data))), data)

    def test_forget(self) -> None:
        """What waits can be given up; what was handed over stays so."""
        reassembly = Reassembly()
        reassembly.add(0, b"ab", 100)
        reassembly.add(5, b"cd", 100)
        reassembly.forget()
        self.assertEqual((reassembly.offset, reassembly.waiting, reassembly.highest), (2, 0, 2))
        self.assertEqual(reassembly.missing(5), [(2, 5)])
