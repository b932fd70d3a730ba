"""
What the tests with foreign ends share: certificates, a queen of ours, clients.

Foreign ends block, as do HTTP clients; so the tests run in a thread, while what is ours runs in the reactor's.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial, wraps
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from hypermail.hive.cell.application import Answering
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.queens import Queen
from hypermail.hive.directives import Directives
from hypermail.hive.installation import HLHV, HTTPS
from hypermail.hive.keys import argon2id
from hypermail.hive.leashes import Member
from hypermail.hive.queen import QueenService
from hypermail.test.certificates import authority, issue, pem
from hypermail.test.foreign_cell import Exchange, ForeignCell
from hypermail.test.foreign_queen import ForeignQueen
from hypermail.test.foreign_wire import DEADLINE, FrameSocket, Kind, connect, from_json

HOST = "127.0.0.1"
KEY = "example key"

#: What Go's programs know of each frame that has an object.
KEYS = {
    Kind.IAM: {"connKind", "uuid", "key"},
    Kind.ACCEPT: {"uuid", "key"},
    Kind.MOUNT: {"host", "path"},
    Kind.UNMOUNT: set(),
    Kind.NEED_BAND: {"count"},
    Kind.REQ_HEAD: set(
        "remoteAddrReal remoteAddr method scheme host port path fragment query".split()
        + "proto protoMajor protoMinor headers cookies".split()
    ),
    Kind.RES_WANT: {"maxSize"},
    Kind.RES_HEAD: {"statusCode", "headers"},
}
BODIES = (Kind.REQ_BODY, Kind.RES_BODY)
ENDS = (Kind.REQ_END, Kind.RES_END)

T = TypeVar("T")


def strange(frames: list[tuple[int, bytes]], allowed: dict[Kind, set[str]] | None = None) -> list[tuple[int, bytes]]:
    """
    Of frames, those of whom Go's programs have never heard, and those with keys that are none of theirs.

    @param allowed: keys that are, besides.
    """

    def known(kind: int, payload: bytes) -> bool:
        if kind in ENDS:
            return not payload
        if kind in BODIES:
            return True
        if kind not in KEYS:
            return False
        return set(from_json(payload)) - (allowed or {}).get(Kind(kind), set()) == KEYS[Kind(kind)]

    return [one for one in frames if not known(*one)]


class Credentials(NamedTuple):
    """@ivar served: key and certificate for L{HOST}, PEM. @ivar root: who vouches for that, PEM."""

    served: bytes
    root: bytes
    authority: Any


@cache
def credentials() -> Credentials:
    """Those of all tests of this process."""
    now = datetime.now(UTC)
    root = authority(now=now)
    identity = issue(root, HOST, now=now)
    return Credentials(pem(identity.key, identity.certificate), root.to_pem(), root.certificate)


@cache
def trusting() -> ssl.SSLContext:
    """Of clients, and of foreign cells."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=credentials().root.decode())
    return context


def in_thread(test: Callable[..., object]) -> Any:
    """Make a test that blocks, so that it runs in a thread."""

    @wraps(test)
    def run(case: TestCase) -> Deferred[object]:
        return deferToThread(test, case)

    return run


class Response(NamedTuple):
    """What a client has got."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class PeersCase(TestCase):
    """
    Tests that run in threads.

    @ivar said: what was logged.
    """

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.said: list[str] = []
        observer: Any = self._remember
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _remember(self, event: LogEvent) -> None:
        self.said.append(formatEvent(event))

    def pem_file(self) -> str:
        """A file of key and certificate, which nobody else may read."""
        path: str = self.mktemp()
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(credentials().served)
        return path

    def ours(self, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """From the test's thread: call what is ours, in the reactor's, and wait for what becomes of a Deferred."""
        return blockingCallFromThread(self.reactor, call, *arguments, **more)

    def until(self, true: Callable[[], T], what: str) -> T:
        """
        From the test's thread: wait until something is so, which is looked at in the reactor's.

        @raise TimeoutError: when it does not become so.
        """
        end = time.monotonic() + DEADLINE
        while not (found := self.ours(true)):
            if time.monotonic() > end:
                raise TimeoutError(f"still waiting for {what}; logged: {self.said}")
            threading.Event().wait(0.01)
        return found  # type: ignore[no-any-return]

    def expect_log(self, text: str) -> None:
        """Wait until something was logged."""
        self.until(lambda: any(text in line for line in self.said), f"the log of {text!r}")


class QueenCase(PeersCase):
    """
    A queen of ours, on sockets.

    @cvar directives: what her configuration says besides.
    """

    directives: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        path = self.pem_file()
        said = Directives(
            **{
                "key_path": path,
                "certificate_path": path,
                "key_hash": argon2id(KEY, bytes(16)),
                "port_hlhv": 0,
                "port_https": 0,
                "bind": HOST,
                # Machines that run tests may be busy.
                "login_timeout": DEADLINE,
                "header_timeout": DEADLINE,
                **self.directives,
            }
        )
        self.queen = QueenService(self.reactor, lambda: said, os.urandom)
        self.queen.startService()
        self.addCleanup(self.queen.stopService)
        assert self.queen.installation is not None
        self.installation = self.queen.installation
        self.cells = self.installation.cells
        self.at: tuple[str, int] = (HOST, self.installation.ports.number(HLHV))
        self.https: int = self.installation.ports.number(HTTPS)

    # What is foreign

    def cell(self, respond: Callable[[Exchange], object], **more: Any) -> ForeignCell:
        """A foreign cell that has mounted everything, for C{with}; see L{ForeignCell}."""
        cell = _WatchedCell(self, self.at, trusting(), respond, **more)
        return cell

    def stranger(self) -> FrameSocket:
        """A connection to where cells connect to."""
        link = connect(self.at, trusting(), HOST)
        self.addCleanup(link.release)
        return link

    def leash(self) -> FrameSocket:
        """Somebody who has logged in as a cell."""
        link = self.stranger()
        link.send(Kind.IAM, {"connKind": 0, "uuid": "", "key": KEY})
        link.expect(Kind.ACCEPT)
        return link

    def refused(self, link: FrameSocket) -> None:
        """The other end closes a connection, and has said nothing."""
        self.assertEqual(link.ended(), b"")
        link.release()

    # Clients

    def client(self) -> http.client.HTTPSConnection:
        """A connection of a client's."""
        client = http.client.HTTPSConnection(HOST, self.https, context=trusting(), timeout=DEADLINE)
        self.addCleanup(client.close)
        return client

    def ask(
        self,
        method: str = "GET",
        target: str = "/",
        body: Any = None,
        headers: dict[str, str] | None = None,
        client: http.client.HTTPConnection | None = None,
    ) -> Response:
        """Make a request, and wait for the whole response; by default on a connection of its own."""
        own = client is None
        client = client or self.client()
        try:
            client.request(
                method, target, body, headers or {}, encode_chunked=body is not None and not isinstance(body, bytes)
            )
            response = client.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            if own:
                client.close()

    def members(self) -> list[Member]:
        """The cells that are logged in."""
        found: list[Member] = self.ours(lambda: list(self.cells))
        return found


def hello(exchange: Exchange) -> None:
    """A foreign cell's handler that greets."""
    exchange.respond(200, {"content-type": ["text/plain"], "x": ["1", "2"]})
    exchange.write(b"hello")


class _WatchedCell(ForeignCell):
    """A foreign cell whose mounts are there when it has logged in, and that has heard nothing strange in the end."""

    def __init__(self, case: QueenCase, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._case = case

    def login(self) -> None:
        """See L{ForeignCell.login}."""
        super().login()
        find = partial(_mounts_of, self._case, self.uuid)
        self._case.until(lambda: find() == len(set(self._mounts)), "the mounts")

    def stop(self) -> None:
        """See L{ForeignCell.stop}."""
        super().stop()
        came = [one for link in self._sockets for one in link.came]
        self._case.assertEqual(strange(came), [])


def _mounts_of(case: QueenCase, uuid: str) -> int:
    return sum(len(member.mounts) for member in case.cells if member.uuid == uuid)


class CellCase(PeersCase):
    """Cells of ours, with foreign queens."""

    def setUp(self) -> None:
        super().setUp()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.pem_file())
        self.queens: list[ForeignQueen] = []
        self.addCleanup(self._check)

    def _check(self) -> None:
        """No queen has heard anything that Go's do not know, but for the key by which a cell says what it knows."""
        for queen in self.queens:
            self.assertEqual(strange(queen.frames, {Kind.IAM: {"hypermail"}}), [])

    def foreign_queen(self, port: int = 0) -> ForeignQueen:
        """A foreign queen, for C{with}."""
        queen = ForeignQueen(self._context, port=port)
        self.queens.append(queen)
        return queen

    def start(self, queen: ForeignQueen, application: Answering, *mounts: str, key: str = KEY) -> Cell:
        """From the test's thread: start a cell. It stops when the test ends, if it runs then."""

        def begin() -> Cell:
            where = Queen.overTLS(*queen.address, trustRoots=[credentials().authority])
            cell = Cell(where, key, mounts or ("@/",), application, reactor=self.reactor, chance=lambda: 0.0)
            cell.startService()
            self.addCleanup(lambda: cell.stopService() if cell.running else None)
            return cell

        made: Cell = self.ours(begin)
        return made
