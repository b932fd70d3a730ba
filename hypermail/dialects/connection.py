"""
One session in a dialect: what every dialect's has in common.

It answers what L{hypermail.internet} asks of a L{hypermail.connection.Connection}; a dialect's own class says what goes
over the wire. It never reads a clock nor opens a socket, and never calls the application.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hypermail import events
from hypermail.dialects.absent import Absent, O
from hypermail.dialects.messages import DialectMessage, Receiving, Sending
from hypermail.errors import (
    HypermailError,
    MessageTooLarge,
    Reason,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    UsageError,
)
from hypermail.link.pacing import Pacer
from hypermail.link.train import Train, couple
from hypermail.messages.message import OutgoingMessage
from hypermail.messages.octets import octets
from hypermail.options import Role
from hypermail.session.states import SESSION, Input, State

if TYPE_CHECKING:
    from hypermail.interfaces import Octets

T = TypeVar("T")


class DialectConnection(Absent[O], Generic[O, T]):
    """
    One side of one session.

    Subclasses implement the methods that raise L{NotImplementedError}, and call C{_say} with datagrams, C{_opened},
    C{_end} and the parts.

    @cvar sealed: what says how datagrams are secured, for people; None when by nothing.
    @cvar largest_datagram: bytes of a full datagram.

    @ivar role: which side this is.
    @ivar options: what this side wants and bears.
    @ivar address: where the peer receives; (host, port) and perhaps more, which is given back.
    @ivar session_id: names the session in logs.
    @ivar state: where the session is in its life, as table L{SESSION} has it.
    @ivar ended: whether it may be forgotten.
    @ivar sending: messages of ours.
    @ivar receiving: messages of the peer.
    @ivar credit: bytes that may be sent to a peer whose address is not proved; None when it is.
    @ivar now: s, monotonic; when something happened last.
    """

    sealed: str | None = None
    largest_datagram = 1_200

    def __init__(self, role: Role, options: O, address: Any, *, credit: int | None, now: float) -> None:
        self.role = role
        self.options = options
        self.address = address
        self.session_id = b""
        self.state = State.NEW
        self.ended = False
        self.more = False
        self.sending = Sending(options.outgoing_bytes)
        self.receiving: Receiving[T] = Receiving()
        self.credit = credit
        self.counters = {
            "bytes_sent": 0,
            "bytes_received": 0,
            "datagrams_sent": 0,
            "datagrams_received": 0,
            "datagrams_dropped": 0,
            "directs_dropped": 0,
        }
        self.now = now
        self._out: list[bytes] = []
        self._events: deque[events.Event] = deque()
        self._ending: HypermailError | None = None
        self._directs_in: list[bytes] = []
        self._directs_out: deque[bytes] = deque()
        self._pacer = None if options.max_rate is None else Pacer(self.largest_datagram, now)
        self._resume_at: float | None = None

    # What the application does.

    @property
    def messages_full(self) -> bool:
        """Whether producers of messages should pause."""
        return self.sending.full

    def _check_open(self) -> None:
        if self.state is not State.OPEN:
            raise UsageError(f"the session is {self.state.name.lower()}: nothing more can be sent")

    def send_message(
        self,
        data: bytes,
        *,
        lane: int = 0,
        expires: float | None = None,
        wanted: bool = True,
        note: bytes = b"",
        kind: type[OutgoingMessage] = OutgoingMessage,
        now: float,
    ) -> DialectMessage:
        """
        Send a message.

        @param expires: s from now after which it is given up; what has begun to leave by then may arrive.
        @param wanted: whether L{MessagesSettled} is to tell of its fate.
        @param kind: is for sessions with lanes.
        @raise NotSupported: for any lane but 0, and for a note.
        @raise MessageTooLarge: for more than C{max_message}, or than the dialect can carry.
        @raise UsageError: when the session is not open.
        """
        self.now = now
        if lane:
            self._missing(f"lanes, and so no lane {lane}")
        if note:
            self._missing("durable lanes, which a note is for")
        self._check_open()
        self._check_message(data)
        return self.sending.add(data, None if expires is None else now + expires, wanted)

    def send_messages(self, messages: Iterable[Octets], *, lane: int = 0, now: float) -> int:
        """
        Send messages of which nobody wants to hear what becomes, as many as there is room for. No more are taken from
        the iterable.

        @return: how many.
        @raise HypermailError: as of L{send_message}; those before are sent.
        """
        count = 0
        for data in () if self.messages_full else messages:
            self.send_message(octets(data), lane=lane, wanted=False, now=now)
            count += 1
            if self.messages_full:
                break
        return count

    @property
    def unsettled_messages(self) -> list[OutgoingMessage]:
        """Those of a kind that somebody else has said: none."""
        return []

    def cancel_message(self, message: DialectMessage, *, now: float) -> None:
        """The application does not want a message to arrive any more; it may, when it has begun to leave."""
        self.now = now
        begun = message.begun and not message.settled
        self.sending.cancel(message)
        if begun:
            self._given_up(message)

    def let_go(self) -> None:
        """See L{hypermail.connection.Connection.let_go}; what is here waits for the garbage collector."""

    def send_direct(self, data: bytes) -> None:
        """
        Send a message once, without acknowledgement.

        @raise MessageTooLarge: when it does not fit a datagram.
        @raise UsageError: when the session is not open.
        """
        self._check_open()
        self._check_direct(data)
        if len(self._directs_out) >= self.options.max_directs:
            self._directs_out.popleft()
            self.counters["directs_dropped"] += 1
        self._directs_out.append(data)

    def accept(self, taken: Mapping[int, int], *, now: float) -> None:
        """
        A listener's: the application wants the session.

        @raise HypermailError: when it is over meanwhile.
        """
        self.now = now
        self._move(Input.ACCEPT)
        self._events.append(events.SessionOpened())
        self._accepted(now)

    def reject(self, code: int, text: str, *, now: float) -> None:
        """
        A listener's: the application does not want the session.

        @raise HypermailError: when it is over meanwhile.
        """
        self.now = now
        if self.state is not State.DECIDING:
            raise UsageError(f"the session is {self.state.name.lower()}")
        self._refused(now)
        self._end(SessionAborted(text, code), now)

    def close(self, *, now: float) -> None:
        """End the session when everything is delivered, in both directions."""
        self.now = now
        if self.state is State.OPEN:
            self._move(Input.CLOSE)
            self._look(now)
        elif self.state in (State.NEW, State.OPENING, State.DECIDING):
            self.abort(Reason.NONE, "closed before it opened", now=now)

    def abort(self, code: int, text: str, *, now: float) -> None:
        """End the session at once; the dialect has no words for code and text."""
        self.now = now
        if self.state is not State.ENDED:
            self._leave(now)
            self._end(SessionAborted(text, code), now)

    # What the dialect does. Subclasses implement these.

    def _check_message(self, data: bytes) -> None:
        """@raise MessageTooLarge: when a message cannot be carried."""
        if len(data) > self.options.max_message:
            raise MessageTooLarge(f"a message has at most {self.options.max_message} bytes, not {len(data)}")

    def _check_direct(self, data: bytes) -> None:
        """@raise MessageTooLarge: when a direct message cannot be carried."""
        raise NotImplementedError

    def ping(self, *, now: float) -> None:
        """
        Measure a round trip: L{events.PingAnswered} follows.

        @raise HypermailError: when that cannot be done.
        """
        raise NotImplementedError

    def _accepted(self, now: float) -> None:
        """The application has accepted: whatever waited for that goes on."""
        raise NotImplementedError

    def _refused(self, now: float) -> None:
        """The application has refused: say so, if there is a way."""
        raise NotImplementedError

    def _leave(self, now: float) -> None:
        """The session ends at once, and that is this side's wish: say so, once."""
        raise NotImplementedError

    def _part(self, now: float) -> None:
        """Everything is delivered, and this side wants to close: say so, and sooner or later C{_end}."""
        raise NotImplementedError

    def _given_up(self, message: DialectMessage) -> None:
        """Nobody waits any more for a message that has begun to leave: stop sending it, where that is possible."""

    def _fill(self, now: float) -> None:
        """C{_say} what is to be sent now: verdicts, repetitions, messages, directs."""
        raise NotImplementedError

    def _timeout(self) -> float | None:
        """s when C{_timed} is to be called; None for never."""
        raise NotImplementedError

    def _timed(self, now: float) -> None:
        """Time has passed. Harmless when early."""
        raise NotImplementedError

    # The life of the session.

    def _move(self, input: Input) -> None:
        self.state = SESSION.next(self.state, input)

    def _asked(self, peer: str = "") -> None:
        """
        A listener's: a stranger wants a session.

        @param peer: what it calls itself, where the dialect has names.
        """
        self._move(Input.ASKED)
        self._events.append(events.SessionRequested(self.options.way, self.address, peer=peer))

    def _opened(self) -> None:
        """A starter's: the listener has agreed."""
        self._move(Input.ACCEPT)
        self._events.append(events.SessionOpened())

    @property
    def _delivered(self) -> bool:
        """Whether this side closes, and all that it has sent is through: it waits for its own application at most."""
        return self.state is State.CLOSING and not self.sending and not self._directs_out

    def _look(self, now: float) -> None:
        """Whether everything is delivered that a close waits for."""
        if self._delivered and not self.receiving:
            self._move(Input.DRAINED)
            self._part(now)

    def _closed_by_peer(self, now: float) -> None:
        """The peer has ended the session: gracefully, if nothing was on its way."""
        left = len(self.sending)
        if left and self.state is not State.CLOSE_SENT:
            self._end(SessionKilled(f"the peer has closed the session, with {left} messages on their way"), now)
        else:
            self._end(SessionClosed("the peer has closed the session"), now)

    def _end(self, error: HypermailError, now: float) -> None:
        """
        The session is over; the first word counts.

        @param error: a L{SessionLost}; what is not settled becomes undelivered by it.
        """
        if self.state is State.ENDED:
            return
        self.now = now
        self._move(Input.END)
        self.sending.lost(error)
        self.receiving.over = True
        self._directs_out.clear()
        self._ending = error

    # Datagrams.

    def heard(self, size: int) -> None:
        """So many bytes have come from the peer, in a datagram that is its."""
        self.counters["datagrams_received"] += 1
        self.counters["bytes_received"] += size
        if self.credit is not None:
            self.credit += size

    @property
    def crowded(self) -> bool:
        """
        Whether the application has as much to settle as may be: what comes now is not acknowledged. Nor is anything
        once a close waits for the application alone, or a peer that goes on sending would keep it from its end.
        """
        options, receiving = self.options, self.receiving
        return self._delivered or len(receiving) >= options.max_unsettled or receiving.bytes >= options.allowance_bytes

    def direct_arrived(self, data: bytes) -> bool:
        """
        A direct message is there.

        @return: whether it is taken: so many of one read are, and no more.
        """
        if len(self._directs_in) >= self.options.max_directs:
            self.counters["directs_dropped"] += 1
            return False
        self._directs_in.append(data)
        return True

    def _say(self, datagram: bytes) -> bool:
        """
        Send a datagram; but never more to a peer whose address is not proved than has come from there.

        @return: whether it will leave.
        """
        size = len(datagram)
        if self.credit is not None:
            if size > self.credit:
                return False
            self.credit -= size
        self._out.append(datagram)
        counters = self.counters
        counters["datagrams_sent"] += 1
        counters["bytes_sent"] += size
        if self._pacer is not None:
            self._pacer.budget -= size
        return True

    def _paced(self, now: float) -> bool:
        """Whether the user's limit lets a datagram of data leave; if not, C{next_timeout} tells when to try again."""
        if self._pacer is None or self.options.max_rate is None:
            return True
        self._resume_at = None
        rate = self.options.max_rate / 8
        if self._pacer.available(now, rate, 65_536) >= self.largest_datagram:
            return True
        self._resume_at = self._pacer.resume_at(now, rate)
        return False

    def _affords(self, size: int) -> bool:
        """Whether so many bytes may be sent to a peer whose address may not be proved."""
        return self.credit is None or size <= self.credit

    def trains(self, *, now: float) -> list[Train]:
        """What is to be sent now."""
        self.now = now
        if self.state is not State.ENDED:
            self._fill(now)
            self._look(now)
        datagrams, self._out = self._out, []
        return couple(self.address, datagrams) if datagrams else []

    # Time.

    def next_timeout(self) -> float | None:
        """s when L{handle_timeout} is to be called; None when nothing is left to wait for."""
        if self.ended:
            return None
        times = [at for at in (self._timeout(), self.sending.deadline(), self._resume_at) if at is not None]
        return min(times, default=None)

    def handle_timeout(self, *, now: float) -> None:
        """Time has passed. Harmless when early."""
        self.now = now
        if self.ended:
            return
        if self._resume_at is not None and self._resume_at <= now:
            self._resume_at = None
        for message in self.sending.expire(now):
            self._given_up(message)
        self._timed(now)

    # Events.

    def next_event(self) -> events.Event | None:
        """What happened, in order; None when nothing (more) did."""
        if self._events:
            return self._events.popleft()
        if self.state not in (State.NEW, State.OPENING, State.DECIDING):
            arrived = self.receiving.event()
            if arrived is not None:
                return arrived
            if self._directs_in:
                directs, self._directs_in = self._directs_in, []
                return events.DirectsReceived(directs)
        if self.sending.settled:
            settled, self.sending.settled = self.sending.settled, []
            return events.MessagesSettled(settled)  # type: ignore[arg-type]  # they have what L{OutgoingMessage} has
        if self.sending.became_writable():
            return events.MessagesWritable()
        ending, self._ending = self._ending, None
        return None if ending is None else events.SessionEnded(ending)

    # For people.

    def statistics(self) -> dict[str, Any]:
        """Counters and estimates; the keys of L{hypermail.connection.Connection} that have a meaning here, and more."""
        return {
            "dialect": self.options.name,
            "mode": self.options.name,
            "cipher": self.sealed,
            "state": self.state.name.lower(),
            "way": self.options.way.name.lower(),
            **self.counters,
            "bytes_lost": 0,
            "datagrams_lost": 0,
            "datagrams_forged": 0,
            "messages_sent": self.sending.count,
            "messages_received": self.receiving.finished,
            "messages_refused": self.receiving.refused,
            "messages_queued": self.sending.queued,
            "messages_held": len(self.receiving),
            "streams_opened": 0,
            "streams": 0,
            "streams_paused_by_peer": 0,
            "rtt": None,
            "window": 0,
            "in_flight": 0,
            "congestion": None,
            "mtu": self.largest_datagram,
            "moves": 0,
        }
