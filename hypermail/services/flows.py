"""
UDP through a tunnel: what one address sends is a flow, and goes as direct messages.

Each message is the number of its flow (4 bytes, chosen by the starter's side), the length of a name (1 byte) and the
name, then the datagram. The name is that of the passage on the way forth, and empty on the way back. What is larger
than a direct message on this path may be is lost, as it would be on a path of a small MTU without fragments.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from struct import Struct
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, MessageTooLarge
from hypermail.interfaces import ISession
from hypermail.services.addresses import describe
from hypermail.services.ending import causeOf
from hypermail.services.sockets import openQuietly
from hypermail.services.targets import Target
from hypermail.services.troubles import Trouble

#: s without a datagram after which a flow is forgotten (RFC 4787, REQ-5: no less than 2 minutes).
IDLE = 120.0
#: s between two looks at what is idle.
LOOK = 10.0
#: Flows of one starter; further ones push out those that have been silent for the longest time.
MOST_FLOWS = 4_096
#: Flows of one session at the listener, each of which has a socket.
MOST_TARGETS = 256
#: Datagrams that wait until the target's name is resolved.
MOST_EARLY = 16

_HEAD = Struct("!IB")
_NUMBERS = 1 << 32


class Parcel(NamedTuple):
    """One datagram of a flow."""

    flow: int
    name: bytes
    data: bytes

    def encode(self) -> bytes:
        """As a direct message."""
        return _HEAD.pack(self.flow, len(self.name)) + self.name + self.data


def parse_parcel(message: bytes) -> Parcel | None:
    """Read a direct message. @return: None when it is no datagram of a flow."""
    if len(message) < _HEAD.size:
        return None
    flow, length = _HEAD.unpack_from(message)
    start = _HEAD.size + length
    if len(message) < start:
        return None
    return Parcel(flow, message[_HEAD.size : start], message[start:])


class _Idle:
    """
    Things that are used by their numbers, and forgotten when they are not, or too many.

    @param forget: called with what is forgotten.
    """

    def __init__(self, clock: Any, most: int, forget: Callable[[Any], object]) -> None:
        self._clock = clock
        self._most = most
        self._forget = forget
        self._used: OrderedDict[int, tuple[float, Any]] = OrderedDict()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def __len__(self) -> int:
        return len(self._used)

    def get(self, number: int) -> Any:
        """What has a number, which is used now; None when nothing has it."""
        found = self._used.get(number)
        if found is None:
            return None
        self._used[number] = (self._clock.seconds(), found[1])
        self._used.move_to_end(number)
        return found[1]

    def add(self, number: int, thing: Any) -> None:
        """Something new."""
        if len(self._used) >= self._most:
            self._forget(self._used.popitem(last=False)[1][1])
        self._used[number] = (self._clock.seconds(), thing)
        if not self._looking.running:
            self._looking.start(LOOK, now=False)

    def drop(self, number: int) -> None:
        """Forget what has a number."""
        found = self._used.pop(number, None)
        if found is not None:
            self._forget(found[1])

    def clear(self) -> None:
        """Forget everything."""
        if self._looking.running:
            self._looking.stop()
        while self._used:
            self._forget(self._used.popitem()[1][1])

    def _look(self) -> None:
        before = self._clock.seconds() - IDLE
        while self._used and next(iter(self._used.values()))[0] <= before:
            self._forget(self._used.popitem(last=False)[1][1])
        if not self._used:
            self._looking.stop()


class _Sender:
    """Sends datagrams of flows; those that are too large are counted, and logged once."""

    _log = Logger()

    def __init__(self) -> None:
        self._tooLarge = 0

    def send(self, session: ISession, parcel: Parcel) -> None:
        try:
            session.sendDatagram(parcel.encode())
        except MessageTooLarge as error:
            if not self._tooLarge:
                self._log.warn(
                    "a datagram of {size} bytes is too large for the tunnel, and lost: {reason}",
                    size=len(parcel.data),
                    reason=error.text,
                )
            self._tooLarge += 1
        except HypermailError:
            pass  # the session ends, and says so itself


class _Source(NamedTuple):
    """Where a flow comes from."""

    entrance: DatagramEntrance
    address: Any


class Flows:
    """
    The starter's side: who has sent what, so that answers find their way.

    @param session: answers the session that is open, or None.
    @ivar clock: of its timers.
    """

    def __init__(self, clock: Any, session: Callable[[], ISession | None]) -> None:
        self.clock = clock
        self._session = session
        self._numbers: dict[_Source, int] = {}
        self._flows = _Idle(clock, MOST_FLOWS, self._forget)
        self._next = 0
        self._sender = _Sender()

    def __len__(self) -> int:
        return len(self._flows)

    def _forget(self, source: _Source) -> None:
        del self._numbers[source]

    def forth(self, entrance: DatagramEntrance, address: Any, data: bytes) -> None:
        """Something was sent to an entrance; without a session it is lost."""
        session = self._session()
        if session is None:
            return
        source = _Source(entrance, address)
        number = self._numbers.get(source)
        if number is None or self._flows.get(number) is None:
            number = self._next
            self._next = (self._next + 1) % _NUMBERS
            self._numbers[source] = number
            self._flows.add(number, source)
        self._sender.send(session, Parcel(number, entrance.name, data))

    def back(self, message: bytes) -> None:
        """A direct message has come: the answer to a flow, if that is still known."""
        parcel = parse_parcel(message)
        source = None if parcel is None else self._flows.get(parcel.flow)
        if parcel is not None and source is not None:
            source.entrance.answer(parcel.data, source.address)

    def clear(self) -> None:
        """Forget all flows."""
        self._flows.clear()


class DatagramEntrance(DatagramProtocol):
    """
    A socket of the starter's side whose datagrams go through the tunnel.

    @ivar name: of the passage.
    """

    def __init__(self, name: str, flows: Flows) -> None:
        self.name = name.encode()
        self._flows = flows
        self._trouble = Trouble(flows.clock, f"no answers to who sends to {name or 'the tunnel'}")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See L{DatagramProtocol}."""
        self._flows.forth(self, addr, datagram)

    def answer(self, data: bytes, address: Any) -> None:
        """An answer for one who has sent something here."""
        if self.transport is not None:
            self._trouble.write(self.transport, data, address)


class DatagramExits:
    """
    The listener's side, of one session: a socket for each flow.

    @param targets: by the names of the passages.
    """

    _log = Logger()

    def __init__(self, reactor: Any, session: ISession, targets: Mapping[bytes, Target]) -> None:
        self._reactor = reactor
        self._session = session
        self._targets = targets
        self._flows = _Idle(reactor, MOST_TARGETS, _Exit.close)
        self._sender = _Sender()
        self._unknown = 0

    def __len__(self) -> int:
        return len(self._flows)

    def forth(self, message: bytes) -> None:
        """A direct message has come."""
        parcel = parse_parcel(message)
        if parcel is None:
            return
        exit = self._flows.get(parcel.flow)
        if exit is None:
            target = self._targets.get(parcel.name)
            if target is None:
                self._refuse(parcel.name)
                return
            back, failed = partial(self._back, parcel.flow), partial(self._flows.drop, parcel.flow)
            exit = _Exit(self._reactor, target, back, failed)
            self._flows.add(parcel.flow, exit)
            exit.open()
        exit.send(parcel.data)

    def _back(self, flow: int, data: bytes) -> None:
        self._sender.send(self._session, Parcel(flow, b"", data))

    def _refuse(self, name: bytes) -> None:
        if not self._unknown:
            self._log.warn(
                "a datagram of {peer} is dropped: nothing is forwarded by the name {name!r}; --forward has no "
                "udp:HOST:PORT of that name",
                peer=describe(self._session.getPeer()),
                name=name,
            )
        self._unknown += 1

    def clear(self) -> None:
        """The session is over."""
        self._flows.clear()


class _Exit(DatagramProtocol):
    """
    A socket of one flow. It is not connected: with Twisted's C{epoll} reactor a target that is down would close it.

    @param back: called with each datagram of the target's.
    @param failed: called when there will be no socket.
    """

    transport: Any
    noisy = False

    def __init__(
        self, reactor: Any, target: Target, back: Callable[[bytes], object], failed: Callable[[], object]
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._back = back
        self._failed = failed
        self._early: deque[bytes] | None = deque(maxlen=MOST_EARLY)
        self._address = ("", 0)
        self._opening: Deferred[None] | None = None

    def open(self) -> None:
        """Open the socket, once it is known where the target is."""
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(self._notOpened)

    async def _open(self) -> None:
        host, port = await self._target.address()
        interface = "::" if ":" in host else "0.0.0.0"
        try:
            openQuietly(self._reactor, self, interface)
        except CannotListenError as error:
            self._target.trouble.say(f"there is no socket ({causeOf(error)})")
            raise
        self._address = (host, port)
        early: Iterable[bytes] = self._early or ()
        self._early = None
        for data in early:
            self.send(data)

    def _notOpened(self, failure: Failure) -> None:
        """That was said."""
        failure.trap(HypermailError, CannotListenError, CancelledError)
        if not failure.check(CancelledError):
            self._failed()

    def send(self, data: bytes) -> None:
        """To the target."""
        if self._early is not None:
            self._early.append(data)
        elif self.transport is not None:
            self._target.trouble.write(self.transport, data, self._address)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See L{DatagramProtocol}: only the target may answer."""
        if addr[:2] == self._address:
            self._back(datagram)

    def close(self) -> None:
        """The flow is over."""
        if self._opening is not None:
            self._opening.cancel()
        if self.transport is not None:
            self.transport.stopListening()
