"""
What aioquic and qh3 have in common: one stream of bytes, with length-prefixed messages in it, on asyncio.

Flow-control windows are too large to matter, socket buffers have 4 MiB, no connection ends because it is idle. There is
no back pressure, so a sender stays less than C{AHEAD} before what the listener has told. The listener shows a P-256
certificate, which the starter takes as the only authority, name included; no session is resumed. Who closes a
connection does not wait until it has drained. How many messages have come is told C{DELAY} after the first of them:
asyncio reads one datagram in a turn, and an answer to each would halve the rate.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.comparing.program import HOST, Task
from benchmarks.comparing.work import Carried, Messages, Openings, Strings, keep_open, open_and_close

WINDOW = 1 << 30
SOCKET_BUFFER = 4 << 20
#: s.
NEVER = 3_600.0
DELAY = 0.001


@dataclass(frozen=True, slots=True)
class Library:
    """
    One of both.

    @ivar configuration: its C{QuicConfiguration}.
    @ivar connection: its C{QuicConnection}.
    @ivar protocol: its C{QuicConnectionProtocol}.
    @ivar server: its C{QuicServer}.
    @ivar received: its C{StreamDataReceived}.
    @ivar endpoint: makes a transport and a protocol on a socket.
    @ivar settings: of the configuration, for a task.
    """

    configuration: Any
    connection: Any
    protocol: Any
    server: Any
    received: Any
    endpoint: Callable[[Any, Callable[[], Any], socket.socket], Awaitable[tuple[Any, Any]]]
    settings: Callable[[Task], Mapping[str, Any]]


def udp_socket(host: str = HOST, port: int = 0) -> socket.socket:
    """A socket with large buffers."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    made.setblocking(False)
    made.bind((host, port))
    return made


def _configuration(library: Library, task: Task, is_client: bool) -> Any:
    made = library.configuration(
        is_client=is_client,
        max_data=WINDOW,
        max_stream_data=WINDOW,
        idle_timeout=NEVER,
        server_name=HOST,
        **library.settings(task),
    )
    if is_client:
        made.load_verify_locations(cadata=task.authority.read_bytes())
    else:
        made.load_cert_chain(task.certificate, task.key)
    return made


def _listener(library: Library, task: Task) -> type[Any]:
    class Listening(library.protocol):  # type: ignore[misc, name-defined]
        """The listener's side of a work."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._feed = task.work.strings().feed
            self._take = task.work.listening().take
            self._count: list[bytes] = []

        def quic_event_received(self, event: Any) -> None:
            if not isinstance(event, library.received):
                return
            replies = self._take(self._feed(event.data))
            if not replies:
                return
            if isinstance(task.work, Messages):
                if not self._count:
                    asyncio.get_running_loop().call_later(DELAY, self._tell, event.stream_id)
                self._count = replies
                return
            # what follows events is transmitted by who has called us
            self._quic.send_stream_data(event.stream_id, Strings.of(replies))

        def _tell(self, stream: int) -> None:
            count, self._count = self._count, []
            self._quic.send_stream_data(stream, Strings.of(count))
            self.transmit()

    return Listening


def _starter(library: Library, task: Task) -> type[Any]:
    class Starting(library.protocol):  # type: ignore[misc, name-defined]
        """The starter's side of a work."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._work = task.work.starting(task.over, bounded=True)
            self._feed = Strings().feed
            self._of = task.work.strings.of
            self._stream: int | None = None

        def begin(self) -> None:
            """Connected: begin with the work."""
            self._stream = self._quic.get_next_available_stream_id()
            task.begin()
            self._work.begin()
            self._more()
            self.transmit()

        def _more(self) -> None:
            while batch := self._work.next():
                self._quic.send_stream_data(self._stream, self._of(batch))

        def quic_event_received(self, event: Any) -> None:
            if isinstance(event, library.received):
                self._work.take(self._feed(event.data))
                self._more()

    return Starting


async def _listen(library: Library, task: Task) -> None:
    configuration = _configuration(library, task, False)
    carried = isinstance(task.work, Carried)
    protocol = _listener(library, task) if carried else library.protocol
    listening = udp_socket()
    await library.endpoint(
        asyncio.get_running_loop(),
        lambda: library.server(configuration=configuration, create_protocol=protocol),
        listening,
    )
    task.ready(listening.getsockname()[1])
    await asyncio.Event().wait()


async def _start(library: Library, task: Task) -> None:
    loop = asyncio.get_running_loop()
    carried = isinstance(task.work, Carried)
    kind = _starter(library, task) if carried else library.protocol
    closings: set[asyncio.Task[None]] = set()

    async def open_one() -> Any:
        connection = library.connection(configuration=_configuration(library, task, True))
        _, protocol = await library.endpoint(loop, lambda: kind(connection), udp_socket())
        protocol.connect((HOST, task.word))
        await protocol.wait_connected()
        return protocol

    async def drain(protocol: Any) -> None:
        await protocol.wait_closed()
        protocol._transport.close()

    async def close(protocol: Any) -> None:
        protocol.close()
        closing = loop.create_task(drain(protocol))
        closings.add(closing)
        closing.add_done_callback(closings.discard)

    def gather(coroutines: list[Any]) -> Awaitable[Any]:
        return asyncio.gather(*coroutines)

    if carried:
        (await open_one()).begin()
    elif isinstance(task.work, Openings):
        await close(await open_one())
        task.begin()
        task.over(await open_and_close(task.work, open_one, close, gather))
    else:
        await keep_open(task.work, task, open_one, asyncio.sleep, gather)
    await asyncio.Event().wait()


def listen(library: Library, task: Task) -> None:
    """The listener's process."""
    asyncio.run(_listen(library, task))


def start(library: Library, task: Task) -> None:
    """The starter's process."""
    asyncio.run(_start(library, task))
