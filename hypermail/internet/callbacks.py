"""
What an application's callback has returned: a value, a Deferred, or the coroutine of an C{async def}.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError

#: Characters of a text for the peer; what is longer is cut.
MAX_TEXT = 200

_log = Logger()


def pending(answer: object) -> Deferred[Any] | None:
    """
    The Deferred of an answer that is not there yet, or has failed.

    @param answer: what a callback has returned.
    @return: None when the answer is there, and is no failure.
    """
    if isinstance(answer, Deferred):
        deferred = answer
    elif isinstance(answer, Coroutine):
        deferred = Deferred.fromCoroutine(answer)
    else:
        return None
    if deferred.called and not deferred.paused and not isinstance(deferred.result, (Failure, Deferred)):
        return None
    return deferred


def withdraw(answer: Deferred[Any]) -> None:
    """Cancel an answer that is not wanted any more; should the application's canceller fail, others are not held up."""
    try:
        answer.cancel()
    except Exception:
        _log.failure("the canceller of {answer!r} has failed", answer=answer)


def verdict(failure: Failure, code: int, deed: str) -> tuple[int, str]:
    """
    The reason code and the text that a peer is told of an application's failure.

    A L{HypermailError} was meant for the peer; of anything else the peer learns no more than its class.

    @param code: the code of a failure that was not meant for the peer.
    @param deed: what the application failed on, for people: C{"this message"}.
    """
    error = failure.value
    if isinstance(error, HypermailError):
        return error.code, error.text[:MAX_TEXT]
    return code, f"the application failed on {deed} ({type(error).__name__})"[:MAX_TEXT]


def meantForPeer(failure: Failure) -> bool:
    """Whether a failure is an answer to the peer rather than a fault of the application."""
    return isinstance(failure.value, HypermailError)


#: What the peer is told when a callback that cannot refuse anything has failed.
APPLICATION_FAILED = "the application failed"
