"""
The carrier for UDP on Linux: whole trains in one system call, out (UDP_SEGMENT) and in (UDP_GRO).

A system call for each datagram costs more than everything else that hypermail does with it, so both
directions move batches. Reading fills an arena with one C{recvmsg_into} after the other, each of which may
bring a train that the kernel has put together, and hands over views of it. Writing hands a train to one
C{sendmsg}; where the kernel, the device or the path refuses that, the train is cut smaller, down to single
datagrams, and what was learned is kept. The two bits of explicit congestion notification come and go with each
batch, as control messages beside those of the segments; so does, where a listener has several addresses, the one
that it was asked at (L{hypermail.internet.answering}).

Nothing is fragmented: the core finds out which size the path carries.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from twisted.internet import udp
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.interfaces import ICarrier, ICarrierUser
from hypermail.internet.answering import (
    ASKED,
    PKTINFO_SIZE,
    REFUSES_SOURCE,
    isEverywhere,
    localOf,
    pktinfoMessage,
    pktinfoOption,
)
from hypermail.internet.carrier import LARGEST_DATAGRAM, NO_WAY
from hypermail.internet.fragmentation import forbidFragments
from hypermail.link.train import Train
from hypermail.options import KIB, MIB

# linux/udp.h; the socket module has no names for them.
SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104

#: Segments of one C{sendmsg}: what every kernel with UDP_SEGMENT takes.
MAX_SEGMENTS = 64

#: Bytes to read into before what was read is handed over, which is a turn of every session in it.
ARENA = 512 * KIB
#: The same where the kernel has joined small datagrams: a turn has enough of them, and what was read, opened and put
#: together in it should find room in the processor's cache.
JOINED = 256 * KIB

#: Reads before the reactor gets its turn, however little each has brought.
MAX_READS = 512

#: Turns in which a small datagram that comes alone is taken for all that there is, after one in which it was.
GLANCES = 7
#: Bytes of such a one, at most: large ones belong to more, and a turn costs as much as they do.
GLANCED = 2 * KIB

#: Trains that wait for a full socket before further ones are dropped.
MAX_QUEUED = 256

#: Addresses to which trains cannot be segmented that are remembered before they are tried again.
MAX_UNSEGMENTED = 1_024

#: Control messages that tell the codepoint of what was read.
_MARKS = (socket.IP_TOS, socket.IPV6_TCLASS)
#: For each read: the size of its datagrams (UDP_GRO), their codepoint (an int in IPv6, a byte in IPv4), and where
#: they were sent to.
_CONTROL_SPACE = 2 * socket.CMSG_SPACE(4) + socket.CMSG_SPACE(PKTINFO_SIZE)
_INT = struct.Struct("=i")
_UINT16 = struct.Struct("=H")

#: A train refused with one of these may pass in smaller pieces: too many segments (EINVAL), a device that
#: cannot checksum them (EIO), segments larger than the path's MTU (EMSGSIZE, EINVAL).
_REFUSES_SEGMENTS = {errno.EINVAL, errno.EIO, errno.EMSGSIZE}


#: What came from one address in a row: (address, codepoint, datagrams). The address is (host, port) or, where it is
#: told which of ours was asked, (host, port, local).
Batch = tuple[Any, int, list[memoryview]]


@implementer(ICarrier)
class SegmentingPort(udp.Port):
    """
    A UDP port that reads and writes trains.

    @ivar protocol: a L{DatagramProtocol} that is an L{ICarrierUser}.
    @ivar bufferSize: bytes asked for as the socket's buffers.
    @ivar receiveBuffer: bytes granted for receiving.
    @ivar ecn: whether the socket tells of, and takes, codepoints of explicit congestion notification.
    @ivar fragments: whether the system fragments what is too large.
    @ivar segments: how many datagrams one system call sends, as far as is known; 1 without UDP_SEGMENT.
    @ivar lost: how many datagrams or reads have failed, by the name of the error.
    """

    bufferSize = 4 * MIB
    maxThroughput = 1 * MIB
    receiveBuffer: int | None = None
    ecn = False
    fragments = True
    largestDatagram = LARGEST_DATAGRAM
    segments = 1

    _unsegmented: frozenset[Any] = frozenset()
    _glances = 0  # calls of doRead in which a small datagram that comes alone is taken for the last

    # One for all ports: what is read into it is handed over before anybody reads again.
    _arena = memoryview(bytearray(ARENA))

    def __init__(
        self, port: int, protocol: ICarrierUser, interface: str, reactor: Any, answering: bool = False
    ) -> None:
        """
        @param answering: send to each peer from the address that it has sent to: for listeners. Starters leave it to
            the routes, which know when an address has become another one.
        """
        super().__init__(port, protocol, interface, LARGEST_DATAGRAM, reactor)  # type: ignore[no-untyped-call]
        self._user = protocol
        self.lost: Counter[str] = Counter()
        self._waiting: deque[tuple[Any, Sequence[bytes], int]] | None = None  # made for the first
        self._control: Sequence[tuple[int, int, bytes]] = ()
        self._controlFor = (0, 0, b"")
        self._answers = answering and isEverywhere(interface)

    # The socket.

    @classmethod
    def adopting(cls, bound: socket.socket, protocol: ICarrierUser, reactor: Any, answering: bool = False) -> Any:
        """
        A port on a socket that somebody else has bound.

        @param bound: which may be closed afterwards: the port has its own descriptor.
        @return: the port, which is not listening yet.
        """
        host, number = bound.getsockname()[:2]
        port: Any = cls(number, protocol, host, reactor, answering)
        made = bound.dup()
        made.setblocking(False)
        port._prepare(made)
        port._preexistingSocket = made
        return port

    def createInternetSocket(self) -> socket.socket:
        """A socket of its own for each family, with large buffers, that segments and joins as the system can."""
        made: socket.socket = super().createInternetSocket()
        try:
            if self.addressFamily == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._prepare(made)
        except BaseException:
            made.close()
            raise
        return made

    def _prepare(self, made: socket.socket) -> None:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            made.setsockopt(socket.SOL_SOCKET, option, self.bufferSize)
        # Linux grants twice of what it gives, for its own bookkeeping (socket(7)).
        self.receiveBuffer = made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        self.fragments = self._user.fragmentable or not forbidFragments(made)
        try:
            made.setsockopt(SOL_UDP, UDP_GRO, 1)
        except OSError as error:
            self._count(error)
        try:
            made.setsockopt(*self._hearsMarks, 1)
            self.ecn = True
        except OSError as error:
            self._count(error)
        if self._answers:
            try:
                made.setsockopt(*pktinfoOption(self.addressFamily), 1)
            except OSError as error:
                self._count(error)
        try:
            made.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
            self.segments = MAX_SEGMENTS
        except OSError as error:
            self._count(error)

    @property
    def _hearsMarks(self) -> tuple[int, int]:
        """The option that has the kernel tell the codepoints of what arrives."""
        if self.addressFamily == socket.AF_INET6:
            return socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS
        return socket.IPPROTO_IP, socket.IP_RECVTOS

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Forget what waits; the protocol may still send its last words from C{stopProtocol}."""
        self._waiting = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """See L{ICarrier.stop}."""
        self._waiting = None
        self.stopWriting()  # type: ignore[no-untyped-call]

    def statistics(self) -> dict[str, int]:
        """See L{ICarrier.statistics}."""
        return dict(self.lost)

    def _count(self, error: OSError, datagrams: int = 1) -> None:
        self.lost[errno.errorcode.get(error.errno or 0, "unknown")] += datagrams

    # Reading.

    def doRead(self) -> None:
        """
        Read arena by arena, until nothing is left or the rest of the program should have its turn.

        Where small datagrams come one by one, each after the answer to the one before, a further call of the system
        would find nothing every time. So it is left out for L{GLANCES} turns after one in which it has found nothing.
        What waits nevertheless the reactor tells of again.
        """
        taken = reads = 0
        more = True
        while more and self.connected and taken < self.maxThroughput and reads < MAX_READS:
            batches, size, count, more = self._fill(MAX_READS - reads)
            taken += size
            reads += count
            for address, ecn, datagrams in batches:
                self._user.datagramsReceived(datagrams, address, ecn)

    def _fill(self, reads: int) -> tuple[list[Batch], int, int, bool]:
        """
        Fill the arena once.

        @return: the datagrams in batches; how many bytes and reads they were; whether more may wait.
        """
        batches: list[Batch] = []
        latest: dict[Any, Batch] = {}
        arena = self._arena
        receive = self.socket.recvmsg_into
        start = count = 0
        last = ARENA - LARGEST_DATAGRAM
        while start <= last and count < reads:
            count += 1
            try:
                size, ancillary, _, address = receive([arena[start:]], _CONTROL_SPACE)
            except BlockingIOError:
                alone = count == 2 and len(batches) == 1 and len(batches[0][2]) == 1
                self._glances = GLANCES if alone else 0
                return batches, start, count, False
            except OSError as error:
                # An answer to something that was sent, as ECONNREFUSED: no reason to stop listening.
                self._count(error)
                continue
            if len(address) == 4:
                address = _withZone(address)
            segment, ecn = size, 0
            for _, kind, data in ancillary:
                if kind == UDP_GRO:
                    segment = _INT.unpack(data)[0]
                elif kind in _MARKS:
                    ecn = (data[0] if len(data) == 1 else _INT.unpack(data)[0]) & 3
                elif kind in ASKED:
                    local = localOf(data)
                    if local:
                        address = (address[0], address[1], local)
            batch = latest.get(address)
            if batch is None or batch[1] != ecn:  # their order is kept, or it would look as if some were lost
                batch = latest[address] = (address, ecn, [])
                batches.append(batch)
            datagrams = batch[2]
            whole = arena[start : start + size]
            if segment < size:
                datagrams += [whole[at : at + segment] for at in range(0, size, segment)]
                start += size
                last = JOINED - LARGEST_DATAGRAM
                continue
            datagrams.append(whole)
            start += size
            if self._glances and start <= GLANCED and count == 1:
                self._glances -= 1
                return batches, start, count, False
        return batches, start, count, True

    # Writing.

    def send(self, train: Train) -> bool:
        """See L{ICarrier.send}."""
        address, datagrams, ecn = train
        if not self._waiting:
            rest = self._transmit(address, datagrams, ecn)
            if not rest:
                return True
            if self.connected:
                self._waiting = deque(((address, rest, ecn),))
                self.startWriting()  # type: ignore[no-untyped-call]
                return False
        elif len(self._waiting) < MAX_QUEUED:
            self._waiting.append(train)
            return False
        self.lost["dropped"] += len(datagrams)
        return False

    def doWrite(self) -> None:
        """The socket has room: send what waits, then ask for more."""
        waiting = self._waiting
        while waiting:
            address, datagrams, ecn = waiting[0]
            rest = self._transmit(address, datagrams, ecn)
            if rest:
                waiting[0] = (address, rest, ecn)
                return
            waiting.popleft()
        self._waiting = None
        self.stopWriting()  # type: ignore[no-untyped-call]
        self._user.carrierWritable()

    def _transmit(self, address: Any, datagrams: Sequence[bytes], ecn: int) -> Sequence[bytes]:
        """
        Give datagrams to the socket, in as few calls as it takes.

        @return: those for which it has no room now.
        """
        to, asked = (address[:2], address[2]) if len(address) == 3 else (address, b"")
        local = asked
        most = limit = 1 if address in self._unsegmented else self.segments
        wanted = ecn = ecn if self.ecn else 0
        size = len(datagrams[0])
        while datagrams:
            count = min(len(datagrams), limit)
            piece = datagrams if count == len(datagrams) else datagrams[:count]
            control = self._controlOf(len(piece[0]) if count > 1 else 0, ecn, local)
            try:
                self.socket.sendmsg(piece, control, 0, to)
            except BlockingIOError:
                return datagrams
            except OSError as error:
                if count > 1 and error.errno in _REFUSES_SEGMENTS:
                    limit = count // 2 if error.errno == errno.EINVAL else 1
                    continue
                if ecn and error.errno == errno.EINVAL:
                    limit, ecn = most, 0
                    continue
                if local and error.errno in REFUSES_SOURCE:  # last: one that is gone looks like the other two
                    limit, ecn, local = most, wanted, b""
                    continue
                self._failed(error, address, count)
                ecn, local = wanted, asked
            else:
                if limit < most and len(piece[0]) == size:  # a short last one passes where the others are too large
                    most = limit
                    self._learn(address, limit)
                if ecn != wanted:
                    wanted = 0
                    self.ecn = False  # it passes without, and was refused with it
            datagrams = datagrams[count:]
        return datagrams

    def _controlOf(self, size: int, ecn: int, local: bytes) -> Sequence[tuple[int, int, bytes]]:
        """
        The control messages of a train. (To set IP_TOS whenever it changes takes a system call, which costs more.)

        @param size: bytes of the datagrams into which the kernel is to cut the buffer; 0 for one datagram.
        @param ecn: their codepoint.
        @param local: where they are to come from; see L{localOf}. Empty for where the routes say.
        """
        if (size, ecn, local) != self._controlFor:
            self._controlFor = size, ecn, local
            control = [(SOL_UDP, UDP_SEGMENT, _UINT16.pack(size))] if size else []
            if ecn:
                six = self.addressFamily == socket.AF_INET6
                field = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if six else (socket.IPPROTO_IP, socket.IP_TOS)
                control.append((*field, _INT.pack(ecn)))
            if local:
                control.append(pktinfoMessage(local))
            self._control = control
        return self._control

    def _learn(self, address: Any, limit: int) -> None:
        """
        A piece of C{limit} datagrams has passed where a larger one had not.

        Only success teaches: an address that takes nothing at all, which a stranger can forge, says
        nothing about segments. For the same reason one path's refusal does not count for others.
        """
        if limit > 1:
            self.segments = limit
            return
        if len(self._unsegmented) >= MAX_UNSEGMENTED:
            self._unsegmented = frozenset()
        self._unsegmented |= {address}

    def _failed(self, error: OSError, address: Any, datagrams: int) -> None:
        """These datagrams will not be sent; to the core they are lost on the way."""
        self._count(error, datagrams)
        if error.errno in NO_WAY:
            self._user.addressUnreachable(address, error)


def _withZone(address: Any) -> tuple[str, int]:
    """An IPv6 socket's address as (host, port); the zone of a link-local one goes into its host."""
    host, port, _, zone = address
    return (f"{host}%{zone}", port) if zone else (host, port)
