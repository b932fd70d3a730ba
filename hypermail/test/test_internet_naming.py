"""
Tests of L{hypermail.internet.naming}: streams by their names, also those that come early.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import Reason, StreamCleared, StreamRejected, UsageError
from hypermail.internet.address import HypermailAddress
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint, SessionServerEndpoint
from hypermail.internet.naming import NamedStreams
from hypermail.options import Options
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingStream
from hypermail.test.test_internet_shared import Streams
from hypermail.testing import Conditions


class NamedTests(SynchronousTestCase):
    """
    L{NamedStreams} of a listener
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.asking = Streams()
        self.addCleanup(self.hosts.end)

    def listen(self, names: NamedStreams, **settings: Any) -> Any:
        """Listen, and ask for a session."""
        endpoint = SessionServerEndpoint(self.hosts.server, PORT, **self.hosts.settings(interface=SERVER, **settings))
        self.hosts.port = self.hosts.run(endpoint.listen(names))
        return self.hosts.run(self.hosts.ask()).session

    def open(self, session: Any, name: bytes) -> Deferred[Any]:
        opening: Deferred[Any] = session.openStream(self.asking, name)
        self.hosts.settle(0.5)
        return opening

    def assertUnknown(self, opening: Deferred[Any], text: str) -> None:
        error = self.failureResultOf(opening, StreamRejected).value
        self.assertEqual(error.code, Reason.STREAM_NAME_UNKNOWN)
        self.assertIn(text, error.text)

    def test_names(self) -> None:
        """Each name has its factory, which is told the peer's address; one that nobody serves is rejected by name."""
        first, second = Streams(), Streams()
        session = self.listen(NamedStreams({b"first": first, b"": second}))
        ours = self.successResultOf(self.open(session, b"first"))
        self.successResultOf(self.open(session, b""))
        self.assertEqual((len(first.built), len(second.built)), (1, 1))
        ours.transport.write(b"hello")
        self.hosts.settle()
        self.assertEqual(first.built[0].data, b"hello")
        self.assertUnknown(self.open(session, b"third"), "no stream is called b'third' here")
        self.assertEqual(first.calls, ["start"])

    def test_noName(self) -> None:
        """Where only names are served a stream without one is told so."""
        session = self.listen(NamedStreams({b"first": Streams()}))
        self.assertUnknown(self.open(session, b""), "need a name")

    def test_twice(self) -> None:
        """A name has one factory."""
        names = NamedStreams({b"name": Streams()})
        self.assertRaises(UsageError, names.serve, b"name", Streams())

    def test_early(self) -> None:
        """Streams that come early wait for their factory, with what was written; in order, those of other names not."""
        names = NamedStreams(ready=False)
        session = self.listen(names)
        opening = [self.open(session, b"late") for _ in range(3)]
        other = self.open(session, b"later")
        for deferred in [*opening, other]:
            self.assertNoResult(deferred)
        streams = Streams()
        names.serve(b"late", streams)
        self.assertEqual((streams.calls, len(streams.built)), (["start"], 3))
        self.hosts.settle()
        for number, deferred in enumerate(opening):
            self.successResultOf(deferred).transport.write(b"%d" % number)
        self.hosts.settle()
        self.assertEqual([built.data for built in streams.built], [b"0", b"1", b"2"])
        self.assertNoResult(other)
        self.successResultOf(self.open(session, b"late"))
        names.ready()
        self.hosts.settle()
        self.assertUnknown(other, "b'later'")
        self.assertUnknown(self.open(session, b"later"), "b'later'")
        names.serve(b"later", streams)
        self.successResultOf(self.open(session, b"later"))

    def test_earlyIsLimited(self) -> None:
        """A peer can't have more streams wait than it may have open; further ones wait on its own side."""
        names = NamedStreams(ready=False)
        session = self.listen(names, options=Options(max_streams=4))
        opening = [self.open(session, b"late") for _ in range(9)]
        self.assertEqual(len(names._waiting[b"late"]), 4)
        names.serve(b"late", Streams())
        self.hosts.settle()
        for deferred in opening:
            if deferred.called:
                self.successResultOf(deferred).transport.loseConnection()
        self.hosts.settle()
        self.assertEqual([deferred.called for deferred in opening], [True] * 8 + [False])
        opening[8].addErrback(lambda _: None)

    def test_earlyAndGone(self) -> None:
        """One that its opener gives up does not wait any more, nor one whose session is over; nothing is logged."""
        names = NamedStreams(ready=False)
        session = self.listen(names)
        opening = [self.open(session, name) for name in (b"a", b"a", b"b")]
        opening[0].cancel()
        self.hosts.settle()
        self.failureResultOf(opening[0], CancelledError)
        self.assertEqual({name: len(waiting) for name, waiting in names._waiting.items()}, {b"a": 1, b"b": 1})
        session.abort()
        self.hosts.settle()
        self.assertEqual(names._waiting, {})
        for deferred in opening[1:]:
            self.failureResultOf(deferred)
        names.serve(b"a", Streams())
        names.ready()

    def test_earlyAndUnwanted(self) -> None:
        """A factory that builds nothing rejects those that wait; one that fails, too, and that is logged."""
        names = NamedStreams(ready=False)
        session = self.listen(names)
        opening = [self.open(session, name) for name in (b"none", b"fails", b"fails")]
        none, fails = Streams(), Streams()
        none.make = lambda: None
        fails.make = lambda: 1 / 0
        names.serve(b"none", none)
        names.serve(b"fails", fails)
        self.hosts.settle()
        for deferred in opening:
            error = self.failureResultOf(deferred, StreamRejected).value
            self.assertEqual(error.code, Reason.STREAM_REJECTED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_cancelledMeanwhile(self) -> None:
        """While those that wait are answered, one may have another given up."""
        for ready in (False, True):
            names, streams = NamedStreams(ready=False), Streams()
            first, second, third = (names.opened(b"a", HypermailAddress(CLIENT, 1)) for _ in range(3))
            assert isinstance(first, Deferred) and isinstance(second, Deferred) and isinstance(third, Deferred)
            results: list[object] = []
            first.addBoth(results.append)

            def told(_: object, second: Deferred[Any] = second) -> None:
                second.cancel()

            first.addCallback(told)
            third.addBoth(results.append)
            if ready:
                names.ready()
            else:
                names.serve(b"a", streams)
            self.failureResultOf(second, CancelledError)
            self.assertEqual([isinstance(result, Failure) for result in results], [ready, ready])
            self.assertEqual((names._waiting, len(streams.built)), ({}, 0 if ready else 2))

    def test_served(self) -> None:
        """A factory is started with the port, however early it serves, and stopped with it."""
        names, first, second = NamedStreams(), Streams(), Streams()
        names.serve(b"first", first)
        self.assertEqual(first.calls, [])
        self.listen(names)
        names.serve(b"second", second)
        self.assertEqual((first.calls, second.calls), (["start"], ["start"]))
        assert self.hosts.port is not None
        self.hosts.port.stopListening()
        self.hosts.settle()
        self.assertEqual((first.calls, second.calls), (["start", "stop"], ["start", "stop"]))

    def test_ofStarter(self) -> None:
        """A starter serves streams of its listener's just the same, and its factories as long as the session lives."""
        self.hosts.listen()
        streams = Streams()
        names = NamedStreams({b"": streams})
        self.hosts.starting = names  # type: ignore[assignment]
        session = self.hosts.run(self.hosts.ask()).session
        self.assertEqual(streams.calls, ["start"])
        (them,) = self.hosts.listening.built
        self.hosts.run(them.session.openStream(Factory.forProtocol(RecordingStream)))
        self.assertEqual(len(streams.built), 1)
        self.hosts.run(session.close())
        self.assertEqual(streams.calls, ["start", "stop"])

    def test_ofOthers(self) -> None:
        """A session protocol of one's own may ask, too."""
        us, them = self.hosts.open()
        streams = Streams()
        names = NamedStreams({b"name": streams})
        them.stream = lambda name, options: names.opened(name, HypermailAddress(CLIENT, 1))
        self.hosts.run(us.session.openStream(self.asking, b"name"))
        self.assertEqual(len(streams.built), 1)
        self.assertUnknown(self.open(us.session, b"other"), "b'other'")


class EndpointTests(SynchronousTestCase):
    """
    C{stream} of the stream endpoints
    """

    def setUp(self) -> None:
        self.hosts = Hosts()
        self.serving = Streams()
        settings = self.hosts.settings(interface=SERVER, stream=b"ssh")
        self.hosts.port = self.hosts.run(
            HypermailServerEndpoint(self.hosts.server, PORT, **settings).listen(self.serving)
        )
        self.addCleanup(self.hosts.end)

    def connect(self, **settings: Any) -> Deferred[Any]:
        endpoint = HypermailClientEndpoint(self.hosts.client, SERVER, PORT, **self.hosts.settings(**settings))
        return endpoint.connect(Factory.forProtocol(RecordingStream))

    def test_name(self) -> None:
        """A name that both sides know; streams of several names share a session."""
        ours = self.hosts.run(self.connect(stream=b"ssh"))
        self.assertEqual(len(self.serving.built), 1)
        other = self.connect(stream=b"web")
        self.hosts.settle()
        found = self.failureResultOf(other, error.ConnectionRefusedError).value
        self.assertIn("no stream is called b'web' here", str(found))
        self.assertEqual(found.__cause__.code, Reason.STREAM_NAME_UNKNOWN)
        self.assertEqual(len({port for host, port in self.hosts.network.attached if host == CLIENT}), 1)
        ours.transport.loseConnection()
        self.hosts.settle()

    def test_noName(self) -> None:
        """A stream without a name is rejected, with the reason."""
        connecting = self.connect()
        self.hosts.settle()
        found = self.failureResultOf(connecting, error.ConnectionRefusedError).value
        self.assertIsInstance(found.__cause__, StreamRejected)
        self.assertNotIsInstance(found.__cause__, StreamCleared)
