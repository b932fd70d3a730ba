"""
Tests for the queen, at sockets, with foreign cells that come and go, and with strangers.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from hypermail.test.foreign_cell import Exchange, Habits
from hypermail.test.foreign_wire import DEADLINE, Kind, frame
from hypermail.test.peers import KEY, QueenCase, hello, in_thread


class LossTests(QueenCase):
    """Cells that end in the middle of something."""

    @in_thread
    def test_beforeResponse(self) -> None:
        """The cell is killed before it has answered: 502, and 503 afterwards, as it may be back."""

        def respond(exchange: Exchange) -> None:
            cell.kill()

        with self.cell(respond) as cell:
            self.assertEqual(self.ask("POST", "/", b"x").status, 502)
            self.until(lambda: not len(self.cells), "the end of the cell")
            self.assertEqual(self.ask().status, 503)

    @in_thread
    def test_withinResponse(self) -> None:
        """The cell is killed within its response: the client notices, and finds no page of ours in it."""

        def respond(exchange: Exchange) -> None:
            exchange.respond(200, {"content-length": ["10"]} if exchange.head["path"] == "/known" else {})
            exchange.write(b"hello")
            self.assertTrue(read.wait(DEADLINE))
            cell.kill()

        for target in ("/known", "/unknown"):
            read = threading.Event()
            client = self.client()
            with self.cell(respond) as cell:
                client.request("GET", target)
                response = client.getresponse()
                self.assertEqual(response.read1(), b"hello")
                read.set()
                with self.assertRaises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)) as raised:
                    response.read()
                if isinstance(raised.exception, http.client.IncompleteRead):
                    self.assertEqual(raised.exception.partial, b"")

    @in_thread
    def test_whileWaiting(self) -> None:
        """The cell is killed before it has opened a band: those who wait get 502 at once."""
        began, go_on = threading.Event(), threading.Event()

        def slowly() -> None:
            began.set()
            go_on.wait(DEADLINE)

        with self.cell(hello, habits=Habits(before_band=slowly)) as cell, ThreadPoolExecutor(3) as clients:
            asked = [clients.submit(self.ask) for _ in range(3)]
            [member] = self.members()
            self.until(lambda: member.outstanding == 3, "three requests")
            self.assertTrue(began.wait(DEADLINE))
            cell.kill()
            self.assertEqual([one.result().status for one in asked], [502] * 3)
            go_on.set()

    @in_thread
    def test_idleBand(self) -> None:
        """A band that is lost while it is idle is noticed, whatever the request is."""
        with self.cell(hello) as cell:
            self.assertEqual(self.ask().status, 200)
            [member] = self.members()
            cell.bands[0].abort()
            self.until(lambda: not member.garden.bands, "the end of a band")
            self.assertEqual(self.ask("POST", "/", b"x").status, 200)

    @in_thread
    def test_client(self) -> None:
        """A client that goes away ends the band: its response is nobody else's."""
        began, closed = threading.Event(), threading.Event()

        def respond(exchange: Exchange) -> None:
            if exchange.head["path"] == "/long":
                exchange.write(b"x")
                began.set()
                try:
                    exchange.link.receive()
                except EOFError:
                    closed.set()
                exchange.silent = True
            else:
                hello(exchange)

        with self.cell(respond) as cell:
            client = self.client()
            client.request("GET", "/long")
            self.assertTrue(began.wait(DEADLINE))
            client.close()
            client = self.client()
            self.assertEqual(self.ask(client=client).body, b"hello")
            self.assertTrue(closed.wait(DEADLINE))
            self.assertEqual(len(cell.bands), 2)


class GardenTests(QueenCase):
    """Bands that grow old."""

    directives = {"garden_period": 0.05, "band_age": 0.05}

    @in_thread
    def test_old(self) -> None:
        """Bands that nobody has needed for long are closed, which does the cell no harm; busy ones never are."""
        go_on = threading.Event()

        def respond(exchange: Exchange) -> None:
            if exchange.head["path"] == "/long":
                self.assertTrue(go_on.wait(DEADLINE))
            hello(exchange)

        with self.cell(respond) as cell, ThreadPoolExecutor(1) as clients:
            [member] = self.members()
            long = clients.submit(self.ask, "GET", "/long")
            self.until(lambda: member.garden.bands == 1, "a band")
            self.assertEqual(self.ask().status, 200)
            self.until(lambda: len(cell.bands) == 2 and cell.bands[1].closed, "the end of the idle band")
            self.assertEqual((cell.bands[0].closed, member.garden.bands), (False, 1))
            go_on.set()
            self.assertEqual(long.result().body, b"hello")
            self.until(lambda: cell.bands[0].closed, "the end of the other band")
            self.assertEqual((self.ask().status, cell.panics), (200, []))


class LoginTests(QueenCase):
    """Who is not let in, learns nothing but that, and takes no place."""

    @in_thread
    def test_wrongKey(self) -> None:
        """A wrong key gets silence, and the end."""
        for key in ("wrong", "", "example key ", "x" * 4_000):
            link = self.stranger()
            link.send(Kind.IAM, {"connKind": 0, "uuid": "", "key": key})
            self.refused(link)
        self.expect_log("the key is wrong")
        self.assertEqual(self.members(), [])

    @in_thread
    def test_noTLS(self) -> None:
        """Who speaks no TLS is cut off; perhaps with an alert, never with a frame."""
        with socket.create_connection(self.at, DEADLINE) as plain:
            plain.sendall(frame(Kind.IAM, {"connKind": 0, "uuid": "", "key": KEY}))
            self.assertNotIn(plain.recv(1), (b"\0", b"\x08"))

    @in_thread
    def test_frames(self) -> None:
        """Whatever is no IAm, or not a whole one, is the end."""
        link = frame(Kind.IAM, {"connKind": 0, "uuid": "", "key": KEY})
        for sent, logged in (
            (frame(Kind.MOUNT, {"host": "@", "path": "/"}) + link, "Mount before IAm"),
            (frame(Kind.ACCEPT, {"uuid": "", "key": ""}), "Accept before IAm"),
            (frame(Kind.RES_BODY, b"x"), "ResponseBody before IAm"),
            (frame(0x42), "0x42"),
            (bytes(4), "without a kind"),
            (b"\x7f\xff\xff\xff\x00", "4,096 are the most"),
            (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "4,096 are the most"),
            (frame(Kind.IAM, b""), "the key is wrong"),
            (frame(Kind.IAM, b"{"), "no JSON"),
            (frame(Kind.IAM, b"null"), "no JSON object"),
            (frame(Kind.IAM, b'{"connKind":2,"uuid":"","key":"example key"}'), "connKind of IAm"),
            (frame(Kind.IAM, b'{"connKind":-1,"uuid":"","key":"example key"}'), "connKind of IAm"),
            (frame(Kind.IAM, b'{"connKind":"0","uuid":"","key":"example key"}'), "connKind of IAm"),
            (frame(Kind.IAM, b'{"connKind":0,"uuid":"","key":["example key"]}'), "key of IAm"),
            (frame(Kind.IAM, b'{"connKind":0,"uuid":"","key":"\xff"}'), "no JSON"),
            (frame(Kind.IAM, b"[" * 4_000), "no JSON"),
        ):
            self.said.clear()
            stranger = self.stranger()
            stranger.send_bytes(sent)
            self.refused(stranger)
            self.expect_log(logged)
        self.assertEqual(self.members(), [])
        self.until(lambda: not self.cells.strange, "nobody")

    @in_thread
    def test_largest(self) -> None:
        """Before login a frame may have 4,096 bytes, and not one more."""
        for room, is_in in ((4_096, True), (4_097, False)):
            link = self.stranger()
            said = {"connKind": 0, "uuid": "", "key": KEY, "x": ""}
            padding = room - (len(frame(Kind.IAM, said)) - 4)
            link.send(Kind.IAM, {**said, "x": "x" * padding})
            if is_in:
                link.expect(Kind.ACCEPT)
            else:
                self.refused(link)
                self.expect_log("4,096")

    @in_thread
    def test_largestAfterwards(self) -> None:
        """After login it may have 16 MiB, and not one byte more, of which nothing need come."""

        def respond(exchange: Exchange) -> None:
            exchange.respond(200)
            exchange.link.send(Kind.RES_BODY, bytes((16 << 20) - 1))

        with self.cell(respond):
            self.assertEqual(sha256(self.ask().body).digest(), sha256(bytes((16 << 20) - 1)).digest())
        link = self.leash()
        link.send_bytes(((16 << 20) + 1).to_bytes(4, "big"))
        self.refused(link)
        self.expect_log("16,777,216")

    @in_thread
    def test_leashFrames(self) -> None:
        """What has no place on a leash ends it."""
        for sent, logged in (
            (frame(Kind.IAM, {"connKind": 0, "uuid": "", "key": KEY}), "IAm on a leash"),
            (frame(Kind.RES_HEAD, {"statusCode": 200}), "ResponseHead on a leash"),
            (frame(Kind.RES_BODY, b"x"), "ResponseBody on a leash"),
            (frame(Kind.NEED_BAND, {"count": 1}), "NeedBand on a leash"),
            (frame(0x14), "Leave on a leash"),  # extensions are for those who say that they know them
            (frame(0x21, {}), "Heartbeat on a leash"),
            (frame(Kind.MOUNT, b'{"host":1}'), "host of Mount"),
            (frame(Kind.MOUNT, b"{"), "no JSON"),
        ):
            self.said.clear()
            link = self.leash()
            link.send_bytes(sent)
            self.refused(link)
            self.expect_log(logged)
        self.until(lambda: not len(self.cells), "nobody")

    @in_thread
    def test_bands(self) -> None:
        """A band needs the UUID and the key of a leash that is there: all else is silence, and the end."""
        with self.cell(hello) as cell:
            for uuid, key in (
                (cell.uuid, ""),
                (cell.uuid, KEY),
                (cell.uuid, cell.key + "x"),
                (cell.uuid, "ä"),
                ("", cell.key),
            ):
                link = self.stranger()
                link.send(Kind.IAM, {"connKind": 1, "uuid": uuid, "key": key})
                self.refused(link)
                self.expect_log("there is no such leash")
                self.said.clear()
            uuid, key = cell.uuid, cell.key
        self.until(lambda: not len(self.cells), "nobody")
        link = self.stranger()
        link.send(Kind.IAM, {"connKind": 1, "uuid": uuid, "key": key})
        self.refused(link)

    @in_thread
    def test_panic(self) -> None:
        """A cell whose band is refused ends as a whole; who waits gets 502."""
        with self.cell(hello, habits=Habits(band_key="wrong")) as cell:
            self.assertEqual(self.ask().status, 502)
            self.assertTrue(cell.gone.wait(DEADLINE))
            self.assertEqual(len(cell.panics), 1)
        self.until(lambda: not len(self.cells), "nobody")

    @in_thread
    def test_sideBySide(self) -> None:
        """Fifty slow strangers keep nobody out."""
        for _ in range(50):
            self.stranger()
        with self.cell(hello):
            self.assertEqual(self.ask().status, 200)


class SlowLoginTests(QueenCase):
    """Who takes too much time."""

    directives = {"login_timeout": 0.2}

    @in_thread
    def test_slow(self) -> None:
        """Who says nothing is cut off after some time, whether TLS is there or not."""
        with socket.create_connection(self.at, DEADLINE) as plain, contextlib.suppress(ConnectionError):
            self.assertEqual(plain.recv(1), b"")
        for said in (b"", frame(Kind.IAM, {"connKind": 0, "uuid": "", "key": KEY})[:-1]):
            # On a busy machine even TLS may be too slow for that.
            with contextlib.suppress(OSError):
                link = self.stranger()
                link.send_bytes(said)
                self.refused(link)
        self.until(lambda: not self.cells.strange, "nobody")


class EndTests(QueenCase):
    """A queen who stops."""

    @in_thread
    def test_stop(self) -> None:
        """The request that runs is finished; the cell is told nothing that it would not know, and loses its leash."""
        began, go_on = threading.Event(), threading.Event()

        def respond(exchange: Exchange) -> None:
            began.set()
            self.assertTrue(go_on.wait(DEADLINE))
            hello(exchange)

        with self.cell(respond) as cell, ThreadPoolExecutor(2) as threads:
            asked = threads.submit(self.ask, "GET", "/", None, {"Connection": "close"})
            self.assertTrue(began.wait(DEADLINE))
            stopping = threads.submit(self.ours, self.queen.stopService)
            self.until(lambda: not self.queen.running, "the queen's stop")
            go_on.set()
            self.assertEqual(asked.result().body, b"hello")
            self.assertTrue(cell.gone.wait(DEADLINE))
            stopping.result(DEADLINE)

    @in_thread
    def test_strangers(self) -> None:
        """Who has not logged in yet is cut off."""
        stranger = self.stranger()
        with socket.create_connection(self.at, DEADLINE) as plain:
            self.until(lambda: self.cells.strange == 2, "two strangers")
            self.ours(self.queen.stopService)
            self.refused(stranger)
            with contextlib.suppress(ConnectionError):
                self.assertEqual(plain.recv(1), b"")
