"""
Tests that what C{docs/guide/queen.rst} has people write does what it says.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from configparser import RawConfigParser
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hypermail.hive.certificates import Certificates
from hypermail.hive.directives import parse_directives
from hypermail.hive.queen import GRACE
from hypermail.hive.tap import QueenCommand
from hypermail.internet.credentials import writeIdentity
from hypermail.security.identity import Identity
from hypermail.test.certificates import authority, issue, pem
from hypermail.test.services import environment
from hypermail.test.test_hive_certificates import Client
from hypermail.test.test_hive_programs import free_ports
from hypermail.test.test_testing_docs import GUIDE

HASH = "$argon2id$v=19$m=19456,t=2,p=1$FUc9cB12CLTiRJnWFqo45w$k+9fq1vZY8tHj6rKTM1/T0Hr/WucwfSs/HvFno0AuhA"


class QueenGuideTests(SynchronousTestCase):
    """The files of the page."""

    def setUp(self) -> None:
        page = GUIDE.with_name("queen.rst")
        if not page.exists():
            raise SkipTest("the documentation is not installed")
        self.text = page.read_text("utf-8")
        self.state = Path(self.mktemp()).resolve()
        (self.state / "certificates").mkdir(parents=True)

    def block(self, beginning: str) -> str:
        """The one that begins so."""
        found = re.search(rf"^    {re.escape(beginning)}.*\n(?:    .*\n|\n)*", self.text, re.MULTILINE)
        assert found is not None, beginning
        return textwrap.dedent(found[0])

    def test_configuration(self) -> None:
        """The configuration is one, with another hash, and so is the command line of the service."""
        text = self.block("certPath").replace("$argon2id$...", HASH)
        said = parse_directives(text)
        self.assertEqual((said.port_https, said.port_hlhv, said.port_http, said.key_hash), (443, 2001, 80, HASH))
        unit = RawConfigParser()
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(self.block("[Unit]"))
        service = unit["Service"]
        self.assertGreater(int(service["TimeoutStopSec"]), GRACE + 10)
        arguments = service["ExecStart"].split(" hypermail-queen ")[1].split()
        self.assertEqual(arguments, ["--conf-path", "/etc/hlhv/hlhv.conf"])
        path = self.state / "hlhv.conf"
        path.write_text(text)
        QueenCommand().parseOptions([arguments[0], str(path)])

    def test_try(self) -> None:
        """What is to be typed on one machine brings a file through a queen and a cell."""
        script = self.block("hypermail identity --new --name localhost")
        https, status, cells = free_ports(3)
        script = script.replace("8443", str(https)).replace("8444", str(status))
        script = script.replace("bind 127", f"portHlhv {cells}\\nbind 127")
        script = script.replace("--queen localhost", f"--queen localhost:{cells}")
        address = f"https://localhost:{https}/queen.conf"
        wait = f"until curl -sf --cacert queen.pem {address} >/dev/null; do sleep 0.1; done"
        script = script.replace("sleep 2\n", "", 1).replace("sleep 2", wait)
        scripts = os.path.dirname(sys.executable)
        if not os.path.exists(os.path.join(scripts, "hypermail")) or which("curl") is None:
            raise SkipTest("there is no hypermail command, or no curl")
        variables = environment()
        variables["PATH"] = os.pathsep.join((scripts, variables["PATH"]))
        with open(self.state / "output", "w+") as output:
            shell = subprocess.Popen(
                ["sh", "-e", "-c", script],
                cwd=self.state,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = shell.wait(60)
            finally:
                os.killpg(shell.pid, signal.SIGKILL)
            output.seek(0)
            said = output.read()
        self.assertEqual(code, 0, said)
        self.assertIn(f"\nportHttps {https}\n", said)
        self.assertIn("connKey $argon2id$", said)

    def test_hook(self) -> None:
        """The hook leaves what a queen shows, again and again, and the own certificate is shown to others."""
        script = self.block("#!/bin/sh").replace("/var/lib/hypermail-queen", str(self.state))
        script = re.sub(r"^chown .*\n", "", script, flags=re.MULTILINE)  # there is no such user here
        lineage = self.state / "live" / "www.example.org"
        lineage.mkdir(parents=True)
        own = Identity.self_signed("queen.example.org", now=datetime.now(UTC))
        writeIdentity(own, self.state / "queen.pem")
        root = authority(now=datetime.now(UTC))
        made: Certificates | None = None
        for _ in range(2):
            identity = issue(root, "www.example.org", now=datetime.now(UTC))
            (lineage / "privkey.pem").write_bytes(pem(identity.key))
            (lineage / "fullchain.pem").write_bytes(pem(identity.certificate, root.certificate))
            environment = {**os.environ, "RENEWED_LINEAGE": str(lineage)}
            subprocess.run(["sh", "-c", script], env=environment, check=True, timeout=60)
            if made is None:
                paths = [str(self.state / name) for name in ("queen.pem", "queen.pem", "certificates")]
                made = Certificates(Clock(), *paths, now=lambda: datetime.now(UTC))
                made.load()
            else:
                made.reload()
            for host, shown in (("www.example.org", identity), ("queen.example.org", own)):
                self.assertEqual(Client(made.contextFactory(), host).pin, shown.pin)
        self.assertEqual(os.listdir(self.state / "certificates"), ["www.example.org.pem"])
