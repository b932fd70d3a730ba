"""
Tests for L{hypermail.hive.cell.tap}.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import UsageError as WrongUsage
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.hive.cell.asgi import AsgiApplication
from hypermail.hive.cell.files import FilesApplication
from hypermail.hive.cell.proxy import ProxyApplication
from hypermail.hive.cell.tap import Options, load, makeService, parse_hypermail, parse_queen
from hypermail.hive.cell.wsgi import WsgiApplication
from hypermail.hive.mounts import Pattern
from hypermail.test.certificates import NOW, authority
from hypermail.test.sessions import identityOf

PIN = identityOf("queen.example").pin
OTHER = identityOf("other.example").pin


class OptionsTests(SynchronousTestCase):
    """The options of C{twistd hypermail-cell}."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()
        self.key = self.here / "cell.key"
        self.key.touch(mode=0o600)
        self.key.write_text("secret\n")
        self.roots = self.here / "roots.pem"
        self.roots.write_bytes(authority(now=NOW).to_pem())
        name = f"application_{self.id().rpartition('.')[2]}"
        (self.here / f"{name}.py").write_text("class app:\n    run = print\nnothing = None\n")
        (self.here / "broken_application.py").write_text("1 / 0\n")
        self.module = name
        self.addCleanup(os.chdir, os.getcwd())
        self.addCleanup(setattr, sys, "path", list(sys.path))
        os.chdir(self.here)

    def parse(self, *arguments: str, queen: str = "queen.example.org", mount: str = "@/") -> Options:
        """Parse options, besides what is needed."""
        options = Options()
        options.parseOptions(["--queen", queen, "--key-file", "cell.key", "--mount", mount, *arguments])
        return options

    def test_queens(self) -> None:
        """Where queens may be, and how they may be trusted."""
        for queen, arguments, name in (
            ("queen.example.org", (), "queen.example.org:2001"),
            ("queen.example.org:2002", ("--pin", PIN), "queen.example.org:2002"),
            ("[::1]", ("--trust-roots", "roots.pem"), "[::1]:2001"),
            ("hypermail:host=queen.example.org:port=4700", ("--pin", PIN), "hypermail:queen.example.org:4700"),
            ("hypermail:host=h:port=1", ("--trust-roots", "roots.pem"), "hypermail:h:1"),
            ("hypermail:host=h:port=1", (), "hypermail:h:1"),
        ):
            self.assertEqual(self.parse("--serve", ".", *arguments, queen=queen)["from"].name, name)

    def test_parse(self) -> None:
        """How that is written."""
        self.assertEqual(parse_queen("[::1]:5"), ("::1", 5))
        self.assertEqual(parse_hypermail(r"hypermail:port=5:host=\:\:1"), ("::1", 5))
        for text in (
            "hypermail:",
            "hypermail:h:5",
            "hypermail:host=h",
            "hypermail:host=h:port=5:x=y",
            "hypermail:host=h:port=5:port=6",
        ):
            self.assertIn(
                "write hypermail:host=HOST:port=PORT", self.assertRaises(UsageError, parse_hypermail, text).text
            )

    def test_applications(self) -> None:
        """What may answer."""
        app = f"{self.module}:app.run"
        for arguments, kind in (
            (("--serve", "."), FilesApplication),
            (("--serve", ".", "--listing"), FilesApplication),
            (("--proxy", "http://127.0.0.1:8000"), ProxyApplication),
            (("--wsgi", app, "--max-body", "1G", "--threads", "3"), WsgiApplication),
            (("--asgi", app), AsgiApplication),
        ):
            options = self.parse(*arguments, mount="example.org/app/")
            self.assertIsInstance(options["application"], kind)
            self.assertEqual((options["key"], options["patterns"]), ("secret", [Pattern("example.org", "/app/")]))
            self.assertTrue(IService.providedBy(makeService(options)))
        options = self.parse("--wsgi", app, "--max-body", "2k", "--threads", "3", "--drain", "0.5", "-m", "@/b/")
        self.assertEqual((options["application"]._most, options["application"].threads), (2048, 3))
        service: Any = makeService(options)
        cell, _ = service
        self.assertEqual((cell._drain, len(cell.patterns)), (0.5, 2))

    def test_wrong(self) -> None:
        """What makes no sense is wrong usage, with the option's name and what would be right."""
        app = f"{self.module}:app"
        for arguments, reason in (
            ((), "one of --serve DIR, --proxy URL, --wsgi MODULE:NAME and --asgi MODULE:NAME is needed"),
            (("--serve", ".", "--proxy", "http://x"), "--serve and --proxy: give one of "),
            (("--serve", "none"), "--serve: 'none' is no directory"),
            (("--proxy", "127.0.0.1:8000"), "--proxy: '127.0.0.1:8000' is no web server: write http://HOST:PORT"),
            (("--wsgi", "app"), "--wsgi: 'app' is not MODULE:NAME, as app:app"),
            (("--wsgi", "no_such_module:app"), "--wsgi: no_such_module cannot be imported: ModuleNotFoundError"),
            (("--wsgi", "broken_application:app"), "--wsgi: broken_application cannot be imported: ZeroDivisionError"),
            (("--wsgi", f"{self.module}:none"), "--wsgi: there is no none in"),
            (("--asgi", f"{self.module}:nothing"), "is no application: it cannot be called"),
            (("--wsgi", app, "--max-body", "many"), "--max-body: 'many' is no number of bytes"),
            (("--wsgi", app, "--threads", "0"), "--threads: '0' is no number from 1 to 9999"),
            (("--asgi", app, "--threads", "2"), "--threads is for --wsgi, --asgi has no use for it"),
            (("--wsgi", app, "--listing"), "--listing is for --serve"),
            (("--serve", ".", "--drain", "-1"), "--drain: '-1' is no number of seconds"),
            (("--serve", ".", "--drain", "inf"), "--drain: 'inf' is no number of seconds"),
            (("--serve", ".", "--drain", "soon"), "--drain: 'soon' is no number of seconds"),
            (("--serve", ".", "--pin", "sha256/x"), "--pin: "),
            (("--serve", ".", "--pin", PIN, "--trust-roots", "roots.pem"), "--pin is trusted in place of"),
            (("--serve", ".", "--trust-roots", "none.pem"), "--trust-roots: "),
            (("--serve", ".", "--queen", "h:99999"), "--queen: '99999' is not a port"),
            (("--serve", ".", "--queen", "hypermail:h"), "--queen: 'hypermail:h' is no queen"),
            (("--serve", ".", "--queen", ""), "--queen HOST[:PORT] is needed"),
            (("--serve", ".", "--key-file", "none.key"), "--key-file: "),
            (("--serve", ".", "--mount", "example.org/../x"), "--mount: '/../x' is no path to mount on"),
        ):
            error = self.assertRaises(WrongUsage, self.parse, *arguments)
            self.assertIn(reason, str(error))
            self.assertNotIn("\n", str(error))

    def test_missing(self) -> None:
        """What is needed is named."""
        for arguments, reason in (
            ((), "--queen HOST[:PORT] is needed"),
            (("--queen", "h"), "--key-file FILE is needed"),
            (("--queen", "h", "--key-file", "cell.key"), "--mount HOST/PATH is needed"),
        ):
            self.assertIn(reason, str(self.assertRaises(WrongUsage, Options().parseOptions, list(arguments))))

    def test_pins(self) -> None:
        """With TLS there may be several pins; over hypermail there is one."""
        (self.here / "pins").write_text(f"{PIN}\n{OTHER}\n")
        self.parse("--serve", ".", "--pin", "pins")
        error = self.assertRaises(
            WrongUsage, self.parse, "--serve", ".", "--pin", "pins", queen="hypermail:host=h:port=1"
        )
        self.assertIn("--pin names several", str(error))

    def test_extra(self) -> None:
        """What has to be installed is named."""
        import hypermail.hive.cell.tap as tap

        self.patch(tap, "find_spec", lambda name: None)
        error = self.assertRaises(WrongUsage, self.parse, "--asgi", f"{self.module}:app")
        self.assertIn("--asgi: this needs wsproto: pip install 'hypermail[hive]'", str(error))

    def test_load(self) -> None:
        """Names with dots."""
        self.assertIs(load("os.path:join"), os.path.join)
