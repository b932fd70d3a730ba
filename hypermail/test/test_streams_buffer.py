"""
Tests for L{hypermail.streams.buffer}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.streams.buffer import BLOCK, SendBuffer


class SendBufferTests(SynchronousTestCase):
    """What was written and may be asked for."""

    def test_empty(self) -> None:
        """Writing nothing keeps nothing."""
        buffer = SendBuffer()
        buffer.write(b"")
        self.assertEqual((buffer.start, buffer.stop, buffer.read(0, 0)), (0, 0, []))

    def test_notCopied(self) -> None:
        """A large write is kept as it is."""
        data = bytes(BLOCK)
        buffer = SendBuffer()
        buffer.write(data)
        (piece,) = buffer.read(0, BLOCK)
        self.assertIs(piece.obj, data)

    def test_smallAndLarge(self) -> None:
        """... also behind a small one, which alone is copied."""
        data = bytes(BLOCK)
        buffer = SendBuffer()
        for written in (b"small", b"er", data):
            buffer.write(written)
        small, large = buffer.read(0, BLOCK + 7)
        self.assertEqual(small, b"smaller")
        self.assertIs(large.obj, data)

    def test_released(self) -> None:
        """What was released goes by whole blocks, and releasing backwards changes nothing."""
        buffer = SendBuffer()
        for _ in range(3):
            buffer.write(bytes(BLOCK))
        buffer.release(BLOCK + 1)
        buffer.release(5)
        self.assertEqual(buffer.start, BLOCK + 1)
        self.assertEqual(sum(map(len, buffer.read(BLOCK + 1, 3 * BLOCK))), 2 * BLOCK - 1)
        buffer.release(3 * BLOCK)
        self.assertEqual(buffer.read(3 * BLOCK, 3 * BLOCK), [])

    def test_forget(self) -> None:
        """Afterwards nothing is kept, and offsets stay what they were."""
        buffer = SendBuffer()
        buffer.write(bytes(BLOCK))
        buffer.write(b"more")
        buffer.forget()
        self.assertEqual((buffer.start, buffer.stop), (BLOCK + 4, BLOCK + 4))

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("write"), st.integers(0, 3_000), st.just(0)),
                st.tuples(st.just("read"), st.integers(0, 60_000), st.integers(0, 5_000)),
                st.tuples(st.just("cut"), st.integers(0, 60_000), st.integers(1, 3_000)),
                st.tuples(st.just("release"), st.integers(0, 60_000), st.just(0)),
            ),
            max_size=60,
        )
    )
    def test_model(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever is written, read, cut and released, what is read are the bytes at those offsets."""
        buffer = SendBuffer()
        whole = b""
        for step, first, second in steps:
            if step == "write":
                data = bytes((len(whole) + n) * 7 & 0xFF for n in range(first * 4))
                whole += data
                buffer.write(data)
            elif step == "read":
                start = min(max(first, buffer.start), buffer.stop)
                stop = min(start + second, buffer.stop)
                self.assertEqual(b"".join(buffer.read(start, stop)), whole[start:stop])
            elif step == "cut":
                start = min(max(first, buffer.start), buffer.stop)
                stop = start + (buffer.stop - start) // second * second
                heads = [b"%d:" % at for at in range(start, stop, second)]
                shares = [b"".join(share) for share in buffer.cut(start, stop, second, heads)]
                expected = [b"%d:" % at + whole[at : at + second] for at in range(start, stop, second)]
                self.assertEqual(shares, expected)
            else:
                buffer.release(min(first, buffer.stop))
            self.assertEqual(buffer.stop, len(whole))
