"""
A WebSocket (RFC 6455) of an ASGI application. Needs the extra C{hive}.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from io import BytesIO, StringIO
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token

from hypermail.hive.band import End
from hypermail.hive.cell.application import answer
from hypermail.hive.cell.calls import AsgiCall, Message
from hypermail.hive.cell.heads import Pairs, lists_of
from hypermail.hive.cell.loops import AsyncioLoop
from hypermail.hive.exchanges import Exchange
from hypermail.hive.frames import RequestHead

#: s that a client may take to answer a close.
CLOSING = 10.0

_VERSION = "13"
_KEY_BYTES = 16


def refusal(head: RequestHead) -> str:
    """What is wrong with the request for a WebSocket (RFC 6455 §4.2.1); empty when nothing is."""
    if head.method != "GET":
        return "a WebSocket is asked for by GET"
    if head.headers.get("sec-websocket-version") != (_VERSION,):
        return f"the version of the WebSocket is not {_VERSION}"
    keys = head.headers.get("sec-websocket-key", ())
    try:
        right = len(keys) == 1 and len(b64decode(keys[0], validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        right = False
    return "" if right else "there is no key of a WebSocket"


class WebSocketCall(AsgiCall):
    """
    @param most: bytes of a message of the client's.
    """

    KIND = "websocket"

    def __init__(self, reactor: Any, loop: AsyncioLoop, exchange: Exchange, most: int) -> None:
        super().__init__(loop, exchange)
        self._reactor = reactor
        self._most = most
        self._socket: Connection | None = None
        self._refusal: Message | None = None  # the head of a response that refuses it
        self._part: BytesIO | StringIO | None = None  # of a message that is not complete
        self._pinged: Ping | None = None  # to be answered
        self._closed = False  # by either side
        self._closing: IDelayedCall | None = None
        self.tell({"type": "websocket.connect"})

    def scope(self, root: str, state: Message) -> Message:
        """See L{AsgiCall}."""
        found = super().scope(root, state)
        offered = self.exchange.head.headers.get("sec-websocket-protocol", ())
        return {
            **found,
            "scheme": "wss" if found["scheme"] == "https" else "ws",
            "subprotocols": [one for one in (part.strip() for text in offered for part in text.split(",")) if one],
            "extensions": {"websocket.http.response": {}},
        }

    def ended(self, failure: Failure | None) -> None:
        """See L{AsgiCall}."""
        socket = self._socket
        if socket is None or self.exchange.over:
            super().ended(failure)
            return
        if failure is not None:
            self._log.failure("WebSocket {path} has failed", failure, path=self.exchange.head.path)
        if not self._closed:
            self._close(CloseReason.NORMAL_CLOSURE if failure is None else CloseReason.INTERNAL_ERROR, "")

    def goAway(self) -> None:
        """The cell stops."""
        if self._socket is not None and not self._closed:
            self._close(CloseReason.GOING_AWAY, "")

    # What the application says

    def say(self, message: Message) -> None:
        """See L{AsgiCall}."""
        if self.exchange.over:
            raise ConnectionResetError("the client is lost, or the WebSocket was closed")
        if self._socket is not None:
            self._sayOpen(self._socket, message)
        elif self._refusal is not None:
            self._refuse(self._refusal, message)
        elif message["type"] == "websocket.accept":
            self._accept(message)
        elif message["type"] == "websocket.close":
            answer(self.exchange, 403)
        elif message["type"] == "websocket.http.response.start":
            lists_of(message.get("headers", ()))
            self._refusal = message
        else:
            raise RuntimeError(f"{message['type']} has no place before the WebSocket is accepted")

    def _accept(self, message: Message) -> None:
        [key] = self.exchange.head.headers["sec-websocket-key"]
        headers: Pairs = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        if any(name.lower().startswith(b"sec-websocket-") for name, _ in headers):
            raise ValueError("headers of the WebSocket are the server's")
        headers += [
            (b"connection", b"upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-accept", generate_accept_token(key.encode())),
        ]
        if message.get("subprotocol") is not None:
            headers.append((b"sec-websocket-protocol", message["subprotocol"].encode()))
        lists = lists_of(headers, upgrade=True)
        self._socket = Connection(SERVER)
        self.exchange.read(self)
        self.exchange.respond(101, lists)
        self.exchange.connection.transport.registerProducer(self, True)

    def _refuse(self, start: Message, message: Message) -> None:
        if message["type"] != "websocket.http.response.body":
            raise RuntimeError(f"{message['type']} has no place in a response")
        if not self.exchange.begun:
            self.exchange.respond(start["status"], lists_of(start.get("headers", ())))
            self.exchange.connection.transport.registerProducer(self, True)
        self.exchange.write(bytes(message.get("body", b"")))
        if not message.get("more_body", False):
            self.exchange.end()

    def _sayOpen(self, socket: Connection, message: Message) -> None:
        if self._closed:
            raise ConnectionResetError("the WebSocket was closed")
        if message["type"] == "websocket.send":
            data, text = message.get("bytes"), message.get("text")
            event = TextMessage(data=str(text)) if data is None else BytesMessage(data=bytes(data))
            self.exchange.write(socket.send(event))
        elif message["type"] == "websocket.close":
            code = int(message.get("code", CloseReason.NORMAL_CLOSURE))
            if not 1000 <= code <= 4999:  # RFC 6455 §7.4.2
                raise ValueError(f"{code} is no code of a WebSocket's end")
            self._close(code, str(message.get("reason") or ""))
        else:
            raise RuntimeError(f"{message['type']} has no place in a WebSocket that is open")

    def _close(self, code: int, reason: str) -> None:
        """This end does."""
        assert self._socket is not None, "it was accepted"
        self._closed = True
        self.exchange.write(self._socket.send(CloseConnection(code=code, reason=reason)))
        self._closing = self._reactor.callLater(CLOSING, self.exchange.connection.abort)
        self._disconnected(code, reason)

    def _disconnected(self, code: int, reason: str) -> None:
        self.tellLast({"type": "websocket.disconnect", "code": code, "reason": reason})

    # What the client says

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        socket = self._socket
        if socket is None or socket.state not in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            return
        socket.receive_data(data)
        for event in socket.events():
            if isinstance(event, CloseConnection):
                self._clientCloses(socket, event)
                return
            if isinstance(event, Ping):
                self._pinged = event
                if self._held is None:
                    self._answer(socket)
            elif isinstance(event, (TextMessage, BytesMessage)) and not self._closed:
                self._take(event)

    def _answer(self, socket: Connection) -> None:
        """The last ping: of several that wait it is enough (RFC 6455 §5.5.3)."""
        ping, self._pinged = self._pinged, None
        if ping is not None and not self._closed and not self.exchange.over:
            self.exchange.write(socket.send(ping.response()))

    def resumeProducing(self) -> None:
        """See L{AsgiCall}."""
        super().resumeProducing()
        if self._socket is not None:
            self._answer(self._socket)

    def _take(self, event: TextMessage | BytesMessage) -> None:
        part = self._part
        if part is None:
            part = self._part = StringIO() if isinstance(event, TextMessage) else BytesIO()
        part.write(event.data)  # type: ignore[arg-type]
        if part.tell() > self._most:
            self._part = None
            self._close(CloseReason.MESSAGE_TOO_BIG, f"a message has {self._most:,} bytes at most")
        elif event.message_finished:
            self._part = None
            key = "text" if isinstance(part, StringIO) else "bytes"
            self.tell({"type": "websocket.receive", key: part.getvalue()})

    def _clientCloses(self, socket: Connection, event: CloseConnection) -> None:
        """It does, has answered, or has said what is no WebSocket: then it is told the reason."""
        if socket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            code = event.code if socket.state is ConnectionState.OPEN else None
            reply = event.response() if code is None else CloseConnection(code=code, reason=event.reason)
            self.exchange.write(socket.send(reply))
        self._closed = True
        self._disconnected(event.code, event.reason or "")
        self.exchange.end()

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}: it has gone without a word."""
        self._closed = True
        self.exchange.end()

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}; C{over} is called, too."""

    def over(self, answered: bool) -> None:
        """See L{AsgiCall}."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        if answered and self.exchange.begun:
            self.exchange.connection.transport.unregisterProducer()
        self._disconnected(CloseReason.ABNORMAL_CLOSURE, "")
