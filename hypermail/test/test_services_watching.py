"""
Tests of L{hypermail.services.watching} and L{hypermail.services.live}: a status is asked for and shown.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import sys
import threading
from math import inf, nan
from typing import Any
from unittest.mock import patch

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HypermailError
from hypermail.services import live, watching
from hypermail.services.addresses import Destination
from hypermail.services.status import WINDOW
from hypermail.services.watching import (
    INTERVAL,
    TITLES,
    NoStatus,
    checked,
    look,
    recent,
    row,
    show,
    summary,
    table,
    workers,
)

SESSION: dict[str, Any] = {
    "address": "127.0.0.1:5000",
    "mode": "tls",
    "cipher": "AES-128-GCM",
    "pin": "sha256/" + "A" * 43 + "=",
    "name": "alice",
    "age": 75.0,
    "state": "open",
    "rtt": 0.0205,
    "window": 12_000,
    "congestion": "cubic",
    "mtu": 1_452,
    "streams": 3,
    "rates": {"bytes_received": 1_500_000.0, "bytes_sent": 20.0, "seconds": 1.0},
    "counters": {"datagrams_sent": 200, "datagrams_lost": 3},
}
SNAPSHOT: dict[str, Any] = {
    "program": {"version": "0.1.0", "uptime": 3_700.0},
    "totals": {
        "sessions_open": 1,
        "sessions_opened": 1_234,
        "sessions_lost": 5,
        "sessions_refused": 6,
        "bytes_received": 7_000_000,
        "bytes_sent": 800,
    },
    "rates": {"bytes_received": 1_500_000.0, "bytes_sent": 20.0, "seconds": 1.0},
    "sessions": [SESSION],
}
CELLS = (
    "127.0.0.1:5000 alice",
    "tls",
    "AES-128-GCM",
    "open",
    "1:15",
    "1.5 MB/s",
    "20 B/s",
    "1.50%",
    "20.5 ms",
    "12.0 kB",
    "cubic",
    "1452",
    "3",
)
WORKERS = [
    {"worker": 0, "state": "serving", "pid": 7, "restarts": 0, "sessions_open": 1},
    {"worker": 1, "state": "waiting", "pid": None, "restarts": 2, "sessions_open": None},
]
SHARED: dict[str, Any] = SNAPSHOT | {
    "program": SNAPSHOT["program"] | {"workers": WORKERS},
    "sessions": [SESSION | {"worker": 0}],
}
NOBODY = Destination("127.0.0.1", 4701)


def changed(**values: Any) -> dict[str, Any]:
    """The snapshot with a session that differs so."""
    return SNAPSHOT | {"sessions": [SESSION | values]}


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


class LookTests(SynchronousTestCase):
    """Who is asked, and what that one says."""

    def answering(self, say: bytes, *, reset: bool = False) -> Destination:
        """A port at which whoever asks is told something, once."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                while not connection.recv(65_536).endswith(b"\r\n\r\n"):
                    pass
                if reset:  # instead of an end in order when it closes: socket(7)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(say)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        return Destination("127.0.0.1", listening.getsockname()[1])

    def page(self, content: bytes, status: str = "200 OK") -> Destination:
        """A port at which a page is answered."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        return self.answering(head.encode() + content)

    def why(self, where: Destination) -> str:
        """Why there is no status; in one line."""
        error: NoStatus = self.assertRaises(NoStatus, look, where)
        self.assertIsInstance(error, HypermailError)
        self.assertNotIn("\n", error.text)
        return error.text

    def test_snapshot(self) -> None:
        """What a program tells."""
        self.assertEqual(look(self.page(json.dumps(SNAPSHOT).encode())), SNAPSHOT)

    def test_nobody(self) -> None:
        """Nobody listens: it says what to start."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            where = Destination("127.0.0.1", bound.getsockname()[1])
            self.assertIn(f"nobody listens at {where}", self.why(where))
            self.assertIn(f"--status-port {where.port}", self.why(where))

    def test_somethingElse(self) -> None:
        """Something else answers: another page, another protocol, or nothing that makes sense."""
        for where in (
            self.page(b"<html>"),
            self.page(b"not here", "404 Not Found"),
            self.page(json.dumps(SNAPSHOT).encode(), "500 No"),
            self.page(b"{}"),
            self.page(b"[" * 100_000),
            self.page(b'{"sessions": ' + b"1" * 5_000 + b"}"),
            self.page(b"\xff\xfe\x00"),
            self.answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
            self.answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
            self.answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1_000 + b"\r\n"),
            self.answering(b""),
            self.answering(b"", reset=True),
        ):
            self.assertIn(f"what answers at {where} is not the status of a hypermail program", self.why(where))

    def test_tooMuch(self) -> None:
        """An answer without an end is not read to its end."""
        self.patch(watching, "MOST", 1_000)
        self.assertIn("is not the status", self.why(self.page(json.dumps(SNAPSHOT).encode() + b" " * 1_000)))

    def test_otherName(self) -> None:
        """One that does not answer to a name says to which it does."""
        self.assertIn("say localhost, 127.0.0.1 or [::1]", self.why(self.page(b"x", "421 Misdirected Request")))

    def test_silent(self) -> None:
        """One that says nothing is not waited for."""
        self.patch(watching, "PATIENCE", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            where = Destination("127.0.0.1", silent.getsockname()[1])
            self.assertIn(f"there was no answer from {where} for 0.05 s", self.why(where))

    def dripping(self, head: bytes, drip: bytes) -> Destination:
        """A port at which whoever asks is told something, and then a little more, again and again."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(head)
                while True:
                    connection.sendall(drip)
                    gone.wait(0.005)

        gone = threading.Event()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        return Destination("127.0.0.1", listening.getsockname()[1])

    def test_drips(self) -> None:
        """One that says a little again and again is not waited for without end: in its body, its head, before it."""
        self.patch(watching, "LONGEST", 0.1)
        for head, drip in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b" "),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            (b"HTTP/1.1 200 OK\r\n", b"x"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ):
            where = self.dripping(head, drip)
            self.assertIn(f"the answer from {where} was not complete after 0.1 s", self.why(where))

    def test_endlessHead(self) -> None:
        """What comes before the body, and after it, counts, too."""
        self.patch(watching, "MOST", 10_000)
        for head, drip in (
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 100),
        ):
            self.assertIn("is not the status", self.why(self.dripping(head, drip)))

    def test_secondAddress(self) -> None:
        """A host's next address is asked when nobody listens at the first; of several failures the first is told."""
        where = self.page(json.dumps(SNAPSHOT).encode())
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            here = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", bound.getsockname()[1]))]
            there = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", where.port))]
            nowhere = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("255.255.255.255", 1))]
            with patch.object(socket, "getaddrinfo", lambda *_, **__: here + there):
                self.assertEqual(look(where), SNAPSHOT)
            with patch.object(socket, "getaddrinfo", lambda *_, **__: here + nowhere):
                self.assertIn("nobody listens", self.why(where))

    def test_noHost(self) -> None:
        """A host that there is not."""
        for name in ("a..b", "x" * 70, "host.invalid"):
            self.assertIn(f"there is no host {name!r}", self.why(Destination(name, 1)))

    def test_unreachable(self) -> None:
        """What the system says of an address that it does not reach."""
        self.assertIn("255.255.255.255:1: ", self.why(Destination("255.255.255.255", 1)))


class CheckTests(SynchronousTestCase):
    """What answers may be anything."""

    def test_wrong(self) -> None:
        """Whatever is missing or is something else than it should be, it is no status."""
        checked(SNAPSHOT)
        found = 0
        values: tuple[Any, ...] = (None, True, -1, nan, inf, 1 << 64, 10**400, [], {}, "x", b"missing")
        for path in (
            ("program",),
            ("totals",),
            ("rates",),
            (),
            ("session",),
            ("session", "rates"),
            ("session", "counters"),
        ):
            for bad in values:
                for name in list(self.at(json.loads(json.dumps(SNAPSHOT)), path)):
                    snapshot = json.loads(json.dumps(SNAPSHOT))
                    holder = self.at(snapshot, path)
                    if bad == b"missing":
                        del holder[name]
                    elif type(bad) is type(holder[name]) and isinstance(bad, (str, list, dict)):
                        continue  # as it should be
                    else:
                        holder[name] = bad
                    try:
                        shown = checked(snapshot)
                    except ValueError:
                        found += 1
                        continue
                    self.assertIn((name, bad), self.allowed(name, bad))
                    "".join(table(shown))
        self.assertGreater(found, 300)

    @staticmethod
    def at(snapshot: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        """One object in a snapshot."""
        found = snapshot
        for name in path:
            found = found["sessions"][0] if name == "session" else found[name]
        return found

    @staticmethod
    def allowed(name: str, bad: object) -> list[tuple[str, object]]:
        """What looks wrong and isn't: there may be no pin, and an empty list of sessions."""
        return [(name, bad)] if bad is None and name in ("cipher", "pin", "name", "rtt", "congestion") else []

    def test_others(self) -> None:
        """What is no object at all; what is there beyond is no matter."""
        others: tuple[Any, ...] = (None, [], 1, "x", SNAPSHOT | {"sessions": [1]})
        for bad in others:
            self.assertRaises(ValueError, checked, bad)
        checked(SNAPSHOT | {"more": 1})

    def test_workers(self) -> None:
        """Of workers, too, all is checked that is shown; with them each session says whose it is."""
        checked(SHARED)
        wrongs: Any = (7, {}, [7], [WORKERS[0] | {"state": 1}], [WORKERS[0] | {"sessions_open": "1"}])
        for wrong in wrongs:
            bad = SHARED | {"program": SHARED["program"] | {"workers": wrong}}
            self.assertRaises(ValueError, checked, bad)
        self.assertRaises(ValueError, checked, SHARED | {"sessions": [SESSION]})


class TableTests(SynchronousTestCase):
    """What people see."""

    def test_summary(self) -> None:
        """All sessions in one line."""
        self.assertEqual(
            summary(SNAPSHOT),
            "hypermail 0.1.0, up 1:01:40, 1 session open, 1,234 opened, 5 lost, 6 refused, in 7.0 MB (1.5 MB/s), "
            "out 800 B (20 B/s)",
        )

    def test_row(self) -> None:
        """Each session in one."""
        self.assertEqual(row(SESSION), CELLS)
        self.assertEqual(len(TITLES), len(CELLS))
        bare = {
            "name": None,
            "pin": None,
            "cipher": None,
            "rtt": None,
            "counters": dict.fromkeys(SESSION["counters"], 0),
        }
        cells = row(SESSION | bare)
        self.assertEqual([cells[at] for at in (0, 2, 7, 8)], ["127.0.0.1:5000", "none", "0.00%", ""])

    def test_workers(self) -> None:
        """Of a program that has workers a line says how many sessions each has, a column whose each session is."""
        self.assertEqual(workers(SNAPSHOT), "")
        self.assertEqual(workers(SHARED), "worker 0 has 1 session, worker 1 is waiting (2 restarts)")
        first, second, heads, cells = table(SHARED)
        self.assertEqual((first, second), (summary(SNAPSHOT), workers(SHARED)))
        self.assertEqual((heads.split()[-1], cells.split()[-1]), ("worker", "0"))

    def test_pin(self) -> None:
        """Who has no name has a pin, its beginning."""
        self.assertEqual(row(SESSION | {"name": None})[0], "127.0.0.1:5000 sha256/AAAAAAAAAAAAAA...")

    def test_hostile(self) -> None:
        """Nothing that somebody else wrote does anything to a terminal, or takes more than its place."""
        cells = row(SESSION | {"name": "\x1b[2J\n\u202e", "mode": "m" * 10_000, "state": "\x07"})
        self.assertEqual(cells[0], "127.0.0.1:5000 \\x1b[2J\\n\\u202e")
        self.assertEqual((len(cells[1]), cells[3]), (80, "\\x07"))
        self.assertTrue(all(cell.isprintable() for cell in cells))
        self.assertTrue(summary(SNAPSHOT | {"program": {"version": "\x1b" * 999, "uptime": 1}}).isprintable())

    def test_plain(self) -> None:
        """Columns as wide as they have to be: words to the left, numbers to the right."""
        lines = list(table(SNAPSHOT | {"sessions": [SESSION, SESSION | {"address": "[::1]:5", "streams": 10_000}]}))
        self.assertEqual(len(lines), 4)
        self.assertTrue(lines[1].startswith("peer                  mode  cipher       state   for"), lines)
        self.assertTrue(lines[2].endswith("  1452        3"), lines)
        self.assertTrue(lines[3].endswith("  1452    10000"), lines)
        self.assertEqual(len({len(line) for line in lines[1:]}), 1)

    def test_nobody(self) -> None:
        """Without sessions there is no table."""
        self.assertEqual(list(table(SNAPSHOT | {"sessions": []})), [summary(SNAPSHOT)])


class ShowTests(SynchronousTestCase):
    """How it is shown, where."""

    def setUp(self) -> None:
        self.slept: list[float] = []
        self.answers: list[Any] = [SNAPSHOT]
        self.asked: list[Destination] = []
        self.patch(watching, "look", self.look)

    def look(self, where: Destination) -> dict[str, Any]:
        """The next answer; the last again and again."""
        self.asked.append(where)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        found: dict[str, Any] = answer
        return found

    def show(self, out: io.StringIO, *, once: bool = False, as_json: bool = False) -> str:
        """What is shown."""
        show(NOBODY, out, once=once, as_json=as_json, sleep=self.slept.append)
        self.assertEqual(set(self.asked), {NOBODY})
        return out.getvalue()

    def test_once(self) -> None:
        """Without a terminal, or when asked for, the plain table once."""
        expected = "\n".join(table(SNAPSHOT)) + "\n"
        self.assertEqual(self.show(io.StringIO()), expected)
        self.assertEqual(self.show(Terminal(), once=True), expected)
        self.assertEqual((len(self.asked), self.slept), (2, []))

    def test_json(self) -> None:
        """As JSON everything, what we don't know of included."""
        self.answers = [SNAPSHOT | {"more": [1]}]
        for out in (io.StringIO(), Terminal()):
            self.assertEqual(json.loads(self.show(out, as_json=True)), SNAPSHOT | {"more": [1]})

    def test_recent(self) -> None:
        """When nobody has looked for long there are two looks, so that rates are of now."""
        old = SNAPSHOT | {"rates": SNAPSHOT["rates"] | {"seconds": 2 * WINDOW + 1}}
        for as_json in (False, True):
            self.answers, self.slept = [old, SNAPSHOT], []
            self.show(io.StringIO(), as_json=as_json)
            self.assertEqual((self.slept, len(self.answers)), ([INTERVAL], 1))
        self.answers, self.slept = [SNAPSHOT | {"rates": SNAPSHOT["rates"] | {"seconds": 2 * WINDOW}}], []
        recent(lambda: look_(self), self.slept.append)
        self.assertEqual(self.slept, [])

    def test_withoutRich(self) -> None:
        """On a terminal without rich: the plain table, once."""
        with patch.dict(sys.modules, {"rich": None, "rich.console": None}):
            sys.modules.pop("hypermail.services.live", None)
            self.assertEqual(self.show(Terminal()), "\n".join(table(SNAPSHOT)) + "\n")

    def test_live(self) -> None:
        """On a terminal each second anew, until an interrupt, which is no failure."""
        sleeps: list[float] = []

        def sleep(seconds: float) -> None:
            sleeps.append(seconds)
            if len(sleeps) == 3:
                raise KeyboardInterrupt

        self.answers = [SNAPSHOT, changed(name="bob"), changed(name="[red]carol")]
        out = Terminal()
        with patch.dict("os.environ", {"COLUMNS": "200", "LINES": "40", "TERM": "xterm"}):
            show(NOBODY, out, once=False, as_json=False, sleep=sleep)
        self.assertEqual((sleeps, len(self.asked)), ([INTERVAL] * 3, 3))
        positions = [out.getvalue().find(name) for name in ("alice", "bob", "[red]carol")]
        self.assertEqual(positions, sorted(positions))
        self.assertGreater(positions[0], 0)
        self.assertTrue(out.getvalue().rstrip("\n").endswith("\x1b[?25h"), "the cursor is hidden")

    def test_liveEnds(self) -> None:
        """When the program ends so does the table, and it says why."""
        for answers, shown in (([NoStatus("gone")], False), ([SNAPSHOT, NoStatus("gone")], True)):
            self.answers = list(answers)
            out = Terminal()
            error = self.assertRaises(NoStatus, self.show, out)
            self.assertEqual((error.text, "alice" in out.getvalue()), ("gone", shown))


def look_(case: ShowTests) -> dict[str, Any]:
    """Look as C{show} does."""
    return case.look(NOBODY)


class DrawnTests(SynchronousTestCase):
    """The table on a terminal."""

    def draw(self, snapshot: dict[str, Any], width: int, height: int) -> list[str]:
        """The lines of it."""
        out = io.StringIO()
        Console(file=out, width=width).print(live.drawn(snapshot, width, height))
        return out.getvalue().splitlines()

    def test_wide(self) -> None:
        """Where there is room everything is shown, and the text of peers is text."""
        lines = self.draw(changed(name="[bold]x[/]"), 160, 24)
        self.assertEqual(lines[0].rstrip(), summary(SNAPSHOT))
        self.assertEqual(lines[2].split(), list(TITLES))
        self.assertEqual(lines[3].split(), "127.0.0.1:5000 [bold]x[/]".split() + " ".join(CELLS[1:]).split())

    def test_narrow(self) -> None:
        """Where there is little, some columns are left out, and no line is broken or cut."""
        lines = self.draw(SNAPSHOT, 80, 24)
        titles = [title for title in TITLES if title not in live.LESS]
        (at,) = (number for number, line in enumerate(lines) if line.startswith("peer"))
        self.assertEqual(lines[at].split(), titles)
        self.assertNotIn("…", "".join(lines))
        self.assertEqual(len(lines), at + 2)

    def test_many(self) -> None:
        """More sessions than lines: so many as fit, and the number of the others."""
        lines = self.draw(SNAPSHOT | {"sessions": [SESSION] * 5_000}, 160, 24)
        self.assertEqual(lines[-1].rstrip(), "... and 4,982 more (--once shows all)")
        self.assertLess(len(lines), 24)
        self.assertEqual(len(self.draw(SNAPSHOT | {"sessions": [SESSION] * 9}, 160, 1)), 5)

    def test_workers(self) -> None:
        """With workers there is one line less for sessions, and one column more."""
        lines = self.draw(SHARED | {"sessions": SHARED["sessions"] * 5_000}, 160, 24)
        self.assertEqual(lines[-1].rstrip(), "... and 4,983 more (--once shows all)")
        self.assertEqual(lines[1].rstrip(), workers(SHARED))
        self.assertEqual(lines[3].split(), [*TITLES, "worker"])

    def test_nobody(self) -> None:
        """Without sessions only the summary."""
        self.assertEqual(
            [line.rstrip() for line in self.draw(SNAPSHOT | {"sessions": []}, 160, 24)], [summary(SNAPSHOT)]
        )
