"""
Much data through a stream, with a producer: python large.py SERVER CLIENT MEGABYTES, two of Twisted's endpoint strings.

What the reader does not take, the writer does not make: neither side ever holds more than a little of it.
"""

import sys
from hashlib import sha256
from itertools import islice

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from zope.interface import implementer


class Digest(Protocol):
    """Takes what comes, and says what it was when that was all."""

    def __init__(self, over):
        self.over = over
        self.digest = sha256()
        self.size = 0

    def dataReceived(self, data):
        self.digest.update(data)
        self.size += len(data)

    def connectionLost(self, reason=connectionDone):
        self.over.callback((self.size, self.digest.hexdigest()))


@implementer(IPushProducer)
class Counting(Protocol):
    """Writes numbers, 8 bytes each, while there is room."""

    def __init__(self, count):
        self.numbers = iter(range(count))
        self.digest = sha256()

    def connectionMade(self):
        self.paused = False
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self):
        self.paused = False
        while not self.paused:
            piece = b"".join(number.to_bytes(8) for number in islice(self.numbers, 4_096))
            if not piece:
                self.transport.unregisterProducer()
                self.transport.loseConnection()
                return
            self.digest.update(piece)
            self.transport.write(piece)

    def pauseProducing(self):
        self.paused = True

    def stopProducing(self):
        self.paused = True


async def main(reactor, server, client, megabytes):
    over = Deferred()
    serving = Factory.forProtocol(lambda: Digest(over))
    port = await serverFromString(reactor, server).listen(serving)
    counting = Counting(int(megabytes) * 125_000)
    await connectProtocol(clientFromString(reactor, client), counting)
    size, digest = await over
    print(f"{size} bytes, {'as' if digest == counting.digest.hexdigest() else 'NOT as'} they were sent")
    await port.stopListening()


if __name__ == "__main__":
    react(main, sys.argv[1:])
