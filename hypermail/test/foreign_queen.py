"""
A queen as the existing Go program is, with its habits and its faults, written from C{hive.md} and seed 002 alone.

It has a thread that accepts, and one for each connection; requests are made by whoever calls L{ForeignQueen.request},
who stands for an HTTP client. Nothing of ours is imported, and no Twisted: see L{hypermail.test.foreign_wire}.

What is like Go's queen, and not as one would write it today:

  - the key of a band is never checked, only its uuid;
  - C{host}, C{scheme} and C{port} of a request are empty (a port is a number, so that it is 0), and nothing says how
    its target was written;
  - ReqHead may come before the band's Accept;
  - a request's body may end with an empty ReqHead, as the seed has it;
  - bands are asked for one by one;
  - a body that is longer than the cell wants is cut;
  - what is wrong is never explained: the connection is closed.
"""

from __future__ import annotations

import collections
import socket
import ssl
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from hypermail.test.foreign_wire import DEADLINE, FrameSocket, Kind, Violation, from_json, join

FROM_CELLS = {
    Kind.IAM,
    Kind.MOUNT,
    Kind.UNMOUNT,
    Kind.RES_WANT,
    Kind.RES_HEAD,
    Kind.RES_BODY,
    Kind.RES_END,
}
"""All that a Go queen has ever heard from cells."""


@dataclass
class Answer:
    """
    A response, and what led to it.

    @ivar status: Its status; L{None} for a response without a head, and for one that did not come.
    @ivar headers: Its fields, as the cell sent them, but an empty object for C{null}.
    @ivar body: Its body.
    @ivar whole: Whether ResEnd came.
    @ivar wanted: What ResWant said, or L{None} if none came.
    """

    status: int | None = None
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    wanted: int | None = None


@dataclass(eq=False)
class Leash:
    """
    A cell that has logged in.

    @ivar link: Its leash.
    @ivar said: Its IAm, with all the keys that it sent.
    @ivar mounts: What it has mounted, in that order.
    @ivar idle: Its bands without a request.
    @ivar waiting: Requests that wait for a band.
    """

    link: FrameSocket
    said: dict[str, Any]
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    mounts: list[tuple[str, str]] = field(default_factory=list)
    idle: list[FrameSocket] = field(default_factory=list)
    waiting: int = 0


class ForeignQueen:
    """
    A queen.

    @ivar address: Where she listens.
    @ivar leashes: The cells that are there.
    @ivar violations: What cells did against the protocol.
    @ivar frames: Every frame that cells sent, on all connections.
    @ivar accepted: How many connections there were.
    @ivar hasty: Whether ReqHead goes out before Accept, when a request waits for the band.
    @ivar slip: Whether a request's body ends with an empty ReqHead, and has frames with nothing in them.
    @ivar mute: Whether those who log in get no answer.
    """

    def __init__(self, context: ssl.SSLContext, *, port: int = 0, key: str = "example key") -> None:
        self.leashes: list[Leash] = []
        self.violations: list[BaseException] = []
        self.frames: list[tuple[int, bytes]] = []
        self.accepted = 0
        self.hasty = False
        self.slip = False
        self.mute = False
        self._context = context
        self._key = key
        self._changed = threading.Condition()
        self._heads: collections.deque[dict[str, Any]] = collections.deque()
        self._hastened: dict[FrameSocket, dict[str, Any]] = {}
        self._threads: list[threading.Thread] = []
        self._links: list[FrameSocket] = []
        self._leaving = False
        self._listening = socket.create_server(("127.0.0.1", port))
        self._listening.settimeout(DEADLINE)
        self.address: tuple[str, int] = self._listening.getsockname()

    def __enter__(self) -> ForeignQueen:
        """Listen until the end of the block."""
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close everything, as the kernel does with what a killed process leaves, and wait for the threads."""
        self._leaving = True
        # Wakes the thread that accepts, which close() alone does not.
        socket.socket.shutdown(self._listening, socket.SHUT_RDWR)
        with self._changed:
            links = list(self._links)
        for link in links:
            link.abort()
        join(self._threads)
        self._listening.close()
        for link in self._links:
            link.release()

    def until(self, true: Any, what: str) -> None:
        """
        Wait until something is so.

        @param true: Called without arguments whenever something has changed.
        @param what: What is waited for, for the error.
        @raise TimeoutError: It does not become so.
        """
        with self._changed:
            if not self._changed.wait_for(true, DEADLINE):
                raise TimeoutError(f"still waiting for {what}; violations: {self.violations}")

    def leash(self, *mounts: tuple[str, str]) -> Leash:
        """Wait for a cell with exactly these mounts, whatever their order."""

        def found() -> Leash | None:
            return next((leash for leash in self.leashes if sorted(leash.mounts) == sorted(mounts)), None)

        self.until(found, f"a cell that has mounted {mounts}")
        leash = found()
        assert leash is not None
        return leash

    def strange(self) -> list[tuple[int, bytes]]:
        """What cells sent that no Go queen knows."""
        return [frame for frame in self.frames if frame[0] not in FROM_CELLS]

    def request(
        self,
        leash: Leash,
        method: str = "GET",
        path: str = "/",
        *,
        headers: dict[str, list[str]] | None = None,
        query: dict[str, list[str]] | None = None,
        cookies: dict[str, list[str]] | None = None,
        body: bytes = b"",
        chunk: int = 1024,
    ) -> Answer:
        """
        Make a request of a cell, and wait for the response.

        @param chunk: In how large pieces the body is sent, in bytes.
        @raise TimeoutError: There is no band, or no answer.
        @raise Violation: The cell did what it should not; the band is closed.
        """
        link = self.band(leash, head(method, path, headers, query, cookies))
        try:
            answer = self._answered(link, body, chunk)
        except BaseException as reason:
            if isinstance(reason, Violation):
                self.violations.append(reason)
            link.abort()
            raise
        if answer.whole:
            with self._changed:
                leash.idle.append(link)
        else:
            link.abort()
        return answer

    def band(self, leash: Leash, head: dict[str, Any]) -> FrameSocket:
        """
        Send a request's head on an idle band, or on one that is asked for.

        @return: The band, whose next frame is the cell's answer.
        """
        with self._changed:
            if len(leash.idle) > leash.waiting:  # the others are for those who have asked for them
                link = leash.idle.pop()
            else:
                if self.hasty:
                    self._heads.append(head)
                leash.link.send(Kind.NEED_BAND, {"count": 1})
                leash.waiting += 1
                came = self._changed.wait_for(lambda: leash.idle, DEADLINE)
                leash.waiting -= 1
                if not came:
                    raise TimeoutError(f"no band comes; violations: {self.violations}")
                link = leash.idle.pop()
                if self._hastened.pop(link, None) is head:
                    return link
        link.send(Kind.REQ_HEAD, head)
        return link

    def prune(self, leash: Leash) -> int:
        """
        Close all of a cell's idle bands, as if they were old.

        @return: How many they were.
        """
        with self._changed:
            links, leash.idle[:] = list(leash.idle), []
        for link in links:
            link.abort()
        return len(links)

    def _start(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._changed:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        """Take connections, until this queen leaves."""
        while not self._leaving:
            try:
                plain, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.accepted += 1
            self._start(self._greet, plain)

    def _greet(self, plain: socket.socket) -> None:
        """Let somebody log in, and then do what is due to a cell or a band; who does wrong is left without a word."""
        plain.settimeout(DEADLINE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            link = FrameSocket(self._context.wrap_socket(plain, server_side=True))
        except OSError as reason:
            self.violations.append(reason)
            return
        with self._changed:
            self._links.append(link)
        if self._leaving:
            link.abort()
        try:
            said = from_json(self._expect(link, Kind.IAM, DEADLINE))
            if self.mute:
                link.ended(3600)
            elif said["connKind"] == 0:
                self._lead(link, said)
            elif said["connKind"] == 1:
                self._take(link, said)
            else:
                raise Violation(f"who logs in as {said}")
        except (EOFError, OSError):
            link.abort()
        except (Violation, KeyError) as reason:
            self.violations.append(reason)
            link.abort()
        with self._changed:
            self._changed.notify_all()

    def _lead(self, link: FrameSocket, said: dict[str, Any]) -> None:
        """Serve a leash, for as long as it is there."""
        if said["key"] != self._key:
            raise Violation("a cell with a wrong key")
        leash = Leash(link, said)
        with self._changed:
            self.leashes.append(leash)
        link.send(Kind.ACCEPT, {"uuid": leash.uuid, "key": leash.key})
        try:
            while True:
                kind, payload = self._receive(link, 3600)
                with self._changed:
                    if kind == Kind.MOUNT:
                        wanted = from_json(payload)
                        leash.mounts.append((wanted["host"], wanted["path"]))
                    elif kind == Kind.UNMOUNT:
                        # "This frame carries no data", and means all there is.
                        leash.mounts.clear()
                    else:
                        raise Violation(f"a frame of kind {kind:#04x} on a leash: {payload!r}")
                    self._changed.notify_all()
        finally:
            with self._changed:
                self.leashes.remove(leash)
                self._changed.notify_all()

    def _take(self, link: FrameSocket, said: dict[str, Any]) -> None:
        """Take a band into those of its cell. Its key is not looked at."""
        leash = next((leash for leash in self.leashes if leash.uuid == said["uuid"]), None)
        if leash is None:
            raise Violation("a band of nobody")
        with self._changed:
            if self._heads:
                self._hastened[link] = self._heads.popleft()
                link.send(Kind.REQ_HEAD, self._hastened[link])
                # For the cell to read this alone, most of the time.
                time.sleep(0.01)
            link.send(Kind.ACCEPT, {"uuid": leash.uuid, "key": ""})
            leash.idle.append(link)
            self._changed.notify_all()

    def _answered(self, link: FrameSocket, body: bytes, chunk: int) -> Answer:
        """Do a queen's part of one exchange, whose head is sent."""
        answer = Answer()
        headed = False
        while True:
            try:
                kind, payload = self._receive(link, DEADLINE)
            except EOFError:
                return answer
            if kind == Kind.RES_WANT and not headed and answer.wanted is None:
                answer.wanted = from_json(payload)["maxSize"]
                self._send_body(link, body[: answer.wanted], chunk)
            elif kind == Kind.RES_HEAD and not headed:
                said = from_json(payload)
                headed = True
                answer.status, answer.headers = said["statusCode"], said["headers"] or {}
            elif kind == Kind.RES_BODY and headed:
                answer.body += payload
            elif kind == Kind.RES_END:
                answer.whole = True
                return answer
            else:
                raise Violation(f"a frame of kind {kind:#04x} within an exchange: {payload!r}")

    def _send_body(self, link: FrameSocket, body: bytes, chunk: int) -> None:
        """Send a request's body, and its end, the seed's or the right one."""
        for start in range(0, len(body), chunk):
            link.send(Kind.REQ_BODY, body[start : start + chunk])
            if self.slip:
                link.send(Kind.REQ_BODY)
        link.send(Kind.REQ_HEAD if self.slip else Kind.REQ_END)

    def _receive(self, link: FrameSocket, timeout: float) -> tuple[int, bytes]:
        frame = link.receive(timeout)
        self.frames.append(frame)
        return frame

    def _expect(self, link: FrameSocket, kind: Kind, timeout: float) -> bytes:
        got, payload = self._receive(link, timeout)
        if got != kind:
            raise Violation(f"a frame of kind {got:#04x} where {kind.name} is due")
        return payload


def head(
    method: str,
    path: str,
    headers: dict[str, list[str]] | None = None,
    query: dict[str, list[str]] | None = None,
    cookies: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """What a Go queen says of a request. It does not know its own name."""
    return {
        "remoteAddrReal": "192.0.2.1",
        "remoteAddr": "192.0.2.1:40404",
        "method": method,
        "scheme": "",
        "host": "",
        "port": 0,
        "path": path,
        "fragment": "",
        "query": query or {},
        "proto": "HTTP/1.1",
        "protoMajor": 1,
        "protoMinor": 1,
        "headers": headers or {},
        "cookies": cookies or {},
    }
