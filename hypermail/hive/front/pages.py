"""
What the queen says herself when there is no response of a cell's: a title and a sentence, and nothing of her insides
(C{docs/protocol/hive}, "Pages").
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from http import HTTPStatus

from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import Call, Nobody

#: s after which a client may ask again that was told 503.
RETRY_AFTER = 1

_PHRASES = {413: "Content Too Large"}  # RFC 9110 §15.5.14; older ones of Python have an older name
_SENTENCES: Mapping[int, str] = {
    400: "This request cannot be understood",
    404: "There is nothing at this address",
    413: "The content of this request is too large",
    431: "The header fields of this request are too large",
    500: "Something went wrong here",
    501: "This request asks for something that is not done here",
    502: "The service behind this address has given no valid response",
    503: "The service behind this address is too busy at the moment; please try again",
    504: "The service behind this address has given no response in time",
}
_HTML = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p>{sentence}</p></body>
</html>
"""


class Answered(Nobody):
    """
    Who has answered a call at once, so that nothing of it matters any more.

    @ivar size: bytes of the body that the client got.
    """

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


def page(status: int, accept: str = "", sentence: str = "") -> tuple[dict[str, tuple[str, ...]], bytes]:
    """
    A page.

    @param status: one that L{HTTPStatus} knows.
    @param accept: what the client takes; HTML if that is named, else plain text.
    @param sentence: for people; a general one by default.
    @return: headers and body.
    """
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    title, said = f"{status} {phrase}", sentence or _SENTENCES.get(status, phrase)
    said = f"{said[0].upper()}{said[1:].removesuffix('.')}."
    headers: dict[str, tuple[str, ...]] = {"cache-control": ("no-store",), "x-content-type-options": ("nosniff",)}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = (str(RETRY_AFTER),)
    if "text/html" in accept.lower():
        headers["content-type"] = ("text/html; charset=utf-8",)
        return headers, _HTML.format(title=escape(title), sentence=escape(said)).encode(errors="replace")
    headers["content-type"] = ("text/plain; charset=utf-8",)
    return headers, f"{title}\n{said}\n".encode(errors="replace")


def send(call: Call, status: int, sentence: str = "", headers: Lists | None = None) -> Answered:
    """
    Answer a call with a page.

    @param call: that nobody has responded to.
    @param sentence: see L{page}.
    @param headers: further ones.
    @return: who answers from now on: nobody.
    """
    accept = ", ".join(value for name, values in call.headers.items() if name.lower() == "accept" for value in values)
    own, body = page(status, accept, sentence)
    return respond_whole(call, status, {**own, **(headers or {})}, body)


def respond_whole(call: Call, status: int, headers: Lists, body: bytes) -> Answered:
    """
    Answer a call with a body that is here.

    @return: who answers from now on: nobody.
    """
    call.respond(status, headers, len(body))
    size = 0 if call.method == "HEAD" else len(body)  # RFC 9110 §9.3.2
    if size:
        call.write(body)
    call.end({})
    return Answered(size)
