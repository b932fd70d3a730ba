"""
Tests of the cell as a user runs it: C{twistd hypermail-cell}, with a queen, processes of their own.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from hypermail.test.queens import KEY
from hypermail.test.services import TWISTD, ServiceProcess, program
from hypermail.test.test_hive_programs import ProgramCase

_WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"wsgi " + environ["PATH_INFO"].encode()]
"""
_ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"asgi " + scope["path"].encode()})
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("the application has ended", flush=True)
        await send({"type": "lifespan.shutdown.complete"})

async def fails(scope, receive, send):
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


class CellProcess(ServiceProcess):
    """A cell, which is in."""

    def __init__(self, directory: Path, *options: str, **popen: Any) -> None:
        super().__init__(directory, *options, plugin="hypermail-cell", **popen)

    def started(self) -> None:
        """See L{ServiceProcess}."""
        self.expect("is mounted")


class CellCase(ProgramCase):
    """A directory with all that a queen and a cell need."""

    def setUp(self) -> None:
        super().setUp()
        key = self.here / "cell.key"
        key.touch(mode=0o600)
        key.write_text(KEY)
        (self.here / "wsgi_of_a_test.py").write_text(_WSGI)
        (self.here / "asgi_of_a_test.py").write_text(_ASGI)
        (self.here / "files").mkdir()
        (self.here / "files" / "x").write_text("a file")

    @property
    def common(self) -> tuple[str, ...]:
        """Options of all cells here."""
        queen = f"localhost:{self.hlhv}"
        return ("--queen", queen, "--key-file", "cell.key", "--mount", "@/", "--pin", self.identity.pin)

    def cell(self, *options: str) -> CellProcess:
        """A cell."""
        cell = CellProcess(self.here, *self.common, *options)
        self.addCleanup(cell.stop)
        return cell


class RunTests(CellCase):
    """What it does."""

    def test_applications(self) -> None:
        """Each kind of application answers; SIGTERM ends it in order."""
        self.begin()
        for options, answer in (
            (("--serve", "files"), b"a file"),
            (("--wsgi", "wsgi_of_a_test:app"), b"wsgi /x"),
            (("--asgi", "asgi_of_a_test:app"), b"asgi /x"),
            (("--proxy", f"https://localhost:{self.https}"), b"502 Bad Gateway"),
        ):
            cell = self.cell(*options)
            self.assertIn(answer, self.get(self.https))
            self.assertEqual(cell.stop(), -signal.SIGTERM)
            self.assertIn("Server Shut Down.", cell.log[-1])
            if "--asgi" in options:
                self.assertTrue(any("the application has ended" in line for line in cell.log))
            self.assertIn(b" 404 ", self.get(self.https))

    def test_hangup(self) -> None:
        """SIGHUP ends nothing."""
        self.begin()
        cell = self.cell("--serve", "files")
        cell.signal(signal.SIGHUP)
        cell.expect("there is nothing to read again: restart the cell")
        self.assertIn(b"a file", self.get(self.https))

    def test_queenComesBack(self) -> None:
        """A cell finds its queen again."""
        queen = self.begin()
        cell = self.cell("--serve", "files")
        queen.stop()
        cell.expect("no leash: ")
        self.begin()
        cell.expect("is mounted")
        self.assertIn(b"a file", self.get(self.https))

    def test_wrongKey(self) -> None:
        """A wrong key is said, with what to do."""
        self.begin()
        (self.here / "cell.key").write_text("another one")
        cell = ServiceProcess(self.here, *self.common, "--serve", "files", plugin="hypermail-cell")
        self.addCleanup(cell.stop)
        line = cell.expect("no leash").string
        self.assertIn("the queen refuses the cell: the key is wrong. Is this the key whose hash is connKey", line)

    def test_untrusted(self) -> None:
        """A queen who is not trusted, by pin and by name: said with the reason."""
        self.begin()
        for trust, reason in (
            (("--pin", "sha256/" + "A" * 43 + "="), "shows a key whose pin is " + self.identity.pin),
            (("--trust-roots", "other.pem"), "certificate verify failed"),
        ):
            (self.here / "other.pem").write_bytes(_other())
            options = (*self.common[:-2], *trust, "--serve", "files")
            cell = ServiceProcess(self.here, *options, plugin="hypermail-cell")
            self.addCleanup(cell.stop)
            cell.expect(reason.replace("+", r"\+"))


def _other() -> bytes:
    from hypermail.test.certificates import NOW, authority

    return authority(now=NOW).to_pem()


class WrongTests(CellCase):
    """What is wrong is said in one line that tells what would be right."""

    def refused(self, *arguments: str) -> str:
        """It ends; the exit code of wrong usage is Twisted's (26.4 has 0). @return: what it has said last."""
        done = program(self.here, *TWISTD, "-n", "--pidfile=", "hypermail-cell", *arguments)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return (done.stderr or done.stdout).strip().splitlines()[-1]

    def test_options(self) -> None:
        """Wrong options."""
        for arguments, said in (
            ((), "--queen HOST[:PORT] is needed"),
            (self.common, "one of --serve DIR, --proxy URL, --wsgi MODULE:NAME and --asgi MODULE:NAME is needed"),
            ((*self.common, "--wsgi", "none:app"), "--wsgi: none cannot be imported"),
            ((*self.common, "--serve", "nowhere"), "--serve: 'nowhere' is no directory"),
            ((*self.common, "--no-such-option"), "no-such-option"),
        ):
            self.assertIn(said, self.refused(*arguments))

    def test_start(self) -> None:
        """An application that does not begin."""
        said = self.refused(*self.common, "--asgi", "asgi_of_a_test:fails")
        self.assertIn("the application does not begin: no database", said)
