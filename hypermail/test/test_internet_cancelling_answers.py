"""
Asks, logins and kept sessions, cancelled at every point; what applications return, when the session ends at every
point; and applications that cancel in the middle of a callback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from hypermail.internet.cred import PortalSessionFactory
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.test.cancelling import DELAYED, LOSSY, CancellingCase
from hypermail.test.sessions import PORT, SERVER, Hosts, RecordingStream, logged
from hypermail.test.test_internet_cred import Realm
from hypermail.test.test_internet_shared import Streams


class Waiting(list[Deferred[Any]]):
    """Deferreds that an application has returned. @ivar cancelled: how many were cancelled."""

    cancelled = 0

    def one(self, *_: object) -> Deferred[Any]:
        """One more, which nobody fires."""
        self.append(Deferred(self._cancel))
        return self[-1]

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class CancellingAnswersTests(CancellingCase):
    """Cancelled, or lost, after 0, 1, 2 ... events."""

    def open(self, hosts: Hosts, answer: Callable[[bytes], Any]) -> None:
        """Open a session whose listener answers asks so."""
        hosts.open()
        hosts.listening.built[0].askReceived = answer  # type: ignore[method-assign, assignment]

    def test_ask(self) -> None:
        """C{ask}, answered at once, later and never, with and without a timeout."""
        answers: tuple[Callable[[Hosts, bytes], Any], ...] = (
            lambda hosts, message: message,
            lambda hosts, message: deferLater(hosts.server, 0.1, lambda: message),
        )
        for answer in answers:
            for size, timeout, conditions in ((10, None, DELAYED), (10, 20.0, LOSSY), (20_000, None, LOSSY)):

                def prepare(hosts: Hosts, answer: Any = answer) -> None:
                    self.open(hosts, lambda message: answer(hosts, message))

                def begin(hosts: Hosts, timeout: float | None = timeout, size: int = size) -> Deferred[Any]:
                    asking: Deferred[Any] = hosts.starting.built[0].session.ask(bytes(size), timeout=timeout)
                    return asking

                self.everywhere(prepare, begin, 2, conditions)

    def ends(self, begin: Callable[[Hosts, Waiting], object], least: int) -> None:
        """
        End a session at each point, in each way.

        @param begin: has an application return Deferreds that it waits for.
        @param least: how many of them there must be in the end.
        """
        for end in ("starting", "listening", "close"):
            events, done = 0, False
            while not done:
                hosts, waiting = Hosts(LOSSY, seed=2), Waiting()
                hosts.open()
                begin(hosts, waiting)
                for _ in range(events):
                    if not waiting or len(waiting) < least:
                        self.assertTrue(hosts.network.step())
                done = len(waiting) >= least
                if end == "close":
                    hosts.listening.built[0].session.close().addErrback(lambda _: None)
                else:
                    getattr(hosts, end).built[0].session.abort()
                hosts.settle(1)
                for protocol in (hosts.starting.built[0], hosts.listening.built[0]):
                    protocol.session.abort()
                hosts.settle(60)
                self.assertEqual(waiting.cancelled, len(waiting), (end, events))
                self.assertTrue(all(deferred.called for deferred in waiting))
                self._end(hosts, None)
                events += 1
            self.assertGreaterEqual(events, 3)

    def test_askReceived(self) -> None:
        """What C{askReceived} has returned is cancelled when the session ends, and the asks have failed."""
        asked: list[Deferred[Any]] = []

        def begin(hosts: Hosts, waiting: Waiting) -> None:
            hosts.listening.built[0].askReceived = waiting.one  # type: ignore[method-assign, assignment]
            for size in (1, 3_000, 2):
                asked.append(hosts.starting.built[0].session.ask(bytes(size)))

        self.ends(begin, 3)
        for deferred in asked:
            self.failureResultOf(deferred)

    def test_streamOpened(self) -> None:
        """... and what C{streamOpened} has."""

        def begin(hosts: Hosts, waiting: Waiting) -> None:
            hosts.listening.built[0].stream = waiting.one
            for _ in range(3):
                opening = hosts.starting.built[0].session.openStream(Factory.forProtocol(RecordingStream))
                opening.addErrback(lambda _: None)

        self.ends(begin, 3)

    def test_cancellerFails(self) -> None:
        """An application's canceller that raises keeps nobody else from being told of the end."""

        def fail(_: object) -> None:
            raise ValueError("no")

        lines = logged(self)
        hosts = Hosts(DELAYED)
        us, them = hosts.open()
        fine = Waiting()
        answers: list[Deferred[Any]] = [Deferred(fail), Deferred(fail)]
        them.askReceived = lambda message: answers.pop() if message else fine.one()  # type: ignore[method-assign]
        them.stream = lambda name, options: Deferred(fail) if name else fine.one()
        asked = [us.session.ask(message) for message in (b"", b"x", b"", b"x", b"")]
        opening = [
            us.session.openStream(Factory.forProtocol(RecordingStream), name) for name in (b"", b"x", b"", b"x", b"")
        ]
        hosts.settle(1)
        us.session.abort()
        hosts.settle(1)
        for deferred in (*asked, *opening):
            self.failureResultOf(deferred)
        self.assertEqual((len(fine), fine.cancelled), (6, 6))
        self.assertEqual((us.calls[-1], them.calls[-1]), ("sessionLost", "sessionLost"))
        self.assertEqual(len([line for line in lines if "the canceller of" in line]), 4)
        hosts.listening.decide = lambda request: Deferred(fail)
        asking = hosts.ask()
        hosts.settle(1)
        asking.cancel()
        hosts.settle(1)
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(len([line for line in lines if "the canceller of" in line]), 5)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 5)
        hosts.end()

    def test_cancelledByItsOwn(self) -> None:
        """C{openStream} and its endpoint's C{connect} that are cancelled by the very protocol that they connect."""
        for when in ("buildProtocol", "connectionMade"):
            for endpoint in (False, True):
                hosts = Hosts(DELAYED)
                opening: list[Deferred[Any]] = []

                class Own(RecordingStream):
                    def connectionMade(self, when: str = when, opening: list[Deferred[Any]] = opening) -> None:
                        super().connectionMade()
                        if when == "connectionMade":
                            opening[0].cancel()

                class Building(Factory):
                    noisy = False
                    built: list[Own] = []

                    def buildProtocol(
                        self, address: Any, when: str = when, opening: list[Deferred[Any]] = opening
                    ) -> Own:
                        if when == "buildProtocol":
                            opening[0].cancel()
                        self.built.append(Own())
                        return self.built[-1]

                factory = Building()
                serving = Streams()
                if endpoint:
                    server = HypermailServerEndpoint(hosts.server, PORT, **hosts.settings(interface=SERVER))
                    hosts.port = hosts.run(server.listen(serving))
                    client = HypermailClientEndpoint(hosts.client, SERVER, PORT, **hosts.settings())
                    opening.append(client.connect(factory))
                else:
                    us, them = hosts.open()
                    them.stream = lambda name, options, serving=serving: serving.buildProtocol(None)  # type: ignore[misc]
                    opening.append(us.session.openStream(factory))
                hosts.settle(1)
                self.failureResultOf(opening[0], CancelledError, ConnectingCancelledError)
                calls = ["connectionMade", "connectionLost"]
                self.assertEqual([p.calls for p in factory.built], [calls if when == "connectionMade" else []])
                self.assertEqual([p.calls for p in serving.built], [calls])
                if not endpoint:
                    self.assertEqual(us.calls, ["sessionOpened"])
                    us.session.abort()
                hosts.end()

    # Logins.

    def test_login(self) -> None:
        """C{connect} to a listener whose logins take a while: each is logged out, once."""
        realms: list[Realm] = []

        def prepare(hosts: Hosts) -> None:
            realm = Realm()
            realm.answer = lambda found: deferLater(hosts.server, 0.05, lambda: found)
            realms.append(realm)
            hosts.listening = PortalSessionFactory(Portal(realm, [AllowAnonymousAccess()]))  # type: ignore[assignment]
            hosts.listening.noisy = False
            hosts.listening.built = []
            hosts.listen()

        for conditions in (DELAYED, LOSSY):
            self.everywhere(prepare, lambda hosts: hosts.ask(), 4, conditions)
        self.assertGreater(sum(len(realm.logins) for realm in realms), 5)
        for realm in realms:
            self.assertEqual(realm.logouts, realm.logins)

    # Sessions that are kept.

    def kept(self, hosts: Hosts, wait: float) -> Deferred[Any]:
        """A stream over a session that was kept for so long after its first one; 1 s is the longest."""
        endpoint = HypermailClientEndpoint(hosts.client, SERVER, PORT, **hosts.settings(keep=1.0))
        first: Any = hosts.run(endpoint.connect(Factory.forProtocol(RecordingStream)))
        first.transport.loseConnection()
        hosts.run(first.lost)
        hosts.settle(wait)
        return endpoint.connect(Factory.forProtocol(RecordingStream))

    def test_kept(self) -> None:
        """C{connect} while a session is kept, about to be closed, and being closed."""

        def prepare(hosts: Hosts) -> None:
            endpoint = HypermailServerEndpoint(hosts.server, PORT, **hosts.settings(interface=SERVER))
            hosts.port = hosts.run(endpoint.listen(Streams()))

        for wait in (0.0, 0.5, 0.999, 1.0, 1.005, 1.015, 1.1):

            def begin(hosts: Hosts, wait: float = wait) -> Deferred[Any]:
                return self.kept(hosts, wait)

            self.everywhere(prepare, begin, 2, errors=(ConnectingCancelledError,))
