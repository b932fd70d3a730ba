"""
AMP over any endpoint: python amp.py SERVER CLIENT, two of Twisted's endpoint strings.
"""

import sys

from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols import amp


class Sum(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


class Calculator(amp.AMP):
    @Sum.responder
    def sum(self, a, b):
        return {"total": a + b}


async def main(reactor, server, client):
    port = await serverFromString(reactor, server).listen(Factory.forProtocol(Calculator))
    asking = await connectProtocol(clientFromString(reactor, client), amp.AMP())
    print(await asking.callRemote(Sum, a=19, b=23))
    asking.transport.loseConnection()
    await port.stopListening()


if __name__ == "__main__":
    react(main, sys.argv[1:])
