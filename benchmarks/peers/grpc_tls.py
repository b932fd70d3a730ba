"""
gRPC (C++, by C{grpcio}) with TLS: its blocking API, with bytes as they are in place of protobuf's messages.

Asks are calls of their own; what goes one way is one call with a stream in both directions, and the listener's tells
how far it is after each C{STEP} messages, and at the end. Messages may have any length, and connections may be opened
at any rate. The listener shows a P-256 certificate, which the starter takes as the only authority, and the name that it
bears is checked. Each connection is a channel of its own, which shares nothing with others; it is open when a first
call was answered, as what a channel says of its state comes late.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep
from typing import Any

import grpc

from benchmarks.comparing.program import HOST, Task
from benchmarks.comparing.work import WARM, Asks, Bulk, Openings

SERVICE = "benchmark"
#: Messages after which the listener tells how far it is.
STEP = 100
#: Threads that answer; more are slower.
THREADS = 4
#: s that connecting may take.
PATIENCE = 30
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


class Handlers(grpc.GenericRpcHandler):
    """What the listener answers."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def service(self, details: Any) -> Any:
        if details.method == f"/{SERVICE}/ask":
            return grpc.unary_unary_rpc_method_handler(lambda message, context: message)
        return grpc.stream_stream_rpc_method_handler(self._flow)

    def _flow(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        take = self._work.listening().take
        if isinstance(self._work, Bulk):
            for message in messages:
                yield from take((message,))
            return
        told: list[bytes] = []
        for number, message in enumerate(messages, 1):
            told = take((message,))
            if number % STEP == 0:
                yield from told
        yield from told


def listen(task: Task) -> None:
    """The listener's process."""
    server = grpc.server(ThreadPoolExecutor(THREADS), handlers=(Handlers(task.work),), options=OPTIONS)
    credentials = grpc.ssl_server_credentials([(task.key.read_bytes(), task.certificate.read_bytes())])
    task.ready(server.add_secure_port(f"{HOST}:0", credentials))
    server.start()
    server.wait_for_termination()


class Channels:
    """Connections to the listener."""

    def __init__(self, task: Task) -> None:
        self._address = f"{HOST}:{task.word}"
        self._credentials = grpc.ssl_channel_credentials(task.authority.read_bytes())

    def open(self) -> Any:
        """One more, that has been used."""
        channel = grpc.secure_channel(self._address, self._credentials, options=OPTIONS)
        channel.unary_unary(f"/{SERVICE}/ask")(b"", timeout=PATIENCE, wait_for_ready=True)
        return channel

    def open_many(self, count: int, at_once: int) -> list[Any]:
        """So many."""
        with ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(lambda _: self.open(), range(count)))

    def open_and_close(self, work: Openings) -> dict[str, Any]:
        """See L{benchmarks.comparing.work.open_and_close}."""
        began = perf_counter()
        until = began + work.seconds

        def again(_: int) -> int:
            count = 0
            while perf_counter() < until:
                self.open().close()
                count += 1
            return count

        with ThreadPoolExecutor(work.at_once) as threads:
            count = sum(threads.map(again, range(work.at_once)))
        return {"count": count, "seconds": perf_counter() - began}


def _ask(task: Task, channel: Any) -> None:
    """One after the other, or many at once, each begun by what ends another."""
    asking = channel.unary_unary(f"/{SERVICE}/ask")
    asking(b"")
    work = task.work.starting(task.over, bounded=False)
    task.begin()
    work.begin()
    if task.work.outstanding == 1:
        while batch := work.next():
            work.take([asking(message) for message in batch])
        return
    lock = threading.Lock()

    def answered(future: Any) -> None:
        with lock:
            work.take((future.result(),))
            batch = work.next()
        more(batch)

    def more(batch: list[bytes]) -> None:
        for message in batch:
            asking.future(message).add_done_callback(answered)

    more(work.next())


def _carry(task: Task, channel: Any) -> None:
    work = task.work.starting(task.over, bounded=True)
    told = threading.Event()

    def messages() -> Iterator[bytes]:
        while not work.exhausted:
            told.clear()
            batch = work.next()
            yield from batch
            if not batch and not work.exhausted:
                told.wait()

    task.begin()
    work.begin()
    for total in channel.stream_stream(f"/{SERVICE}/flow")(messages()):
        work.take((total,))
        told.set()


def start(task: Task) -> None:
    """The starter's process."""
    channels, work = Channels(task), task.work
    if isinstance(work, Openings):
        channels.open().close()
        task.begin()
        task.over(channels.open_and_close(work))
    elif isinstance(work, Asks):
        _ask(task, channels.open())
    elif hasattr(work, "count"):
        kept = channels.open_many(WARM, work.at_once)
        sleep(work.rest)
        task.begin()
        kept += channels.open_many(work.count, work.at_once)
        sleep(work.rest)
        task.over({"opened": len(kept)})
    else:
        _carry(task, channels.open())
    threading.Event().wait()
