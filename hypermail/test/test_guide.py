"""
Tests that the examples of C{docs/guide/session.rst} and C{docs/guide/endpoints.rst} run as they stand there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.internet import error
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hypermail import (
    Reason,
    SessionClientEndpoint,
    SessionFactory,
    SessionRejected,
    SessionServerEndpoint,
    StarterTLS,
)
from hypermail.internet.credentials import readIdentity
from hypermail.internet.security import ListenerTLS
from hypermail.test.securing import STARTER, STRANGER
from hypermail.test.sessions import RecordingFactory, RecordingProtocol, RecordingStream
from hypermail.test.test_testing_docs import GUIDE, blocks
from hypermail.testing import Conditions, SimulatedNetwork


class GuideTestCase(SynchronousTestCase):
    """
    The code blocks of one page of the guide, in one namespace; its C{reactor} is a simulated one.
    """

    def setUp(self) -> None:
        self.state = os.path.abspath(self.mktemp())
        self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": self.state})
        self.network = SimulatedNetwork(0, Conditions(delay=0.01))
        self.reactor = self.network.reactor("127.0.0.1")
        self.printed = StringIO()
        self.names: dict[str, Any] = {"__name__": "guide", "reactor": self.reactor}

    def blocks(self, page: str) -> Iterator[str]:
        """Run a page's blocks; each is given when it has run, and time has passed."""
        path = GUIDE.with_name(page)
        if not path.exists():
            raise SkipTest("the documentation is not installed")
        for block in blocks(path.read_text("utf-8")):
            with redirect_stdout(self.printed):
                exec(compile(block, str(path), "exec"), self.names)
                self.network.advance(1)
            yield block

    def connect(self, port: int, identity: Any, pin: str) -> Any:
        """A Deferred of a session with one of the page's listeners."""
        security = StarterTLS(pin=pin, identity=identity)
        return SessionClientEndpoint(self.reactor, "127.0.0.1", port, security=security).connect(RecordingFactory())


class SessionTests(GuideTestCase):
    """C{session.rst}"""

    def test_blocks(self) -> None:
        """Both Greeters are told of their session; what one says comes back. The Adder adds."""
        self.assertEqual(len(list(self.blocks("session.rst"))), 3)
        with_listener, with_starter = sorted(self.printed.getvalue().splitlines()[:2], key=len)
        self.assertEqual(with_listener, "with 127.0.0.1:4700")
        self.assertRegex(with_starter, r"^with 127\.0\.0\.1:\d{5}$")
        with redirect_stdout(self.printed):
            protocol = self.network.run_until(self.connect(4700, None, self.names["pin"]))
            self.network.run_until(protocol.session.sendMessage(b"hello"))
            self.network.advance(1)
        self.assertEqual(protocol.messages[:1], [b"you said hello"])
        self.assertEqual(self.printed.getvalue().splitlines()[2:4], ["sum: b'108'", "refused: numbers, please"])


class Streams(Factory):
    """
    Keeps the streams that it makes.
    """

    noisy = False

    def __init__(self) -> None:
        self.built: list[RecordingStream] = []

    def buildProtocol(self, addr: object) -> RecordingStream:
        self.built.append(RecordingStream())
        return self.built[-1]


class EndpointsTests(GuideTestCase):
    """C{endpoints.rst}"""

    def test_blocks(self) -> None:
        """The pages' listeners listen, and take whom they say."""
        serving, asking = Streams(), Streams()
        self.network.run_until(serverFromString(self.reactor, "hypermail:4700").listen(serving))
        identity = readIdentity(os.path.join(self.state, "hypermail", "identity.pem"))
        self.names |= {"factory": asking, "serving": serving, "pin": identity.pin, "members": {STARTER.pin}}
        running = self.blocks("endpoints.rst")
        self.assertIn("clientFromString", next(running))
        self.assertEqual([stream.calls for stream in asking.built], [["connectionMade"]])
        self.assertIn("identityIn", next(running))
        self.assertEqual([stream.calls for stream in asking.built], [["connectionMade"]] * 2)
        self.assertIn(identity.pin, self.printed.getvalue())
        self.assertIn("Club", next(running))
        self.club(self.names["Club"].forProtocol(RecordingProtocol), identity)
        self.assertIn("Portal", next(running))
        self.member(identity)
        before = len(serving.built)
        self.assertIn("NamedStreams", next(running))
        self.assertEqual(len(serving.built), before + 1)
        found = self.failureResultOf(self.names["early"], error.ConnectionRefusedError).value
        self.assertIn("no stream is called b'web' here", str(found))
        self.assertEqual(list(running), [])

    def club(self, factory: SessionFactory, identity: Any) -> None:
        """Only members are let in."""
        listening = SessionServerEndpoint(self.reactor, 4703, security=ListenerTLS(identity))
        factory.noisy = False
        self.network.run_until(listening.listen(factory))
        self.network.run_until(self.connect(4703, STARTER, identity.pin))
        for other in (STRANGER, None):
            asking = self.connect(4703, other, identity.pin)
            self.network.advance(1)
            self.assertEqual(self.failureResultOf(asking, SessionRejected).value.code, Reason.NOT_ALLOWED)

    def member(self, identity: Any) -> None:
        """Alice has this very identity; nobody else is known."""
        alice = self.network.run_until(self.connect(4702, identity, identity.pin))
        self.network.run_until(alice.session.sendMessage(b"is anybody there?"))
        self.network.advance(1)
        self.assertEqual(alice.messages, [b"hello, alice"])
        stranger = self.connect(4702, STRANGER, identity.pin)
        self.network.advance(1)
        self.failureResultOf(stranger, SessionRejected)
        with redirect_stdout(self.printed):
            self.network.run_until(alice.session.close())
            self.network.advance(1)
        self.assertTrue(self.printed.getvalue().endswith("b'alice' has left\n"))
