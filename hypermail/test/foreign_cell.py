"""
A cell as the existing Go programs are, with their habits and their faults, written from C{hive.md} and seed 002 alone.

It has a thread that reads the leash, and one for each band. Nothing of ours is imported, and no Twisted: see
L{hypermail.test.foreign_wire}.

What is like Go's cells, and not as one would write it today:

  - it opens one band for each NeedBand, whatever count this bears;
  - a band that is refused, or late, makes it panic: everything is closed;
  - a handler that writes nothing sends ResEnd alone, without a ResHead;
  - a handler that names no fields sends C{"headers": null};
  - Unmount means all that was mounted;
  - it goes on with the next request on the same band, for as long as the queen keeps that open.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypermail.test.foreign_wire import Frame, FrameSocket, Kind, Violation, connect, from_json, join

Fields = dict[str, list[str]] | None


@dataclass
class Habits:
    """
    In what cells differ.

    @ivar extra_keys: Whether each object bears keys that nobody knows.
    @ivar frame_size: In how large pieces bodies are sent, in bytes.
    @ivar band_key: What bands show instead of the key that the queen gave, or L{None}.
    @ivar before_band: Called before a band connects; it may take its time.
    """

    extra_keys: bool = False
    frame_size: int = 4096
    band_key: str | None = None
    before_band: Callable[[], object] = field(default=lambda: None)


class Exchange:
    """
    A request, and the response to it, as a handler of a cell sees them.

    @ivar head: What ReqHead said.
    @ivar link: The band, for a handler that sends what it should not.
    @ivar silent: Whether nothing is sent when the handler returns: it has sent the end, or something worse.
    @ivar asked: Whether the body has been asked for.
    """

    def __init__(self, head: dict[str, Any], link: FrameSocket, habits: Habits) -> None:
        self.head = head
        self.link = link
        self.silent = False
        self.asked = False
        self._habits = habits
        self._headed = False

    def want(self, max_size: int) -> None:
        """Ask for the body, of at most C{max_size} bytes."""
        self.asked = True
        self.link.send(Kind.RES_WANT, self._dressed({"maxSize": max_size}))

    def piece(self) -> bytes | None:
        """Wait for the next piece of the body; L{None} at its end."""
        kind, payload = self.link.receive()
        if kind == Kind.REQ_BODY:
            return payload
        if kind == Kind.REQ_END:
            return None
        raise Violation(f"a frame of kind {kind:#04x} within a request's body")

    def body(self, max_size: int = 1 << 20) -> bytes:
        """Ask for the whole body and wait for it."""
        self.want(max_size)
        return b"".join(iter(self.piece, None))

    def respond(self, status: int = 200, headers: Fields = None) -> None:
        """Send the response's head. Without fields they are C{null}, as a map that Go's program has never made."""
        self._headed = True
        self.link.send(Kind.RES_HEAD, self._dressed({"statusCode": status, "headers": headers}))

    def write(self, data: bytes) -> None:
        """Send some of the response's body, in pieces as is the cell's habit; a head first, if there was none."""
        if not self._headed:
            self.respond()
        size = self._habits.frame_size
        for start in range(0, len(data), size):
            self.link.send(Kind.RES_BODY, data[start : start + size])

    def _dressed(self, content: dict[str, Any]) -> dict[str, Any]:
        return dressed(content, self._habits)


def dressed(content: dict[str, Any], habits: Habits) -> dict[str, Any]:
    """Put keys beside those of an object that no one knows, if that is the habit."""
    return {"comment": ["<none> & all"], **content, "x": {"count": -1}, "": None} if habits.extra_keys else content


class ForeignCell:
    """
    A cell.

    @ivar uuid: The name that the queen gave us.
    @ivar key: The key that the queen gave us, for bands.
    @ivar asked: What each NeedBand asked for.
    @ivar bands: The bands that were accepted, also those that are closed by now.
    @ivar panics: What made the cell end.
    @ivar gone: Set when the leash has ended.
    """

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        respond: Callable[[Exchange], object],
        *,
        key: str = "example key",
        mounts: Sequence[tuple[str, str]] = (("@", "/"),),
        habits: Habits | None = None,
    ) -> None:
        self.uuid = ""
        self.key = ""
        self.asked: list[int] = []
        self.bands: list[FrameSocket] = []
        self.panics: list[BaseException] = []
        self.gone = threading.Event()
        self.habits = habits or Habits()
        self._address = address
        self._context = context
        self._respond = respond
        self._login_key = key
        self._mounts = mounts
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: list[FrameSocket] = []
        self._leaving = False

    def __enter__(self) -> ForeignCell:
        """Log in and mount, and end everything at the end of the block."""
        try:
            self.login()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def login(self) -> None:
        """
        Connect the leash, log in, mount; then obey what comes.

        @raise EOFError: The queen has closed the connection.
        """
        self.leash = self.connect()
        self.leash.send(Kind.IAM, self._dressed({"connKind": 0, "uuid": "", "key": self._login_key}))
        accept = from_json(self.leash.expect(Kind.ACCEPT))
        self.uuid, self.key = accept["uuid"], accept["key"]
        for host, path in self._mounts:
            self.mount(host, path)
        self._start(self._obey)

    def connect(self) -> FrameSocket:
        """Open a connection to the queen, by TLS, at her address."""
        link = connect(self._address, self._context, self._address[0])
        with self._lock:
            self._sockets.append(link)
        if self._leaving:
            link.abort()
        return link

    def mount(self, host: str, path: str) -> None:
        """Mount. The queen never answers to that."""
        self.leash.send(Kind.MOUNT, self._dressed({"host": host, "path": path}))

    def unmount(self) -> None:
        """Take away all mounts."""
        self.leash.send(Kind.UNMOUNT, {})

    def kill(self) -> None:
        """End as a process that is killed. L{stop} has still to be called."""
        self._leaving = True
        self._close()

    def stop(self) -> None:
        """Close everything, and wait for the threads."""
        self._leaving = True
        self._close()
        join(self._threads)
        for link in self._sockets:
            link.release()

    def _start(self, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _close(self) -> None:
        with self._lock:
            links = list(self._sockets)
        for link in links:
            link.abort()

    def _panic(self, reason: BaseException) -> None:
        """What Go's cells do about nearly everything."""
        if not self._leaving:
            self.panics.append(reason)
            self._leaving = True
        self._close()

    def _obey(self) -> None:
        """Do what the queen asks for on the leash, until there is none."""
        try:
            while True:
                kind, payload = self.leash.receive(3600)
                if kind != Kind.NEED_BAND:
                    raise Violation(f"a frame of kind {kind:#04x} on the leash")
                self.asked.append(from_json(payload)["count"])
                # One band, whatever the count is.
                self._start(self._serve)
        except (EOFError, OSError, Violation) as reason:
            self._panic(reason)
        self.gone.set()

    def _serve(self) -> None:
        """Open a band, and answer on it for as long as it is there."""
        try:
            self.habits.before_band()
            link = self.open_band()
        except (EOFError, OSError, Violation) as reason:
            self._panic(reason)
            return
        try:
            while True:
                self._answer(link, link.receive(3600))
        except TimeoutError as reason:
            self._panic(reason)
        except (EOFError, OSError):
            # The queen closes bands as she likes.
            link.abort()
        except Exception as reason:
            self._panic(reason)

    def open_band(self) -> FrameSocket:
        """
        Connect a band and log it in.

        @raise EOFError: The queen has refused it.
        """
        link = self.connect()
        key = self.key if self.habits.band_key is None else self.habits.band_key
        link.send(Kind.IAM, self._dressed({"connKind": 1, "uuid": self.uuid, "key": key}))
        link.expect(Kind.ACCEPT)
        with self._lock:
            self.bands.append(link)
        return link

    def _answer(self, link: FrameSocket, first: Frame) -> None:
        """Answer one request."""
        kind, payload = first
        if kind != Kind.REQ_HEAD:
            raise Violation(f"a frame of kind {kind:#04x} where a request begins")
        exchange = Exchange(from_json(payload), link, self.habits)
        self._respond(exchange)
        if not exchange.silent:
            link.send(Kind.RES_END)

    def _dressed(self, content: dict[str, Any]) -> dict[str, Any]:
        return dressed(content, self.habits)
