"""
Tests for L{hypermail.services.store_rows}: what is written is read, and what was damaged is noticed.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.messages.lanes import LaneProperties
from hypermail.options import Delivery, Role, Way
from hypermail.services import store_rows
from hypermail.services.store_rows import Damaged, Kept, Receiving, Sending
from hypermail.session.journal import QueuedMessage, SessionIdentity
from hypermail.test.stores import queued, session_id
from hypermail.wire.packets import Verdict

U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
ID = session_id(5)
TIMES = st.floats(allow_nan=False)

KEPT = st.builds(
    Kept,
    st.builds(
        SessionIdentity,
        id=st.just(ID),
        secret=st.binary(max_size=40),
        role=st.sampled_from(Role),
        name=st.text(max_size=40),
        way=st.sampled_from(Way),
        generation=U64,
        peer_incarnation=U64,
        peer_key=st.binary(max_size=40),
        worker=st.integers(0, 255),
        parameters=st.binary(max_size=300),
        timeout=TIMES,
    ),
    st.none() | TIMES,
)
PROPERTIES = st.builds(
    LaneProperties, st.booleans(), st.sampled_from(Delivery), st.integers(0, 7), st.integers(0, 3), st.just(True)
)
SENDING = st.builds(Sending, PROPERTIES, U64, U64, st.sets(st.integers(0, 30) | st.integers(0, (1 << 64) - 2)))
VERDICTS = st.lists(st.builds(Verdict, U64, st.booleans(), U32, st.text(max_size=40)), max_size=5)
RECEIVING = st.builds(Receiving, U64, VERDICTS.map(lambda verdicts: {verdict.number: verdict for verdict in verdicts}))
MESSAGES = st.lists(
    st.builds(QueuedMessage, st.binary(max_size=50), st.none() | TIMES, st.binary(max_size=20)), min_size=1, max_size=20
)


class RowsTests(SynchronousTestCase):
    """Values of rows."""

    @given(KEPT)
    def test_session(self, kept: Kept) -> None:
        """A session is read as it was written."""
        self.assertEqual(store_rows.decode_session(ID, store_rows.encode_session(kept)), kept)

    @given(SENDING)
    def test_sending(self, half: Sending) -> None:
        """Likewise the sending half of a lane."""
        self.assertEqual(store_rows.decode_sending(ID, 7, store_rows.encode_sending(ID, 7, half)), half)

    @given(RECEIVING)
    def test_receiving(self, half: Receiving) -> None:
        """Likewise its receiving half, with verdicts in their order."""
        found = store_rows.decode_receiving(ID, 7, store_rows.encode_receiving(ID, 7, half))
        self.assertEqual(found, half)
        self.assertEqual(list(found.verdicts), list(half.verdicts))

    @given(MESSAGES, st.integers(0, 1 << 60), st.integers(-3, 25))
    def test_messages(self, messages: list[QueuedMessage], first: int, skipped: int) -> None:
        """Likewise messages, all of them or from a number on."""
        sealed = store_rows.encode_messages(ID, 7, first, messages)
        found = list(store_rows.decode_messages(ID, 7, first, first + len(messages), sealed, first + skipped))
        self.assertEqual(found, list(enumerate(messages, first))[max(0, skipped) :])

    @given(st.binary(max_size=40), TIMES, U64)
    def test_store(self, owner: bytes, seen: float, count: int) -> None:
        """Likewise what the store says of itself."""
        found = store_rows.decode_store(store_rows.encode_store(owner, seen, count))
        self.assertEqual(found, (owner, seen, count))

    @given(MESSAGES, SENDING, RECEIVING, KEPT, st.data())
    def test_damaged(
        self, messages: list[QueuedMessage], sending: Sending, receiving: Receiving, kept: Kept, data: Any
    ) -> None:
        """A value with a changed bit, of another length, or under another key is damaged."""
        count = len(messages)
        for sealed, decode, others in (
            (store_rows.encode_store(b"owner", 5.5, 7), store_rows.decode_store, ()),
            (store_rows.encode_session(kept), lambda row: store_rows.decode_session(ID, row), ()),
            (store_rows.encode_sending(ID, 7, sending), lambda row: store_rows.decode_sending(ID, 7, row), ()),
            (store_rows.encode_receiving(ID, 7, receiving), lambda row: store_rows.decode_receiving(ID, 7, row), ()),
            (
                store_rows.encode_messages(ID, 7, 9, messages),
                lambda row: store_rows.decode_messages(ID, 7, 9, 9 + count, row, 9),
                (
                    lambda row: store_rows.decode_messages(ID, 8, 9, 9 + count, row, 9),
                    lambda row: store_rows.decode_messages(ID, 7, 8, 8 + count, row, 9),
                    lambda row: store_rows.decode_messages(session_id(6), 7, 9, 9 + count, row, 9),
                    lambda row: store_rows.decode_sending(ID, 7, row),
                    lambda row: store_rows.decode_session(session_id(6), row),
                ),
            ),
        ):
            spoiled = bytearray(sealed)
            spoiled[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            length = data.draw(st.integers(0, len(sealed) - 1))
            for row in (bytes(spoiled), sealed[:length], sealed + b"\0"):
                self.assertRaises(Damaged, decode, row)
            for other in others:
                self.assertRaises(Damaged, other, sealed)

    def test_senseless(self) -> None:
        """A value that makes no sense is damaged, also when its check says that it is not."""
        for role in (2, 255):
            sealed = store_rows._sealed(store_rows._key(b"session", ID), bytes((role,)) + bytes(34) + bytes(16))
            self.assertRaises(Damaged, store_rows.decode_session, ID, sealed)
        for value in (b"", b"\0" * 5, b"\0\0\0\0\2" + b"\0\0\0\1" * 2 + b"x", b"\0\0\0\0\1" + b"\0\0\0\1" + b"xy"):
            sealed = store_rows._sealed(store_rows._key(b"messages", ID, 0, 0, 1), value)
            self.assertRaises(Damaged, store_rows.decode_messages, ID, 0, 0, 1, sealed, 0)

    def test_rows(self) -> None:
        """Messages share a row up to 1 MiB and 65,536 of them; a larger one has one of its own."""
        half = bytes(1 << 19)
        for sizes, expected in (
            ([1] * 10, [10]),
            ([half] * 2, [2]),
            ([half] * 5, [2, 2, 1]),
            ([half, half + b"x", half], [1, 1, 1]),
            ([half * 5, b"x", b"y"], [1, 2]),
            ([b"x", half * 5, b"y"], [1, 1, 1]),
            ([b""] * 65_536, [65_536]),
            ([b""] * 65_537, [65_536, 1]),
        ):
            messages = queued(*(bytes(size) if isinstance(size, int) else size for size in sizes))
            found = list(store_rows.rows(messages))
            self.assertEqual([len(row) for row in found], expected)
            self.assertEqual([message for row in found for message in row], messages)
