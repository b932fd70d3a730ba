"""
A band, of the queen's end and of the cell's: one request at a time, and its response (seed 002, "HTTPS Requests").

The queen sends the head of a request. The cell may ask for its body, once, before the head of its response; then the
queen sends that as far as the cell takes it. The cell sends the head of the response, its body, its end.

An extension are upgrades, as to WebSocket: a cell that accepts one asks for the body, without a limit, and answers
with 101 before that is over. Bodies are bytes of the other protocol then, both ways, until both have ended.

Whoever hears what has no place here closes the band: both ends might not agree on whose request it carries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.fields import Lists
from hypermail.hive.frames import (
    Body,
    Frame,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    ResponseWant,
)
from hypermail.hive.headers import checked, content_length, end_to_end
from hypermail.hive.states import ANSWERING, ASKING, Answering, AnsweringInput, Asking, AskingInput

#: Responses without a body, whatever their headers promise (RFC 9110 §6.4.1).
_NO_CONTENT = 204
_EMPTY = (_NO_CONTENT, 304)
#: What a response has that accepts an upgrade.
SWITCHING_PROTOCOLS = 101


class BodyWanted(NamedTuple):
    """The cell takes the body. @ivar most: bytes of it."""

    most: int


class Response(NamedTuple):
    """
    The head of a response.

    @ivar headers: by names in lower case, those that go on to the client.
    @ivar length: bytes of the body, None where that is not known; 0 with 204. To C{HEAD}, and with 304, what it would
        have been.
    @ivar upgraded: whether it is no HTTP from here on.
    """

    status: int
    headers: dict[str, tuple[str, ...]]
    length: int | None
    upgraded: bool


class Data(NamedTuple):
    """Some of a body."""

    data: bytes


class End(NamedTuple):
    """
    The body is over.

    @ivar trailers: by names in lower case.
    @ivar nothing: whether there was no response at all.
    """

    trailers: dict[str, tuple[str, ...]]
    nothing: bool = False


class QueenBand:
    """
    The queen's end.

    @param extended: whether the cell knows the extensions.

    @ivar idle: whether it can carry a request.
    @ivar over: whether it is to be closed, although nothing was wrong.
    """

    __slots__ = ("_bodiless", "_extended", "_left", "_state", "_upgrade")

    def __init__(self, extended: bool) -> None:
        self._extended = extended
        self._state = ASKING.initial
        self._bodiless = False  # whether the client gets no body
        self._left: int | None = None  # bytes that the response has promised
        self._upgrade = False  # whether the client would like another protocol

    @property
    def idle(self) -> bool:
        return self._state is Asking.IDLE

    @property
    def over(self) -> bool:
        return self._state is Asking.OVER

    # What the queen says

    def ask(self, head: RequestHead, upgrade: bool = False) -> bytes:
        """
        A request. @return: a frame, as for all that follow.

        @param upgrade: whether its client would like to go on in another protocol.
        """
        self._move(AskingInput.ASK)
        self._bodiless = head.method == "HEAD"
        self._upgrade = upgrade and self._extended
        return head.frame()

    def body(self, data: bytes) -> bytes:
        """Some of its body, once that is wanted."""
        if self._state not in (Asking.SENDING, Asking.ANSWERED_EARLY):
            raise FrameInvalid("no body is wanted")
        return RequestBody(data).frame()

    def end_body(self, trailers: Lists | None = None) -> bytes:
        """Nothing of it follows."""
        self._move(AskingInput.BODY_SENT)
        return RequestEnd(trailers if trailers and self._extended else {}).frame()

    # What the cell says

    def take(self, frame: Frame | Body) -> BodyWanted | Response | Data | End | None:
        """
        Take what has come.

        @return: None when it is of no interest.
        @raise FrameInvalid: when it has no place here.
        @raise hypermail.errors.IllegalTransition: when it has none now.
        """
        if isinstance(frame, ResponseBody):
            return self._take_body(frame.data)
        if isinstance(frame, ResponseHead):
            return self._take_head(frame)
        if isinstance(frame, ResponseEnd):
            return self._take_end(frame)
        if isinstance(frame, ResponseWant):
            self._move(AskingInput.WANT_RECEIVED)
            return BodyWanted(frame.size)
        raise FrameInvalid(f"{type(frame).__name__} on a band")

    def _take_head(self, frame: ResponseHead) -> Response:
        self._move(AskingInput.HEAD_RECEIVED)
        both_ways = self._state is Asking.ANSWERED_EARLY
        upgraded = frame.status == SWITCHING_PROTOCOLS and self._upgrade and both_ways
        if not upgraded and not 200 <= frame.status <= 599:
            raise FrameInvalid(f"{frame.status} is no status of a response")
        headers = checked(frame.headers)
        length = None if upgraded else content_length(headers)
        self._bodiless = self._bodiless or frame.status in _EMPTY
        self._left = None if self._bodiless else length
        if not upgraded:
            headers = end_to_end(headers)
        return Response(frame.status, headers, 0 if frame.status == _NO_CONTENT else length, upgraded)

    def _take_body(self, data: bytes) -> Data | None:
        self._move(AskingInput.BODY_RECEIVED)
        if self._bodiless:  # handlers write one to HEAD, too
            return None
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise FrameInvalid("the response is longer than it has said")
        return Data(data)

    def _take_end(self, frame: ResponseEnd) -> End:
        nothing = self._state not in (Asking.ANSWERED, Asking.ANSWERED_EARLY)
        self._move(AskingInput.END_RECEIVED)
        if self._left:
            raise FrameInvalid("the response is shorter than it has said")
        return End(checked(frame.trailers), nothing)

    def _move(self, input: AskingInput) -> None:
        self._state = ASKING.next(self._state, input)


class CellBand:
    """
    The cell's end.

    @ivar idle: whether the next request may come.
    """

    __slots__ = ("_left", "_state")

    def __init__(self) -> None:
        self._state = ANSWERING.initial
        self._left = 0  # bytes of the body that are taken still

    @property
    def idle(self) -> bool:
        return self._state is Answering.IDLE

    # What the queen says

    def take(self, frame: Frame | Body) -> RequestHead | Data | End | None:
        """
        Take what has come.

        @return: a request, or what follows it; None when it is of no interest.
        @raise FrameInvalid: when it has no place here.
        @raise hypermail.errors.IllegalTransition: when it has none now.
        """
        if isinstance(frame, RequestBody):
            return self._take_body(frame.data)
        if isinstance(frame, RequestEnd):
            return self._take_end(frame.trailers)
        if isinstance(frame, RequestHead):
            if not frame.method:
                return self._take_end({})  # the seed's text has this in place of RequestEnd
            self._move(AnsweringInput.HEAD_RECEIVED)
            headers = checked(frame.headers)  # in lower case, as all who read them expect
            return frame if headers == frame.headers else replace(frame, headers=headers)
        raise FrameInvalid(f"{type(frame).__name__} on a band")

    def _take_body(self, data: bytes) -> Data | None:
        drained = self._state is Answering.DRAINING
        self._move(AnsweringInput.BODY_RECEIVED)
        self._left -= len(data)
        if self._left < 0:
            raise FrameInvalid("more of a body than was asked for")
        return None if drained else Data(data)

    def _take_end(self, trailers: Lists) -> End | None:
        drained = self._state is Answering.DRAINING
        self._move(AnsweringInput.END_RECEIVED)
        return None if drained else End(checked(trailers))

    # What the cell says

    def want(self, most: int) -> bytes:
        """It takes the body, so many bytes at most. @return: a frame, as for all that follow."""
        self._move(AnsweringInput.WANT)
        self._left = most
        return ResponseWant(most).frame()

    def answer(self, status: int, headers: Lists) -> bytes:
        """The head of the response."""
        self._move(AnsweringInput.ANSWER)
        return ResponseHead(status, headers).frame()

    def write(self, data: bytes) -> bytes:
        """Some of its body."""
        self._move(AnsweringInput.WRITE)
        return ResponseBody(data).frame()

    def end(self, trailers: Lists | None = None) -> bytes:
        """It is over. @param trailers: for a queen who knows the extensions."""
        self._move(AnsweringInput.END)
        return ResponseEnd(trailers or {}).frame()

    def _move(self, input: AnsweringInput) -> None:
        self._state = ANSWERING.next(self._state, input)
