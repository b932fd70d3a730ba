"""
Fuzzing of everything that reads what strangers and peers send: C{python -m hypermail.test.fuzz [SECONDS]}.

Inputs are mutated from a corpus of good ones, by atheris (libFuzzer, guided by coverage) when it can be imported, by a
seeded mutator otherwise. Each input names its target by its first byte. What any target raises is a finding: the input
is printed and written to a file, and C{--again FILE} runs it once more.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

from hypermail.connection import Connection
from hypermail.demux import Demux
from hypermail.errors import HandshakeFailed, HypermailError
from hypermail.events import SessionEnded
from hypermail.link.train import Train
from hypermail.options import ListenerOptions, Mode, Options, Role
from hypermail.security.handshake import HandshakeFactory
from hypermail.security.keys import long_seals
from hypermail.security.tokens import RetryTokens
from hypermail.test.sealed import tls
from hypermail.test.test_hostile import EVERY
from hypermail.test.wired import Puppet
from hypermail.testing.modes import Handshakes, secret_handshakes
from hypermail.wire import header
from hypermail.wire.codec import decode
from hypermail.wire.packets import Handshake, Padding

#: A starter's first tag, where it has to be known.
FIRST_TAG = 0x3333333333333333
#: Bytes of an input, at most.
LONGEST = 2_000


@cache
def _handshakes(mode: Mode) -> Handshakes:
    return tls() if mode is Mode.TLS else secret_handshakes(Random(1).randbytes)


def _factory(mode: Mode, role: Role) -> HandshakeFactory:
    return _handshakes(mode)[role]


# Targets: each takes any bytes, and raises when something is wrong


def read_headers(data: bytes) -> None:
    """Headers are read, or are none; what was read is written as it was."""
    view = memoryview(data)
    long = header.decode_long(view)
    if long is not None and data[0] & 0xF0 == header.Kind.LONG:
        assert header.encode_long(long) == data[: long.length]
    retry, reset, versions = header.decode_retry(view), header.decode_reset(view), header.decode_versions(view)
    for made, kind in (
        (retry and header.encode_retry(retry), header.Kind.RETRY),
        (reset and header.encode_reset(reset), header.Kind.RESET),
        (versions and header.encode_versions(versions), header.Kind.VERSION),
    ):
        assert made is None or data[0] != kind or made == data


def read_packets(data: bytes) -> None:
    """Packets are read, or break the protocol; what was read can be written, and means the same then."""
    try:
        packets = decode(memoryview(data))
    except HypermailError:
        return
    written = b"".join(packet.encode() for packet in packets)
    again = decode(memoryview(written)) if written else []
    assert b"".join(packet.encode() for packet in again) == written
    assert len(again) == len(packets)


def read_token(data: bytes) -> None:
    """Nobody's token is good but those that were made here."""
    tokens = RetryTokens(b"s" * 32, Random(1).randbytes)
    assert not tokens.spend(data, "somewhere", 5, 1_000.0)


def shake_hands(data: bytes) -> None:
    """Handshakes go on, or fail; nobody is content with what a fuzzer says."""
    mode, role = _mode_and_role(data)
    handshake = _factory(mode, role)(role)
    handshake.outgoing()
    try:
        for start in range(1, len(data), 1_000):
            handshake.receive(data[start : start + 1_000])
            handshake.keys(b"binding")
            handshake.outgoing()
    except HandshakeFailed:
        handshake.outgoing()
    assert not handshake.complete
    handshake.close()


def open_session(data: bytes) -> None:
    """An opening that is told anything by who has seen its hello goes on, or ends; its application hears of nothing."""
    mode, role = _mode_and_role(data)
    demux, connection = _opening(mode, role)
    first = FIRST_TAG if connection is None else connection.first_tag
    local = FIRST_TAG if connection is None else connection.local_tag
    sealing, _ = long_seals(mode, Role(1 - role), first)
    for number, start in enumerate(range(1, len(data), 1_100)):
        head = header.encode_long(header.Long(mode, header.VERSION, local, 77, number, b"", 0))
        payload = data[start : start + 1_100]
        padding = Padding(header.LEAST_HELLO - len(head) - 16 - len(payload)).encode()
        _hear(demux, sealing.seal(head, [payload, padding], number))
    for each in demux.connections:
        assert not each.verified
        while (event := each.next_event()) is not None:
            assert isinstance(event, SessionEnded)


def receive_datagrams(data: bytes) -> None:
    """Any datagrams, at a listener with a session that opens, and at a starter."""
    mode, role = _mode_and_role(data)
    demux, _ = _opening(mode, role)
    at = 1
    while at < len(data):
        size = data[at]
        datagram = data[at + 1 : at + 1 + size]
        if datagram and datagram[0] & 0xF0 == header.Kind.LONG:
            datagram += bytes(header.LEAST_HELLO - len(datagram))
        _hear(demux, datagram)
        at += 1 + size


def take_packets(data: bytes) -> None:
    """Anything inside an authentic datagram of an open session, which goes on or ends with a reason."""
    puppet = Puppet(Role(data[0] & 1))
    for start in range(1, len(data), 400):
        puppet.say(data[start : start + 400])
    error = puppet.application.error
    assert error is None or error.text


TARGETS: tuple[Callable[[bytes], None], ...] = (
    read_headers,
    read_packets,
    read_token,
    shake_hands,
    open_session,
    receive_datagrams,
    take_packets,
)


def _mode_and_role(data: bytes) -> tuple[Mode, Role]:
    first = data[0] if data else 0
    return (Mode.TLS, Mode.SECRET)[first & 1], Role(first >> 1 & 1)


def _opening(mode: Mode, role: Role) -> tuple[Demux, Connection | None]:
    """A socket; a starter's has a session that opens."""
    random = Random(2)
    demux = Demux(
        options=Options(),
        listener_options=ListenerOptions(),
        handshake=_factory(mode, role) if role is Role.LISTENER else None,
        random_bytes=random.randbytes,
    )
    if role is Role.LISTENER:
        return demux, None
    connection = Connection.starter(
        "L", options=Options(), now=1_000.0, random_bytes=random.randbytes, handshake=_factory(mode, role)
    )
    demux.add(connection)
    _trains(connection)
    return demux, connection


def _trains(connection: Connection) -> list[Train]:
    return connection.trains(now=1_000.0)


def _hear(demux: Demux, datagram: bytes) -> None:
    for connection in demux.receive([memoryview(datagram)], "somebody", now=1_000.0):
        for _ in range(100):
            if not _trains(connection):
                break
        else:
            raise AssertionError("it talks without end")
    for train in demux.replies():
        assert sum(map(len, train.datagrams)) < len(datagram), "a stateless answer that amplifies"


def run_input(data: bytes) -> None:
    """Run one input: its first byte says on which target."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:] or b"\0")


# Inputs


def corpus() -> list[bytes]:
    """Good inputs for every target."""
    packets = [packet.encode() for packet in EVERY]
    long = header.encode_long(header.Long(Mode.TLS, header.VERSION, FIRST_TAG, 7, 0, b"token", 0))
    headers = [
        header.encode_short(5, 9),
        long,
        header.encode_retry(header.Retry(5, 6, b"token")),
        header.encode_reset(header.Reset(5, bytes(16))),
        header.encode_versions(header.Versions(5, 6, (1, 2), (0, 1))),
    ]
    flights = []
    for number, mode in enumerate((Mode.TLS, Mode.SECRET)):
        starter, listener = (_factory(mode, role)(role) for role in Role)
        hello = starter.outgoing() or b""
        listener.receive(hello)
        listener.keys(b"binding")
        answer = listener.outgoing() or b""
        flights += [bytes((number + 2,)) + hello, bytes((number,)) + answer]
    framed = b"".join(bytes((len(datagram),)) + datagram for datagram in headers)
    token = RetryTokens(b"s" * 32, Random(1).randbytes).make("elsewhere", 5, 1_000.0)
    by_target: dict[Callable[[bytes], None], list[bytes]] = {
        read_headers: headers,
        read_packets: packets,
        read_token: [token],
        shake_hands: flights,
        open_session: [flight[:1] + Handshake(0, flight[1:1_000]).encode() for flight in flights]
        + [bytes((number,)) + packet for number in range(4) for packet in packets],
        receive_datagrams: [bytes((number,)) + framed for number in range(4)],
        take_packets: [bytes((number,)) + packet for number in range(2) for packet in packets],
    }
    return [bytes((TARGETS.index(target),)) + data for target, inputs in by_target.items() for data in inputs]


_TELLING = (0, 1, 0x7F, 0x80, 0xFF, 0x40, 0xC1, 0xD0)


def mutate(data: bytes, other: bytes, random: Random) -> bytes:
    """Another input: bits, bytes and lengths changed, pieces doubled, cut out, or taken from another input."""
    changed = bytearray(data)
    for _ in range(1 << random.randrange(5)):
        at = random.randrange(1, len(changed) + 1)
        kind = random.randrange(8)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = random.choice(_TELLING)
        elif kind == 2:
            changed[at : at + random.choice((1, 2, 4, 8))] = random.randbytes(random.choice((1, 2, 4, 8)))
        elif kind == 3:
            del changed[at : at + random.randrange(1, 20)]
        elif kind == 4:
            changed[at:at] = changed[at : at + random.randrange(1, 40)]
        elif kind == 5:
            begin = random.randrange(len(other))
            changed[at:at] = other[begin : begin + random.randrange(1, 200)]
        elif kind == 6:
            changed[at : at + 4] = bytes((random.choice(_TELLING),)) * 4
        else:
            del changed[random.randrange(1, len(changed) + 1) :]
    return bytes(changed[:LONGEST])


def fuzz(inputs: Callable[[int], bool], seed: int, tell: Callable[[str], object]) -> tuple[Counter[str], list[bytes]]:
    """
    Run mutated inputs.

    @param inputs: asked with the number of inputs that have run, says whether to go on.
    @param tell: takes what has failed.
    @return: how many inputs each target had, and those that failed.
    """
    random = Random(seed)
    good = corpus()
    pools = [[data for data in good if data[0] == index] for index in range(len(TARGETS))]
    counts: Counter[str] = Counter()
    findings: list[bytes] = []
    number = 0
    while inputs(number):
        if number < len(good):
            data = good[number]
        else:
            data = mutate(random.choice(random.choice(pools)), random.choice(good), random)
        counts[TARGETS[data[0] % len(TARGETS)].__name__] += 1
        number += 1
        try:
            run_input(data)
        except Exception:
            findings.append(data)
            tell(f"{traceback.format_exc()}\n{TARGETS[data[0] % len(TARGETS)].__name__}: {data.hex()}")
    return counts, findings


def _guided(atheris: Any, seconds: int, seed: int) -> None:
    """Let atheris do it; it ends the process."""
    here = Path(mkdtemp(prefix="hypermail-fuzz-"))
    for number, data in enumerate(corpus()):
        (here / f"{number:04}").write_bytes(data)
    atheris.instrument_all()
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-seed={seed}", str(here)], run_input
    )
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    """
    The command.

    @return: the exit code: 0 when nothing was found, 1 otherwise.
    """
    parser = argparse.ArgumentParser(prog="python -m hypermail.test.fuzz", description="Fuzz hypermail's core.")
    parser.add_argument("seconds", nargs="?", type=int, default=20, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="SEED", help="of the mutator (%(default)s)")
    parser.add_argument("--unguided", action="store_true", help="use the seeded mutator, though atheris is there")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run this input, nothing else")
    given = parser.parse_args(arguments)
    if given.again is not None:
        run_input(given.again.read_bytes())
        return 0
    if not given.unguided:
        try:
            atheris = importlib.import_module("atheris")
        except ImportError:
            print("atheris is not installed; the seeded mutator is used")
        else:
            _guided(atheris, given.seconds, given.seed)
    end = time.monotonic() + given.seconds
    counts, findings = fuzz(lambda number: time.monotonic() < end, given.seed, lambda text: print(text, flush=True))
    for data in findings:
        Path(f"finding-{sha256(data).hexdigest()[:12]}").write_bytes(data)
    print(*(f"{name:<20}{count:>10,}" for name, count in sorted(counts.items())), sep="\n")
    print(f"{sum(counts.values()):,} inputs, {len(findings):,} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
