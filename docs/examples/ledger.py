"""
Exactly once: bookings go from a till to a ledger, through kills and restarts of either, and each is booked once.

    python ledger.py take PORT DIRECTORY              the ledger: listens on a UDP port, and prints its pin
    python ledger.py give PORT PIN DIRECTORY FILE     the till: sends each line of FILE, and those that are added to it
    python ledger.py show DIRECTORY                   the accounts

A line is JSON, {"account": NAME, "cents": NUMBER}. Each DIRECTORY keeps the sessions of one program.
"""

import json
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.task import deferLater, react

from hypermail import (
    ListenerTLS,
    MessageRejected,
    MessageUndelivered,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
    StarterTLS,
    identityIn,
    openStore,
)

LANE = 1
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS bookings (
    session BLOB, lane INTEGER, number INTEGER, account TEXT, cents INTEGER, PRIMARY KEY (session, lane, number));
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL);
"""
ADD = "INSERT INTO accounts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET cents = cents + excluded.cents"
# How many messages of each lane there are without a gap, from the first one on.
TAKEN = """
SELECT lane, COUNT(*) FROM (
    SELECT lane, number, ROW_NUMBER() OVER (PARTITION BY lane ORDER BY number) - 1 AS place
    FROM bookings WHERE session = ?
) WHERE number = place GROUP BY lane
"""


class Book:
    """The ledger's database. While it writes, bookings wait, and are then written together in one transaction."""

    def __init__(self, reactor, path):
        self.reactor = reactor
        self.database = adbapi.ConnectionPool(
            "sqlite3", path, check_same_thread=False, cp_reactor=reactor, cp_min=1, cp_max=1, cp_openfun=self.prepare
        )
        self.waiting = []
        self.writing = False

    def prepare(self, connection):
        connection.executescript(SCHEMA)

    def enter(self, *booking):
        """A Deferred that fires when the booking is on disk."""
        done = Deferred()
        self.waiting.append((booking, done))
        if not self.writing:
            self.write()
        return done

    def write(self):
        group, self.waiting = self.waiting, []
        self.writing = bool(group)
        if group:
            writing = self.database.runInteraction(self.insert, [booking for booking, _ in group])
            writing.addCallbacks(self.written, self.failed, callbackArgs=(group,), errbackArgs=(group,))

    def insert(self, cursor, bookings):
        for booking in bookings:
            cursor.execute("INSERT OR IGNORE INTO bookings VALUES (?, ?, ?, ?, ?)", booking)
            if cursor.rowcount:  # else it was booked before
                cursor.execute(ADD, booking[3:])
            else:
                print("came again:", booking[2], flush=True)

    def written(self, _, group):
        self.write()
        for _, done in group:
            done.callback(None)

    def failed(self, failure, group):
        # No fault of the messages: what is rejected would not come again.
        print("the database fails, and is tried again:", failure.getErrorMessage(), flush=True)
        self.waiting[:0] = group
        self.reactor.callLater(1, self.write)

    async def taken(self, session):
        return dict(await self.database.runQuery(TAKEN, (session,)))


class Ledger(SessionProtocol):
    def __init__(self, book):
        self.book = book

    def messageReceived(self, message):
        try:
            booking = json.loads(message)
            account, cents = str(booking["account"]), int(booking["cents"])
        except (ValueError, TypeError, KeyError):
            raise MessageRejected("this is no booking") from None
        return self.book.enter(message.session, message.lane, message.number, account, cents)

    def messagesTaken(self, session):
        """Asked when the session goes on after a restart: what is below need not be sent again."""
        return self.book.taken(session)


class Till(SessionProtocol):
    def messageSettled(self, message, error):
        """Told of messages that were sent before a restart; others have a Deferred."""
        self.settled(message.number + 1, error)

    def messageUndelivered(self, message):
        """Likewise, when the session is over."""
        print("not known: line", message.number + 1, flush=True)

    def settled(self, line, error=None):
        if error is None:
            fate = "booked"
        else:
            error = getattr(error, "value", error)
            undelivered = isinstance(error, MessageUndelivered)
            fate = "on its way" if undelivered and error.kept else "not known" if undelivered else "refused"
        print(f"{fate}: line", line, flush=True)

    def sessionLost(self, reason):
        print("over:", reason.getErrorMessage(), flush=True)


def atEnd(reactor, leave, store):
    """A program that is told to end leaves its sessions in the store, and closes that last."""
    reactor.addSystemEventTrigger("before", "shutdown", lambda: maybeDeferred(leave).addBoth(lambda _: store.close()))


async def take(reactor, port, directory):
    identity, _, _ = identityIn(directory, "ledger", now=datetime.now(UTC))
    store = await openStore(reactor, Path(directory, "sessions.db"), identity.pin.encode())
    book = Book(reactor, f"{directory}/ledger.db")
    security = ListenerTLS(identity)
    endpoint = SessionServerEndpoint(reactor, int(port), interface="127.0.0.1", security=security, store=store)
    port = await endpoint.listen(SessionFactory.forProtocol(lambda: Ledger(book)))
    atEnd(reactor, port.stopListening, store)
    print("pin", identity.pin, flush=True)
    await Deferred()  # until it is told to end, or is killed


async def give(reactor, port, pin, directory, file):
    store = await openStore(reactor, Path(directory, "sessions.db"), b"till")
    stored = await store.named("till")
    # The number of a message is that of its line: so the store knows how many lines were sent before.
    sent = stored.sending[LANE].next if stored is not None and LANE in stored.sending else 0
    begun = Path(directory, "begun")
    if stored is None and begun.exists():
        raise SystemExit("the session is over: see what was booked, and begin with the rest in another directory")
    security = StarterTLS(pin=pin)
    endpoint = SessionClientEndpoint(reactor, "127.0.0.1", int(port), security=security, store=store, name="till")
    till = await endpoint.connect(SessionFactory.forProtocol(Till))
    atEnd(reactor, till.session.park, store)
    till.session.lane(LANE, durable=True)
    begun.touch()
    with open(file, "rb") as lines:
        for _ in range(sent):
            lines.readline()
        while True:
            group = lines.readlines(65_536)
            messages = [till.session.sendMessage(line, lane=LANE) for line in group]
            for line, message in enumerate(messages, sent + 1):
                message.addBoth(lambda error, line=line: till.settled(line, error))
            await gatherResults([message.queued for message in messages])  # a kill loses none of these any more
            sent += len(group)
            if not group:
                await deferLater(reactor, 0.1)


async def show(reactor, directory):
    with sqlite3.connect(f"{directory}/ledger.db") as database:
        for name, cents in database.execute("SELECT * FROM accounts ORDER BY name"):
            print(name, cents)


async def main(reactor, role, *arguments):
    await {"take": take, "give": give, "show": show}[role](reactor, *arguments)


if __name__ == "__main__":
    react(main, sys.argv[1:])
