"""
Datagram -> session, for one socket of dialect C{digest}.

A server finds a session by the UUID of its client, a client by the address of its server. What comes from a sender
whose secret is known is verified here, and its timestamp is looked at; only what is authentic and fresh gets to a
connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypermail.admission import prefix_of
from hypermail.dialects.demux import DialectDemux, Inquiry
from hypermail.dialects.digest.client import DigestClient
from hypermail.dialects.digest.connection import DigestConnection
from hypermail.dialects.digest.departed import Departed
from hypermail.dialects.digest.dialect import Digest
from hypermail.dialects.digest.memory import PeerMemory
from hypermail.dialects.digest.packets import (
    HEADER,
    STAMPED,
    DigestPacket,
    PacketType,
    parse,
    random_uuid,
    uuid_bytes,
    uuid_text,
)
from hypermail.dialects.digest.peer_secrets import PeerSecrets
from hypermail.dialects.digest.places import Places
from hypermail.dialects.digest.rates import AnswerRates
from hypermail.dialects.digest.server import DigestServer
from hypermail.dialects.digest.signer import Signer
from hypermail.dialects.digest.timestamps import EXACT, Timestamp, read
from hypermail.errors import UsageError
from hypermail.options import ListenerOptions
from hypermail.session.states import State

#: What a client without a session is told about. Never an answer: two servers would go on for ever.
_TOLD = frozenset(
    {
        PacketType.DISCONNECT,
        PacketType.PING,
        PacketType.PANG,
        PacketType.PONG,
        PacketType.ACK,
        PacketType.DATA_ACK,
        PacketType.DATA_NOACK,
    }
)
_OPENING = frozenset({PacketType.ACCEPT, PacketType.REJECT})

#: s after a client's session in which REJECT may be an answer to what was said in it, and not to the next HELLO.
LATE = 1.0


class DigestDemux(DialectDemux[DigestConnection]):
    """
    The sessions of one socket.

    @ivar uuid: one's own; 16 bytes.
    @ivar signer: makes what is sent.
    """

    def __init__(
        self,
        options: Digest,
        *,
        listening: bool,
        listener_options: ListenerOptions,
        random_bytes: Callable[[int], bytes],
        wall: Callable[[], float],
    ) -> None:
        super().__init__(options, listening=listening, listener_options=listener_options)
        self.uuid = random_uuid(random_bytes(16)) if options.uuid is None else uuid_bytes(options.uuid)
        self.signer = Signer(self.uuid, options.secret, plain=options.plain, wall=wall, freshness=options.freshness)
        self._options = options
        self._secrets = PeerSecrets(options)
        self._departed = Departed()
        self._rates = AnswerRates()
        self._clients: dict[bytes, DigestServer] = {}  # sessions with clients, by their UUIDs
        self._servers: dict[Any, DigestClient] = {}  # sessions with servers, by their addresses
        self._places = Places()  # where clients with sessions are
        self._also: dict[DigestConnection, None] = {}  # touched by a datagram that was for another

    # What the socket does.

    def start(self, address: Any, *, options: Digest, now: float) -> DigestClient:
        """
        See L{DialectDemux.start}.

        @raise UsageError: on a listener's socket; for a second session with the same address; and when the socket has
            used up its order counts.
        """
        if self.listening:
            raise UsageError("dialect digest: a socket that listens cannot ask for sessions")
        if self.signer.spent:
            raise UsageError("dialect digest: this socket has used up its order counts")
        before = self._servers.get(address[:2])
        if before is not None and before.state is not State.ENDED:
            raise UsageError("dialect digest: one socket has one session with a server; use another one")
        connection = DigestClient(options, address, self.signer, self._drop, now=now)
        self._servers[address[:2]] = connection
        self._enter(connection)
        return connection

    def receive(self, datagrams: list[memoryview], address: Any, *, now: float, ecn: int = 0) -> list[DigestConnection]:
        """See L{DialectDemux.receive}."""
        touched = super().receive(datagrams, address, now=now, ecn=ecn)
        also, self._also = self._also, {}
        return list(also | dict.fromkeys(touched))

    def statistics(self) -> dict[str, int]:
        """See L{DialectDemux.statistics}."""
        return super().statistics() | {"departed": len(self._departed), "asked": len(self._secrets)}

    # One datagram.

    def _take(self, datagram: memoryview, address: Any, now: float) -> DigestConnection | None:
        packet = parse(bytes(datagram))
        if packet is None:
            self._drop("malformed")
        elif packet.sender == self.uuid:
            self._drop("own")
        elif self.listening:
            return self._from_client(packet, address, now)
        else:
            return self._from_server(packet, address, now)
        return None

    def _moment(self, packet: DigestPacket, drop: Callable[[str], None]) -> Timestamp | None:
        """The time of an authentic packet, if it is fresh."""
        moment = read(packet.payload)
        if moment is None:
            drop("malformed")
        elif not self.signer.fresh(moment):
            drop("stale")
        else:
            return moment
        return None

    def _for(self, connection: DigestConnection, packet: DigestPacket, address: Any, now: float) -> DigestConnection:
        """An authentic packet is for a session."""
        connection.heard(packet.size)
        if packet.type not in STAMPED:
            return self._tell(connection, connection.data, packet, now)
        moment = self._moment(packet, connection.dropped)
        if moment is not None:
            self._tell(connection, connection.stamped, packet, moment, address, now)
            if connection.moves and self.listening:
                self._places.enter(connection, connection.address)
        return connection

    # From clients.

    def _from_client(self, packet: DigestPacket, address: Any, now: float) -> DigestConnection | None:
        connection = self._clients.get(packet.sender)
        if connection is not None and connection.state is not State.ENDED:
            return self._from_known_client(connection, packet, address, now)
        if connection is not None:
            self._gone(connection)
        if packet.type is not PacketType.HELLO and (self._secrets.asked(packet.sender) or packet.type not in _TOLD):
            self._drop("early")
            return None
        secret = self._secrets.known(packet.sender)
        if self._options.plain or secret is not None:
            return self._sessionless(secret, packet, address, now)
        if self._secrets.asks:
            self._ask(packet, address)
        else:
            self._unknown_client(packet, address, now)
        return None

    def _from_known_client(
        self, connection: DigestServer, packet: DigestPacket, address: Any, now: float
    ) -> DigestConnection | None:
        here = address[:2] == connection.address[:2]
        if self._options.plain and not here:
            self._drop("elsewhere")
            return None
        if not packet.verifies(connection.memory.secret):
            if here:
                return self._tell(connection, connection.corrupted, packet, now)
            self._drop("bad_digest")
            return None
        if packet.type is PacketType.HELLO:
            moment = read(packet.payload)
            fresh = moment is not None and self.signer.fresh(moment)
            if moment is not None and fresh and connection.memory.restarted(packet, moment, elsewhere=not here):
                self._tell(connection, connection.restarted, now)
                self._also[connection] = None
                return self._admit(connection.memory, packet, moment, address, now)
        elif connection.opened:
            self._proved(connection)  # it has a place of its own from its second packet on
        return self._for(connection, packet, address, now)

    def _sessionless(
        self, secret: bytes | None, packet: DigestPacket, address: Any, now: float
    ) -> DigestConnection | None:
        """Something has come of a client that has no session. @param secret: its."""
        if not packet.verifies(secret):
            self._drop("bad_digest")
        elif packet.type is PacketType.HELLO:
            return self._hello(secret, packet, address, now)
        elif secret is None and self._places.taken(address):
            self._drop("place_taken")
        else:
            self._reject("no_session", packet, address, now)
        return None

    def _unknown_client(self, packet: DigestPacket, address: Any, now: float) -> None:
        """
        A client is not known here. Nobody knows whether it is where it says: a client that has a session there would
        take the answer for its own.
        """
        if self._places.taken(address):
            self._drop("place_taken")
        else:
            self._reject("unknown_client", packet, address, now)

    def _hello(self, secret: bytes | None, packet: DigestPacket, address: Any, now: float) -> DigestConnection | None:
        """A client that has no session says HELLO, and is who it says."""
        if self.signer.spent:
            self._drop("spent")
            return None
        moment = self._moment(packet, self._drop)
        if moment is None:
            return None
        memory = self._departed.find(packet.sender) or PeerMemory(packet.sender, secret)
        memory.secret = secret
        if not memory.newer(moment) or moment.first <= self._departed.horizon:
            self._drop("replayed")
            return None
        if packet.order > memory.stamped and self._departed.refused(packet.sender, now):
            memory.newest = moment.last
            memory.stamped = packet.order
            self._reject("refused", packet, address, now)
            return None
        if self._full():
            self._reject("full", packet, address, now)
            return None
        return self._admit(memory, packet, moment, address, now)

    def _admit(
        self, memory: PeerMemory, packet: DigestPacket, moment: Timestamp, address: Any, now: float
    ) -> DigestConnection | None:
        """A client asks for a session, and is who it says."""
        self._departed.wake(memory)
        plain = self._options.plain
        connection = DigestServer(
            self._options, address, self.signer, self._drop, memory, credit=0 if plain else None, now=now
        )
        self._clients[packet.sender] = connection
        self._places.enter(connection, address)
        if plain:
            gone = self._enter_stranger(connection)
            if isinstance(gone, DigestServer):
                self._also[gone] = None
                self._tell(gone, gone.crowded_out, now)
        else:
            self._enter(connection)
        connection.heard(packet.size)
        return self._tell(connection, connection.greet, packet, moment, now)

    def _reject(self, cause: str, packet: DigestPacket, address: Any, now: float) -> None:
        """Tell a client that it has no session, unless too many are told."""
        self._drop(cause)
        room = packet.size - HEADER.size
        if not self.signer.spent and self._rates.allow(prefix_of(address), now):
            answer = self.signer.stamp(PacketType.REJECT, min(room, EXACT))
            if answer is not None:
                self._reply(answer, address, packet.size)

    # From servers.

    def _from_server(self, packet: DigestPacket, address: Any, now: float) -> DigestConnection | None:
        connection = self._servers.get(address[:2])
        if connection is None or connection.state is State.ENDED:
            self._drop("no_session")
        elif connection.memory is not None:
            return self._from_known_server(connection, connection.memory, packet, address, now)
        elif packet.type not in _OPENING:
            connection.dropped("early")
        elif self._options.plain:
            return self._greeted(connection, None, packet, now)
        else:
            secret = self._secrets.known(packet.sender)
            if secret is not None:
                return self._greeted(connection, secret, packet, now)
            if self._secrets.asks:
                self._ask(packet, address)
            else:
                self._unknown_server(connection, packet)
        return None

    def _from_known_server(
        self, connection: DigestClient, memory: PeerMemory, packet: DigestPacket, address: Any, now: float
    ) -> DigestConnection | None:
        if packet.sender != memory.uuid:
            connection.dropped("another_server")
            return None
        if not packet.verifies(memory.secret):
            return self._tell(connection, connection.corrupted, packet, now)
        return self._for(connection, packet, address, now)

    def _greeted(
        self, connection: DigestClient, secret: bytes | None, packet: DigestPacket, now: float
    ) -> DigestConnection | None:
        """A server gives its first answer. @param secret: its."""
        if not packet.verifies(secret):
            connection.dropped("bad_digest")
            connection.hint = f"what came from {uuid_text(packet.sender)} was not signed with its secret"
            return None
        moment = self._moment(packet, connection.dropped)
        if moment is None:
            connection.hint = "its clock, or ours, is wrong"
            return None
        memory = self._departed.find(packet.sender) or PeerMemory(packet.sender, secret)
        memory.secret = secret
        if packet.type is PacketType.REJECT and self._departed.refused(packet.sender, now):
            connection.dropped("late")  # DISCONNECT was said twice, perhaps; HELLO will be said again
            return None
        connection.heard(packet.size)
        return self._tell(connection, connection.open, memory, packet, moment, now)

    def _unknown_server(self, connection: DigestClient, packet: DigestPacket) -> None:
        connection.dropped("unknown_server")
        connection.hint = f"the secret of {uuid_text(packet.sender)}, which has answered, is not known here"

    # Secrets.

    def _ask(self, packet: DigestPacket, address: Any) -> None:
        """Find out the secret of a packet's sender; the packet waits."""
        if not self._secrets.ask(packet, address):
            self._drop("crowded")
        for uuid, question in self._secrets.questions:
            self.inquiries.append(Inquiry(question, partial(self._found, uuid)))
        self._secrets.questions.clear()

    def _found(self, uuid: bytes, secret: Any, now: float) -> list[DigestConnection]:
        """A peer's secret was found, or not."""
        waiting = self._secrets.answered(uuid)
        if waiting is None:
            return []
        packet, address = waiting
        known = bytes(secret) if isinstance(secret, (bytes, bytearray, memoryview)) else b""
        answer = self._found_client if self.listening else self._found_server
        touched = answer(known or None, packet, address, now)
        also, self._also = self._also, {}
        return list(also | ({} if touched is None else {touched: None}))

    def _found_client(
        self, secret: bytes | None, packet: DigestPacket, address: Any, now: float
    ) -> DigestConnection | None:
        if secret is None:
            self._unknown_client(packet, address, now)
            return None
        return self._sessionless(secret, packet, address, now)

    def _found_server(
        self, secret: bytes | None, packet: DigestPacket, address: Any, now: float
    ) -> DigestConnection | None:
        connection = self._servers.get(address[:2])
        if connection is None or connection.state is State.ENDED or connection.memory is not None:
            self._drop("no_session")
        elif secret is None:
            self._unknown_server(connection, packet)
        else:
            return self._greeted(connection, secret, packet, now)
        return None

    # The end.

    def _gone(self, connection: DigestConnection) -> None:
        if isinstance(connection, DigestServer):
            self._places.leave(connection)
            memory, refuse_until = connection.memory, connection.refuse_until
            if self._clients.get(memory.uuid) is not connection:
                return  # it has another session already
            del self._clients[memory.uuid]
            if connection.credit is None:  # else it may never have been there
                self._departed.bury(memory, refuse_until)
        else:
            if self._servers.get(connection.address[:2]) is connection:
                del self._servers[connection.address[:2]]
            if connection.memory is not None:
                self._departed.bury(connection.memory, connection.now + LATE)
