"""
Several addresses of one host, asked one shortly after the other until the first has answered (RFC 8305, "Happy
Eyeballs").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

T = TypeVar("T")

#: A host's address, with the port.
HostAddress = tuple[str, int]

#: Seconds after which the next address is asked besides, while the one before has not answered (RFC 8305 §8).
ATTEMPT_DELAY = 0.25


def interleaved(addresses: Iterable[HostAddress]) -> list[HostAddress]:
    """
    The same addresses, families in turns, so that one family that leads nowhere holds up no more than every other
    attempt (RFC 8305 §4). The family of the first one begins; within a family the order stays.
    """
    families: dict[bool, deque[HostAddress]] = {}
    for address in addresses:
        families.setdefault(":" in address[0], deque()).append(address)
    found = []
    while families:
        for family, left in list(families.items()):
            found.append(left.popleft())
            if not left:
                del families[family]
    return found


class Attempts(Generic[T]):
    """
    A race between addresses. The first that succeeds wins; the others are withdrawn.

    @ivar tried: how many were asked.
    """

    def __init__(
        self,
        reactor: Any,
        addresses: Iterable[HostAddress],
        attempt: Callable[[HostAddress], Coroutine[Any, Any, T]],
        passes: Callable[[Failure], bool],
    ) -> None:
        """
        @param addresses: at least one, in the order in which they are asked.
        @param attempt: asks one. Cancelling it withdraws it; it ends when nothing is left of it.
        @param passes: whether an attempt that has failed in this way leaves hope for the others. What doesn't is an
            answer, and the end of all.
        """
        self._reactor = reactor
        self._left = deque(addresses)
        self._attempt = attempt
        self._passes = passes
        self._running: list[Deferred[T]] = []
        self._next: IDelayedCall | None = None
        self._decided: Deferred[T] = Deferred()
        self._gone: Deferred[None] | None = None
        self._over = False  # the race, not all that was begun
        self.tried = 0

    async def first(self) -> T:
        """
        Run the race.

        @return: the result of the first attempt that has one.
        @raise Exception: of the last attempt when all have failed, or of the one that was an answer, or
            L{CancelledError}. Nothing is left of any attempt then.
        """
        self._begin()
        try:
            return await self._decided
        except Exception:
            self._withdraw()
            if self._running:
                self._gone = Deferred()
                await self._gone
            raise

    def _begin(self) -> None:
        """Ask the next address."""
        self._next = None
        address = self._left.popleft()
        self.tried += 1
        if self._left:
            self._next = self._reactor.callLater(ATTEMPT_DELAY, self._begin)
        attempt = Deferred.fromCoroutine(self._attempt(address))
        self._running.append(attempt)
        attempt.addCallbacks(self._won, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _won(self, result: T, attempt: Deferred[T]) -> None:
        self._running.remove(attempt)
        self._withdraw()
        self._decided.callback(result)

    def _failed(self, failure: Failure, attempt: Deferred[T]) -> None:
        self._running.remove(attempt)
        if self._over:
            if self._gone is not None and not self._running:
                self._gone.callback(None)
        elif not self._passes(failure) or not (self._left or self._running):
            self._decided.errback(failure)
        elif self._next is not None:
            self._next.reset(0)  # RFC 8305 §5: the next one needs not wait any more

    def noMore(self) -> None:
        """Ask no other address; those that were asked may still answer."""
        self._left.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _withdraw(self) -> None:
        """Nobody wants the other attempts any more."""
        self._over = True
        self.noMore()
        for attempt in list(self._running):
            attempt.cancel()
