"""
The hive's errors, below those of L{hypermail.errors}.
"""

from __future__ import annotations

from hypermail.errors import HypermailError, ProtocolViolation, Reason


class FrameInvalid(ProtocolViolation):
    """A queen or cell sent something that is no frame, or not at its place."""


class RequestRefused(ProtocolViolation):
    """
    A queen does not pass on a client's request.

    @ivar status: of the response.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class LeashLost(HypermailError):
    """A cell has no leash to its queen, or lost it; the text has the reason, hers if she has given one."""

    default_code = Reason.RESET


class LeashRefused(LeashLost):
    """A queen does not let a cell in; the text has her reason."""

    default_code = Reason.NOT_ALLOWED


class MountRejected(HypermailError):
    """A queen does not send a cell the requests that it wants; the text has her reason."""

    default_code = Reason.NOT_ALLOWED
