"""
What the tests of secured sessions share: an authority and what it has issued, and hosts some way apart.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HypermailError
from hypermail.internet.credentials import writeIdentity
from hypermail.internet.security import Security
from hypermail.test import certificates
from hypermail.test.sessions import SERVER, Hosts, RecordingProtocol, identityOf
from hypermail.testing import Conditions

E = TypeVar("E", bound=HypermailError)

#: OpenSSL looks at no clock but the machine's.
NOW = datetime.now(UTC)
#: s, one way.
DELAY = 0.05
#: The listener's names, which the starter's resolver knows.
NAME = "listener.example"
FOREIGN_NAME, FOREIGN_NAME_IN_DNS = "bücher.example", "xn--bcher-kva.example"

AUTHORITY = certificates.authority(now=NOW)
SELF_MADE = identityOf(NAME)
ISSUED = certificates.issue(AUTHORITY, NAME, now=NOW)
STARTER = certificates.issue(AUTHORITY, "starter", now=NOW, client=True)
STRANGER = identityOf("stranger")


class SecuredTestCase(SynchronousTestCase):
    """
    Two hosts, secured as a test wants it.

    @ivar hosts: those of the last listener.
    """

    def listen(self, security: Security, **settings: Any) -> Hosts:
        """Begin to listen, on hosts of its own."""
        self.hosts = hosts = Hosts(Conditions(delay=DELAY))
        self.addCleanup(hosts.end)
        hosts.client.nameResolver.names.update({NAME: [SERVER], FOREIGN_NAME: [SERVER]})
        hosts.listen(security=security, **settings)
        return hosts

    def opened(
        self, listening: Security, starting: Security, host: str = NAME
    ) -> tuple[RecordingProtocol, RecordingProtocol]:
        """
        Open a session, and see that it carries something.

        @return: the starter's protocol and the listener's.
        """
        hosts = self.listen(listening)
        ours: Any = hosts.run(hosts.ask(host, security=starting))
        theirs = hosts.listening.built[-1]
        hosts.run(ours.session.sendMessage(b"there"))
        hosts.run(theirs.session.sendMessage(b"and back"))
        self.assertEqual((theirs.messages, ours.messages), ([b"there"], [b"and back"]))
        return ours, theirs

    def failed(
        self, kind: type[E], listening: Security, starting: Security, *texts: str, host: str = NAME, roundTrips: int = 2
    ) -> E:
        """
        Ask for a session, and see that it fails within so many round trips, and that nothing reaches an application.

        @param texts: what the error's text says, among other things.
        """
        hosts = self.listen(listening)
        asking = hosts.ask(host, security=starting)
        hosts.settle(roundTrips * 2 * DELAY + 0.01)
        error: E = self.failureResultOf(asking, kind).value
        self.assertIs(type(error), kind)
        for text in texts:
            self.assertIn(text, error.text)
        (protocol,) = hosts.starting.built
        self.assertEqual(protocol.calls, ["sessionLost"])
        hosts.settle()
        self.assertEqual((hosts.listening.built, hosts.listening.requests), ([], []))
        return error


class FilesTestCase(SynchronousTestCase):
    """
    Files of everything that endpoints may be told.

    @ivar state: the user's state directory, which isn't there yet.
    """

    def setUp(self) -> None:
        self.directory = Path(os.path.abspath(self.mktemp()))
        self.directory.mkdir()
        self.state = self.directory / "state" / "hypermail"
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": str(self.state.parent)})
        self.identity = str(self.directory / "identity.pem")
        writeIdentity(STARTER, self.identity)
        self.roots = self.write("roots.pem", AUTHORITY.to_pem())
        self.pins = self.write("pins", f"{STARTER.pin}  # the starter\n".encode())
        self.secret = self.write("secret", b"s" * 40)
        os.chmod(self.secret, 0o600)

    def write(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)
