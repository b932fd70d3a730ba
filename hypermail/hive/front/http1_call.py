"""
A request of HTTP/1.1, as who answers sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import Call
from hypermail.hive.heads import RequestArrival

if TYPE_CHECKING:
    from hypermail.hive.front.http1 import HTTP1


class HTTP1Call(Call):
    """See L{Call}. It knows its connection until it is over."""

    __slots__ = ("arrival", "has_body", "headers", "method", "responded", "speaker", "target")

    def __init__(
        self, speaker: HTTP1, arrival: RequestArrival, method: str, target: bytes, headers: Lists, has_body: bool
    ) -> None:
        self.speaker: HTTP1 | None = speaker
        self.arrival = arrival
        self.method = method
        self.target = target
        self.headers = headers
        self.has_body = has_body
        self.responded = False

    def readBody(self) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.speaker.readBody()

    def pauseBody(self) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.speaker.pauseBody()

    def resumeBody(self) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.speaker.resumeBody()

    def respond(self, status: int, headers: Lists, length: int | None) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.responded = True
            self.speaker.respond(status, headers, length)

    def upgrade(self, headers: Lists) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.responded = True
            self.speaker.upgrade(headers)

    def write(self, data: bytes) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.speaker.write(data)

    def end(self, trailers: Lists) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.speaker.end(trailers)

    def abort(self) -> None:
        """See L{Call}."""
        if self.speaker is not None:
            self.speaker.abort()
