"""
Tests for L{hypermail.services.hangup}, and of what services do with a SIGHUP.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.errors import PeerUntrusted, UsageError
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.security import Plain, SharedSecret, StarterTLS
from hypermail.internet.settings import ListenerSettings, StarterSettings
from hypermail.services.addresses import Listening
from hypermail.services.entrances import TunnelService
from hypermail.services.hangup import HangupService
from hypermail.services.listener import Doing, ListenerService
from hypermail.services.passages import parse_listens
from hypermail.test.sessions import Hosts, RecordingFactory, identityOf, logged

HERE = "127.0.0.1"
clock = cast(Any, reactor)


class HangupTests(TestCase):
    """The signal."""

    async def test_calls(self) -> None:
        """Each signal is a call in the reactor; afterwards the signal is whose it was."""
        before = signal.getsignal(signal.SIGHUP)
        called: list[Deferred[None]] = [Deferred(), Deferred()]
        waiting = list(called)
        service = HangupService(clock, lambda: waiting.pop(0).callback(None))
        service.startService()
        for one in called:
            os.kill(os.getpid(), signal.SIGHUP)
            await one
        service.stopService()
        self.assertIs(signal.getsignal(signal.SIGHUP), before)


class RenewTests(SynchronousTestCase):
    """Sockets whose security is renewed."""

    def test_mode(self) -> None:
        """The mode of a socket stays, and a starter's security is none for a listener."""
        hosts = Hosts()
        self.addCleanup(hosts.end)
        port = cast(Any, hosts.listen())
        self.assertIn("mode plain cannot go on in mode secret", self.refused(port, SharedSecret(bytes(32))))
        self.refused(port, StarterTLS())
        port.renew(Plain(allowRemote=True))
        hosts.run(hosts.ask())

    def refused(self, port: Any, security: Any) -> str:
        """Renew in vain. @return: why."""
        error = self.assertRaises(UsageError, port.renew, security)
        return str(error.text)


class ReloadTests(TestCase):
    """Services that read identity and trust again."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.file = self.directory / "identity.pem"
        self.lines = logged(self)

    def write(self, name: str) -> str:
        """Another identity. @return: its pin."""
        identity = identityOf(name)
        self.file.unlink(missing_ok=True)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(identity.to_pem())
        return identity.pin

    def listener(self, **settings: Any) -> tuple[ListenerService, int]:
        """A listener, and its port."""
        doing = Doing(
            listening=Listening(0, HERE), echo=True, settings=ListenerSettings(identity=str(self.file), **settings)
        )
        service = ListenerService(clock, doing)
        service.startService()
        self.addCleanup(service.stopService)
        return service, service._port.getHost().port

    def connect(self, port: int, pin: str) -> Deferred[Any]:
        """Ask for a session with the listener that has a pin."""
        return SessionClientEndpoint(clock, HERE, port, security=StarterTLS(pin=pin)).connect(RecordingFactory())

    async def test_identity(self) -> None:
        """Sessions that are open go on; new ones see the new identity. A file that can't be read changes nothing."""
        first = self.write("first.example")
        service, port = self.listener()
        open_ = await self.connect(port, first)
        second = self.write("second.example")
        service.reload()
        after = await self.connect(port, second)
        await self.assertFailure(self.connect(port, first), PeerUntrusted)
        self.file.write_text("nonsense")
        service.reload()
        self.assertTrue([line for line in self.lines if "identity and trust stay as they were" in line])
        last = await self.connect(port, second)
        for protocol in (open_, after, last):
            await protocol.session.sendMessage(b"still here")
            await protocol.session.close()

    async def test_broken(self) -> None:
        """Whatever a file has become, everything stays as it was, and one line says which file it is."""
        pin = self.write("first.example")
        allowed, roots = self.directory / "allowed", self.directory / "roots.pem"
        starter = identityOf("starter.example")
        allowed.write_text(f"{starter.pin}\n")
        roots.write_bytes(starter.certificate.public_bytes(Encoding.PEM))
        service, port = self.listener(allow=(str(allowed),))
        tunnel = TunnelService(clock, lambda: self.trusting(roots, port), parse_listens(["udp:0:interface=127.0.0.1"]))
        tunnel.startService()
        self.addCleanup(tunnel.stopService)
        assert tunnel.starter is not None
        before = tunnel.starter.endpoint
        for file, reload in ((self.file, service.reload), (allowed, service.reload), (roots, tunnel.reload)):
            good = file.read_bytes()
            for break_ in self.breaks(file, good):
                break_()
                del self.lines[:]
                reload()
                (line,) = self.lines
                self.assertIn("identity and trust stay as they were: ", line)
                self.assertIn(str(file), line)
                if file.is_dir():
                    file.rmdir()
                else:
                    file.unlink(missing_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(good)
        self.assertIs(tunnel.starter.endpoint, before)
        mine = SessionClientEndpoint(clock, HERE, port, security=StarterTLS(pin=pin, identity=starter))
        session = (await mine.connect(RecordingFactory())).session
        await session.close()
        service.reload()
        self.assertIn("identity and trust were read again", self.lines)

    def trusting(self, roots: Path, port: int) -> SessionClientEndpoint:
        """An endpoint that reads whom it trusts."""
        security = StarterSettings(trustRoots=str(roots)).security()
        return SessionClientEndpoint(clock, HERE, port, security=security)

    def breaks(self, file: Path, good: bytes) -> list[Callable[[], object]]:
        """Ways to break a file; between two of them there is none."""

        def write(data: bytes, mode: int = 0o600) -> Callable[[], object]:
            def broken() -> None:
                file.touch()
                file.chmod(mode)
                file.write_bytes(data)

            return broken

        bad = [b"", b"\0", b"nonsense", good[: len(good) // 2], b"\xff\xfe" + good, bytes(1 << 21)]
        return [*map(write, bad), write(good, 0o666), file.mkdir, lambda: os.mkfifo(file), lambda: None]

    async def test_identityGone(self) -> None:
        """An identity that was made at the start is not made anew when its file has gone."""
        doing = Doing(listening=Listening(0, HERE), settings=ListenerSettings(state=str(self.directory)))
        service = ListenerService(clock, doing)
        service.startService()
        self.addCleanup(service.stopService)
        (file,) = self.directory.iterdir()
        file.unlink()
        service.reload()
        self.assertTrue([line for line in self.lines if "identity and trust stay as they were" in line])
        self.assertEqual(list(self.directory.iterdir()), [])

    async def test_starter(self) -> None:
        """A tunnel's next session trusts what was read last; what is not right changes nothing."""
        pin = self.write("listener.example")
        port = self.listener()[1]
        trusted = [identityOf("another.example").pin]

        def endpoint() -> SessionClientEndpoint:
            return SessionClientEndpoint(clock, HERE, port, security=StarterTLS(pin=trusted[0]))

        tunnel = TunnelService(clock, endpoint, parse_listens(["udp:0:interface=127.0.0.1"]))
        tunnel.reload()
        tunnel.startService()
        self.addCleanup(tunnel.stopService)
        starter = tunnel.starter
        assert starter is not None
        trusted[0] = "sha256/nonsense"
        tunnel.reload()
        self.assertTrue([line for line in self.lines if "identity and trust stay as they were" in line])
        trusted[0] = pin
        tunnel.reload()
        await starter.whenOpened()
