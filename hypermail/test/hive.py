"""
What the tests of L{hypermail.hive} share: a connection's other end, and who takes what comes.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport

from hypermail.hive.band import End, Response
from hypermail.hive.frames import LARGEST, Body, Frame, decode
from hypermail.hive.reading import FrameReader, framed


def written(*frames: Frame | Body) -> bytes:
    """Frames as they are on the wire, in one piece."""
    return b"".join(b"".join(framed(frame.frame())) for frame in frames)


class FrameTransport(StringTransport):
    """What a connection of frames writes to."""

    def __init__(self) -> None:
        super().__init__()
        self._reader = FrameReader(LARGEST)

    def heard(self) -> list[Frame | Body]:
        """What was written since the last time."""
        self._reader.feed(self.value())
        self.clear()
        found = []
        while (frame := self._reader.next()) is not None:
            found.append(decode(frame))
        return found

    @property
    def left(self) -> bool:
        """Whether the connection was closed, after what was written."""
        return bool(self.disconnecting) and not self.cut

    @property
    def cut(self) -> bool:
        """Whether it was cut off."""
        return bool(self.disconnected)


class Remembering:
    """Takes the response to a request, or its body, and remembers what it learns."""

    def __init__(self) -> None:
        self.learnt: list[Any] = []

    def bodyWanted(self, most: int) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.learnt.append(most)

    def responded(self, response: Response) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.learnt.append(response)

    def ended(self, end: End) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.learnt.append(end)

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self.learnt.append(end)

    def dataReceived(self, data: bytes) -> None:
        """See both."""
        self.learnt.append(data)

    def lost(self) -> None:
        """See both."""
        self.learnt.append("lost")
