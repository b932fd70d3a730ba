"""
Tests for what is installed: the plugin, the public names, the metadata.

They use nothing but hypermail's own dependencies, because C{.ci/packaging} runs them in fresh environments.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import hypermail
from hypermail._version import __version__

ROOT = Path(hypermail.__file__).parents[1]


def python(code: str) -> str:
    """What another Python, which sees the hypermail that we see, prints."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.strip()


def checkout() -> Path:
    """Where the checkout is that these tests run in."""
    if not (ROOT / "setup.cfg").exists():
        raise SkipTest("an installed hypermail has no setup.cfg")
    return ROOT


class TypesTests(SynchronousTestCase):
    """What type checkers read."""

    def test_typed(self) -> None:
        """Type checkers may believe the annotations (PEP 561)."""
        self.assertTrue(Path(hypermail.__file__).with_name("py.typed").exists())


class PluginTests(SynchronousTestCase):
    """C{twisted/plugins/hypermail_plugin.py}."""

    def test_importsNothing(self) -> None:
        """Loading the plugin imports nothing of hypermail and installs no reactor."""
        found = python(
            "import sys, twisted.plugins.hypermail_plugin\n"
            "print([name for name in sys.modules if name.split('.')[0] == 'hypermail'],"
            " 'twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual("[] False", found)

    def test_service(self) -> None:
        """C{twistd hypermail} exists once, and its module has what a service needs."""
        (maker,) = [each for each in getPlugins(IServiceMaker) if each.tapname == "hypermail"]
        self.assertTrue(callable(maker.makeService))
        self.assertTrue(callable(maker.options))

    def test_parsers(self) -> None:
        """There is one parser for each side."""
        servers = [each.prefix for each in getPlugins(IStreamServerEndpointStringParser)]
        clients = [each.prefix for each in getPlugins(IStreamClientEndpointStringParserWithReactor)]
        self.assertEqual((1, 1), (servers.count("hypermail"), clients.count("hypermail")))

    def test_strings(self) -> None:
        """The endpoint strings of the documentation are understood; the server's makes itself an identity."""
        state = os.path.abspath(self.mktemp())
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": state})
        reactor = MemoryReactorClock()
        server = serverFromString(reactor, "hypermail:4700")
        self.assertEqual(["identity.pem"], os.listdir(os.path.join(state, "hypermail")))
        client = clientFromString(reactor, "hypermail:host=127.0.0.1:port=4700")
        self.assertTrue(IStreamServerEndpoint.providedBy(server))
        self.assertTrue(IStreamClientEndpoint.providedBy(client))

    def test_noInit(self) -> None:
        """We never bring an __init__.py that would overwrite Twisted's."""
        for path in ("twisted/__init__.py", "twisted/plugins/__init__.py"):
            self.assertFalse((checkout() / path).exists(), path)


class MetadataTests(SynchronousTestCase):
    """setup.cfg and what became of it."""

    def test_version(self) -> None:
        """The version is written in one place, and that is what was installed."""
        try:
            installed = version("hypermail")
        except PackageNotFoundError:
            raise SkipTest("hypermail is not installed") from None
        self.assertEqual(__version__, installed)

    def test_extras(self) -> None:
        """What was installed asks for nothing beyond setup.cfg's dependencies unless an extra is named."""
        try:
            needed = [line for line in requires("hypermail") or [] if "extra ==" not in line]
        except PackageNotFoundError:
            raise SkipTest("hypermail is not installed") from None
        names = sorted(line.lower().replace("_", "-").split(">")[0].split("[")[0].strip() for line in needed)
        self.assertEqual(
            ["attrs", "click", "cryptography", "h11", "pyopenssl", "service-identity", "twisted", "zope.interface"],
            names,
        )

    def test_floor(self) -> None:
        """C{tox -e floor} runs on exactly the oldest versions that setup.cfg allows."""
        config = configparser.ConfigParser()
        config.read(checkout() / "setup.cfg")
        extras = config["options.extras_require"]
        users = ("cli", "hive", "http2", "metrics")
        allowed = "".join((config["options"]["install_requires"], *(extras[name] for name in users)))
        floors = {}
        for line in allowed.strip().splitlines():
            name, _, floor = line.partition(">=")
            floors[name.split("[")[0].strip()] = floor.strip()
        pinned = {}
        for line in (checkout() / ".ci" / "floor.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, exact = line.partition("==")
                pinned[name] = exact
        self.assertEqual(sorted(floors), sorted(pinned))
        for name, floor in floors.items():
            numbers = pinned[name].split(".")
            while numbers[-1] == "0" and len(numbers) > floor.count(".") + 1:
                numbers.pop()
            self.assertEqual(floor, ".".join(numbers), name)
