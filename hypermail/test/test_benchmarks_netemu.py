"""
Tests for the bad network between two namespaces, C{benchmarks/netemu}.

They run in a checkout, as root, on Linux; elsewhere they are skipped and say why.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hypermail.test.signals import interruptible

CHECKOUT = Path(__file__).resolve().parents[2]

try:
    from benchmarks.netemu import BadNetwork, NetworkUnavailable, build, unavailable
except ImportError:
    WHY_NOT: str | None = "benchmarks/netemu is not installed, it needs a checkout"
else:
    WHY_NOT = unavailable()

#: Answers every UDP datagram with itself; says when it is ready.
ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.bind((sys.argv[1], 4700))
print("READY", flush=True)
while True:
    data, address = s.recvfrom(65536)
    s.sendto(data, address)
"""

#: Sends COUNT datagrams of SIZE bytes and prints what comes back: the list of (index, whether intact, ms).
ASK = """
import json, socket, sys, time
count, size = int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.settimeout(0.5)
s.connect((sys.argv[1], 4700))
body = bytes(i % 251 for i in range(size - 4))
sent = []
for i in range(count):
    sent.append(time.monotonic())
    s.send(i.to_bytes(4, "big") + body)
    if i % 20 == 19:
        time.sleep(0.001)
back = []
try:
    while True:
        data = s.recv(65536)
        i = int.from_bytes(data[:4], "big")
        intact = data[4:] == body and i < count
        back.append((i, intact, (time.monotonic() - sent[i]) * 1e3 if intact else 0))
except TimeoutError:
    pass
print(json.dumps(back))
"""

#: One ICMP echo over a raw socket: this is ping, where there is no ping.
PING = """
import os, socket, struct, sys, time
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(2)
packet = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xffff, 1) + b"ping" * 4
packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
start = time.monotonic()
s.sendto(packet, (sys.argv[1], 0))
while s.recv(1024)[20] != 0:
    pass
print((time.monotonic() - start) * 1e3)
"""


def namespaces() -> str:
    """The names of this machine's namespaces."""
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


class BadNetworkTests(SynchronousTestCase):
    """What goes through the network, and that nothing of it stays."""

    skip = WHY_NOT

    def exchange(self, network: BadNetwork, count: int, size: int = 200, six: bool = False) -> list[Any]:
        """Echo datagrams from side a at side b."""
        address = network.b.address6 if six else network.b.address
        assert address is not None
        echo = network.popen("b", [sys.executable, "-c", ECHO, address], stdout=subprocess.PIPE)
        self.assertEqual(b"READY\n", echo.stdout.readline())  # type: ignore[union-attr]
        command = [sys.executable, "-c", ASK, address, str(count), str(size)]
        asked = network.run("a", command, capture_output=True, check=True, timeout=30)
        echo.stdout.close()  # type: ignore[union-attr]
        result: list[Any] = json.loads(asked.stdout)
        return result

    def test_ping(self) -> None:
        """An ICMP echo takes the two delays and little more."""
        with BadNetwork(delay=20) as network:
            done = network.run("a", [sys.executable, "-c", PING, network.b.address], capture_output=True, timeout=10)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertTrue(40 <= float(done.stdout) < 140, done.stdout)

    def test_delayByDirection(self) -> None:
        """A pair of values is (from a to b, from b to a)."""
        with BadNetwork(delay=(30, 0)) as network:
            done = network.run("a", [sys.executable, "-c", PING, network.b.address], capture_output=True, timeout=10)
        self.assertTrue(30 <= float(done.stdout) < 130, done.stdout)

    def test_clean(self) -> None:
        """Without faults every datagram comes back, intact and in order."""
        with BadNetwork() as network:
            back = self.exchange(network, 300)
        self.assertEqual(list(range(300)), [i for i, _, _ in back])
        self.assertTrue(all(intact for _, intact, _ in back))
        self.assertEqual(0, network.counts[0].lost + network.counts[1].lost)

    def test_loss(self) -> None:
        """As much is lost as was asked for, and what is missing is what the emulator counted."""
        with BadNetwork(loss=20, seed=7) as network:
            back = self.exchange(network, 1000)
        forth, reverse = network.counts
        self.assertTrue(540 <= len(back) <= 740, len(back))  # 0.8 * 0.8 of 1,000, give or take 6 sigma
        self.assertTrue(140 <= forth.lost <= 260, forth)
        # a few packets of the kernel's own (neighbour and router solicitations) are counted, too
        self.assertTrue(1000 <= len(back) + forth.lost + reverse.lost <= 1012, network.counts)

    def test_duplication(self) -> None:
        """What is duplicated arrives twice."""
        with BadNetwork(duplicate=(100, 0)) as network:
            back = self.exchange(network, 50)
        self.assertEqual(sorted([*range(50), *range(50)]), [i for i, _, _ in back])

    def test_reordering(self) -> None:
        """What is held longer is overtaken, and arrives."""
        with BadNetwork(reorder=(30, 0), delay=1) as network:
            numbers = [i for i, _, _ in self.exchange(network, 300)]
        self.assertNotEqual(list(range(300)), numbers)
        self.assertEqual(list(range(300)), sorted(numbers))

    def test_corruption(self) -> None:
        """A corrupted datagram passes the UDP checksum and differs in its payload; odd sizes too."""
        with BadNetwork(corrupt=(100, 0)) as network:
            back = self.exchange(network, 100, size=101)
        self.assertEqual(100, network.counts[0].corrupted)
        self.assertEqual(100, len(back))
        # the flipped bit may be one of the index
        self.assertEqual([], [k for k, (i, intact, _) in enumerate(back) if intact and i == k])

    def test_IPv6(self) -> None:
        """IPv6 goes through, and its corrupted datagrams pass the UDP checksum."""
        with BadNetwork(corrupt=(50, 0)) as network:
            if network.b.address6 is None:
                raise SkipTest("no IPv6 in this kernel")
            back = self.exchange(network, 100, size=333, six=True)
        self.assertEqual(100, len(back))
        self.assertTrue(20 <= sum(intact for _, intact, _ in back) <= 80)

    def test_rateAndQueue(self) -> None:
        """A link carries its rate; what would have to wait longer than the queue is dropped."""
        with BadNetwork(rate=(8, 0), queue=50) as network:  # 8 Mbit/s: 1,000 bytes per ms
            back = self.exchange(network, 200, size=972)
        self.assertTrue(50 <= len(back) < 150, len(back))
        self.assertEqual(200 - len(back), network.counts[0].overflowed)
        self.assertTrue(30 < max(ms for _, _, ms in back) < 200)

    def test_mtu(self) -> None:
        """Larger packets vanish; smaller ones don't."""
        with BadNetwork(mtu=1228) as network:
            self.assertEqual(20, len(self.exchange(network, 20, size=1200)))
        with BadNetwork(mtu=1228) as network:
            self.assertEqual(0, len(self.exchange(network, 20, size=1201)))
        self.assertEqual(20, network.counts[0].too_large)

    def test_change(self) -> None:
        """The network can be changed and counted while it runs; nonsense is refused and changes nothing."""
        with BadNetwork() as network:
            network.change(off=1)
            self.assertEqual([], self.exchange(network, 10))
            self.assertTrue(network.count()[0].blackholed >= 10)
            self.assertRaises(ValueError, network.change, loss=101)
            self.assertRaises(ValueError, network.change, colour=1)
            network.change(off=0, on=0, loss=(0, 100))
            done = network.run("a", [sys.executable, "-c", ASK, network.b.address, "10", "100"], capture_output=True)
            self.assertEqual(b"[]", done.stdout.strip())
            self.assertTrue(network.count()[1].lost >= 10)
            network.change(loss=0)
            done = network.run("a", [sys.executable, "-c", ASK, network.b.address, "10", "100"], capture_output=True)
            self.assertEqual(10, done.stdout.count(b"true"))

    def test_badValue(self) -> None:
        """A value that makes no sense is refused with its name, and leaves nothing."""
        error = self.assertRaises(ValueError, BadNetwork(delay=-1).__enter__)
        self.assertIn("delay", str(error))
        self.assertNotIn(f"hm{os.getpid()}x", namespaces())

    def test_cleansUp(self) -> None:
        """Namespaces, the emulator and what runs in them are gone afterwards, children's children as well."""
        with BadNetwork() as network:
            names = (network.a.name, network.b.name)
            shell = network.popen("a", ["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
            sleeper = int(shell.stdout.readline())  # type: ignore[union-attr]
            emulator = network._emulator
            assert emulator is not None
            self.assertTrue(set(names) <= {line.split()[0] for line in namespaces().splitlines()})
        shell.stdout.close()  # type: ignore[union-attr]
        for name in names:
            self.assertNotIn(name, namespaces())
        self.assertIsNotNone(emulator.returncode)
        self.assertIsNotNone(shell.returncode)
        self.assertTrue(gone(sleeper))
        network.close()  # and again

    def test_cleansUpAfterExceptions(self) -> None:
        """An exception in the context passes through the cleaning up."""
        with self.assertRaises(ZeroDivisionError), BadNetwork() as network:
            1 / 0  # noqa: B018
        self.assertNotIn(network.a.name, namespaces())

    def interrupted(self, number: signal.Signals) -> None:
        """Send a signal to a program inside its context, and wait until the namespaces have gone."""
        code = (
            "import time\nfrom benchmarks.netemu import BadNetwork\n"
            "with BadNetwork() as network:\n    print(network.a.name, network.b.name, flush=True)\n    time.sleep(60)\n"
        )
        interruptible(self)
        program = subprocess.Popen(
            [sys.executable, "-c", code], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert program.stdout is not None
        names = program.stdout.readline().split()
        self.assertEqual(2, len(names))
        program.send_signal(number)
        self.assertNotEqual(0, program.wait())
        program.stdout.close()
        end = time.monotonic() + 5
        while any(name in namespaces() for name in names):
            self.assertTrue(time.monotonic() < end, f"{names} are still there")
            time.sleep(0.02)

    def test_cleansUpAfterSIGINT(self) -> None:
        """Control-C leaves nothing."""
        self.interrupted(signal.SIGINT)

    def test_cleansUpAfterSIGKILL(self) -> None:
        """Even a killed Python leaves no namespace: the emulator removes them."""
        self.interrupted(signal.SIGKILL)


class BuildTests(SynchronousTestCase):
    """Building the emulator, and what is said where it cannot be had."""

    skip = WHY_NOT

    def test_buildsOnce(self) -> None:
        """The program is compiled into the cache once."""
        with TemporaryDirectory() as cache:
            program = build(Path(cache))
            before = program.stat()
            self.assertEqual(program, build(Path(cache)))
            self.assertEqual(before.st_ino, program.stat().st_ino)
            self.assertEqual([program.name], os.listdir(cache))

    def test_noCompiler(self) -> None:
        """Without a compiler the error says so."""
        with TemporaryDirectory() as empty:
            self.patch(os, "environ", {"PATH": empty})
            error = self.assertRaises(NetworkUnavailable, build, Path(empty))
        self.assertIn("no C compiler", str(error))

    def test_usage(self) -> None:
        """The program explains itself, and tells wrong options apart from what went wrong."""
        program = build()
        told = subprocess.run([program, "--help"], capture_output=True, text=True)
        self.assertEqual((0, ""), (told.returncode, told.stderr))
        self.assertIn("usage: netemu NAMESPACE NAMESPACE", told.stdout)
        for words in ("", "a", "a b loss=x", "a b loss=1/", "a b loss=101", "a b delay=-1", "a b delay", "a b x=1"):
            refused = subprocess.run([program, *words.split()], capture_output=True, text=True)
            self.assertEqual((2, ""), (refused.returncode, refused.stdout), words)
        missing = subprocess.run([program, "no-such", "namespace"], capture_output=True, text=True)
        self.assertEqual(1, missing.returncode)
        self.assertIn("/run/netns/no-such", missing.stderr)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
