"""
Which room takes which packet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypermail.errors import ProtocolViolation
from hypermail.session.session import Session
from hypermail.wire import packets as p

Takers = dict[type, Callable[[Any], None]]

#: What the link takes.
LINKS_OWN = frozenset((p.Ack, p.Handshake, p.PathChallenge, p.PathResponse, p.HealthPing, p.HealthPong, p.Padding))
#: What a listener never holds back until its application has decided.
UNHELD = frozenset((p.SessionOpen, p.SessionReopen, p.SessionDeath))
#: What asks for no acknowledgement.
SILENT = frozenset((p.Ack, p.HealthPong, p.PathResponse, p.Padding))


def takers(session: Session) -> Takers:
    """Who takes the packets of a session, of its messages and of its streams, by their type."""
    sending, receiving, streams = session.sending, session.receiving, session.streams
    return {
        p.SessionOpenAck: session.answered,
        p.SessionReopen: session.reopen_asked,
        p.SessionReopenAck: _unexpected,
        p.SessionClose: session.close_asked,
        p.SessionCloseAck: session.close_acked,
        p.SessionDeath: session.killed,
        p.StreamBlock: receiving.receive_fragment,
        p.StreamBlocks: receiving.receive_run,
        p.StreamBlockAck: sending.take_ack,
        p.MessageClear: receiving.receive_clear,
        p.Direct: receiving.receive_direct,
        p.StreamOpen: streams.receive_open,
        p.StreamOpenAck: streams.receive_open_ack,
        p.StreamReopen: _unexpected,
        p.StreamReopenAck: _unexpected,
        p.StreamChunk: streams.receive_chunk,
        p.StreamChunkAck: streams.receive_chunk_ack,
        p.StreamFlush: streams.receive_flush,
        p.StreamFlushAck: streams.receive_flush_ack,
        p.StreamLater: streams.receive_later,
        p.StreamGo: streams.receive_go,
        p.StreamClear: streams.receive_clear,
    }


def _unexpected(packet: p.Packet) -> None:
    raise ProtocolViolation(f"a {type(packet).__name__} in a session that was not reopened")
