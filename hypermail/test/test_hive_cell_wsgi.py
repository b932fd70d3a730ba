"""
Tests for L{hypermail.hive.cell.wsgi}: Flask, and applications of our own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import flask
from twisted.internet.task import deferLater

from hypermail.hive.cell import wsgi
from hypermail.hive.cell.wsgi import WsgiApplication
from hypermail.test.cells import SocketCase, head_of

Start = Callable[..., Callable[[bytes], None]]


def application() -> flask.Flask:
    """Of Flask."""
    app = flask.Flask("test")

    @app.get("/hello")
    def hello() -> str:
        return f"hello {flask.request.args['name']} from {flask.request.remote_addr} by {flask.request.url}"

    @app.post("/upload")
    def upload() -> dict[str, Any]:
        file = flask.request.files["file"]
        return {"name": file.filename, "size": len(file.read()), "field": flask.request.form["field"]}

    @app.post("/raw")
    def raw() -> bytes:
        return flask.request.get_data()

    @app.get("/fails")
    def fails() -> str:
        raise ValueError("no")

    return app


class FlaskTests(SocketCase):
    """A Flask application."""

    async def test_get(self) -> None:
        """It learns who has asked what, and where it is mounted."""
        await self.cell(WsgiApplication(application()), "@/app/")
        asked = await self.ask("GET", "/hello?name=w%C3%B6rld")
        self.assertEqual(asked.status, 200)
        expected = "hello wörld from 192.0.2.1 by https://example.org/app/hello?name=wörld"
        self.assertEqual(asked.received.decode(), expected)
        self.assertEqual((await self.ask("GET", "/none")).status, 404)
        self.assertEqual((await self.ask("HEAD", "/hello?name=x")).received, b"")

    async def test_upload(self) -> None:
        """Uploads, with and without a length, small and large."""
        await self.cell(WsgiApplication(application()))
        for size in (10, 1 << 20):
            parts = (
                b'--x\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n'
                b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
            )
            body = parts + bytes(size) + b"\r\n--x--\r\n"
            for length in ({"content-length": str(len(body))}, {}):
                asked = await self.ask(
                    "POST", "/upload", {"content-type": "multipart/form-data; boundary=x", **length}, body
                )
                self.assertEqual(flask.json.loads(asked.received), {"name": "a.bin", "size": size, "field": "value"})

    async def test_tooLarge(self) -> None:
        """A body may be too large."""
        await self.cell(WsgiApplication(application(), most=5))
        self.assertEqual((await self.ask("POST", "/raw", {"content-length": "6"}, b"123456")).status, 413)
        self.assertEqual((await self.ask("POST", "/raw", {"content-length": "5"}, b"12345")).received, b"12345")

    async def test_fails(self) -> None:
        """Flask answers with 500 when it fails."""
        app = application()
        app.logger.disabled = True
        await self.cell(WsgiApplication(app))
        self.assertEqual((await self.ask("GET", "/fails")).status, 500)


class WsgiTests(SocketCase):
    """Other applications."""

    async def test_headers(self) -> None:
        """What is not another header's name is passed on; what could be taken for it is not."""
        found: dict[str, Any] = {}

        def app(environ: dict[str, Any], start: Start) -> list[bytes]:
            found.update(environ)
            start("204 None", [])
            return []

        await self.cell(WsgiApplication(app))
        asked = await self.ask("GET", "/x", {"x-real": "1", "x_real": "2", "proxy": "evil"})
        self.assertEqual(asked.status, 204)
        self.assertEqual((found["HTTP_X_REAL"], found.get("HTTP_PROXY")), ("1", None))
        self.assertEqual((found["SCRIPT_NAME"], found["PATH_INFO"]), ("", "/x"))
        for mount, script in (("/", ""), ("/app/", "/app"), ("/a/b/", "/a/b")):
            await self.ask("GET", "/x", mount=mount)
            self.assertEqual((found["SCRIPT_NAME"], found["PATH_INFO"]), (script, "/x"))

    async def test_backPressure(self) -> None:
        """While the client does not read the application is held back, also when it calls C{write}."""
        for byWrite in (False, True):
            made: list[int] = []

            def pieces(made: list[int] = made) -> Iterator[bytes]:
                for _ in range(1024):
                    made.append(65_536)
                    yield bytes(65_536)

            def app(environ: Any, start: Start, byWrite: bool = byWrite, pieces: Any = pieces) -> Any:
                write = start("200 OK", [])
                if not byWrite:
                    return pieces()
                for piece in pieces():
                    write(piece)
                return []

            await super().setUp()
            await self.cell(WsgiApplication(app))
            asked = self.begin(head_of("GET", "/"))
            band = await self.stall(asked, partial(lambda made: self.assertLess(len(made), 512), made))
            self.assertIsNone(band.transport.producer)

    async def test_clientLost(self) -> None:
        """When the client is lost the application is told by the end of its iterator, and its thread is free."""
        closed = threading.Event()

        class Pieces:
            def __iter__(self) -> Iterator[bytes]:
                while True:
                    yield bytes(65_536)

            def close(self) -> None:
                closed.set()

        def app(environ: Any, start: Start) -> Any:
            start("200 OK", [])
            return Pieces()

        await self.cell(WsgiApplication(app, threads=1))
        asked = self.begin(head_of("GET", "/"))
        await asked.began
        asked.band.connection.pauseProducing()
        await deferLater(self.reactor, 0.1)
        asked.band.giveUp()
        while not closed.is_set():
            await deferLater(self.reactor, 0.01)

    async def test_fails(self) -> None:
        """An application that fails: 500; in the middle: its response is cut off."""

        def app(environ: Any, start: Start) -> Iterator[bytes]:
            if environ["PATH_INFO"] == "/late":
                start("200 OK", [])
                yield b"half"
            raise ValueError("no")

        await self.cell(WsgiApplication(app))
        self.assertEqual((await self.ask("GET", "/early")).status, 500)
        self.assertTrue((await self.ask("GET", "/late")).wasLost)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_busy(self) -> None:
        """An application that does not end does not keep the cell from ending."""
        self.patch(wsgi, "STOPPING", 0.1)
        gate = threading.Event()
        daemons: list[bool] = []
        self.addCleanup(gate.set)

        def app(environ: Any, start: Start) -> list[bytes]:
            daemons.append(threading.current_thread().daemon)
            gate.wait(30)
            start("200 OK", [])
            return [b"x"]

        cell = await self.cell(WsgiApplication(app), drain=0.0)
        asked = self.begin(head_of("GET", "/"))
        while not daemons:
            await deferLater(self.reactor, 0.01)
        await cell.stopService()
        self.assertEqual((daemons, asked.wasLost, gate.is_set()), ([True], True, False))

    async def test_again(self) -> None:
        """A cell may stop, and begin again."""

        def app(environ: Any, start: Start) -> list[bytes]:
            start("200 OK", [])
            return [b"x"]

        cell = await self.cell(WsgiApplication(app))
        for _ in range(2):
            self.assertEqual((await self.ask("GET", "/")).received, b"x")
            await cell.stopService()
            cell.startService()
            await cell.whenReady()

    async def test_threads(self) -> None:
        """Applications run in so many threads, not in the reactor's."""
        running: list[int] = []
        most: list[int] = []
        gate = threading.Event()

        def app(environ: Any, start: Start) -> list[bytes]:
            running.append(threading.get_ident())
            most.append(len(running))
            gate.wait(10)
            running.remove(threading.get_ident())
            start("200 OK", [])
            return [b"x"]

        await self.cell(WsgiApplication(app, threads=2))
        asked = [self.begin(head_of("GET", "/")) for _ in range(5)]
        while len(running) < 2:
            await deferLater(self.reactor, 0.01)
        await deferLater(self.reactor, 0.1)
        gate.set()
        for one in asked:
            await one.done
        self.assertEqual(max(most), 2)
        self.assertNotIn(threading.get_ident(), running)
