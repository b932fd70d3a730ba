"""
The listener's end of a tunnel: streams and datagrams go on to where C{--forward} says, by their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint

from hypermail.errors import HypermailError, Reason, StreamRejected
from hypermail.interfaces import ISession
from hypermail.services.flows import DatagramExits
from hypermail.services.passages import CLIENT_EXAMPLE, Passage, endpoint_of, parse_udp_target
from hypermail.services.paths import printable
from hypermail.services.pipes import PipeEnd, PipeFactory
from hypermail.services.targets import Target
from hypermail.services.troubles import Trouble


class Exits:
    """
    Where everything goes.

    @ivar names: of the passages that take streams.
    """

    def __init__(self, reactor: Any, passages: Iterable[Passage]) -> None:
        """
        @raise UsageError: when a description is none of an endpoint.
        """
        self._reactor = reactor
        self._endpoints: dict[bytes, tuple[IStreamClientEndpoint, Trouble]] = {}
        self._targets: dict[bytes, Target] = {}
        for passage in passages:
            name = passage.name.encode()
            if passage.datagrams:
                self._targets[name] = Target(reactor, parse_udp_target(passage))
            else:
                trouble = Trouble(reactor, f"--forward {passage}: a stream cannot go on")
                self._endpoints[name] = (self._endpoint(passage), trouble)
        self._refused = Trouble(reactor, "a stream is refused")
        self.names = frozenset(self._endpoints)

    def _endpoint(self, passage: Passage) -> IStreamClientEndpoint:
        parse = partial(clientFromString, self._reactor)
        endpoint: IStreamClientEndpoint = endpoint_of(passage, "--forward", parse, "to connect to", CLIENT_EXAMPLE)
        return endpoint

    def datagrams(self, session: ISession) -> DatagramExits | None:
        """The exits of a session's datagrams; None when no passage takes any."""
        return DatagramExits(self._reactor, session, self._targets) if self._targets else None

    async def connect(self, name: bytes) -> PipeEnd:
        """
        Connect to where streams of a name go.

        @return: the stream's protocol.
        @raise StreamRejected: when nothing has the name, or its target does not answer.
        """
        if name not in self._endpoints:
            text = self._unknown(name)
            self._refused.say(text)
            raise StreamRejected(text, Reason.STREAM_NAME_UNKNOWN)
        endpoint, trouble = self._endpoints[name]
        outer = PipeEnd()
        try:
            await endpoint.connect(PipeFactory(outer))
        except (CancelledError, ConnectingCancelledError):  # the opener does not want the stream any more
            raise
        except Exception as error:
            why = printable(error.text if isinstance(error, HypermailError) else str(error))
            trouble.say(why)
            raise StreamRejected(f"its target cannot be reached: {why}", Reason.UNREACHABLE) from error
        return _StreamEnd(outer)

    def _unknown(self, name: bytes) -> str:
        known = [repr(name.decode()) for name in sorted(self._endpoints)]
        known += [f"{name.decode()!r} for datagrams" for name in sorted(self._targets)]
        what = repr(name[:80].decode(errors="replace"))
        return f"no stream is forwarded by the name {what}; there is {', '.join(known) or 'nothing'}"


class _StreamEnd(PipeEnd):
    """The end that is a stream; the other one is connected already."""

    def __init__(self, outer: PipeEnd) -> None:
        super().__init__()
        self._outer = outer

    def connectionMade(self) -> None:
        super().connectionMade()
        self.join(self._outer)
