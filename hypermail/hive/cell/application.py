"""
What answers a cell's requests, and what becomes of one that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES

from hypermail.hive.exchanges import Exchange
from hypermail.services.paths import printable

_log = Logger()

Answering = Callable[[Exchange], Any]
"""
What a cell is given: a callable. If it returns a Deferred or a coroutine, these tell when it has failed, or when it is
through: without a response that is 500.
"""


class CellApplication:
    """An application that has to be told when the cell begins and ends. Subclasses override what they need."""

    def startApplication(self, reactor: Any, root: str) -> Any:
        """
        The cell begins.

        @param root: the path that is mounted, without the slash at its end; empty when that is C{/}, or not known,
            since there are several.
        @return: perhaps a Deferred; nothing is mounted before it fires, and nothing at all when it errbacks.
        """

    def leaveApplication(self) -> None:
        """The cell takes no more requests: what might go on for ever should end. The others have some time still."""

    def stopApplication(self) -> Any:
        """The cell has ended. @return: perhaps a Deferred."""

    def __call__(self, exchange: Exchange) -> Any:
        """A request."""
        raise NotImplementedError


def serve(application: Answering, exchange: Exchange) -> None:
    """
    Have a request answered. Whatever goes wrong is logged; the client gets 500 if there is no response yet, and loses
    the connection otherwise.
    """
    try:
        result = application(exchange)
    except Exception:
        fail(Failure(), exchange)
        return
    if isinstance(result, Deferred) or iscoroutine(result):
        ensureDeferred(result).addCallbacks(_ended, fail, callbackArgs=(exchange,), errbackArgs=(exchange,))


def _ended(_: object, exchange: Exchange) -> None:
    """Who says when it is through is, so that nobody else will answer."""
    if not exchange.over and not exchange.begun:
        head = exchange.head
        _log.error("{method} {path} was not answered", method=head.method, path=printable(head.path))
        answer(exchange, 500)


def fail(failure: Failure, exchange: Exchange) -> None:
    """Of an exchange, its application has failed; that it was cancelled since the client is lost is no failure."""
    if exchange.over and failure.check(CancelledError):
        return
    head = exchange.head
    _log.failure("{method} {path} has failed", failure, method=head.method, path=head.path)
    if not exchange.over:
        give_up(exchange, 500)


def give_up(exchange: Exchange, status: int) -> None:
    """Answer with an error, or cut off a response that has begun."""
    if exchange.begun:
        exchange.connection.abort()
    else:
        answer(exchange, status)


def answer(exchange: Exchange, status: int, text: str = "") -> None:
    """A response of some words. @param text: empty for the name of the status."""
    data = (text or f"{status} {RESPONSES.get(status, b'').decode()}".strip()).encode() + b"\n"
    exchange.respond(status, {"content-type": ("text/plain; charset=utf-8",), "content-length": (str(len(data)),)})
    exchange.write(data)
    exchange.end()
