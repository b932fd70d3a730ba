"""
Tests for L{hypermail.internet.whereabouts}: where a session that has lost its link looks for its listener.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import DNSLookupError
from twisted.trial.unittest import SynchronousTestCase

from hypermail.internet.attempts import HostAddress
from hypermail.internet.whereabouts import Whereabouts

HERE: HostAddress = ("192.0.2.1", 4700)
THERE: HostAddress = ("192.0.2.2", 4700)
ELSEWHERE: HostAddress = ("192.0.2.3", 4700)


class _Socket:
    """Stands for the socket that asks an address."""

    def __init__(self, host: str) -> None:
        self.sessions = f"those that ask {host}"


class _Lease:
    """Remembers where it was moved."""

    def __init__(self) -> None:
        self.moved: list[_Socket] = []

    def move(self, socket: _Socket) -> None:
        """See L{hypermail.internet.sockets.Lease}."""
        self.moved.append(socket)


class WhereaboutsTests(SynchronousTestCase):
    """L{Whereabouts}."""

    def setUp(self) -> None:
        self.asked: list[Deferred[list[HostAddress]]] = []
        self.cancelled: list[Deferred[list[HostAddress]]] = []
        self.answer: Callable[[], Deferred[list[HostAddress]]] = lambda: Deferred(self.cancelled.append)
        lease: Any = _Lease()
        socket: Any = _Socket
        self.whereabouts = Whereabouts("example.com", HERE, self._resolve, socket, lease, 3.0)
        self.moved: list[_Socket] = lease.moved

    def _resolve(self) -> Deferred[list[HostAddress]]:
        self.asked.append(self.answer())
        return self.asked[-1]

    def next(self, times: int) -> list[HostAddress]:
        """Where so many attempts go."""
        return [self.whereabouts.next() for _ in range(times)]

    def test_inTurn(self) -> None:
        """The first attempt goes to where the session was, others to all addresses of the host in turn."""
        self.assertEqual(self.next(1), [HERE])
        self.assertEqual(self.asked, [])
        self.assertEqual(self.next(1), [HERE])
        self.asked[0].callback([HERE, THERE])
        self.assertEqual(self.next(3), [HERE, THERE, HERE])

    def test_askedOnce(self) -> None:
        """The addresses are asked for anew with each attempt, but not while they are being asked for."""
        self.next(4)
        self.assertEqual(len(self.asked), 1)
        self.asked[0].callback([THERE])
        self.next(1)
        self.assertEqual(len(self.asked), 2)
        self.asked[1].errback(DNSLookupError())
        self.assertEqual(self.next(1), [THERE])
        self.assertEqual(len(self.asked), 3)

    def test_answeredAtOnce(self) -> None:
        """A resolver that has the answer at once is asked again, too."""
        answers = [[HERE], [THERE]]
        self.answer = lambda: succeed(answers.pop(0))
        self.assertEqual(self.next(3), [HERE, HERE, THERE])

    def test_same(self) -> None:
        """The turn begins anew when there are other addresses, not when the same ones come in another order."""
        self.next(2)
        self.asked[0].callback([HERE, THERE])
        self.assertEqual(self.next(1), [HERE])
        self.asked[1].callback([HERE, THERE])
        self.assertEqual(self.next(1), [THERE])
        self.asked[2].callback([ELSEWHERE, THERE])
        self.assertEqual(self.next(2), [ELSEWHERE, THERE])

    def test_arrived(self) -> None:
        """When it has had a link since, it begins with where that was."""
        self.next(2)
        self.asked[0].callback([HERE, THERE])
        self.assertEqual(self.next(2), [HERE, THERE])
        self.whereabouts.arrived()
        self.assertEqual(self.next(2), [THERE, HERE])

    def test_move(self) -> None:
        """A session that goes on from another socket takes its lease there."""
        self.assertEqual(self.whereabouts.move(THERE), "those that ask 192.0.2.2")
        self.assertEqual(len(self.moved), 1)

    def test_forget(self) -> None:
        """Nobody asks for addresses any more when the session is over."""
        self.whereabouts.forget()
        self.next(2)
        self.whereabouts.forget()
        self.assertEqual(self.cancelled, self.asked)
