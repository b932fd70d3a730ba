"""
Tests of L{hypermail.internet.attempts} and L{hypermail.internet.request}.
"""

from __future__ import annotations

import gc
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import SessionAborted, SessionRejected, SessionTimedOut, Unreachable
from hypermail.internet.address import HypermailAddress
from hypermail.internet.attempts import ATTEMPT_DELAY, Attempts, HostAddress, interleaved
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.pump import Pump
from hypermail.options import Options
from hypermail.session.states import State
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingProtocol
from hypermail.testing import Conditions

#: A second address of the listener's host, and two where nobody is.
SERVER_IPV6 = "fd00::1"
CLIENT_IPV6 = "fd00::2"
DEAD = "10.0.0.9"
DEAD_IPV6 = "fd00::9"


class InterleavingTests(SynchronousTestCase):
    """
    L{interleaved}
    """

    def assertOrder(self, given: str, expected: str) -> None:
        found = interleaved([(host, 1) for host in given.split()])
        self.assertEqual(" ".join(host for host, _ in found), expected)

    def test_families(self) -> None:
        """Families take turns; the first one begins, and within each the order stays."""
        self.assertOrder("::1 ::2 ::3 1.1.1.1 2.2.2.2", "::1 1.1.1.1 ::2 2.2.2.2 ::3")
        self.assertOrder("1.1.1.1 ::1 ::2 ::3", "1.1.1.1 ::1 ::2 ::3")
        self.assertOrder("2.2.2.2 1.1.1.1", "2.2.2.2 1.1.1.1")
        self.assertOrder("::1", "::1")


class Passing(Exception):
    """A failure that leaves hope for other addresses."""


class RaceTests(SynchronousTestCase):
    """
    L{Attempts} at random
    """

    def test_once(self) -> None:
        """Whatever attempts do, and whenever the race is cancelled: it ends once, and leaves and logs nothing."""
        for seed in range(1_000):
            self.race(Random(seed))
        gc.collect()

    def race(self, random: Random) -> None:
        """One race."""
        clock = Clock()
        running: set[str] = set()

        async def attempt(address: HostAddress) -> str:
            running.add(address[0])
            outcome = random.choice((None, Passing("x"), ValueError("an answer")))
            try:
                await deferLater(clock, random.choice((0, 0.1, 0.25, 0.3, 2.0)))
                if outcome is not None:
                    raise outcome
                return address[0]
            except Exception:
                if random.random() < 0.5:
                    await deferLater(clock, random.choice((0, 0.1, 1.0)))  # what it has opened closes
                raise
            finally:
                running.discard(address[0])

        addresses = [(str(number), 1) for number in range(random.randint(1, 6))]
        attempts = Attempts(clock, addresses, attempt, lambda failure: failure.check(Passing) is not None)
        racing = Deferred.fromCoroutine(attempts.first())
        results: list[object] = []
        racing.addBoth(results.append)
        cancelling = random.choice((None, 0.0, 0.1, 0.25, 0.26, 0.6))
        if cancelling is not None:
            clock.callLater(cancelling, racing.cancel)
        clock.pump([0.05] * 200)
        self.assertEqual((len(results), running, clock.getDelayedCalls()), (1, set(), []))


class AttemptsTests(SynchronousTestCase):
    """
    L{Attempts}
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.answers: dict[str, Deferred[str]] = {}
        self.withdrawn: list[str] = []
        self.closing: dict[str, Deferred[None]] = {}

    async def attempt(self, address: HostAddress) -> str:
        host = address[0]
        self.asked.append(host)
        answer: Deferred[str] = Deferred()
        self.answers[host] = answer
        try:
            return await answer
        except CancelledError:
            self.withdrawn.append(host)
            if host in self.closing:
                await self.closing[host]
            raise

    def race(self, hosts: str) -> tuple[Attempts[str], Deferred[str]]:
        attempts = Attempts(
            self.clock,
            [(host, 1) for host in hosts],
            self.attempt,
            lambda failure: failure.check(Passing) is not None,
        )
        return attempts, Deferred.fromCoroutine(attempts.first())

    def assertClean(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_first(self) -> None:
        """When the first one answers soon no other is asked."""
        attempts, result = self.race("abc")
        self.clock.advance(0.249)
        self.answers["a"].callback("A")
        self.assertEqual((self.successResultOf(result), self.asked, attempts.tried), ("A", ["a"], 1))
        self.assertClean()

    def test_delay(self) -> None:
        """The next is asked 250 ms later, one at a time; the one before may still win."""
        self.assertEqual(ATTEMPT_DELAY, 0.25)
        _, result = self.race("abcd")
        self.clock.advance(0.25)
        self.assertEqual(self.asked, ["a", "b"])
        self.clock.advance(0.249)
        self.assertEqual(self.asked, ["a", "b"])
        self.clock.advance(0.001)
        self.assertEqual(self.asked, ["a", "b", "c"])
        self.answers["b"].callback("B")
        self.assertEqual((self.successResultOf(result), self.withdrawn), ("B", ["a", "c"]))
        self.assertClean()

    def test_failed(self) -> None:
        """When one fails the next is asked at once, and the one after that 250 ms later."""
        _, result = self.race("abc")
        self.clock.advance(0.1)
        self.answers["a"].errback(Passing())
        self.clock.advance(0)
        self.assertEqual(self.asked, ["a", "b"])
        self.clock.advance(0.249)
        self.assertEqual(self.asked, ["a", "b"])
        self.clock.advance(0.002)
        self.assertEqual(self.asked, ["a", "b", "c"])
        self.answers["c"].callback("C")
        self.assertEqual(self.successResultOf(result), "C")
        self.assertClean()

    def test_allFail(self) -> None:
        """When all fail it is the last failure that is told, as soon as it has come, whichever address it is of."""
        attempts, result = self.race("abc")
        self.clock.pump([0.25, 0.25])
        for host in "cab":
            self.assertNoResult(result)
            self.answers[host].errback(Passing(host))
        self.assertEqual(self.failureResultOf(result, Passing).value.args, ("b",))
        self.assertEqual((attempts.tried, self.withdrawn), (3, []))
        self.assertClean()

    def test_failAtOnce(self) -> None:
        """Addresses that fail before they have been asked at all: hundreds of them are no harm."""

        async def refuse(address: HostAddress) -> str:
            self.asked.append(address[0])
            raise Passing(address[0])

        hosts = [(f"{number}", 1) for number in range(1_000)]
        result = Deferred.fromCoroutine(Attempts(self.clock, hosts, refuse, lambda failure: True).first())
        self.clock.pump([0] * 1_000)
        self.assertEqual(self.failureResultOf(result, Passing).value.args, ("999",))
        self.assertEqual(len(self.asked), 1_000)
        self.assertClean()

    def test_answer(self) -> None:
        """A failure that is an answer ends the race; it is told when the others are gone."""
        _, result = self.race("abc")
        self.clock.advance(0.25)
        self.closing["a"] = Deferred()
        self.answers["b"].errback(ValueError("no"))
        self.assertEqual((self.withdrawn, self.asked), (["a"], ["a", "b"]))
        self.assertNoResult(result)
        self.closing["a"].callback(None)
        self.failureResultOf(result, ValueError)
        self.assertClean()

    def test_cancelled(self) -> None:
        """Cancelling withdraws all, however many were asked, and has failed when all are gone."""
        for asked in range(1, 4):
            self.setUp()
            _, result = self.race("abc")
            self.clock.pump([0.25] * (asked - 1))
            hosts = list("abc"[:asked])
            self.closing = {host: Deferred() for host in hosts}
            result.cancel()
            self.assertEqual((self.asked, self.withdrawn), (hosts, hosts))
            for host in hosts:
                self.assertNoResult(result)
                self.closing[host].callback(None)
            self.failureResultOf(result, CancelledError)
            self.assertClean()

    def test_noMore(self) -> None:
        """What was asked goes on when no more is to be asked."""
        attempts, result = self.race("abc")
        self.clock.advance(0.25)
        attempts.noMore()
        self.assertClean()
        self.answers["a"].errback(Passing("a"))
        self.assertNoResult(result)
        self.answers["b"].errback(Passing("b"))
        self.assertEqual((self.failureResultOf(result, Passing).value.args, attempts.tried), (("b",), 2))

    def test_cancelledTwice(self) -> None:
        """Who cancels again does not wait any longer for what is being withdrawn; that ends nevertheless."""
        _, result = self.race("a")
        self.closing["a"] = Deferred()
        result.cancel()
        self.assertNoResult(result)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.closing["a"].callback(None)
        self.assertClean()

    def test_cancelledBetween(self) -> None:
        """Cancelled when one has failed and the next was not asked yet: it is not asked any more."""
        _, result = self.race("ab")
        self.answers["a"].errback(Failure(Passing()))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.asked, ["a"])
        self.assertClean()


class AskingTests(SynchronousTestCase):
    """
    Hosts of both families, with 10 ms between them.
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.hosts.server.hosts = (SERVER, SERVER_IPV6)
        self.hosts.client.hosts = (CLIENT, CLIENT_IPV6)
        self.ports: list[Any] = []
        self.addCleanup(self.end)

    def end(self) -> None:
        for port in self.ports:
            self.hosts.run(port.stopListening())
        self.hosts.end()

    def listen(self, *interfaces: str) -> None:
        for interface in interfaces:
            endpoint = SessionServerEndpoint(self.hosts.server, PORT, **self.hosts.settings(interface=interface))
            self.ports.append(self.hosts.run(endpoint.listen(self.hosts.listening)))

    def ask(self, *addresses: str, **settings: Any) -> Deferred[Any]:
        self.hosts.client.nameResolver.names["listener"] = list(addresses)
        endpoint = SessionClientEndpoint(self.hosts.client, "listener", PORT, **self.hosts.settings(**settings))
        return endpoint.connect(self.hosts.starting)

    def sockets(self) -> list[str]:
        """Where the client has sockets."""
        return sorted(host for host, _ in self.hosts.network.attached if host in (CLIENT, CLIENT_IPV6))

    def assertOpened(self, asking: Deferred[Any], host: str) -> Any:
        protocol = self.successResultOf(asking)
        self.assertEqual(self.hosts.starting.built, [protocol])
        self.assertEqual((protocol.calls, self.hosts.starting.calls), (["sessionOpened"], ["start"]))
        self.assertEqual(protocol.session.getPeer(), HypermailAddress(host, PORT))
        self.hosts.run(protocol.session.sendMessage(b"hello"))
        self.hosts.run(protocol.session.close())
        self.assertEqual((protocol.calls, self.sockets()), (["sessionOpened", "sessionLost"], []))
        self.assertEqual(self.hosts.starting.calls, ["start", "stop"])

    def test_deadFamily(self) -> None:
        """A family that leads nowhere costs 250 ms, however many addresses it has."""
        self.listen(SERVER)
        asking = self.ask(DEAD_IPV6, SERVER_IPV6, "fd00::8", SERVER)
        self.hosts.settle(0.26)
        self.assertNoResult(asking)
        self.hosts.settle(0.05)
        self.assertOpened(asking, SERVER)

    def test_unreachable(self) -> None:
        """A host without a family asks the next address at once."""
        self.hosts.client.hosts = (CLIENT,)
        self.listen(SERVER)
        asking = self.ask(SERVER_IPV6, SERVER, options=Options(connection_timeout=0.2))
        self.hosts.settle(0.05)
        self.assertOpened(asking, SERVER)

    def test_slow(self) -> None:
        """A slow address is overtaken; its answer finds nobody, and the listener is told."""
        self.listen(SERVER, SERVER_IPV6)
        for source, destination in ((CLIENT_IPV6, SERVER_IPV6), (SERVER_IPV6, CLIENT_IPV6)):
            self.hosts.network.set_conditions(Conditions(delay=0.4), source=source, destination=destination)
        asking = self.ask(SERVER_IPV6, SERVER)
        self.hosts.settle(0.35)
        self.assertEqual(self.sockets(), [CLIENT])
        self.hosts.settle(3)
        self.assertOpened(asking, SERVER)
        self.hosts.settle(10)
        for protocol in self.hosts.listening.built:
            self.assertIn(protocol.calls, ([], ["sessionLost"], ["sessionOpened", "sessionLost"]))

    def test_slowButFirst(self) -> None:
        """One that answers late, but before the others, wins though others were asked after it."""
        self.listen(SERVER, SERVER_IPV6)
        for source, destination in ((CLIENT_IPV6, SERVER_IPV6), (SERVER_IPV6, CLIENT_IPV6)):
            self.hosts.network.set_conditions(Conditions(delay=0.11), source=source, destination=destination)
        asking = self.ask(SERVER_IPV6, DEAD, SERVER)
        self.hosts.settle(0.26)
        self.assertEqual(self.sockets(), [CLIENT, CLIENT_IPV6])
        self.hosts.settle(0.2)
        self.assertOpened(asking, SERVER_IPV6)

    def test_everyMoment(self) -> None:
        """Cancelled at every moment, from the first to the open session: nothing is left, the protocol is told once."""
        self.listen(SERVER, SERVER_IPV6)
        self.hosts.network.set_conditions(Conditions(delay=0.3), destination=CLIENT_IPV6)
        for tenth in range(33):
            self.hosts.starting.built.clear()
            self.hosts.starting.calls.clear()
            asking = self.ask(DEAD_IPV6, DEAD, SERVER_IPV6, SERVER)
            self.hosts.settle(tenth / 40)
            asking.cancel()
            asking.addErrback(lambda failure: failure.trap(CancelledError))
            self.hosts.settle(3)
            (protocol,) = self.hosts.starting.built
            if protocol.calls == ["sessionOpened"]:
                self.hosts.run(protocol.session.close())
            else:
                self.assertEqual(protocol.calls, ["sessionLost"])
                assert protocol.reason is not None
                protocol.reason.trap(SessionAborted)
            self.assertEqual((self.sockets(), self.hosts.starting.calls), ([], ["start", "stop"]))
            self.assertEqual(self.hosts.client.getDelayedCalls(), [])
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])

    def test_cancelledWhenOpened(self) -> None:
        """Who cancels in C{sessionOpened} is told the end of that session once."""
        self.listen(SERVER)

        class Cancelling(RecordingProtocol):
            def sessionOpened(self) -> None:
                super().sessionOpened()
                asking.cancel()

        self.hosts.starting.make = Cancelling
        asking = self.ask(DEAD, SERVER)
        self.hosts.settle(2)
        self.failureResultOf(asking, CancelledError)
        (protocol,) = self.hosts.starting.built
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])
        self.assertEqual(self.sockets(), [])

    def test_cancelledUndelivered(self) -> None:
        """Cancelled when the answer has come and nobody was told yet: the protocol is told of no session any more."""
        self.listen(SERVER)
        asking = self.ask(SERVER)
        attend = Pump.attend

        def attending(pump: Pump, session: Any) -> None:
            if session.protocol in self.hosts.starting.built and session.connection.state is State.OPEN:
                asking.cancel()
            attend(pump, session)

        self.patch(Pump, "attend", attending)
        self.hosts.settle(2)
        self.failureResultOf(asking, CancelledError)
        (protocol,) = self.hosts.starting.built
        self.assertEqual(protocol.calls, ["sessionLost"])

    def test_allFail(self) -> None:
        """When no address leads anywhere the error is of the last, and says how many were tried."""
        self.hosts.client.hosts = (CLIENT,)
        asking = self.ask(DEAD, DEAD_IPV6, "10.0.0.8", options=Options(connection_timeout=2.0))
        self.hosts.settle(3)
        error = self.failureResultOf(asking, SessionTimedOut).value
        self.assertIn("10.0.0.8:4700: nobody has answered within 1.75 s; 3 of 3 addresses of listener", error.text)
        (protocol,) = self.hosts.starting.built
        assert protocol.reason is not None
        self.assertEqual((protocol.calls, protocol.reason.value), (["sessionLost"], error))

    def test_unreachableLast(self) -> None:
        """... also when that is one to which there is no way."""
        self.hosts.client.hosts = (CLIENT,)
        asking = self.ask(DEAD_IPV6, SERVER_IPV6)
        self.hosts.settle(3)
        text = self.failureResultOf(asking, Unreachable).value.text
        self.assertIn(SERVER_IPV6, text)
        self.assertIn("2 of 2 addresses", text)

    def test_tooLittleTime(self) -> None:
        """Within C{connection_timeout} not all addresses of a host have their turn."""
        asking = self.ask(*(f"10.0.1.{number}" for number in range(10)), options=Options(connection_timeout=0.6))
        self.hosts.settle(0.61)
        self.assertIn("3 of 10 addresses", self.failureResultOf(asking, SessionTimedOut).value.text)

    def test_answer(self) -> None:
        """A listener that says no is an answer, though another address is being asked."""

        def decide(request: object) -> None:
            raise SessionRejected("not you")

        self.hosts.listening.decide = decide
        self.listen(SERVER)
        asking = self.ask(DEAD_IPV6, SERVER, SERVER_IPV6)
        self.hosts.settle(0.4)
        self.assertEqual(
            self.failureResultOf(asking, SessionRejected).value.text, "the listener rejected the session: not you"
        )
        self.assertEqual(self.sockets(), [])

    def test_bindAddress(self) -> None:
        """Only addresses of the bind address's family are asked."""
        self.listen(SERVER, SERVER_IPV6)
        asking = self.ask(SERVER_IPV6, DEAD, SERVER, bindAddress=CLIENT)
        self.hosts.settle(0.2)
        self.assertNoResult(asking)
        self.hosts.settle(0.1)
        self.assertOpened(asking, SERVER)
