"""
What h2 does not tell of the frames of HTTP/2 (RFC 9113 §4.1): which one is half here, how long it says it is, and that
it does nothing.
"""

from __future__ import annotations

_PREFACE = 24
_HEADER = 9

_DATA, _HEADERS, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 7, 8, 9
_END_STREAM, _END_HEADERS = 1, 4
#: What requests are made of. Others, unknown kinds among them, are few.
_OF_USE = frozenset((_DATA, _HEADERS, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION))

#: Bytes in one frame: what a receiver takes that has said nothing else (RFC 9113 §6.5.2).
LARGEST = 1 << 14


class FrameWatch:
    """
    Sees the client's bytes before h2 does.

    @ivar useless: frames that came and did nothing.
    @ivar in_head: whether the head of a request has begun and is not whole.
    @ivar data_of: the stream of which some, but not all, of a C{DATA} frame is here; 0 for none.
    @ivar too_large: whether a frame was announced that is. h2 would wait for all of it before it says so.
    """

    __slots__ = ("_flags", "_header", "_kind", "_left", "_preface", "data_of", "in_head", "too_large", "useless")

    def __init__(self) -> None:
        self.useless = 0
        self.in_head = False
        self.data_of = 0
        self.too_large = False
        self._preface = _PREFACE
        self._header = b""
        self._left = 0  # bytes of the frame that are still to come
        self._kind = self._flags = 0

    def feed(self, data: bytes) -> None:
        """Look at some bytes."""
        at = min(self._preface, len(data))
        self._preface -= at
        while at < len(data) and not self.too_large:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            else:
                step = _HEADER - len(self._header)
                self._header += data[at : at + step]
                at += step
                if len(self._header) < _HEADER:
                    break
                self._begin()
            if not self._left:
                self._end()

    def _begin(self) -> None:
        header, self._header = self._header, b""
        self._left = length = int.from_bytes(header[:3])
        self._kind, self._flags = header[3], header[4]
        self.too_large = length > LARGEST
        if self._kind == _DATA:
            self.data_of = int.from_bytes(header[5:]) & 0x7FFFFFFF
            self.useless += not length and not self._flags & _END_STREAM
        elif self._kind == _HEADERS:
            self.in_head = True
        elif self._kind not in _OF_USE:
            self.useless += 1

    def _end(self) -> None:
        self.data_of = 0
        if self._kind in (_HEADERS, _CONTINUATION) and self._flags & _END_HEADERS:
            self.in_head = False
