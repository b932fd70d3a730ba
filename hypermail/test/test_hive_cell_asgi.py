"""
Tests for L{hypermail.hive.cell.asgi}, L{calls<hypermail.hive.cell.calls>}, L{loops<hypermail.hive.cell.loops>} and
L{websocket<hypermail.hive.cell.websocket>}.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from wsproto.connection import CLIENT, Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import Opcode

from hypermail.hive.cell import asgi, websocket
from hypermail.hive.cell.asgi import ApplicationFailed, AsgiApplication
from hypermail.hive.cell.calls import HIGH
from hypermail.hive.cell.websocket import refusal
from hypermail.test.cells import Asked, SocketCase, head_of
from hypermail.test.services import environment
from hypermail.test.test_hive_cell_resource import Endless

Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Scope], Any]


async def respond(send: Send, body: bytes = b"", status: int = 200, headers: Any = ()) -> None:
    """A whole response."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def until(event: threading.Event) -> None:
    """Wait for another thread."""
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 30)


def http(call: Callable[[Scope, Receive, Send], Any]) -> Any:
    """An application without a lifespan."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise ValueError("no lifespan")
        await call(scope, receive, send)

    return application


class AsgiCase(SocketCase):
    """An ASGI application."""

    async def until(self, done: Callable[[], object]) -> None:
        """Wait for something in another thread."""
        while not done():
            await deferLater(self.reactor, 0.01)


class HttpTests(AsgiCase):
    """Requests and responses."""

    async def test_scope(self) -> None:
        """What the application learns of a request."""
        found: Scope = {}

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            found.update(scope)
            await respond(send, b"ok", 201, [(b"X", b"y"), (b"x", b"z")])

        await self.cell(AsgiApplication(application), "@/app/")
        asked = await self.ask("GET", "/a%20b?c=%64", {"x": "y"}, path="/a b")
        assert asked.response is not None
        self.assertEqual((asked.status, asked.received), (201, b"ok"))
        self.assertEqual(asked.response.headers, {"x": ("y", "z"), "content-length": ("2",)})
        expected = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": "/app/a b",
            "raw_path": b"/app/a%20b",
            "query_string": b"c=%64",
            "root_path": "/app",
            "headers": [(b"host", b"example.org"), (b"x", b"y")],
            "client": ["192.0.2.1", 0],
            "server": ["example.org", 443],
            "state": {},
            "extensions": {"http.response.trailers": {}},
        }
        self.assertEqual(found, expected)
        await self.ask("GET", "/", protocol_major=2, protocol_minor=0)
        self.assertEqual(found["http_version"], "2")
        await self.ask("GET", "/x", mount="/other/")
        self.assertEqual((found["root_path"], found["path"]), ("/other", "/other/x"))

    async def test_body(self) -> None:
        """Bodies come as they are sent, and are asked for when they are wanted."""

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            if scope["path"] == "/early":
                await send({"type": "http.response.body", "more_body": True})
            more = True
            while more:
                message = await receive()
                more = message["more_body"]
                await send({"type": "http.response.body", "body": message["body"], "more_body": more})

        await self.cell(AsgiApplication(application))
        for length in ({}, {"content-length": "200000"}):
            asked = await self.ask("POST", "/", length, b"x" * 200_000)
            self.assertEqual(len(asked.received), 200_000)
        asked = await self.ask("GET", "/")
        self.assertEqual((asked.received, asked.most), (b"", None))
        asked = await self.ask("POST", "/early", None, b"x" * 2_000_000)
        self.assertEqual(len(asked.received), 2_000_000)

    async def test_events(self) -> None:
        """Server-sent events: each goes out at once; when the client is gone the application learns it."""
        learnt: list[Any] = []
        step = asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            loops.append(asyncio.get_running_loop())
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
            )
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await step.wait()
            await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True})
            for _ in range(3):
                learnt.append((await receive())["type"])
            try:
                await send({"type": "http.response.body", "body": b"data: 3\n\n", "more_body": True})
            except OSError as error:
                learnt.append(type(error))

        await self.cell(AsgiApplication(application))
        asked = self.begin(head_of("GET", "/"))
        self.assertEqual(await asked.whenReceived(lambda data: data.endswith(b"\n\n")), b"data: 1\n\n")
        loops[0].call_soon_threadsafe(step.set)
        await asked.whenReceived(lambda data: data.count(b"\n\n") == 2)
        asked.band.giveUp()
        await self.until(lambda: len(learnt) == 4)
        self.assertEqual(learnt, ["http.request", "http.disconnect", "http.disconnect", ConnectionResetError])

    async def test_lostWhileHeld(self) -> None:
        """An application that is held back in C{send} learns that the client is lost."""
        learnt: list[Any] = []

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})
            try:
                while True:
                    await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
            except OSError as error:
                learnt.append(type(error))

        await self.cell(AsgiApplication(application))
        asked = self.begin(head_of("GET", "/"))
        await asked.began
        asked.band.connection.pauseProducing()
        await deferLater(self.reactor, 0.2)
        self.assertEqual(learnt, [])
        asked.band.giveUp()
        await self.until(lambda: learnt)
        self.assertEqual(learnt, [ConnectionResetError])

    async def test_disconnectAfterResponse(self) -> None:
        """After the response there is nothing more to receive, nor to send."""
        learnt: list[Any] = []

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send)
            learnt.append((await receive())["type"])
            try:
                await send({"type": "http.response.body"})
            except OSError:
                learnt.append("no")

        await self.cell(AsgiApplication(application))
        await self.ask("GET", "/")
        await self.until(lambda: len(learnt) == 2)
        self.assertEqual(learnt, ["http.disconnect", "no"])

    async def test_head(self) -> None:
        """No body where there is none."""

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, b"body", 204 if scope["path"] == "/none" else 200)

        await self.cell(AsgiApplication(application))
        for method, target in (("HEAD", "/"), ("GET", "/none")):
            asked = await self.ask(method, target)
            self.assertEqual((asked.received, asked.header("content-length")), (b"", ""))

    async def test_trailers(self) -> None:
        """Trailers of a response."""

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "trailers": True})
            await send({"type": "http.response.body", "body": b"x"})
            await send({"type": "http.response.trailers", "headers": [(b"a", b"1")], "more_trailers": True})
            await send({"type": "http.response.trailers", "headers": [(b"b", b"2")]})

        await self.cell(AsgiApplication(application))
        asked = await self.ask("GET", "/")
        assert asked.end is not None
        self.assertEqual((asked.received, asked.end.trailers), (b"x", {"a": ("1",), "b": ("2",)}))

    async def test_backPressure(self) -> None:
        """Both ways: an application that sends is held back, a body that it does not receive waits at the queen."""
        sent: list[int] = []
        go = threading.Event()

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "GET":
                await send({"type": "http.response.start", "status": 200})
                for _ in range(1024):
                    sent.append(1)
                    await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
                await send({"type": "http.response.body"})
                return
            size = 0
            message = await receive()
            while message["more_body"]:
                await until(go)
                size += len(message["body"])
                message = await receive()
            await respond(send, str(size).encode())

        await self.cell(AsgiApplication(application))
        asked = self.begin(head_of("GET", "/"))
        await self.stall(asked, lambda: self.assertLess(len(sent), 512))
        asked = self.begin(head_of("POST", "/", {"content-length": str(64 << 20)}), None)
        await self.until(lambda: asked.most is not None)
        sender = Endless(_Upload(asked), 64 << 20)
        asked.band.connection.transport.registerProducer(sender, True)
        sender.resumeProducing()
        await deferLater(self.reactor, 0.3)
        self.assertGreater(sender.left, 40 << 20)
        go.set()
        await asked.done
        self.assertEqual(asked.received, str(64 << 20).encode())

    async def test_wrong(self) -> None:
        """What an application must not do it is told; nothing of it reaches the client."""
        learnt: list[str] = []

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            for message in (
                "nonsense",
                {},
                {"type": "http.response.body"},
                {"type": "http.response.trailers"},
                {"type": "http.response.start", "status": 101},
                {"type": "http.response.start", "status": "200"},
                {"type": "http.response.start"},
                {"type": "http.response.start", "status": 200, "headers": [(b"a b", b"")]},
                {"type": "websocket.accept"},
            ):
                try:
                    await send(message)  # type: ignore[arg-type]
                except Exception as error:
                    learnt.append(type(error).__name__)
            await send({"type": "http.response.start", "status": 200})
            try:
                await send({"type": "http.response.start", "status": 200})
            except RuntimeError:
                learnt.append("twice")
            await send({"type": "http.response.body", "body": b"ok"})

        await self.cell(AsgiApplication(application))
        self.assertEqual((await self.ask("GET", "/")).received, b"ok")
        expected = (
            ["TypeError"] * 2 + ["RuntimeError"] * 2 + ["ValueError"] * 2 + ["KeyError", "UsageError", "RuntimeError"]
        )
        self.assertEqual(learnt, [*expected, "twice"])

    async def test_fails(self) -> None:
        """An application that fails, or returns too early: 500, or the response is cut off."""

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/nothing":
                return
            await send({"type": "http.response.start", "status": 200})
            if scope["path"] == "/late":
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            raise ValueError("no")

        await self.cell(AsgiApplication(application))
        for target in ("/nothing", "/early"):
            self.assertEqual((await self.ask("GET", target)).status, 500)
        self.assertTrue((await self.ask("GET", "/late")).wasLost)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_ends(self) -> None:
        """An application that would end the program fails, and the next request is answered."""

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/exit":
                sys.exit(3)
            if scope["path"] == "/interrupt":
                raise KeyboardInterrupt
            await respond(send)

        await self.cell(AsgiApplication(application))
        for target in ("/exit", "/interrupt"):
            self.assertEqual((await self.ask("GET", target)).status, 500)
        self.assertEqual((await self.ask("GET", "/")).status, 200)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    async def test_most(self) -> None:
        """There is a limit to how many calls there are."""
        self.patch(asgi, "MOST_CALLS", 1)
        go = threading.Event()

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await until(go)
            await respond(send)

        await self.cell(AsgiApplication(application))
        first = self.begin(head_of("GET", "/"))
        self.assertEqual((await self.ask("GET", "/")).status, 503)
        go.set()
        self.assertEqual((await first.done).status, 200)


class _Upload:
    """Looks like a request to L{Endless}, and is the body of another one."""

    def __init__(self, asked: Asked) -> None:
        self.write = asked.band.body
        self.finish = asked.band.endBody
        self.unregisterProducer = asked.band.connection.transport.unregisterProducer


class LifespanTests(AsgiCase):
    """Beginning and end."""

    def application(self, told: list[Any], begin: str = "complete", end: str = "complete") -> Any:
        """An application that knows them."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                told.append(scope["state"]["x"])
                scope["state"]["x"] = 2
                await respond(send)
                return
            scope["state"]["x"] = 1
            told.append((await receive())["type"])
            await send({"type": f"lifespan.startup.{begin}", "message": "no database"})
            told.append((await receive())["type"])
            await send({"type": f"lifespan.shutdown.{end}", "message": "still no database"})

        return application

    async def test_life(self) -> None:
        """It begins before there are requests, which have its state, and ends after them."""
        for end in ("complete", "failed"):
            await super().setUp()
            told: list[Any] = []
            cell = await self.cell(AsgiApplication(self.application(told, end=end)))
            for _ in range(2):
                await self.ask("GET", "/")
                await self.ask("GET", "/")
                await cell.stopService()
                self.assertEqual(told, ["lifespan.startup", 1, 1, "lifespan.shutdown"])
                told.clear()
                cell.startService()
                await cell.whenReady()
            await cell.stopService()

    async def test_failed(self) -> None:
        """When it does not begin the cell does not, and says why."""
        error: Any = await self.assertFailure(
            Deferred.fromCoroutine(self.cell(AsgiApplication(self.application([], "failed")))), ApplicationFailed
        )
        self.assertIn("no database", error.text)
        self.flushLoggedErrors(ApplicationFailed)

    async def test_slow(self) -> None:
        """It has to begin some time, and need not end."""
        self.patch(asgi, "STARTING", 0.1)
        self.patch(asgi, "STOPPING", 0.1)

        async def never(scope: Scope, receive: Receive, send: Send) -> None:
            if self.begin_ok:
                await receive()
                await send({"type": "lifespan.startup.complete"})
            await asyncio.sleep(1000)

        self.begin_ok = False
        await self.assertFailure(Deferred.fromCoroutine(self.cell(AsgiApplication(never))), ApplicationFailed)
        self.flushLoggedErrors(ApplicationFailed)
        self.begin_ok = True
        cell = await self.cell(AsgiApplication(never))
        await cell.stopService()

    async def test_blocked(self) -> None:
        """An application that holds up its loop does not keep the cell from ending."""
        self.patch(asgi, "STOPPING", 0.1)
        gate = threading.Event()
        self.addCleanup(gate.set)
        begun = threading.Event()

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            begun.set()
            gate.wait(30)

        cell = await self.cell(AsgiApplication(application), drain=0.0)
        asked = self.begin(head_of("GET", "/"))
        await self.until(begun.is_set)
        await cell.stopService()
        self.assertTrue(asked.wasLost)

    async def test_threads(self) -> None:
        """The thread of its loop ends with the cell, also when a task does not want to."""

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send)
            await asyncio.sleep(1000)

        before = threading.active_count()
        cell = await self.cell(AsgiApplication(application))
        await self.ask("GET", "/")
        self.assertIn("asyncio", [thread.name for thread in threading.enumerate()])
        await cell.stopService()
        await self.until(lambda: threading.active_count() <= before)


class AsyncioReactorTests(SynchronousTestCase):
    """The reactor that is an asyncio loop."""

    def test_reactor(self) -> None:
        """Applications run in its loop, and no thread is made."""
        run = subprocess.run(
            [sys.executable, "-c", _ASYNCIO], env=environment(), capture_output=True, text=True, timeout=60
        )
        self.assertEqual((run.stdout, run.stderr), ("1 200 b'same thread'\n", ""))


_ASYNCIO = """
import asyncio, threading
loop = asyncio.new_event_loop()
from twisted.internet import asyncioreactor
asyncioreactor.install(loop)
from twisted.internet import reactor, task
from hypermail.hive.cell.asgi import AsgiApplication
from hypermail.test.cells import SocketCase, newCells

async def application(scope, receive, send):
    if scope["type"] == "http":
        same = asyncio.get_running_loop() is loop and threading.current_thread() is threading.main_thread()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"same thread" if same else b"another one"})

class Case(SocketCase):
    def runTest(self): pass

async def main(reactor):
    case = Case()
    await case.setUp()
    cell = await case.cell(AsgiApplication(application))
    asked = await case.ask("GET", "/")
    print(threading.active_count(), asked.status, asked.received)
    await cell.stopService()

from twisted.internet.defer import Deferred
task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""

UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Client:
    """A WebSocket of a client's."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.socket = Connection(CLIENT)
        self.events: list[Any] = []
        self._read = 0

    def send(self, event: Any) -> None:
        """Say something."""
        self.raw(self.socket.send(event))

    def raw(self, data: bytes) -> None:
        """Say bytes."""
        self.asked.band.body(data)

    async def next(self) -> Any:
        """What comes next."""
        while not self.events:
            data = await self.asked.whenReceived(lambda data: len(data) > self._read)
            new, self._read = data[self._read :], len(data)
            self.socket.receive_data(new)
            self.events += self.socket.events()
        return self.events.pop(0)


class WebSocketTests(AsgiCase):
    """WebSockets."""

    async def open(self, application: Any, headers: dict[str, str] | None = None, **options: Any) -> Client:
        """One that is accepted."""
        await self.cell(AsgiApplication(http(application), **options))
        return await self.another(headers)

    async def another(self, headers: dict[str, str] | None = None) -> Client:
        """Another one."""
        asked = self.begin(head_of("GET", "/chat?x", {**UPGRADE, **(headers or {})}), None, upgrade=True)
        await asked.began
        self.assertEqual(asked.status, 101)
        return Client(asked)

    async def test_echo(self) -> None:
        """Messages of both kinds, also in fragments; a subprotocol; headers; a close by the client."""
        scopes: list[Scope] = []
        learnt: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)
            learnt.append(await receive())
            await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x", b"y")]})
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})
            learnt.append(message)

        client = await self.open(application, {"sec-websocket-protocol": "a, b"})
        self.assertEqual(client.asked.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")  # RFC 6455 §1.3
        self.assertEqual((client.asked.header("sec-websocket-protocol"), client.asked.header("x")), ("b", "y"))
        [scope] = scopes
        self.assertEqual((scope["type"], scope["scheme"], scope["subprotocols"]), ("websocket", "wss", ["a", "b"]))
        self.assertEqual((scope["path"], scope["query_string"]), ("/chat", b"x"))
        self.assertNotIn("method", scope)
        client.send(TextMessage(data="hällo"))
        self.assertEqual(await client.next(), TextMessage(data="hällo"))
        for part, last in ((b"ab", False), (b"", False), (b"cd", True)):
            client.send(BytesMessage(data=part, message_finished=last))
        self.assertEqual(await client.next(), BytesMessage(data=b"abcd"))
        client.send(Ping(payload=b"there?"))
        self.assertEqual(await client.next(), Pong(payload=b"there?"))
        client.send(CloseConnection(code=3001, reason="bye"))
        self.assertEqual(await client.next(), CloseConnection(code=3001, reason="bye"))
        await client.asked.done
        await self.until(lambda: len(learnt) == 2)
        self.assertEqual(
            learnt, [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 3001, "reason": "bye"}]
        )

    async def test_applicationCloses(self) -> None:
        """A close by the application, with code and reason; it may say nothing more."""
        learnt: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
            try:
                await send({"type": "websocket.send", "text": "x"})
            except OSError:
                learnt.append("no")
            await receive()
            learnt.append(await receive())

        client = await self.open(application)
        event = await client.next()
        self.assertEqual(event, CloseConnection(code=4000, reason="enough"))
        self.assertFalse(client.asked.done.called)
        client.send(event.response())
        await client.asked.done
        await self.until(lambda: len(learnt) == 2)
        self.assertEqual(learnt, ["no", {"type": "websocket.disconnect", "code": 4000, "reason": "enough"}])

    async def test_unanswered(self) -> None:
        """A client who does not answer a close is cut off after some time."""
        self.patch(websocket, "CLOSING", 0.1)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})

        client = await self.open(application)
        self.assertEqual((await client.next()).code, 1000)
        await client.asked.done
        self.assertTrue(client.asked.wasLost)

    async def test_wrongCode(self) -> None:
        """An application that closes with what is no code is told so; the client does not wait for ever."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": int(scope["path"][1:])})

        await self.cell(AsgiApplication(http(application)))
        for target in ("/70000", "/999", "/5000"):
            asked = self.begin(head_of("GET", target, UPGRADE), None, upgrade=True)
            await asked.began
            client = Client(asked)
            self.assertEqual((await client.next()).code, 1011)
            client.send(CloseConnection(code=1011))
            await asked.done
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)

    async def test_refused(self) -> None:
        """An application may refuse, by a close or by a response; what is no WebSocket is refused before."""
        told: list[str] = []

        @http
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            told.append(scope["path"])
            if scope["path"] == "/close":
                await send({"type": "websocket.close"})
            elif scope["path"] == "/response":
                await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"b")]})
                await send({"type": "websocket.http.response.body", "body": b"who", "more_body": True})
                await send({"type": "websocket.http.response.body", "body": b"?"})
            elif scope["path"] == "/fails":
                raise ValueError("no")
            elif scope["path"] == "/wrong":
                await send({"type": "websocket.accept", "headers": [(b"Sec-WebSocket-Accept", b"x")]})
            elif scope["path"] == "/early":
                await send({"type": "websocket.send", "text": "x"})

        await self.cell(AsgiApplication(application))
        for target, status, body in (
            ("/close", 403, b"403 Forbidden\n"),
            ("/response", 401, b"who?"),
            ("/fails", 500, b"500 Internal Server Error\n"),
            ("/wrong", 500, b"500 Internal Server Error\n"),
            ("/early", 500, b"500 Internal Server Error\n"),
            ("/nothing", 500, b"500 Internal Server Error\n"),
        ):
            asked = await self.begin(head_of("GET", target, UPGRADE), None, upgrade=True).done
            self.assertEqual((asked.status, asked.received), (status, body))
        self.flushLoggedErrors(ValueError, RuntimeError)
        before = len(told)
        asked = await self.begin(head_of("GET", "/x", {**UPGRADE, "sec-websocket-version": "8"}), upgrade=True).done
        self.assertEqual((asked.status, len(told)), (400, before))

    def test_refusal(self) -> None:
        """What is wrong with a request."""
        self.assertEqual(refusal(head_of("GET", "/", UPGRADE)), "")
        for method, headers in (
            ("POST", {}),
            ("GET", {"sec-websocket-version": "14"}),
            ("GET", {"sec-websocket-key": "x"}),
            ("GET", {"sec-websocket-key": "eA=="}),
            ("GET", {"sec-websocket-key": "ä"}),
        ):
            self.assertNotEqual(refusal(head_of(method, "/", {**UPGRADE, **headers})), "")

    async def test_tooLarge(self) -> None:
        """A message that is too large, in fragments or not, closes the WebSocket."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": str(len(message["bytes"]))})

        await self.cell(AsgiApplication(http(application), mostMessage=1000))
        for sizes in ((1001,), (600, 401)):
            client = await self.another()
            client.send(BytesMessage(data=bytes(1000)))
            self.assertEqual(await client.next(), TextMessage(data="1000"))
            for number, size in enumerate(sizes):
                client.send(BytesMessage(data=bytes(size), message_finished=number == len(sizes) - 1))
            event = await client.next()
            self.assertEqual(event.code, 1009)
            client.send(event.response())
            await client.asked.done

    async def test_wrong(self) -> None:
        """A client who speaks no WebSocket is told so, and gone."""
        codes: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            codes.append((await receive())["code"])

        await self.cell(AsgiApplication(http(application)))
        invalid = Connection(CLIENT)._proto._serialize_frame(Opcode.TEXT, b"\xff")
        for data, code in ((b"GET / HTTP/1.1\r\n\r\n", 1002), (invalid, 1007)):
            client = await self.another()
            client.raw(bytes(data))
            self.assertEqual((await client.next()).code, code)
            await client.asked.done
            await self.until(lambda: codes)
            self.assertEqual(codes.pop(), code)

    async def test_lost(self) -> None:
        """A client that is lost, or goes without a word: 1006."""
        codes: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            codes.append((await receive())["code"])

        client = await self.open(application)
        client.asked.band.giveUp()
        await self.until(lambda: codes)
        client = await self.another()
        client.asked.band.endBody()
        await client.asked.done
        await self.until(lambda: len(codes) == 2)
        self.assertEqual(codes, [1006, 1006])

    async def test_returns(self) -> None:
        """An application that returns closes its WebSocket, and one that fails does, too."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await receive()
            if (await receive())["text"] == "fail":
                raise ValueError("no")

        await self.cell(AsgiApplication(http(application)))
        for text, code in (("return", 1000), ("fail", 1011)):
            client = await self.another()
            client.send(TextMessage(data=text))
            event = await client.next()
            self.assertEqual(event.code, code)
            client.send(event.response())
            await client.asked.done
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_stop(self) -> None:
        """When the cell stops WebSockets are closed, those that come then are refused, other requests go on."""
        codes: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            if scope["type"] == "http":
                return await respond(send)
            await send({"type": "websocket.accept"})
            codes.append((await receive())["code"])

        client = await self.open(application)
        member = self.bands[0]
        stopping = self.running[0].stopService()
        refused = self.begin(head_of("GET", "/", UPGRADE), None, upgrade=True)
        other = self.begin(head_of("GET", "/"))
        event = await client.next()
        self.assertEqual(event.code, 1001)
        self.assertEqual([(await asked.done).status for asked in (refused, other)], [503, 200])
        client.send(event.response())
        await client.asked.done
        await stopping
        self.assertEqual((codes, member.ended), ([1001], True))

    async def test_backPressure(self) -> None:
        """Messages that an application does not receive wait at the client."""
        go = threading.Event()
        sizes: list[int] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await until(go)
            for _ in range(200):
                sizes.append(len((await receive())["bytes"]))
            await send({"type": "websocket.send", "text": "done"})
            await receive()

        client = await self.open(application)
        for _ in range(200):
            client.send(BytesMessage(data=bytes(65_536)))
        await deferLater(self.reactor, 0.3)
        [band] = self.bands
        self.assertEqual(band.transport.producer._size // HIGH, 1)
        go.set()
        self.assertEqual(await client.next(), TextMessage(data="done"))
        self.assertEqual(sizes, [65_536] * 200)
        client.send(CloseConnection(code=1000))
        await client.asked.done

    async def test_pings(self) -> None:
        """While a client takes nothing, its pings wait for nothing but the last one."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})

        client = await self.open(application)
        [band] = self.bands
        call = band.transport.producer
        call.pauseProducing()
        for number in range(100):
            client.send(Ping(payload=b"%d" % number))
        await self.until(lambda: call._pinged is not None and call._pinged.payload == b"99")
        call.resumeProducing()
        self.assertEqual(await client.next(), Pong(payload=b"99"))
        client.send(TextMessage(data="x"))
        self.assertEqual(await client.next(), TextMessage(data="x"))
        client.send(Ping(payload=b"again"))
        self.assertEqual(await client.next(), Pong(payload=b"again"))
        client.send(CloseConnection(code=1000))
        await client.asked.done
