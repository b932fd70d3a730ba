"""
The sender of the kill runs: numbered bookings for the ledger of C{docs/examples/ledger.py}, at a certain rate.

What it has queued it knows from its store alone: the number of a message in its lane is what is in it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater, react
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from hypermail import Options, SessionClientEndpoint, SessionFactory, SessionProtocol, StarterTLS, openStore
from hypermail.services.store import STORE_FILE

OWNER = b"till"
NAME = "till"
LANE = 1
ACCOUNTS = 7
#: s after which it looks how many messages are due.
TICK = 0.02
#: A link that has died is noticed soon, so that cuts are losses of links, too.
OPTIONS = Options(ping_interval=0.3)


class Till(SessionProtocol):
    """Says what should never happen."""

    def messageSettled(self, message: Any, error: Any) -> None:
        if error is not None:
            print("not taken:", message.number, error.text, flush=True)

    def messageUndelivered(self, message: Any) -> None:
        print("undelivered:", message.number, flush=True)

    def sessionLost(self, reason: Any) -> None:
        print("lost:", reason.getErrorMessage(), flush=True)


def bookings(first: int, stop: int, size: int) -> Iterator[bytes]:
    """Messages of C{size} bytes each."""
    for number in range(first, stop):
        start = b'{"account": "%d", "cents": %d, "text": "' % (number % ACCOUNTS, number)
        yield start + b"x" * (size - len(start) - 2) + b'"}'


async def give(reactor: Any, arguments: argparse.Namespace) -> None:
    """Send the rest."""
    warnings = LogLevelFilterPredicate(LogLevel.warn)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(textFileLogObserver(sys.stdout), [warnings])], redirectStandardIO=False
    )
    store = await openStore(reactor, Path(arguments.directory, STORE_FILE), OWNER)
    stored = await store.named(NAME)
    queued = stored.sending[LANE].next if stored is not None and LANE in stored.sending else 0
    print("queued before:", queued, flush=True)
    security = StarterTLS(pin=arguments.pin)
    factory = SessionFactory.forProtocol(Till)
    factory.noisy = False
    port = arguments.port
    endpoint = SessionClientEndpoint(
        reactor, arguments.host, port, security=security, options=OPTIONS, store=store, name=NAME
    )
    session = (await endpoint.connect(factory)).session
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: maybeDeferred(session.park).addBoth(lambda _: store.close())
    )
    session.lane(LANE, durable=True)
    messages = bookings(queued, arguments.count, arguments.size)
    began = reactor.seconds()
    sent = 0
    while queued + sent < arguments.count:
        due = int((reactor.seconds() - began) * arguments.rate) - sent
        while due > 0 and (taken := session.sendMessages(islice(messages, due), lane=LANE)):
            sent += taken
            due -= taken
        await deferLater(reactor, TICK)
    print("all queued", flush=True)
    await Deferred()  # until it is told to end


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="messages per s")
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("pin")
    parser.add_argument("directory")
    react(give, [parser.parse_args()])
