"""
What the tests of queens share: one at sockets of this machine, with certificates and a key, and a client of hers.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from hypermail.hive.cell.application import Answering
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.queens import Queen
from hypermail.hive.directives import Directives
from hypermail.hive.installation import HLHV, HTTPS, HYPERMAIL, Installation
from hypermail.hive.keys import argon2id
from hypermail.hive.queen import QueenService
from hypermail.internet.security import StarterTLS
from hypermail.security.identity import Identity
from hypermail.test.certificates import pem
from hypermail.test.sessions import identityOf

HERE = "127.0.0.1"
KEY = "a key of cells"


class Client(Protocol):
    """
    Speaks bytes over TLS.

    @ivar received: what has come.
    @ivar lost: fires with this when the connection is lost.
    """

    def __init__(self) -> None:
        self.received = b""
        self.reason: Any = None
        self.lost: Deferred[Client] = Deferred()
        self._waiting: list[tuple[re.Pattern[bytes], Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        self.received += data
        for one in [one for one in self._waiting if one[0].search(self.received)]:
            self._waiting.remove(one)
            one[1].callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        self.reason = reason
        self.lost.callback(self)
        for _, waiting in self._waiting:
            waiting.errback(reason)

    def until(self, pattern: bytes) -> Deferred[bytes]:
        """What has come, once the pattern is found in it; errbacks when the connection is lost before that."""
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((re.compile(pattern, re.DOTALL), waiting))
        self.dataReceived(b"")
        return waiting

    @property
    def shown(self) -> crypto.X509:
        """The certificate of the other end."""
        transport: Any = self.transport
        found: crypto.X509 = transport.getPeerCertificate()
        return found


def write_identity(identity: Identity, certificate: Path, key: Path) -> None:
    """Write both files as a queen reads them."""
    key.touch(mode=0o600)
    certificate.write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(pem(identity.key))


class QueenCase(TestCase):
    """A queen at sockets, whose configuration is an attribute of the test."""

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.here = Path(self.mktemp())
        self.here.mkdir()
        self.identity = identityOf("localhost")
        self.certificatePath, self.keyPath = self.here / "cert.pem", self.here / "key.pem"
        write_identity(self.identity, self.certificatePath, self.keyPath)
        self.directives = Directives(
            certificate_path=str(self.certificatePath),
            key_path=str(self.keyPath),
            key_hash=argon2id(KEY, bytes(16)),
            port_https=0,
            port_hlhv=0,
            bind=HERE,
            login_timeout=30.0,
        )

    def begin(self, **said: Any) -> QueenService:
        """Begin. @param said: of the configuration, what is different."""
        self.directives = replace(self.directives, **said)
        self.queen = QueenService(self.reactor, self.read, lambda size: bytes(range(size)))
        self.chance = iter(range(1, 1 << 20))
        self.queen._chance = lambda size: next(self.chance).to_bytes(size)
        self.queen.startService()
        self.addCleanup(lambda: self.queen.stopService() if self.queen.running else None)
        return self.queen

    def read(self) -> Directives:
        """The configuration."""
        return self.directives

    @property
    def installation(self) -> Installation:
        """What the queen consists of."""
        assert self.queen.installation is not None
        return self.queen.installation

    async def cell(self, application: Answering, *mounts: str, hypermail: bool = False, key: str = KEY) -> Cell:
        """A cell of hers."""
        pin = self.identity.pin
        if hypermail:
            way = Queen.overHypermail(HERE, self.installation.ports.number(HYPERMAIL), security=StarterTLS(pin=pin))
        else:
            way = Queen.overTLS("localhost", self.installation.ports.number(HLHV), pins=[pin])
        cell = Cell(way, key, mounts or "@/", application, reactor=self.reactor)
        cell.startService()
        self.addCleanup(lambda: cell.stopService() if cell.running else None)
        await cell.whenReady()
        return cell

    async def connect(self, port: str = HTTPS, host: str = "localhost", *, tls: bool = True) -> Client:
        """A client of one of her ports. @param host: that it names."""
        client = Client()
        endpoint: Any = TCP4ClientEndpoint(self.reactor, HERE, self.installation.ports.number(port))
        if tls:
            trusted = Certificate.loadPEM(self.certificatePath.read_bytes())
            endpoint = wrapClientTLS(optionsForClientTLS(host, trusted), endpoint)
        await connectProtocol(endpoint, client)
        self.addCleanup(self._leave, client)
        return client

    def _leave(self, client: Client) -> Deferred[Client] | None:
        if client.reason is not None:
            return None
        transport: Any = client.transport
        transport.abortConnection()
        return client.lost

    async def get(self, target: str = "/", host: str = "localhost", port: str = HTTPS, *, tls: bool = True) -> bytes:
        """The whole response to a request, whose connection closes then."""
        client = await self.connect(port, host, tls=tls)
        self.say(client, f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        await client.lost
        return client.received

    def say(self, client: Client, text: str | bytes) -> None:
        """Send something."""
        transport: Any = client.transport
        transport.write(text.encode() if isinstance(text, str) else text)
