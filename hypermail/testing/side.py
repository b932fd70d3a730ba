"""
One side of one session on a simulated host: what tests and applications do with it, and what drives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypermail.connection import Connection
from hypermail.events import Event, MessagesWanted, ReopenDue, SessionClaimed, StreamOptions
from hypermail.messages.message import OutgoingMessage
from hypermail.session.states import State
from hypermail.streams.stream import Stream
from hypermail.testing.application import CALLBACKS, Application

if TYPE_CHECKING:
    from hypermail.testing.node import Node

#: Rounds of events and trains at one time, after which the core counts as caught in a loop.
MOST_ROUNDS = 10_000
#: s; an acknowledgement that is delayed, or a train that is paced, comes within this time.
NOT_IDLE = 0.03


class Side:
    """
    One side of one session.

    What it offers besides C{connection} is the same, with the time put in; use it, or call L{touch} after
    whatever else was done to the connection or its streams.

    @ivar node: the socket.
    @ivar connection: the core's.
    @ivar application: what the events go to.
    @ivar events: all of them so far.
    @ivar outgoing: every message that was sent with L{send_message}.
    @ivar asks: every ask that was sent with L{ask}.
    @ivar unordered: lanes that were configured so.
    @ivar revived: the id of the session that was claimed over its connection, and taken up from the store.
    """

    def __init__(self, node: Node, connection: Connection, application: Application) -> None:
        self.node = node
        self.network = node.network
        self.connection = connection
        self.application = application
        self.events: list[Event] = []
        self.outgoing: list[OutgoingMessage] = []
        self.asks: list[OutgoingMessage] = []
        self.unordered: set[int] = set()
        self.revived = b""
        self.timer = node.network.timer(self._timeout)
        self._soon = node.network.timer(self.pump)
        self._pumping = False
        application.side = self

    def __repr__(self) -> str:
        return f"<{self.connection.role.name.lower()} at {self.node.address}, {self.connection.state.name.lower()}>"

    # What tests and applications do

    def send_message(self, data: bytes, *, lane: int = 0, expires: float | None = None) -> OutgoingMessage:
        """See L{Connection.send_message}."""
        message = self.connection.send_message(data, lane=lane, expires=expires, now=self.network.now)
        self.outgoing.append(message)
        self.touch()
        return message

    def ask(self, data: bytes) -> OutgoingMessage:
        """See L{Connection.ask}."""
        ask = self.connection.ask(data, now=self.network.now)
        self.asks.append(ask)
        self.touch()
        return ask

    def cancel_message(self, message: OutgoingMessage) -> None:
        """See L{Connection.cancel_message}."""
        self.connection.cancel_message(message, now=self.network.now)
        self.touch()

    def configure_lane(self, lane: int, **properties: Any) -> None:
        """Choose a lane's properties: those of L{Connection.configure_lane}."""
        self.connection.configure_lane(lane, **properties)
        if properties.get("ordered") is False:
            self.unordered.add(lane)

    def send_direct(self, data: bytes) -> None:
        """See L{Connection.send_direct}."""
        self.connection.send_direct(data)
        self.touch()

    def open_stream(
        self, name: bytes = b"", data: bytes | None = None, *, options: StreamOptions | None = None
    ) -> Stream:
        """
        See L{Connection.open_stream}.

        @param data: when given, it is written, with back pressure, and the stream finished.
        """
        stream = self.connection.open_stream(name, options or StreamOptions(), now=self.network.now)
        if data is not None:
            self.application.write_all(stream, data)
        self.touch()
        return stream

    def close(self) -> None:
        """See L{Connection.close}."""
        self.connection.close(now=self.network.now)
        self.touch()

    def abort(self, code: int, text: str = "") -> None:
        """See L{Connection.abort}."""
        self.connection.abort(code, text, now=self.network.now)
        self.touch()

    def ping(self) -> None:
        """See L{Connection.ping}."""
        self.connection.ping(now=self.network.now)
        self.touch()

    def touch(self) -> None:
        """Something was done to the connection: drive it on before time goes on."""
        if not self._pumping:
            self._soon.arm(self.network.now)

    # What drives it

    def _timeout(self) -> None:
        self.connection.handle_timeout(now=self.network.now)
        self.pump()

    def pump(self) -> None:
        """Drain events into the application, then trains into the network, then set the timer."""
        if self.node.stopped:
            return
        self._pumping = True
        try:
            self._drain()
        finally:
            self._pumping = False
        if self.connection.ended:
            self.timer.cancel()
            self.node.write(self)
            self.node.forget(self)
            return
        self.node.write(self)
        if self.connection.suspended:
            self.node.demux.forget(self.connection)
        self.timer.arm(self.connection.next_timeout())

    def _drain(self) -> None:
        for _ in range(MOST_ROUNDS):
            self._drain_events()
            trains = self.connection.trains(now=self.network.now)
            if not trains and not self._drain_events():  # an application that was told something may have said more
                return
            for train in trains:
                self._check(train.datagrams)
                self.network.send(self.node.address, train.address, train.datagrams, train.ecn)
        raise AssertionError(f"{self!r} sends without end; {self.network.describe()}")

    def _drain_events(self) -> bool:
        happened = False
        while (event := self.connection.next_event()) is not None:
            happened = True
            if type(event) is ReopenDue:
                self.node.reopen(self)
            elif type(event) is SessionClaimed:
                self.node.claimed(self, event)
            elif type(event) is MessagesWanted:
                self.node.bring(self, event)
            else:
                self.events.append(event)
                CALLBACKS[type(event)](self.application, event)
        return happened

    def written(self, safe: bool) -> None:
        """What the session has asked for first is in the store, or is not."""
        self.connection.changes_written(safe, now=self.network.now)
        self.pump()

    def _check(self, datagrams: list[bytes]) -> None:
        """The rule of trains: equal sizes but for the last, and that is no larger."""
        size = len(datagrams[0])
        if any(len(datagram) != size for datagram in datagrams[:-1]) or not 0 < len(datagrams[-1]) <= size:
            raise AssertionError(f"{self!r} made a train of {[len(datagram) for datagram in datagrams]} bytes")

    @property
    def idle(self) -> bool:
        """Whether nothing happens on this side until somebody does something, or it is time for a ping."""
        connection = self.connection
        if connection.ended:
            return True
        if (
            not connection.linked
            or connection.state in (State.NEW, State.OPENING, State.ENDED)
            or self._soon.when <= self.network.now
        ):
            return False
        statistics = connection.statistics()
        if statistics["in_flight"] or statistics["paced_until"] is not None:
            return False
        return self.timer.when - self.network.now > NOT_IDLE

    def describe(self) -> str:
        """The state of this side in a few lines, for messages."""
        last = ", ".join(type(event).__name__ for event in self.events[-5:])
        timeout = self.connection.next_timeout()
        left = "never" if timeout is None else f"in {timeout - self.network.now:.6f} s"
        return f"{self!r}: timer {left}; events ... {last or 'none'}; {self.connection.statistics()}"
