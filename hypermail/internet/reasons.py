"""
What Twisted's programs are told in place of hypermail's errors, which are the C{__cause__} of it.
"""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from hypermail.errors import (
    HypermailError,
    Reason,
    SessionRejected,
    SessionTimedOut,
    StreamAborted,
    StreamCleared,
    StreamRejected,
    Unreachable,
    UsageError,
)
from hypermail.internet.address import HypermailAddress


def lossReason(cause: HypermailError | None, *, disconnecting: bool) -> Failure:
    """
    The reason of a stream's C{connectionLost}.

    @param cause: what ended the stream; None when both directions are complete.
    @param disconnecting: whether this side wanted no more, so that a peer that wants no more either has done no harm.
    """
    if cause is None:
        return Failure(error.ConnectionDone())
    if disconnecting and isinstance(cause, StreamCleared) and cause.code == Reason.NONE:
        return Failure(error.ConnectionDone())
    kind = error.ConnectionAborted if isinstance(cause, StreamAborted) else error.ConnectionLost
    return _instead(kind(cause.text), cause)


_KINDS: tuple[tuple[type[HypermailError], type[error.ConnectError]], ...] = (
    (SessionTimedOut, error.TimeoutError),
    (Unreachable, error.NoRouteError),
    (SessionRejected, error.ConnectionRefusedError),
    (StreamRejected, error.ConnectionRefusedError),
    (HypermailError, error.ConnectError),
)


def connectFailure(failure: Failure, address: HypermailAddress) -> Failure:
    """What the Deferred of a stream endpoint's C{connect} fails with."""
    cause = failure.value
    if isinstance(cause, CancelledError):
        return Failure(error.ConnectingCancelledError(address))
    if isinstance(cause, HypermailError) and not isinstance(cause, UsageError):
        for kind, translation in _KINDS:
            if isinstance(cause, kind):
                return _instead(translation(string=cause.text), cause)
    return failure


def _instead(told: Exception, cause: HypermailError) -> Failure:
    told.__cause__ = cause
    return Failure(told)
