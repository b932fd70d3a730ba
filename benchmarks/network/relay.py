"""
A NAT that changes its mind: relays UDP between one program on this host and one far away, from an outer socket that it
replaces when it is told to. What still comes to the old one is lost, as with a NAT that has forgotten its mapping.

    python -m benchmarks.network.relay PORT HOST PORT

listens at the first port of 127.0.0.1 (0 for one that is free), and tells it. For each line with an address of this
host it takes a new outer socket there, and answers with the address and port that it has now.
"""

from __future__ import annotations

import json
import select
import socket
import sys

LARGEST = 65_536
BUFFER = 4 << 20


def _socket(host: str, port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    made.bind((host, port))
    return made


class Relay:
    """
    Between C{127.0.0.1:port} and C{target}.

    @param target: (host, port).
    @ivar port: the inner one.
    """

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self._inner = _socket("127.0.0.1", port)
        self.port: int = self._inner.getsockname()[1]
        self._outer = _socket("0.0.0.0")
        self._target = target
        self._user: tuple[str, int] | None = None

    def move(self, host: str) -> tuple[str, int]:
        """Take another outer socket. @return: its address."""
        replaced, self._outer = self._outer, _socket(host)
        replaced.close()
        address: tuple[str, int] = self._outer.getsockname()
        return address

    def turn(self) -> bool:
        """Relay what there is. @return: whether there is a line to read."""
        ready, _, _ = select.select([self._inner, self._outer, sys.stdin], [], [])
        if self._inner in ready:
            data, self._user = self._inner.recvfrom(LARGEST)
            self._outer.sendto(data, self._target)
        if self._outer in ready:
            data = self._outer.recv(LARGEST)
            if self._user is not None:
                self._inner.sendto(data, self._user)
        return sys.stdin in ready

    def close(self) -> None:
        """Relay no more."""
        self._inner.close()
        self._outer.close()


def main() -> None:
    """Run until the standard input ends."""
    port, host, target = sys.argv[1:]
    relay = Relay(int(port), (host, int(target)))
    print(json.dumps(relay.port), flush=True)
    while True:
        if relay.turn():
            line = sys.stdin.readline()
            if not line:
                break
            print(json.dumps(relay.move(line.strip())), flush=True)
    relay.close()


if __name__ == "__main__":
    main()
