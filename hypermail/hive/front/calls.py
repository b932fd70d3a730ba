"""
One request of a client's, and its response, whatever version of HTTP carries them.

Nothing of a body comes before L{Call.readBody}, and nothing is held for long: who takes a body slowly says so by
L{Call.pauseBody}, and a client that does by L{Answerer.pauseResponse}.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from hypermail.hive.fields import Lists
from hypermail.hive.heads import RequestArrival


class Answerer(Protocol):
    """
    Who answers a call. After C{clientLost} nothing follows; nothing of this is called after L{Call.abort} either, nor
    after L{Call.end}, unless the call was upgraded: then what the client says still comes, and its end.
    """

    def bodyReceived(self, data: bytes) -> None:
        """Some of the request's body; after an upgrade, bytes of the other protocol."""

    def bodyEnded(self, trailers: Lists) -> None:
        """That is over. After an upgrade: the client has nothing to say any more."""

    def pauseResponse(self) -> None:
        """The client is slow: write no more for now."""

    def resumeResponse(self) -> None:
        """Go on."""

    def clientLost(self) -> None:
        """Nobody waits for the response any more: the client is gone, or was cut off since it took too long."""


class Nobody:
    """Stands where somebody answered, or will."""

    __slots__ = ()

    def bodyReceived(self, data: bytes) -> None:
        """See L{Answerer}."""

    def bodyEnded(self, trailers: Lists) -> None:
        """See L{Answerer}."""

    def pauseResponse(self) -> None:
        """See L{Answerer}."""

    def resumeResponse(self) -> None:
        """See L{Answerer}."""

    def clientLost(self) -> None:
        """See L{Answerer}."""


NOBODY: Answerer = Nobody()


class Call(ABC):
    """
    Once it is over, because it was ended or aborted, or the client is lost, all that is called does nothing.

    @ivar arrival: where it comes from.
    @ivar method: as it came; nobody has looked at it.
    @ivar target: likewise.
    @ivar headers: by names as they came, likewise; one C{host} for C{:authority}. C{upgrade} is there only where
        L{upgrade} may be called.
    @ivar has_body: whether anything follows the head; when not, C{bodyEnded} is never called.
    @ivar responded: whether the head of a response was written.
    """

    __slots__ = ()

    arrival: RequestArrival
    method: str
    target: bytes
    headers: Lists
    has_body: bool
    responded: bool

    @abstractmethod
    def readBody(self) -> None:
        """
        Give the body to who answers, as it comes, perhaps within this call. A client that waits to be told so is
        told to send it (RFC 9110 §10.1.1).
        """

    @abstractmethod
    def pauseBody(self) -> None:
        """Give no more of the body for now; also of what comes after an upgrade. Harmless when it is paused."""

    @abstractmethod
    def resumeBody(self) -> None:
        """Go on with it. Harmless when it is not paused."""

    @abstractmethod
    def respond(self, status: int, headers: Lists, length: int | None) -> None:
        """
        The head of the response.

        @param status: 200 to 599.
        @param headers: by names in lower case, none of a connection's; C{content-length} is passed over.
        @param length: bytes of the body, if that is known; 0 if there will be none. Of a response to C{HEAD}, or with
            304, what it would have been.
        """

    @abstractmethod
    def upgrade(self, headers: Lists) -> None:
        """
        Go on in another protocol: 101. What is written, and what comes, are its bytes from here on. Only for calls that
        had the header C{upgrade}, instead of L{respond}.

        @param headers: C{upgrade} among them, but not C{connection}.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Some of the response's body."""

    @abstractmethod
    def end(self, trailers: Lists) -> None:
        """
        The response is over. What still comes of the request's body is dropped, up to a limit, so that the client gets
        to read the response. After an upgrade: there is nothing more to say. Where the connection has no such thing as
        one direction's end, TLS, it is closed, and C{clientLost} follows.

        @param trailers: by names in lower case; dropped where there is no place for them.
        """

    @abstractmethod
    def abort(self) -> None:
        """Let the client see that the response is not whole: cut the connection, or reset the stream."""


Serve = Callable[[Call], Answerer]
"""Called with each call, once its head is here. It may answer at once, within this."""
