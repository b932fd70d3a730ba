"""
Tests of the package's public names, and of what importing it costs.
"""

from __future__ import annotations

import inspect
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import hypermail
from hypermail import errors, hive

#: Every public name. Adding one is a promise (docs/stability.rst), taking one away breaks it.
PUBLIC = [
    "Batch",
    "CertificateCredentials",
    "CredentialError",
    "Delivered",
    "Delivery",
    "Dialect",
    "DialectDatagramProtocol",
    "Digest",
    "DigestPayload",
    "HandshakeFailed",
    "HandshakeRefused",
    "HypermailAddress",
    "HypermailClientEndpoint",
    "HypermailDatagramProtocol",
    "HypermailError",
    "HypermailServerEndpoint",
    "ICertificateCredentials",
    "Identity",
    "IllegalTransition",
    "KeysSpent",
    "LimitExceeded",
    "ListenerOptions",
    "ListenerTLS",
    "MalformedPacket",
    "Message",
    "MessageCancelled",
    "MessageDropped",
    "MessageError",
    "MessageExpired",
    "MessageRejected",
    "MessageTooLarge",
    "MessageUndelivered",
    "NamedStreams",
    "NotSupported",
    "Options",
    "PeerSilent",
    "PeerUntrusted",
    "PinChecker",
    "Plain",
    "PortalSessionFactory",
    "ProtocolViolation",
    "Reason",
    "RemoteAddressRefused",
    "SentMessage",
    "SessionAborted",
    "SessionClientEndpoint",
    "SessionClosed",
    "SessionFactory",
    "SessionKilled",
    "SessionLost",
    "SessionProtocol",
    "SessionRejected",
    "SessionRequested",
    "SessionReset",
    "SessionServerEndpoint",
    "SessionTimedOut",
    "SharedSecret",
    "StarterTLS",
    "StoreFailed",
    "StreamAborted",
    "StreamCleared",
    "StreamError",
    "StreamForgotten",
    "StreamOptions",
    "StreamRejected",
    "Unreachable",
    "UsageError",
    "VersionMismatch",
    "Way",
    "identityIn",
    "openStore",
    "pin_of",
    "readHiveKey",
    "readIdentity",
    "readPins",
    "readSecret",
    "readTrustRoots",
    "stateDirectory",
    "writeIdentity",
]


def errorNames() -> set[str]:
    """The names of everything that L{hypermail.errors} defines."""
    return {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }


class NameTests(SynchronousTestCase):
    """
    L{hypermail}
    """

    def test_pinned(self) -> None:
        """These are the public names, and no others."""
        self.assertEqual(PUBLIC, sorted(hypermail.__all__))

    def test_errors(self) -> None:
        """Every error is among them, so that it can be caught by its name in C{hypermail}."""
        self.assertLessEqual(errorNames(), set(PUBLIC))

    def test_documented(self) -> None:
        """Each has a docstring."""
        for name in hypermail.__all__:
            self.assertTrue(getattr(hypermail, name).__doc__, name)

    def test_loaded(self) -> None:
        """Each can be had, is what its own module has under that name, and is listed."""
        for name in hypermail.__all__:
            value = getattr(hypermail, name)
            self.assertEqual(value.__name__, name)
            self.assertIs(getattr(sys.modules[value.__module__], name), value)
            self.assertIn(name, dir(hypermail))

    def test_hive(self) -> None:
        """So it is with C{hypermail.hive}."""
        self.assertEqual(
            sorted(hive.__all__),
            [
                "AsgiApplication",
                "Cell",
                "CellApplication",
                "Directives",
                "Exchange",
                "FilesApplication",
                "LeashLost",
                "MountRejected",
                "ProxyApplication",
                "Queen",
                "QueenService",
                "ResourceApplication",
                "WsgiApplication",
            ],
        )
        for name in hive.__all__:
            value = getattr(hive, name)
            self.assertTrue(value.__doc__, name)
            self.assertIs(getattr(sys.modules[value.__module__], name), value)
            self.assertIn(name, dir(hive))

    def test_unknown(self) -> None:
        """What is not there is not there."""
        self.assertRaises(AttributeError, getattr, hypermail, "NoSuchName")

    def test_star(self) -> None:
        """C{from hypermail import *} brings all of them."""
        found: dict[str, object] = {}
        exec("from hypermail import *", found)
        self.assertLessEqual(set(hypermail.__all__), set(found))

    def modulesAfter(self, statement: str) -> set[str]:
        """What is loaded in a fresh process after a statement."""
        program = f"{statement}\nimport sys; print(*sys.modules)"
        return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())

    def test_coreIsCheap(self) -> None:
        """Neither the package nor the core loads Twisted."""
        for statement in ("import hypermail", "from hypermail import Options, SessionLost", "import hypermail.demux"):
            loaded = self.modulesAfter(statement)
            self.assertEqual([name for name in loaded if name.split(".")[0] == "twisted"], [], statement)

    def test_noReactor(self) -> None:
        """None of the names loads a reactor."""
        self.assertNotIn("twisted.internet.reactor", self.modulesAfter("from hypermail import *"))
