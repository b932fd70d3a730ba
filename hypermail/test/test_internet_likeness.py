"""
Tests of L{hypermail.internet.likeness}, and of what else Twisted's programs expect of a transport.
"""

from __future__ import annotations

from typing import Any

from OpenSSL.crypto import X509
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
    ITLSTransport,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate
from twisted.python import context, log
from twisted.python.log import ILogContext
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hypermail.internet.address import HypermailAddress
from hypermail.internet.security import ListenerTLS, StarterTLS
from hypermail.options import Options
from hypermail.security.identity import pin_of
from hypermail.streams.buffer import BLOCK
from hypermail.test.producers import Producer
from hypermail.test.securing import SELF_MADE, STARTER
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingStream
from hypermail.test.streams import StreamTests


class LikenessTests(StreamTests):
    """
    A stream of a session in mode plain
    """

    def test_interfaces(self) -> None:
        """A stream says what it is, and what it is not: there is no TCP underneath, and no TLS of its own."""
        ours, theirs = self.open()
        for stream in (ours, theirs):
            for interface in (ITransport, IConsumer, IPushProducer, IHalfCloseableDescriptor):
                verifyObject(interface, stream.transport)
            for other in (ITCPTransport, ISSLTransport, ITLSTransport):
                self.assertFalse(other.providedBy(stream.transport))

    def test_addresses(self) -> None:
        """Each side knows its own address and the other's."""
        ours, theirs = self.open()
        peer = ours.transport.getPeer()
        self.assertEqual(peer, HypermailAddress(SERVER, PORT))
        self.assertEqual(theirs.transport.getHost(), peer)
        self.assertEqual(theirs.transport.getPeer().host, CLIENT)
        self.assertEqual(theirs.transport.getPeer().port, ours.transport.getHost().port)

    def test_noCertificate(self) -> None:
        """Where nobody has shown a certificate there is none."""
        ours, theirs = self.open()
        for stream in (ours, theirs):
            self.assertIsNone(stream.transport.peerCertificate())
            self.assertIsNone(stream.transport.getPeerCertificate())

    def test_tcpOptions(self) -> None:
        """What is set on TCP connections can be set, and is as it would be, whatever is set."""
        ours, _ = self.open()
        transport = ours.transport
        for enabled in (False, True):
            transport.setTcpNoDelay(enabled)
            transport.setTcpKeepAlive(enabled)
            self.assertEqual((transport.getTcpNoDelay(), transport.getTcpKeepAlive()), (True, True))

    def test_stopConsuming(self) -> None:
        """A consumer that is told to stop forgets its producer and closes."""
        ours, theirs = self.open()

        class Producer:
            def resumeProducing(self) -> None:
                """It has time."""

        ours.transport.registerProducer(Producer(), False)
        ours.transport.write(b"the end")
        ours.transport.stopConsuming()
        self.hosts.settle()
        self.assertDone(ours, theirs)
        self.assertEqual(theirs.data, b"the end")

    def test_logContext(self) -> None:
        """What a protocol logs while it is called bears its name and the peer, as with TCP."""
        events: list[Any] = []
        log.addObserver(events.append)
        self.addCleanup(log.removeObserver, events.append)

        class Logging(RecordingStream):
            def dataReceived(self, data: bytes) -> None:
                log.msg("data has come")

            def logPrefix(self) -> str:
                return "Called"

        ours, _ = self.open(theirs=Logging)
        for _ in range(2):
            ours.transport.write(b"x")
            self.hosts.settle()
        said = [event for event in events if "data has come" in str(log.textFromEventDict(event))]
        self.assertEqual([event["system"] for event in said], [f"Called,hypermail,{CLIENT}"] * 2)

    def test_logContextOfAny(self) -> None:
        """A protocol that names itself nothing is named after its class."""
        said: list[str] = []

        class Bare:
            def makeConnection(self, transport: Any) -> None:
                """It needs none."""

            def dataReceived(self, data: bytes) -> None:
                said.append(context.get(ILogContext)["system"])

            def connectionLost(self, reason: Any) -> None:
                """It does not mind."""

        ours, _ = self.open(theirs=Bare)
        ours.transport.write(b"x")
        self.hosts.settle()
        self.assertEqual(said, [f"Bare,hypermail,{CLIENT}"])


class WriteSequenceTests(StreamTests):
    """
    C{writeSequence}
    """

    def test_order(self) -> None:
        """The pieces arrive in order, between what is written before and after; empty ones are nothing."""
        ours, theirs = self.open()
        ours.transport.write(b"0")
        ours.transport.writeSequence(piece for piece in (b"1", b"", bytearray(b"2"), memoryview(b"3")))
        ours.transport.writeSequence([])
        ours.transport.write(b"4")
        self.hosts.settle()
        self.assertEqual(theirs.data, b"01234")

    def test_notJoined(self) -> None:
        """Large pieces are kept as they are, not copied, wherever small ones stand."""
        ours, theirs = self.open()
        large = [bytes([number]) * BLOCK for number in range(3)]
        ours.transport.writeSequence([b"small", large[0], large[1], b"small", large[2]])
        kept = [block.obj for block in ours.transport._stream.outgoing._buffer._blocks]
        for piece in large:
            self.assertTrue(any(block is piece for block in kept))
        self.hosts.settle()
        self.assertEqual(theirs.data, b"".join([b"small", large[0], large[1], b"small", large[2]]))

    def test_wrong(self) -> None:
        """When one piece is not bytes nothing at all is written."""
        ours, theirs = self.open()
        self.assertRaises(TypeError, ours.transport.writeSequence, [b"one", "two"])
        self.hosts.settle()
        self.assertEqual(theirs.data, b"")

    def test_producer(self) -> None:
        """A producer that writes too much in this way is paused."""
        ours, _ = self.open()
        producer = Producer()
        ours.transport.registerProducer(producer, True)
        ours.transport.writeSequence([b"x" * 1_000] * (Options().stream_buffer // 1_000 + 1))
        self.assertEqual(producer.told, ["pause"])
        self.hosts.settle()
        self.assertEqual(producer.told, ["pause", "resume"])
        ours.transport.unregisterProducer()

    def test_tooLate(self) -> None:
        """After the end, however it came, nothing is written, and nothing raised."""
        ours, theirs = self.open()
        ours.transport.loseConnection()
        ours.transport.writeSequence([b"late"])
        self.hosts.settle()
        ours.transport.writeSequence([b"later"])
        self.hosts.settle()
        self.assertEqual(theirs.data, b"")
        ours, theirs = self.open()
        ours.transport.abortConnection()
        ours.transport.writeSequence([b"late"])
        ours, theirs = self.open()
        theirs.transport._stream.clear(0, "")
        ours.transport._stream.clear(0, "")
        ours.transport.writeSequence([b"late"])
        self.hosts.settle()


class CertificateTests(SynchronousTestCase):
    """
    A stream of a session in mode tls, whose sides both show a certificate
    """

    def test_certificates(self) -> None:
        """Both protocols find the other's certificate, in cryptography's form, and in that of Twisted's TLS."""
        hosts = Hosts()
        self.addCleanup(hosts.end)
        hosts.listen(security=ListenerTLS(SELF_MADE, allow=[STARTER.pin]))
        us = hosts.run(hosts.ask(security=StarterTLS(pin=SELF_MADE.pin, identity=STARTER)))
        ours, theirs = hosts.stream(us.session, hosts.listening.built[0])
        for stream, identity in ((ours, SELF_MADE), (theirs, STARTER)):
            found = stream.transport.peerCertificate()
            self.assertEqual(pin_of(found), identity.pin)
            self.assertEqual(stream.transport.getPeerCertificate().to_cryptography(), found)
            shown = Certificate(stream.transport.getPeerCertificate())
            self.assertEqual(
                shown.digest("sha256"), Certificate(X509.from_cryptography(identity.certificate)).digest("sha256")
            )
        hosts.run(us.session.close())

    def test_factory(self) -> None:
        """C{buildProtocol} is given the peer's address, on both sides of an endpoint."""
        hosts = Hosts()
        self.addCleanup(hosts.end)
        us, them = hosts.open()
        told: list[Any] = []

        class Told(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Any:
                told.append(addr)
                return RecordingStream()

        them.stream = lambda name, options: RecordingStream()
        hosts.run(us.session.openStream(Told()))
        self.assertEqual(told, [HypermailAddress(SERVER, PORT)])
