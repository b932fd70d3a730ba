"""
Packets of the session. Layouts: C{docs/protocol/packets.rst}.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from hypermail.errors import MalformedPacket
from hypermail.options import Way
from hypermail.wire.fields import Reader, text
from hypermail.wire.heads import Head
from hypermail.wire.parameters import Parameters

_CODE = Struct(">BI")


class SessionOpen(NamedTuple):
    """Asks for a session. @ivar way: seen from the starter."""

    way: Way
    parameters: Parameters

    def encode(self) -> bytes:
        return bytes((Head.SESSION_OPEN, self.way)) + self.parameters.encode()

    @classmethod
    def decode(cls, reader: Reader) -> SessionOpen:
        way = reader.integer(1)
        if way not in Way._value2member_map_:
            raise MalformedPacket(f"SessionOpen with way {way}")
        return cls(Way(way), Parameters.decode(reader))


class SessionOpenAck(NamedTuple):
    """Answers L{SessionOpen}. @ivar parameters: None when rejected; then code and text say why."""

    parameters: Parameters | None
    code: int = 0
    text: str = ""

    def encode(self) -> bytes:
        if self.parameters is not None:
            return bytes((Head.SESSION_OPEN_ACK, 1)) + self.parameters.encode()
        return bytes((Head.SESSION_OPEN_ACK, 0)) + self.code.to_bytes(4, "big") + text(self.text)

    @classmethod
    def decode(cls, reader: Reader) -> SessionOpenAck:
        verdict = reader.integer(1)
        if verdict > 1:
            raise MalformedPacket(f"SessionOpenAck with verdict {verdict}")
        if verdict:
            return cls(Parameters.decode(reader))
        return cls(None, reader.integer(4), reader.text())


class SessionReopen(NamedTuple):
    """
    Asks for a session to go on over this link.

    @ivar proof: 32 bytes that bind secret, generation and link.
    @ivar incarnation: which of the listener's the starter believes to speak with.
    """

    session: bytes
    generation: int
    proof: bytes
    incarnation: int
    parameters: Parameters

    def encode(self) -> bytes:
        fields = self.session + self.generation.to_bytes(8, "big") + self.proof + self.incarnation.to_bytes(8, "big")
        return bytes((Head.SESSION_REOPEN,)) + fields + self.parameters.encode()

    @classmethod
    def decode(cls, reader: Reader) -> SessionReopen:
        session, generation, proof = reader.bytes(16), reader.integer(8), reader.bytes(32)
        return cls(session, generation, proof, reader.integer(8), Parameters.decode(reader))


class SessionReopenAck(NamedTuple):
    """
    Answers L{SessionReopen}.

    @ivar proof: the listener's, 32 bytes; empty when rejected, with code and text.
    @ivar incarnation: the listener's when it is another than the starter believes: nothing goes on over this link, and
        the starter is to claim the session over another one. None otherwise.
    @ivar parameters: the listener's, when the session goes on.
    """

    proof: bytes
    parameters: Parameters | None = None
    incarnation: int | None = None
    code: int = 0
    text: str = ""

    def encode(self) -> bytes:
        if self.parameters is not None:
            return bytes((Head.SESSION_REOPEN_ACK, 1)) + self.proof + self.parameters.encode()
        if self.incarnation is not None:
            return bytes((Head.SESSION_REOPEN_ACK, 2)) + self.proof + self.incarnation.to_bytes(8, "big")
        return bytes((Head.SESSION_REOPEN_ACK, 0)) + self.code.to_bytes(4, "big") + text(self.text)

    @classmethod
    def decode(cls, reader: Reader) -> SessionReopenAck:
        verdict = reader.integer(1)
        if verdict == 0:
            return cls(b"", code=reader.integer(4), text=reader.text())
        if verdict == 1:
            return cls(reader.bytes(32), Parameters.decode(reader))
        if verdict == 2:
            return cls(reader.bytes(32), incarnation=reader.integer(8))
        raise MalformedPacket(f"SessionReopenAck with verdict {verdict}")


class SessionClose(NamedTuple):
    """All of ours is settled: deliver yours and answer."""

    def encode(self) -> bytes:
        return bytes((Head.SESSION_CLOSE,))

    @classmethod
    def decode(cls, reader: Reader) -> SessionClose:
        return cls()


class SessionCloseAck(NamedTuple):
    """Everything is delivered; the session is closed."""

    def encode(self) -> bytes:
        return bytes((Head.SESSION_CLOSE_ACK,))

    @classmethod
    def decode(cls, reader: Reader) -> SessionCloseAck:
        return cls()


class SessionDeath(NamedTuple):
    """The session ends at once."""

    code: int
    text: str

    def encode(self) -> bytes:
        return _CODE.pack(Head.SESSION_DEATH, self.code) + text(self.text)

    @classmethod
    def decode(cls, reader: Reader) -> SessionDeath:
        return cls(reader.integer(4), reader.text())
