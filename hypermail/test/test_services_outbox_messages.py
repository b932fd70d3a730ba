"""
Tests for L{hypermail.services.outbox_messages}: real processes over loopback, some of which are killed.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import Delivered, MessageUndelivered, SessionLost
from hypermail.internet.message import Message
from hypermail.messages.lanes import LaneProperties
from hypermail.services import outbox_messages
from hypermail.services.outbox import REST
from hypermail.services.outbox_messages import MessageOutbox, _note, _Put, _read, _read_note, _Sender
from hypermail.services.reading import Version
from hypermail.services.spool import Ready
from hypermail.session.journal import LaneUsed, Queued, QueuedMessage, Settled
from hypermail.test.services import ServiceProcess
from hypermail.test.test_internet_durable import HeldStore
from hypermail.test.test_services_outbox import Workers
from hypermail.test.test_services_programs import ProgramCase
from hypermail.test.test_session_durable_disk import IDENTITY


class _OutboxProcess(ServiceProcess):
    """C{twistd hypermail --outbox} of an outbox with messages."""

    def started(self) -> None:
        """Read the log until it has found them."""
        self.expect("messages in .* leave")


class MessageOutboxTests(ProgramCase):
    """Files in C{messages} leave as messages."""

    def setUp(self) -> None:
        super().setUp()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = f"udp:{probe.getsockname()[1]}:interface=127.0.0.1"
        self.out = self.here / "out"
        (self.out / "messages").mkdir(parents=True)

    def start(self, *options: str) -> _OutboxProcess:
        """The process of the outbox, which is stopped after the test."""
        process = _OutboxProcess(self.here, "--connect", self.where, *self.trust, "--outbox", "out", *options)
        self.addCleanup(process.stop)
        return process

    def put(self, name: str, content: bytes) -> None:
        """A message is put into the outbox."""
        path = self.out / "messages" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def contents(self) -> list[bytes]:
        """What has arrived."""
        return sorted(path.read_bytes() for path in self.inbox.glob("message-*.txt"))

    def left(self) -> list[str]:
        """The names in C{messages}, hidden ones apart."""
        top = self.out / "messages"
        found = [path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()]
        return sorted(name for name in found if not name.startswith("."))

    def queued(self) -> list[str]:
        """The files whose messages are in the store."""
        return os.listdir(self.out / "messages" / ".hypermail" / "queued")

    def until(self, what: str, number: int) -> None:
        """Wait until so many files are queued."""
        for _ in range(1_500):
            if len(self.queued()) == number:
                return
            time.sleep(0.01)
        self.fail(f"{what}: {self.queued()}")

    def test_bothKilled(self) -> None:
        """Each message arrives once, whoever is killed, today or tomorrow; its file is moved when it has."""
        listener = self.listen("--inbox", "in", port=self.port)
        process = self.start()
        self.put("a", b"first")
        self.put("d/b", b"second")
        for _ in range(2):
            process.expect("sent '(a|d/b)' as a message")
        self.assertEqual(self.contents(), [b"first", b"second"])
        self.assertEqual(self.left(), ["sent/a", "sent/d/b"])
        listener.signal(signal.SIGKILL)
        listener.stop()
        self.put("c", b"third")
        self.until("c is written down", 1)
        process.signal(signal.SIGKILL)
        process.stop()
        process = self.start("--outbox-remove")
        self.listen("--inbox", "in", port=self.port)
        for _ in range(3_000):
            if not self.queued():
                break
            time.sleep(0.01)
        self.assertEqual(self.contents(), [b"first", b"second", b"third"])
        self.assertEqual(self.left(), ["sent/a", "sent/d/b"])

    def test_listenerStops(self) -> None:
        """A listener that is stopped under load takes its session back when it starts; nothing is lost, or twice."""
        listener = self.listen("--inbox", "in", port=self.port)
        process = self.start("--outbox-remove")
        contents = sorted(b"%04d" % number for number in range(60))
        for content in contents:
            self.put(content.decode(), content)
        for _ in range(2):
            process.expect("sent '.*' as a message")
            listener.stop()
            listener = self.listen("--inbox", "in", port=self.port)
        for _ in range(3_000):
            if len(self.contents()) == len(contents) and not self.queued():
                break
            time.sleep(0.01)
        self.assertEqual(self.contents(), contents)
        self.assertEqual((self.left(), self.queued()), ([], []))

    def test_refused(self) -> None:
        """A message that nobody takes is put back, and the log says why."""
        self.listen(port=self.port)
        process = self.start()
        self.put("a", b"content")
        process.expect("'a' is not sent: .*refused")
        self.assertEqual((self.left(), self.queued()), (["a"], []))

    def test_notMoved(self) -> None:
        """A file whose message is in the store, and that was not put aside before the process died, leaves once."""
        listener = self.listen("--inbox", "in", port=self.port)
        process = self.start()
        self.put("a", b"opens the session")
        process.expect("sent 'a'")
        listener.signal(signal.SIGKILL)
        listener.stop()
        self.put("b", b"content")
        self.until("b is written down", 1)
        process.signal(signal.SIGKILL)
        process.stop()
        (queued,) = self.queued()
        os.rename(self.out / "messages" / ".hypermail" / "queued" / queued, self.out / "messages" / "b")
        process = self.start()
        self.listen("--inbox", "in", port=self.port)
        process.expect("sent 'b'")
        self.assertEqual(self.contents(), [b"content", b"opens the session"])
        self.assertEqual((self.left(), self.queued()), (["sent/a", "sent/b"], []))


class QueuedTests(SynchronousTestCase):
    """Files whose messages are in the store, in the same process and in the next."""

    session = b"s" * 16

    def setUp(self) -> None:
        self.top = Path(self.mktemp()) / "messages"
        self.aside = self.top / ".hypermail" / "queued"
        self.aside.mkdir(parents=True)
        self.outbox = MessageOutbox(Clock(), str(self.top.parent), cast(Any, None), remove=False)
        self.outbox._workers = cast(Any, Workers())

    def put(self, name: str, number: int | None, session: bytes = session) -> Ready:
        """A file, put aside under the number of its message; for C{None} where it was put."""
        path = self.top / name if number is None else self.aside / f"{session.hex()}-{number}-{name}"
        path.write_bytes(b"content")
        return Ready(name, Version.of(os.lstat(path)))

    def files(self) -> list[str]:
        """All that there are."""
        found = [path.relative_to(self.top) for path in self.top.rglob("*") if path.is_file()]
        return sorted(path.as_posix().replace(self.session.hex(), "S") for path in found)

    def test_recovered(self) -> None:
        """After a restart files are put aside whose messages are in the store, however many; those of messages that
        are not there any more were delivered, and those of other sessions may not have been."""
        self.patch(outbox_messages, "MOST_AT_ONCE", 1)
        self.put("delivered", 0)
        notes = [_note(self.put("aside", 1)), _note(self.put("not yet", None))]
        self.put("other", 1, b"o" * 16)
        identity = replace(IDENTITY, id=self.session, name="outbox")
        queued = [QueuedMessage(b"x", None, b"") for _ in range(1)] + [
            QueuedMessage(b"x", None, note) for note in notes
        ]
        store = HeldStore()
        store.memory.apply(
            [
                identity,
                LaneUsed(self.session, 1, LaneProperties(durable=True)),
                Queued(self.session, 1, 0, queued),
                Settled(self.session, 1, 1),
            ]
        )
        begun: list[str] = []

        async def begin() -> Any:
            begun.append("session")

        self.outbox._session = begin  # type: ignore[method-assign]
        self.successResultOf(Deferred.fromCoroutine(self.outbox._recover(cast(Any, store))))
        self.assertEqual(
            self.files(), [".hypermail/queued/S-1-aside", ".hypermail/queued/S-2-not yet", "other", "sent/delivered"]
        )
        self.assertEqual(begun, ["session"])

    def test_notBefore(self) -> None:
        """Nothing is taken up before it is known after a restart what has been."""
        looks: list[bool] = []

        async def scan() -> None:
            looks.append(self.outbox._recovered)

        self.outbox._scan = scan  # type: ignore[method-assign]
        self.outbox._kept = cast(Any, "a store")
        self.outbox._look()
        self.outbox._recovered = True
        self.outbox._look()
        self.assertEqual(looks, [True])

    def test_rest(self) -> None:
        """A file is taken up when it has come to rest, once."""
        clock, sent = self.outbox._reactor, list[bytes]()

        async def send(ready: Ready, put: object) -> None:
            sent.append((self.top / ready.path).read_bytes())

        self.outbox._send = send  # type: ignore[method-assign]

        def look() -> None:
            self.successResultOf(Deferred.fromCoroutine(self.outbox._scan()))

        self.put("a", None)
        look()
        clock.advance(REST - 0.1)
        look()
        (self.top / "a").write_bytes(b"more content")
        look()
        clock.advance(REST - 0.1)
        look()
        self.assertEqual(sent, [])
        clock.advance(0.2)
        for _ in range(2):
            look()
        self.assertEqual(sent, [b"more content"])

    def test_gone(self) -> None:
        """Nothing is sent of a file that is another one, or gone, when it is read."""
        ready = self.put("a", None)
        put = _Put(ready.version, 0.0)

        async def session() -> Any:
            return None  # which sends nothing

        self.outbox._session = session  # type: ignore[method-assign]
        for change in (lambda: (self.top / "a").write_bytes(b"more"), (self.top / "a").unlink):
            change()
            put.busy = True
            self.successResultOf(Deferred.fromCoroutine(self.outbox._send(ready, put)))
            self.assertEqual((put.busy, put.said), (False, ""))

    def test_undelivered(self) -> None:
        """
        What was not delivered when its session ended is put back; when the process stops it waits for the next, and so
        it does when the session is left to the disk for another reason.
        """
        self.put("a", 1)
        self.put("b", 11)
        error = MessageUndelivered(SessionLost("the session is kept"), Delivered.UNKNOWN)
        self.outbox.settled(self.session, 1, error)
        self.assertEqual(self.files(), [".hypermail/queued/S-1-a", ".hypermail/queued/S-11-b"])
        self.outbox.running = True
        kept = MessageUndelivered(SessionLost("the store cannot be read"), Delivered.UNKNOWN, kept=True)
        self.outbox.settled(self.session, 1, kept)
        self.assertEqual(self.files(), [".hypermail/queued/S-1-a", ".hypermail/queued/S-11-b"])
        self.outbox.settled(self.session, 1, error)
        self.assertEqual(self.files(), [".hypermail/queued/S-11-b", "a"])
        self.outbox.settled(self.session, 11, None)
        self.assertEqual(self.files(), ["a", "sent/b"])

    def test_earlier(self) -> None:
        """The same of messages that were sent before a restart, as their session tells it."""
        self.outbox.running = True
        sender = _Sender(self.outbox)
        self.put("a", 1)
        self.put("b", 2)
        sender.messageUndelivered(Message(b"content", self.session, 1, 1, b""))
        sender.messageSettled(Message(b"content", self.session, 1, 2, b""), None)
        self.assertEqual(self.files(), ["a", "sent/b"])


class VersionTests(SynchronousTestCase):
    """Files that are other ones by the time that something is done with them."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.file = self.top / "messages" / "a"
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(b"content")
        self.ready = Ready("a", Version.of(os.lstat(self.file)))
        self.outbox = MessageOutbox(Clock(), str(self.top), cast(Any, None), remove=False)
        self.aside = str(self.top / "aside")

    def replace(self) -> None:
        """Another file takes its place."""
        other = self.top / "other"
        other.write_bytes(b"other content")
        other.replace(self.file)

    def test_aside(self) -> None:
        """A file whose message is in the store is put aside, and not another one in its place, which has not left."""
        self.replace()
        self.outbox._move(self.ready, self.aside)
        self.assertEqual(self.file.read_bytes(), b"other content")
        self.outbox._move(Ready("a", Version.of(os.lstat(self.file))), self.aside)
        self.assertFalse(self.file.exists())
        self.assertEqual(Path(self.aside).read_bytes(), b"other content")
        self.outbox._move(self.ready, self.aside)

    def test_read(self) -> None:
        """What has come to rest is what is read, or nothing."""
        self.assertEqual(_read(str(self.file), self.ready.version), b"content")
        self.replace()
        self.assertIsNone(_read(str(self.file), self.ready.version))
        self.file.unlink()
        self.assertIsNone(_read(str(self.file), self.ready.version))

    def test_note(self) -> None:
        """The note of a message tells which file it is, whatever that is called."""
        for name in ("a", "with blanks in it", "d/\udcff"):
            ready = Ready(name, Version(1, 2, 3, 1 << 62))
            self.assertEqual(_read_note(_note(ready)), ready)
