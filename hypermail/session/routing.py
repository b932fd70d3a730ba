"""
Which room takes which packet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypermail.messages.receiving import Receiving
from hypermail.messages.sending import Sending
from hypermail.session.session import Session
from hypermail.streams.set import Streams
from hypermail.wire import packets as p

#: A method of a room, which takes one kind of packet.
Taker = Callable[[Any, Any], None]
#: The rooms of one connection, in the order of their indices. What takes packets first is no room of the session's.
Rooms = tuple[Any, Session, Sending, Receiving, Streams]
INTAKE, SESSION, SENDING, RECEIVING, STREAMS = range(5)

#: What the link takes.
LINKS_OWN = frozenset((p.Ack, p.Handshake, p.PathChallenge, p.PathResponse, p.HealthPing, p.HealthPong, p.Padding))
#: What a listener never holds back until its application has decided.
UNHELD = frozenset((p.SessionOpen, p.SessionReopen, p.SessionDeath))
#: What a starter never holds back while the listener has not proved that it knows the session.
PROVING = frozenset((p.SessionReopenAck, p.SessionDeath))
#: What asks for no acknowledgement.
SILENT = frozenset((p.Ack, p.HealthPong, p.PathResponse, p.Padding))


#: Who takes the packets of a session: the room, as its index in L{Rooms}, and that room's method.
TAKERS: dict[type, tuple[int, Taker]] = {
    p.SessionOpenAck: (SESSION, Session.answered),
    p.SessionClose: (SESSION, Session.close_asked),
    p.SessionCloseAck: (SESSION, Session.close_acked),
    p.StreamBlock: (RECEIVING, Receiving.receive_fragment),
    p.StreamBlocks: (RECEIVING, Receiving.receive_run),
    p.StreamBlockAck: (SENDING, Sending.take_ack),
    p.MessageClear: (RECEIVING, Receiving.receive_clear),
    p.Direct: (RECEIVING, Receiving.receive_direct),
    p.StreamOpen: (STREAMS, Streams.receive_open),
    p.StreamOpenAck: (STREAMS, Streams.receive_open_ack),
    p.StreamReopen: (STREAMS, Streams.receive_reopen),
    p.StreamReopenAck: (STREAMS, Streams.receive_reopen),
    p.StreamChunk: (STREAMS, Streams.receive_chunk),
    p.StreamChunkAck: (STREAMS, Streams.receive_chunk_ack),
    p.StreamFlush: (STREAMS, Streams.receive_flush),
    p.StreamFlushAck: (STREAMS, Streams.receive_flush_ack),
    p.StreamLater: (STREAMS, Streams.receive_later),
    p.StreamGo: (STREAMS, Streams.receive_go),
    p.StreamClear: (STREAMS, Streams.receive_clear),
}
