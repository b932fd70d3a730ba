"""
One file through a bad network: two namespaces, C{twistd hypermail} in one and C{hypermail send} in the other.

    python -m benchmarks.transfer [--size 67108864] [--delay 20] [--loss 2] [--rate 100]

Needs root, for the namespaces. Prints what the sender says, how long it took, and whether the file that has
arrived is identical; ends with code 1 when it is not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.netemu import BadNetwork

SCRIPTS = Path(sys.executable).parent


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def transfer(directory: Path, size: int, network: BadNetwork) -> bool:
    """Send random bytes. @return: whether they arrived."""
    source = directory / "random"
    source.write_bytes(os.urandom(size))
    inbox = directory / "inbox"
    secret = directory / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(os.urandom(32))
    security = ["--secret-file", str(secret)]
    log = (directory / "listener.log").open("w")
    listener = [str(SCRIPTS / "twistd"), "--pidfile=", "-n", "hypermail", "--port", "4700"]
    network.popen("b", [*listener, "--inbox", str(inbox), *security], stdout=log, stderr=subprocess.STDOUT)
    started = time.monotonic()
    to = f"{network.b.address}:4700"
    sent = network.run("a", [str(SCRIPTS / "hypermail"), "send", *security, to, str(source)])
    took = time.monotonic() - started
    identical = digest(source) == digest(inbox / "random")
    print(f"exit code {sent.returncode}, {took:.1f} s, {size / took / 1e6:.2f} MB/s, identical: {identical}")
    return identical and sent.returncode == 0


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="one file through a bad network")
    parser.add_argument("--size", type=int, default=64 << 20, help="bytes")
    parser.add_argument("--delay", type=float, default=20, help="ms, one way")
    parser.add_argument("--loss", type=float, default=2, help="percent, each way")
    parser.add_argument("--rate", type=float, default=100, help="Mbit/s")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        BadNetwork(delay=arguments.delay, loss=arguments.loss, rate=arguments.rate) as network,
    ):
        sys.exit(not transfer(Path(directory), arguments.size, network))


if __name__ == "__main__":
    main()
