"""
A client for bodies of any length: a program, which prints what it has found as JSON.

    python -m benchmarks.hive.client download|upload ADDRESS PORT SIZE [--rate BYTES/S] [--pauses N]
    python -m benchmarks.hive.client tick ADDRESS PORT SECONDS

C{--pauses} are its own for a download, and the application's for an upload. C{tick} asks ten times a second on one
connection, and counts those that fail.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import ssl
import time
from typing import Any

from benchmarks.hive.content import PAUSE, Incoming, Pauses, blocks, digest

#: s without any bytes after which a client gives up.
PATIENCE = 60.0
#: s between two ticks.
TICK = 0.1


class Pace:
    """Keeps to a rate, what was paused for not made up. @param rate: bytes/s; 0 for no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began = time.monotonic()

    def wait(self, so_far: int) -> None:
        """So many bytes have gone; the next ones may go once this returns."""
        if self._rate:
            early = self._began + so_far / self._rate - time.monotonic()
            if early > 0:
                time.sleep(early)
            elif early < -0.1:
                self._began -= early + 0.1


class Stalls:
    """@ivar longest: s between two steps, at most."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.monotonic()

    def step(self) -> None:
        """Something has gone on."""
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last)
        self._last = now


def connect(address: str, port: int) -> ssl.SSLSocket:
    """A connection, over TLS, to whom it may be."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(socket.create_connection((address, port), PATIENCE))


def _ask(sock: ssl.SSLSocket, line: str, length: int = 0) -> None:
    sock.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())


def download(options: argparse.Namespace) -> dict[str, Any]:
    """Read a body, not faster than the rate."""
    size = int(options.amount)
    with connect(options.address, options.port) as sock:
        _ask(sock, f"GET /content?{size}")
        incoming = Incoming(sock)
        line, length = incoming.head()
        stalls, pace, when = Stalls(), Pace(options.rate), Pauses(size, options.pauses)
        found, so_far = hashlib.sha256(), 0
        while so_far < length:
            some = incoming.some(length - so_far)
            stalls.step()
            found.update(some)
            so_far += len(some)
            time.sleep(when.reached(so_far))
            pace.wait(so_far)
        return {"answer": line, "whole": found.hexdigest() == digest(size), "stall": stalls.longest}


def upload(options: argparse.Namespace) -> dict[str, Any]:
    """Send a body, not faster than the rate."""
    size = int(options.amount)
    with connect(options.address, options.port) as sock:
        _ask(sock, f"POST /content?{options.pauses}", size)
        stalls, pace, so_far = Stalls(), Pace(options.rate), 0
        for block in blocks(size):
            sock.sendall(block)
            stalls.step()
            so_far += len(block)
            pace.wait(so_far)
        incoming = Incoming(sock)
        line, length = incoming.head()
        told = incoming.some(length).decode()
        return {"answer": line, "whole": told == digest(size), "stall": stalls.longest}


def tick(options: argparse.Namespace) -> dict[str, Any]:
    """Ask again and again."""
    asked, failed, stalls = 0, 0, Stalls()
    end = time.monotonic() + options.amount
    sock = None
    while time.monotonic() < end:
        asked += 1
        try:
            sock = sock or connect(options.address, options.port)
            _ask(sock, "GET /tick")
            incoming = Incoming(sock)
            line, length = incoming.head()
            failed += line.split(" ")[1] != "200" or incoming.some(length) != b"tick"
            stalls.step()
        except (OSError, EOFError):
            failed += 1
            sock = None
        time.sleep(TICK)
    return {"answer": "", "asked": asked, "failed": failed, "stall": stalls.longest}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="a client, for benchmarks")
    parser.add_argument("what", choices=("download", "upload", "tick"))
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("amount", type=float)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--pauses", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    try:
        found = {"download": download, "upload": upload, "tick": tick}[options.what](options)
    except (OSError, EOFError) as error:
        found = {"answer": f"{type(error).__name__}: {error}", "whole": False, "failed": 1, "stall": PATIENCE}
    elapsed = time.monotonic() - began
    reading = max(elapsed - options.pauses * PAUSE, 1e-9)
    print("FOUND", json.dumps({**found, "seconds": elapsed, "rate": options.amount / reading}), flush=True)


if __name__ == "__main__":
    main()
