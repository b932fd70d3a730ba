"""
Ten downloads through one tunnel, one of them by a slow reader: the others go at their rate, and memory stays bounded.

    python -m benchmarks.readers [--size 1024] [--streams 10] [--slow 1M]

Loopback, four kinds of processes: a web server, C{twistd hypermail --forward}, C{twistd hypermail --connect --listen},
and curl. It ends when all but the slow one are done.
"""

from __future__ import annotations

import argparse
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.logged import TWISTD, Logged

#: Sends so many MiB to each that connects.
SERVER = """
import socket, sys, threading
size, listening = int(sys.argv[1]), socket.create_server(("127.0.0.1", int(sys.argv[2])))
data = bytes(1 << 20)
def serve(sock):
    sock.recv(4096)
    sock.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % (size << 20))
    for _ in range(size):
        sock.sendall(data)
    sock.close()
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of each [1024]")
    parser.add_argument("--streams", type=int, default=10, help="how many [10]")
    parser.add_argument("--slow", default="1M", help="bytes/s of the slow reader, as curl's --limit-rate [1M]")
    arguments = parser.parse_args()
    source, entrance = free_port(), free_port()
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        programs = Logged(here)

        def start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
            processes.append(programs.start(name, subprocess.Popen, command))
            return processes[-1]

        try:
            start("server", [sys.executable, "-c", SERVER, str(arguments.size), str(source)])
            options = f"--port udp:0:interface=127.0.0.1 --state {here / 'state'} --forward tcp:127.0.0.1:{source}"
            listener = start("listener", shlex.split(f"{TWISTD} {options}"))
            pin, port = (programs.told("listener", pattern) for pattern in (r"--pin (\S+)", r"127\.0\.0\.1:(\d+) FILE"))
            options = f"--connect 127.0.0.1:{port} --pin {pin} --listen tcp:{entrance}:interface=127.0.0.1"
            starter = start("starter", shlex.split(f"{TWISTD} {options}"))
            programs.told("starter", "session with .* is (open)")
            url = f"http://127.0.0.1:{entrance}/"
            slow = start("slow", ["curl", "-sS", "--limit-rate", arguments.slow, "-o", str(here / "part"), url])
            began = time.monotonic()
            quick = [start(f"quick{n}", ["curl", "-sS", "-o", "/dev/null", url]) for n in range(arguments.streams - 1)]
            most = {"listener": 0, "starter": 0}
            while any(process.poll() is None for process in quick):
                for name, process in (("listener", listener), ("starter", starter)):
                    most[name] = max(most[name], psutil.Process(process.pid).memory_info().rss)
                time.sleep(0.2)
            elapsed = time.monotonic() - began
            failed = [process.args for process in quick if process.returncode]
            size = len(quick) * arguments.size << 20
            print(f"{len(quick)} of {arguments.size} MiB in {elapsed:.1f} s, {size / elapsed / 1e6:.0f} MB/s together")
            got = (here / "part").stat().st_size
            print(f"slow one: {got / elapsed / 1e6:.2f} MB/s, {'going on' if slow.poll() is None else 'over'}")
            print(", ".join(f"{name}: {size / (1 << 20):.0f} MiB" for name, size in most.items()), "of memory at most")
            if failed:
                sys.exit(f"failed: {failed}")
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
