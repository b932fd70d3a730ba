"""
What is served without TLS: redirects to HTTPS, and the answers to ACME's challenges (C{docs/protocol/hive},
"Redirects").
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any
from urllib.parse import quote

from hypermail.hive.aliases import bare
from hypermail.hive.errors import RequestRefused
from hypermail.hive.front.calls import Answerer, Call
from hypermail.hive.front.pages import respond_whole, send
from hypermail.hive.heads import Head, read_head
from hypermail.services.disk import Disk
from hypermail.services.troubles import Trouble

#: Bytes of an answer to a challenge.
LARGEST = 64 << 10

_BELOW = (".well-known", "acme-challenge")  # RFC 8555 §8.3
_CHALLENGES = f"/{'/'.join(_BELOW)}/"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")  # base64url
#: What a target may be written with (RFC 3986 §3.3, §3.4); what was encoded stays so.
_SAFE = "!$%&'()*+,/:;=?@~"
# A fifo that nobody writes to must not hold us up; a link may lead anywhere.
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Redirects:
    """
    A L{Serve<hypermail.hive.front.calls.Serve>}.

    @param clock: L{twisted.internet.interfaces.IReactorTime}.
    @param port_https: that HTTPS is at.
    @param webroot: the directory that a client of ACME's writes its answers below; None for none.
    """

    def __init__(self, clock: Any, port_https: int, webroot: str | None = None) -> None:
        self._port = "" if port_https == 443 else f":{port_https}"
        self._webroot = webroot
        self._disk = Disk()
        self._trouble = Trouble(clock, f"answers to ACME's challenges below {webroot!r} cannot be read")

    def __call__(self, call: Call) -> Answerer:
        """Answer a call, at once."""
        try:
            head = read_head(call.arrival, call.method, call.target, call.headers, ())
            if self._webroot is not None and head.target.raw.startswith(_CHALLENGES):
                return self._answer(call, self._webroot, head.target.raw.removeprefix(_CHALLENGES))
            return self._redirect(call, head)
        except RequestRefused as error:
            return send(call, error.status, error.text)

    def _redirect(self, call: Call, head: Head) -> Answerer:
        host = bare(head.host)
        if not host:
            raise RequestRefused(400, "there has to be one Host")
        # RFC 9110 §15.4: 301 may make a GET of what is none; not everybody knows 308.
        status = 301 if call.method in ("GET", "HEAD") else 308
        authority = f"[{host}]" if ":" in host else host
        location = f"https://{authority}{self._port}{quote(str(head.target), safe=_SAFE)}"
        return respond_whole(call, status, {"location": (location,)}, b"")

    def _answer(self, call: Call, webroot: str, token: str) -> Answerer:
        content = self._read(webroot, token) if _TOKEN.fullmatch(token) else None
        if content is None:
            raise RequestRefused(404, "there is no such challenge")
        if call.method not in ("GET", "HEAD"):
            return send(call, 405, "this is to be read only", {"allow": ("GET, HEAD",)})
        headers = {"content-type": ("application/octet-stream",), "x-content-type-options": ("nosniff",)}
        return respond_whole(call, 200, headers | {"cache-control": ("no-store",)}, content)

    def _read(self, webroot: str, token: str) -> bytes | None:
        """The content of a regular file that no link leads to; None when there is none."""
        opened = []
        try:
            opened.append(self._disk.open_top(webroot))
            for name in _BELOW:
                opened.append(self._disk.open_directory(name, opened[-1]))
            opened.append(os.open(token, _READING, dir_fd=opened[-1]))
            if not stat.S_ISREG(os.fstat(opened[-1]).st_mode):
                return None
            with open(opened[-1], "rb", closefd=False) as file:
                content = file.read(LARGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._trouble.say(error.strerror or str(error))
            return None
        finally:
            for descriptor in opened:
                self._disk.close(descriptor)
        return content if len(content) <= LARGEST else None
