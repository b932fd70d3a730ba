"""
Tests for L{hypermail.messages.durable_sending}: messages of before a restart, and those that are sent while the former
are brought back from the disk. Each has to leave under the number that it has on the disk.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hypermail.messages.journal import Journal, Queued, QueuedMessage
from hypermail.messages.lanes import LaneProperties
from hypermail.test.test_messages_outgoing import SendingCase
from hypermail.wire import packets as p

LANE = 1
DURABLE = LaneProperties(durable=True)
ID = b"i" * 16


def content(number: int) -> bytes:
    """Of the message of a number."""
    return b"message %d" % number


class BacklogTests(SendingCase):
    """Messages 5 to 7 were queued before a restart, and have not been settled."""

    def setUp(self) -> None:
        super().setUp()
        self.journal = self.sending.journal = Journal()
        self.journal.id = ID
        self.sending.restore(LANE, DURABLE, 5, 8)
        self.disk = {number: content(number) for number in range(5, 8)}
        self.next = 8
        self.left: dict[int, bytes] = {}

    def queue(self) -> None:
        """Send one more."""
        self.send(content(self.next), LANE)
        self.next += 1

    def write(self) -> None:
        """What waits reaches the disk."""
        changes = self.journal.take()
        for change in changes:
            if isinstance(change, Queued):
                found = [message.data for message in change.messages]
                self.disk.update(enumerate(found, change.first))
        self.journal.tell(True, 0.0)

    def read(self, first: int, most: int = 100) -> list[tuple[int, QueuedMessage]]:
        """What a store gives."""
        numbers = [number for number in sorted(self.disk) if number >= first][:most]
        return [(number, QueuedMessage(self.disk[number], None, b"")) for number in numbers]

    def leave(self) -> None:
        """Whatever may leave does so."""
        for packet in self.all():
            if isinstance(packet, p.StreamBlocks):
                for number, data in enumerate(packet.messages, packet.first):
                    self.assertNotIn(number, self.left)
                    self.left[number] = bytes(data)

    def test_writtenMeanwhile(self) -> None:
        """A message that reaches the disk before that is read is brought back with the others, and sent once."""
        ((lane, first, _),) = self.sending.take_wanted()
        self.queue()
        self.write()
        self.sending.load(lane, first, self.read(first))
        self.leave()
        self.assertEqual(self.left, {number: content(number) for number in range(5, 9)})
        self.assertEqual(self.sending.take_wanted(), [])

    def test_writtenMeanwhileBehindWithdrawn(self) -> None:
        """The same when the last one of before was withdrawn, so that it is not on the disk: its number stays free."""
        del self.disk[7]
        ((lane, first, _),) = self.sending.take_wanted()
        self.queue()
        self.write()
        self.sending.load(lane, first, self.read(first))
        self.leave()
        self.assertEqual(self.left, {number: content(number) for number in (5, 6, 8)})

    def test_settledMeanwhile(self) -> None:
        """The peer knows all of before, as it turns out: what was sent since goes on with the numbers that it has."""
        ((lane, first, _),) = self.sending.take_wanted()
        self.queue()
        self.write()
        self.settle(8, lane=LANE)
        self.queue()
        self.write()
        self.leave()
        self.sending.load(lane, first, self.read(first))
        self.leave()
        self.assertEqual(self.left, {8: content(8), 9: content(9)})

    @given(
        st.lists(
            st.one_of(
                st.sampled_from(["queue", "write", "read", "give", "leave"]),
                st.tuples(st.just("settle"), st.integers(5, 8)),
                st.tuples(st.just("withdrawn"), st.integers(5, 7)),
            ),
            max_size=20,
        )
    )
    def test_inAnyOrder(self, steps: list[str | tuple[str, int]]) -> None:
        """Whatever comes first: reading, writing, the peer's word, or datagrams."""
        self.setUp()
        wanted: list[tuple[int, int, int]] = []
        readings: list[tuple[int, int, list[tuple[int, QueuedMessage]]]] = []
        known = 5

        def give() -> None:
            while readings:
                self.sending.load(*readings.pop(0))

        def read() -> None:
            wanted.extend(self.sending.take_wanted())
            readings.extend((lane, first, self.read(first, 2)) for lane, first, _ in wanted)
            wanted.clear()

        for step in steps:
            if isinstance(step, tuple):
                name, number = step
                if name == "settle":
                    known = max(known, number)
                    self.settle(known, lane=LANE)
                elif not self.left and not readings and len(self.disk) == 3:
                    self.disk.pop(number, None)  # as if it had been withdrawn before the restart
            else:
                {"queue": self.queue, "write": self.write, "read": read, "give": give, "leave": self.leave}[step]()
        for _ in range(5):
            self.write()
            read()
            give()
            self.leave()
        self.assertEqual(self.left, {number: content(number) for number in self.left})
        missing = {number for number in self.disk if number >= known} - set(self.left)
        self.assertEqual(missing, set())
