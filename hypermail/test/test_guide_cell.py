"""
Tests that what C{docs/guide/cell.rst} shows works as it stands there.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hypermail.hive.cell.queens import Queen
from hypermail.hive.cell.tap import Options
from hypermail.hive.installation import HLHV
from hypermail.test.certificates import NOW, authority
from hypermail.test.queens import KEY, QueenCase
from hypermail.test.sessions import identityOf
from hypermail.test.test_testing_docs import GUIDE, blocks


def page() -> str:
    """The page."""
    path = GUIDE.with_name("cell.rst")
    if not path.exists():
        raise SkipTest("the documentation is not installed")
    return path.read_text("utf-8")


def prepare(here: Path) -> None:
    """What the page's examples need is in a directory."""
    key = here / "cells.key"
    key.touch(mode=0o600)
    key.write_text(KEY)
    (here / "authority.pem").write_bytes(authority(now=NOW).to_pem())
    for name in ("shop", "chat"):
        (here / f"{name}.py").write_text("def app(*arguments): ...\n")


class CommandTests(SynchronousTestCase):
    """The commands."""

    def test_commands(self) -> None:
        """All of them are right."""
        text = page()
        here = Path(self.mktemp()).absolute()
        here.mkdir()
        prepare(here)
        self.addCleanup(os.chdir, os.getcwd())
        self.addCleanup(setattr, sys, "path", list(sys.path))
        os.chdir(here)
        pin = identityOf("queen.example.org").pin
        commands = re.findall(r"^    twistd -n hypermail-cell ((?:.*\\\n)*.*)$", text, re.MULTILINE)
        self.assertEqual(len(commands), 7)
        for command in commands:
            options = Options()
            options.parseOptions(
                shlex.split(command.replace("PIN", pin).replace("/srv/files", ".").replace("\\\n", " "))
            )
            self.assertIn("queen.example.org", options["from"].name)


class PythonTests(QueenCase):
    """The programs."""

    async def test_programs(self) -> None:
        """They answer."""
        text = page()
        prepare(self.here)
        self.begin()
        before = os.getcwd()
        os.chdir(self.here)
        names: dict[str, Any] = {"__name__": "guide"}
        try:
            for block in blocks(text):
                exec(compile(block, "cell.rst", "exec"), names)
        finally:
            os.chdir(before)
        for name in ("cell", "counting"):
            cell = names[name]
            self.assertEqual(cell._queen.name, "queen.example.org:2001")
            cell._queen = Queen.overTLS("localhost", self.installation.ports.number(HLHV), pins=[self.identity.pin])
            cell.startService()
            self.addCleanup(cell.stopService)
            await cell.whenReady()
        self.assertTrue((await self.get("/x")).endswith(b"hello 127.0.0.1"))
        client = await self.connect()
        self.say(client, "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
        self.assertIn(b" 200 ", await client.until(b"5 bytes\n"))
