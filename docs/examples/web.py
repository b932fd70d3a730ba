"""
HTTP over any endpoint, with treq as the client: python web.py SERVER CLIENT, two of Twisted's endpoint strings.
"""

import sys

import treq
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import react
from twisted.web.client import Agent
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer


class Upper(Resource):
    isLeaf = True

    def render_POST(self, request):
        return request.content.read().upper()


@implementer(IAgentEndpointFactory)
class Elsewhere:
    """Every request goes to one endpoint, whatever host its URL names."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def endpointForURI(self, uri):
        return self.endpoint


async def main(reactor, server, client):
    port = await serverFromString(reactor, server).listen(Site(Upper()))
    agent = Agent.usingEndpointFactory(reactor, Elsewhere(clientFromString(reactor, client)))
    http = treq.client.HTTPClient(agent)
    for word in (b"one session", b"many streams"):
        response = await http.post("http://shouting.example/", data=word)
        print(response.code, (await response.content()).decode())
    await port.stopListening()


if __name__ == "__main__":
    react(main, sys.argv[1:])
