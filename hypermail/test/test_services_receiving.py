"""
Tests for L{hypermail.services.receiving}: transfers that are offered again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from hypermail.services import arrivals, digesting
from hypermail.services.parts import LEAST
from hypermail.services.receiving import FileReceiver
from hypermail.test.services import StreamEnd, kept
from hypermail.test.test_services_inbox import PEER, InboxCase, wire

TRANSFER = bytes(range(16))
CONTENT = os.urandom(2 * LEAST)
DIGEST = hashlib.sha256(CONTENT).digest()


class TransferCase(InboxCase):
    """One transfer, of C{CONTENT} as C{big}."""

    def offer(self, *, again: bool = True, owner: bytes = b"", name: str = "big") -> tuple[FileReceiver, StreamEnd]:
        """A stream that brings it, and may begin."""
        receiver, end = self.receive(name, len(CONTENT), TRANSFER, owner, again=again)
        self.clock.advance(0)
        self.jobs.runAll()
        return receiver, end

    def lose(self, receiver: FileReceiver) -> None:
        """The session is lost."""
        receiver.connectionLost(Failure(ConnectionLost()))
        self.jobs.runAll()

    def cutOff(self, size: int, *, owner: bytes = b"") -> None:
        """The first offer, which breaks off after so many bytes."""
        receiver, _ = self.offer(again=False, owner=owner)
        receiver.dataReceived(CONTENT[:size])
        self.lose(receiver)
        self.done.clear()

    def confirm(self, receiver: FileReceiver, end: StreamEnd) -> None:
        """The sender knows, and all is over."""
        receiver.readConnectionLost()
        self.jobs.runAll()
        receiver.connectionLost(Failure(ConnectionDone()))
        self.jobs.runAll()
        self.assertEqual(kept(self.top), {})
        self.assertFalse(end.aborted)
        self.finishedOnce()


class GoingOnTests(TransferCase):
    """What is there need not be sent again."""

    def test_goesOn(self) -> None:
        """The sender is told how much is there, and sends the rest and the SHA-256 of all; nothing is left over."""
        self.cutOff(LEAST + 5)
        self.assertEqual(list(kept(self.top).values()), [CONTENT[: LEAST + 5]])
        self.assertEqual(self.log()[-1], f"{LEAST + 5} bytes of 'big' are kept for when {PEER} offers it again")
        self.assertEqual(self.tree(), {})
        receiver, end = self.offer()
        self.assertEqual(end.value(), b"from %d\n" % (LEAST + 5))
        self.assertEqual(self.log()[-1], f"'big' from {PEER} goes on at {LEAST + 5} of {len(CONTENT)} bytes")
        receiver.dataReceived(CONTENT[LEAST + 5 :] + DIGEST)
        self.jobs.runAll()
        self.assertEqual(end.value(), b"from %d\nstored big\n" % (LEAST + 5))
        self.assertEqual(self.tree(), {"big": CONTENT})
        self.confirm(receiver, end)

    def test_whatWaitedIsKept(self) -> None:
        """What had not reached the disk yet when the stream broke off is kept, too."""
        receiver, _ = self.offer(again=False)
        receiver.dataReceived(CONTENT[:LEAST])
        receiver.dataReceived(CONTENT[LEAST : LEAST + 9])
        self.lose(receiver)
        self.assertEqual(list(kept(self.top).values()), [CONTENT[: LEAST + 9]])
        self.finishedOnce()

    def test_endedEarly(self) -> None:
        """A stream whose sender closes its session in the middle has brought something, too."""
        receiver, end = self.offer(again=False)
        receiver.dataReceived(CONTENT[:LEAST])
        receiver.readConnectionLost()
        self.jobs.runAll()
        self.assertEqual(end.value(), b"failed it ended %d bytes early\n" % (LEAST + 32))
        self.assertEqual(list(kept(self.top).values()), [CONTENT[:LEAST]])
        receiver.connectionLost(Failure(ConnectionDone()))
        self.finishedOnce()

    def test_nothingThere(self) -> None:
        """A transfer of which nothing is there begins at 0, and so does one of which too little came."""
        for size in (0, LEAST - 1):
            if size:
                self.cutOff(size)
            receiver, end = self.offer()
            self.assertEqual(end.value(), b"from 0\n")
            self.assertEqual(kept(self.top).popitem()[1], b"")
            self.lose(receiver)
            self.assertEqual(kept(self.top), {})

    def test_anothersTransfer(self) -> None:
        """Who does not have the certificate of the first sender learns nothing of its transfer, and spoils nothing."""
        self.cutOff(LEAST, owner=b"sha256/one")
        for owner in (b"", b"sha256/two"):
            _, end = self.offer(owner=owner)
            self.assertEqual(end.value(), b"from 0\n")
        _, end = self.offer(owner=b"sha256/one")
        self.assertEqual(end.value(), b"from %d\n" % LEAST)

    def test_anotherFile(self) -> None:
        """The same transfer of another size or path is another one."""
        self.cutOff(LEAST)
        _, end = self.offer(name="other")
        self.assertEqual(end.value(), b"from 0\n")
        receiver, end = self.receive("big", len(CONTENT) + 1, TRANSFER, again=True)
        self.clock.advance(0)
        self.jobs.runAll()
        self.assertEqual(end.value(), b"from 0\n")
        self.lose(receiver)

    def test_newOfTheSameName(self) -> None:
        """A sender that says that it has never offered the transfer begins at 0, whatever is there."""
        self.cutOff(LEAST)
        receiver, end = self.offer(again=False)
        receiver.dataReceived(CONTENT + DIGEST)
        self.jobs.runAll()
        self.assertEqual(end.value(), b"stored big\n")
        self.assertEqual(self.tree(), {"big": CONTENT})

    def test_wrongDigest(self) -> None:
        """When the content is not what was announced, nothing is kept: the next try begins at 0."""
        self.cutOff(LEAST)
        (path,) = (self.hidden / name for name in kept(self.top))
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        receiver, end = self.offer()
        receiver.dataReceived(CONTENT[LEAST:] + DIGEST)
        self.jobs.runAll()
        self.assertIn(b"failed the content does not have the SHA-256 that was announced\n", end.value())
        self.assertEqual((self.tree(), kept(self.top)), ({}, {}))
        _, end = self.offer()
        self.assertEqual(end.value(), b"from 0\n")

    def test_hashedMeanwhile(self) -> None:
        """What was there is hashed in many small jobs, between the others and at the end; no job hashes it all."""
        self.patch(digesting, "STEP", 1_000)
        self.patch(arrivals, "PACE", 2)
        self.patch(arrivals, "CATCHING_UP", 5)
        self.cutOff(LEAST)
        receiver, end = self.offer()
        receiver.dataReceived(CONTENT[LEAST:] + DIGEST)
        number = 0
        while self.jobs.waiting:
            self.jobs.runOne()
            number += 1
        self.assertGreater(number, LEAST // 5_000)
        self.assertIn(b"stored big\n", end.value())

    def test_cutAway(self) -> None:
        """A part that somebody shortens before all of it is hashed is found out, and told."""
        self.patch(arrivals, "PACE", 0)
        self.cutOff(LEAST)
        receiver, end = self.offer()
        receiver.dataReceived(CONTENT[LEAST:])
        self.jobs.runAll()
        (path,) = (self.hidden / name for name in kept(self.top))
        os.truncate(path, 10)
        receiver.dataReceived(DIGEST)
        self.jobs.runAll()
        self.assertIn(b"failed somebody has cut off what had arrived\n", end.value())
        self.assertEqual((self.tree(), kept(self.top)), ({}, {}))

    def test_tooEarly(self) -> None:
        """Who offers a transfer again, and does not wait to be told where to go on, is refused."""
        receiver, end = self.receive("big", len(CONTENT), TRANSFER, again=True)
        receiver.dataReceived(b"x")
        self.assertEqual(end.value(), b"failed there is content before it was asked for\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.finishedOnce()

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, len(CONTENT) + len(DIGEST)), max_size=4))
    def test_cutAnywhere(self, cuts: list[int]) -> None:
        """Wherever streams break off, in the content or the SHA-256, the file is stored once, and is right."""
        self.setUp()
        try:
            stream, offset = CONTENT + DIGEST, 0
            for number, cut in enumerate([*cuts, len(stream)]):
                receiver, end = self.offer(again=number > 0)
                if number:
                    answer = end.value()
                    if not answer.startswith(b"from "):
                        self.assertEqual(answer, b"stored big\n")
                        break
                    offset = int(answer[5:-1])
                receiver.dataReceived(stream[offset : max(cut, offset)])
                if number < len(cuts):
                    self.lose(receiver)
            self.jobs.runAll()
            self.assertTrue(end.value().endswith(b"stored big\n"))
            self.assertEqual(self.tree(), {"big": CONTENT})
            receiver.readConnectionLost()
            self.jobs.runAll()
            self.assertEqual(kept(self.top), {})
        finally:
            self.doCleanups()


class OnceTests(TransferCase):
    """A transfer is stored once."""

    def store(self) -> tuple[FileReceiver, StreamEnd]:
        """Bring the file, and don't say that the answer has come."""
        receiver, end = self.offer(again=False)
        receiver.dataReceived(CONTENT + DIGEST)
        self.jobs.runAll()
        self.assertEqual(end.value(), b"stored big\n")
        return receiver, end

    def test_answerLost(self) -> None:
        """A sender that has not read the answer gets it again, until it confirms; then nothing is left."""
        receiver, _ = self.store()
        self.lose(receiver)
        self.finishedOnce()
        self.assertEqual(list(kept(self.top).values()), [b"big"])
        for _ in range(2):
            self.done.clear()
            receiver, end = self.offer()
            self.assertEqual(end.value(), b"stored big\n")
            self.assertEqual(self.log()[-1], f"'big' from {PEER} was stored before, as 'big'")
            self.lose(receiver)
            self.finishedOnce()
        self.done.clear()
        receiver, end = self.offer()
        self.confirm(receiver, end)
        self.assertEqual(self.tree(), {"big": CONTENT})

    def test_offeredAnew(self) -> None:
        """A sender that has forgotten that it has offered the transfer is answered, and what it sends is ignored."""
        receiver, _ = self.store()
        self.lose(receiver)
        receiver, end = self.receive("big", len(CONTENT), TRANSFER)
        receiver.dataReceived(CONTENT[:100])
        self.clock.advance(0)
        self.jobs.runAll()
        receiver.dataReceived(CONTENT[100:] + DIGEST + b"!")
        self.assertEqual(end.value(), b"stored big\n")
        self.done.clear()
        self.confirm(receiver, end)
        self.assertEqual(self.tree(), {"big": CONTENT})

    def test_taken(self) -> None:
        """... even if the file has been taken out of the inbox since."""
        receiver, _ = self.store()
        os.remove(os.path.join(self.top, "big"))
        self.lose(receiver)
        _, end = self.offer()
        self.assertEqual(end.value(), b"stored big\n")
        self.assertEqual(self.tree(), {})

    def test_confirmedInAdvance(self) -> None:
        """A sender that ends its direction before the answer will not ask again, and nothing is kept for it."""
        receiver, end = self.offer(again=False)
        receiver.dataReceived(CONTENT + DIGEST)
        receiver.readConnectionLost()
        self.jobs.runAll()
        self.assertEqual(end.value(), b"stored big\n")
        self.assertEqual(kept(self.top), {})
        receiver.connectionLost(Failure(ConnectionDone()))
        self.finishedOnce()

    def test_confirmedTogether(self) -> None:
        """What many senders confirm while the disk is at work is forgotten in one job."""
        receivers = []
        for name in "abc":
            receiver, _ = self.receive(name, 0)
            receiver.dataReceived(wire(b""))
            receivers.append(receiver)
        self.clock.advance(0)
        self.jobs.runAll()
        self.assertEqual(len(kept(self.top)), 3)
        for receiver in receivers:
            receiver.readConnectionLost()
        self.jobs.runOne()
        self.assertEqual(len(self.jobs.waiting), 1)
        self.jobs.runOne()
        self.assertEqual(kept(self.top), {})
        self.assertEqual(len(self.done), 3)

    def test_confirmingFails(self) -> None:
        """What cannot be removed is logged, and is over."""
        receiver, _ = self.store()
        self.disk.faults = {"unlink": 30}
        receiver.readConnectionLost()
        self.jobs.runAll()
        self.assertEqual(self.log()[-1], "could not clear up behind 'big': Read-only file system")
        self.finishedOnce()


class ReplacedTests(TransferCase):
    """A second stream of the same transfer."""

    def test_arriving(self) -> None:
        """The newer one wins: the older is told why, and the newer goes on from what it has brought."""
        older, olderEnd = self.offer(again=False)
        older.dataReceived(CONTENT[:LEAST])
        newer, newerEnd = self.receive("big", len(CONTENT), TRANSFER, again=True)
        self.clock.advance(0)
        self.assertEqual(olderEnd.value(), b"failed a newer stream carries this transfer\n")
        self.assertTrue(olderEnd.disconnecting)
        self.jobs.runAll()
        self.assertEqual(len(self.done), 1)
        self.assertEqual(newerEnd.value(), b"from %d\n" % LEAST)
        older.dataReceived(CONTENT[LEAST:] + DIGEST)
        older.connectionLost(Failure(ConnectionDone()))
        newer.dataReceived(CONTENT[LEAST:] + DIGEST)
        self.jobs.runAll()
        self.assertEqual(self.tree(), {"big": CONTENT})
        self.done.clear()
        self.confirm(newer, newerEnd)

    def test_busy(self) -> None:
        """While the older one's disk is at work the newer waits, and so does a third; there is one writer at a time."""
        older, _ = self.offer(again=False)
        older.dataReceived(CONTENT[:LEAST])
        ends = []
        for _ in range(2):
            _, end = self.receive("big", len(CONTENT), TRANSFER, again=True)
            self.clock.advance(0)
            ends.append(end)
            self.assertEqual(len(self.jobs.waiting), 1)
        self.assertEqual(ends[0].value(), b"failed a newer stream carries this transfer\n")
        self.jobs.runAll()
        self.assertEqual(ends[1].value(), b"from %d\n" % LEAST)
        self.assertEqual(len(self.done), 2)

    def test_storing(self) -> None:
        """When the older one is all there, it is stored, and the newer is answered so."""
        older, olderEnd = self.offer(again=False)
        older.dataReceived(CONTENT + DIGEST)
        _, newerEnd = self.receive("big", len(CONTENT), TRANSFER, again=True)
        self.clock.advance(0)
        self.jobs.runAll()
        self.assertEqual(self.tree(), {"big": CONTENT})
        self.assertEqual(newerEnd.value(), b"stored big\n")
        self.assertTrue(olderEnd.aborted)

    def test_answered(self) -> None:
        """When the older one waits for its confirmation in vain, the newer is answered the same."""
        older, olderEnd = self.offer(again=False)
        older.dataReceived(CONTENT + DIGEST)
        self.jobs.runAll()
        newer, newerEnd = self.offer()
        self.assertEqual(newerEnd.value(), b"stored big\n")
        self.assertTrue(olderEnd.aborted)
        older.connectionLost(Failure(ConnectionDone()))
        self.done.clear()
        self.confirm(newer, newerEnd)

    def test_notBegun(self) -> None:
        """A stream that is replaced, or lost, before its first turn leaves nothing behind."""
        older, _ = self.receive("big", len(CONTENT), TRANSFER, again=True)
        older.connectionLost(Failure(ConnectionLost()))
        self.finishedOnce()
        self.assertEqual(cast(Any, self.inbox)._arriving, {})

    def test_anotherProcess(self) -> None:
        """A part that another process writes is left alone."""
        self.cutOff(LEAST)
        (path,) = (self.hidden / name for name in kept(self.top))
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _, end = self.offer()
        self.assertEqual(end.value(), b"failed this transfer is arriving already\n")
        self.assertEqual(list(kept(self.top).values()), [CONTENT[:LEAST]])

    def test_takenAway(self) -> None:
        """One that can be asked leaves it, and the newer goes on; asked is once."""
        self.cutOff(LEAST)
        (path,) = (self.hidden / name for name in kept(self.top))
        asked: list[str] = []
        for leaves in (False, True):
            with open(path) as file:
                fcntl.flock(file, fcntl.LOCK_EX)

                def takeAway(name: str, file: Any = file, leaves: bool = leaves) -> Deferred[None]:
                    asked.append(name)
                    if leaves:
                        file.close()
                    return succeed(None)

                self.inbox.takeAway = takeAway
                _, end = self.offer()
            self.assertEqual(f"{asked.pop()}.part", path.name)
            expected = b"from %d\n" % LEAST if leaves else b"failed this transfer is arriving already\n"
            self.assertEqual((end.value(), asked), (expected, []))


class CheckpointTests(TransferCase):
    """A large part is synced now and then."""

    def test_synced(self) -> None:
        """The part is synced before it is noted to where; both are gone in the end."""
        self.patch(arrivals, "CHECKPOINT", 100_000)
        receiver, end = self.offer(again=False)
        self.disk.calls.clear()
        for offset in range(0, 300_000, 50_000):
            receiver.dataReceived(CONTENT[offset : offset + 50_000])
            self.jobs.runAll()
        notes = [content for name, content in kept(self.top).items() if name.endswith(".synced")]
        self.assertEqual(notes, [b"300000"])
        self.assertEqual(self.disk.calls, ["write", "write", "sync", "create", "write", "replace"] * 3)
        # Who goes on begins to count where it goes on.
        self.lose(receiver)
        self.patch(arrivals, "CHECKPOINT", 150_000)
        receiver, end = self.offer()
        self.disk.calls.clear()
        receiver.dataReceived(CONTENT[300_000:350_000])
        self.jobs.runAll()
        self.assertEqual(self.disk.calls, ["write"])
        self.done.clear()
        receiver.dataReceived(CONTENT[350_000:] + DIGEST)
        self.jobs.runAll()
        self.confirm(receiver, end)
