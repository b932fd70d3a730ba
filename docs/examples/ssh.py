"""
SSH with Conch, through a tunnel: python ssh.py UDP TCP COMMAND, the ports of the tunnel's two ends, and what to run.

Conch's server and client speak TCP on this machine, and know nothing of hypermail.
"""

import os
import sys
from secrets import token_hex

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.avatar import ConchUser
from twisted.conch.client.knownhosts import KnownHostsFile
from twisted.conch.endpoints import SSHCommandClientEndpoint
from twisted.conch.ssh import common, factory, keys, session
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.filepath import FilePath
from zope.interface import implementer

from hypermail import SessionClientEndpoint, StarterTLS
from hypermail.internet.settings import ListenerSettings
from hypermail.services.addresses import Listening
from hypermail.services.entrances import TunnelService
from hypermail.services.listener import Doing, ListenerService
from hypermail.services.passages import Passage

HERE = "127.0.0.1"


class Commands(session.SSHSession):
    """Runs a command, as the user of this program."""

    def request_exec(self, data):
        command, _ = common.getNS(data)
        self.client = session.SSHSessionProcessProtocol(self)
        self.avatar.reactor.spawnProcess(self.client, "/bin/sh", ["sh", "-c", command])
        return True


@implementer(IRealm)
class Users:
    def __init__(self, reactor):
        self.reactor = reactor

    def requestAvatar(self, name, mind, *interfaces):
        user = ConchUser()
        user.reactor = self.reactor
        user.channelLookup[b"session"] = Commands
        return interfaces[0], user, lambda: None


class Output(Protocol):
    def __init__(self):
        self.over = Deferred()

    def dataReceived(self, data):
        sys.stdout.buffer.write(data)

    def connectionLost(self, reason=connectionDone):
        self.over.callback(None)


def tunnel(reactor, udp, tcp, target):
    """Its two ends: what twistd does with --forward, and with --connect and --listen."""
    settings = ListenerSettings()  # with the identity of this user, which is made when there is none
    trust = StarterTLS(pin=settings.security().identity.pin)
    forward, listen = Passage("ssh", f"tcp:{HERE}:{target}"), Passage("ssh", f"tcp:{tcp}:interface={HERE}")
    doing = Doing(listening=Listening(udp, HERE), forwards=(forward,), settings=settings)
    endpoint = SessionClientEndpoint(reactor, HERE, udp, security=trust)
    return ListenerService(reactor, doing), TunnelService(reactor, lambda: endpoint, [listen])


async def main(reactor, udp, tcp, command):
    host, password = keys.Key(Ed25519PrivateKey.generate()), token_hex().encode()
    server = factory.SSHFactory()
    server.privateKeys, server.publicKeys = {host.sshType(): host}, {host.sshType(): host.public()}
    server.portal = Portal(Users(reactor), [InMemoryUsernamePasswordDatabaseDontUse(me=password)])
    port = await TCP4ServerEndpoint(reactor, 0, interface=HERE).listen(server)
    known = KnownHostsFile(FilePath(os.devnull))
    known.addHostKey(HERE.encode(), host.public())
    ends = tunnel(reactor, int(udp), int(tcp), port.getHost().port)
    for end in ends:
        end.startService()
    client = SSHCommandClientEndpoint.newConnection(
        reactor, command.encode(), b"me", HERE.encode(), int(tcp), password=password, knownHosts=known
    )
    output = await connectProtocol(client, Output())
    await output.over
    for end in reversed(ends):
        await end.stopService()
    await port.stopListening()


if __name__ == "__main__":
    react(main, sys.argv[1:])
