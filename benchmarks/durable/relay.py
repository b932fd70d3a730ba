"""
A network between two processes, which can be cut: then nothing passes.

    python -m benchmarks.durable.relay HOST PORT TARGET

is nothing but a way from an address of this machine to a port of its loopback interface.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time

HOST = "127.0.0.1"
LARGEST = 65_535
#: Places that starters have come from, of which the last are kept.
MOST = 4


class Relay:
    """
    Passes datagrams on, in a thread of its own: between whoever comes to its port, and another port.

    @param target: of the other port.
    @param host: the address that starters come to.
    @param port: of that; 0 for one that is free.
    @ivar port: where starters come.
    @ivar lost: datagrams that did not.
    """

    def __init__(self, target: int, host: str = HOST, port: int = 0) -> None:
        self._target = (HOST, target)
        self._socket = self._bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._healed = 0.0
        self.lost = 0
        self._outer: dict[tuple[str, int], socket.socket] = {}
        self._inner: dict[socket.socket, tuple[str, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cutFor(self, seconds: float) -> None:
        """Nothing passes for so long."""
        self._healed = time.monotonic() + seconds

    def stop(self) -> None:
        """Nothing passes any more; the sockets are closed."""
        self._ended.set()
        self._thread.join()
        for one in (self._socket, *self._inner):
            one.close()

    def _bound(self, host: str = HOST, port: int = 0) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.bind((host, port))
        one.setblocking(False)
        return one

    def _run(self) -> None:
        while not self._ended.is_set():
            readable, _, _ = select.select([self._socket, *self._inner], [], [], 0.1)
            for one in readable:
                self._pass(one)

    def _pass(self, one: socket.socket) -> None:
        """What has come to one socket."""
        for _ in range(64):
            try:
                data, sender = one.recvfrom(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # the other side is not there at the moment
            if time.monotonic() < self._healed:
                self.lost += 1
                continue
            try:
                if one is self._socket:
                    self._way(sender).sendto(data, self._target)
                else:
                    self._socket.sendto(data, self._inner[one])
            except OSError:
                self.lost += 1

    def _way(self, sender: tuple[str, int]) -> socket.socket:
        """The socket by which a starter's datagrams leave."""
        found = self._outer.get(sender)
        if found is None:
            found = self._outer[sender] = self._bound()
            self._inner[found] = sender
            if len(self._outer) > MOST:
                oldest = self._outer.pop(next(iter(self._outer)))
                del self._inner[oldest]
                oldest.close()
        return found


if __name__ == "__main__":
    Relay(int(sys.argv[3]), sys.argv[1], int(sys.argv[2]))
    threading.Event().wait()
