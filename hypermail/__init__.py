"""
Messages and streams over UDP between two Twisted programs, in sessions.

What programs use is here, and is loaded when it is used: importing this package, or the sans-I/O core in
it, imports neither Twisted nor a reactor. C{docs/} says what of it is stable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypermail._lazy import lazily

if TYPE_CHECKING:
    from hypermail.dialects.batch.dialect import Batch as Batch
    from hypermail.dialects.dialect import Dialect as Dialect
    from hypermail.dialects.digest.dialect import Digest as Digest
    from hypermail.dialects.digest.packets import DigestPayload as DigestPayload
    from hypermail.errors import CredentialError as CredentialError
    from hypermail.errors import Delivered as Delivered
    from hypermail.errors import HandshakeFailed as HandshakeFailed
    from hypermail.errors import HandshakeRefused as HandshakeRefused
    from hypermail.errors import HypermailError as HypermailError
    from hypermail.errors import IllegalTransition as IllegalTransition
    from hypermail.errors import KeysSpent as KeysSpent
    from hypermail.errors import LimitExceeded as LimitExceeded
    from hypermail.errors import MalformedPacket as MalformedPacket
    from hypermail.errors import MessageCancelled as MessageCancelled
    from hypermail.errors import MessageDropped as MessageDropped
    from hypermail.errors import MessageError as MessageError
    from hypermail.errors import MessageExpired as MessageExpired
    from hypermail.errors import MessageRejected as MessageRejected
    from hypermail.errors import MessageTooLarge as MessageTooLarge
    from hypermail.errors import MessageUndelivered as MessageUndelivered
    from hypermail.errors import NotSupported as NotSupported
    from hypermail.errors import PeerSilent as PeerSilent
    from hypermail.errors import PeerUntrusted as PeerUntrusted
    from hypermail.errors import ProtocolViolation as ProtocolViolation
    from hypermail.errors import Reason as Reason
    from hypermail.errors import RemoteAddressRefused as RemoteAddressRefused
    from hypermail.errors import SessionAborted as SessionAborted
    from hypermail.errors import SessionClosed as SessionClosed
    from hypermail.errors import SessionKilled as SessionKilled
    from hypermail.errors import SessionLost as SessionLost
    from hypermail.errors import SessionRejected as SessionRejected
    from hypermail.errors import SessionReset as SessionReset
    from hypermail.errors import SessionTimedOut as SessionTimedOut
    from hypermail.errors import StoreFailed as StoreFailed
    from hypermail.errors import StreamAborted as StreamAborted
    from hypermail.errors import StreamCleared as StreamCleared
    from hypermail.errors import StreamError as StreamError
    from hypermail.errors import StreamForgotten as StreamForgotten
    from hypermail.errors import StreamRejected as StreamRejected
    from hypermail.errors import Unreachable as Unreachable
    from hypermail.errors import UsageError as UsageError
    from hypermail.errors import VersionMismatch as VersionMismatch
    from hypermail.events import SessionRequested as SessionRequested
    from hypermail.events import StreamOptions as StreamOptions
    from hypermail.internet.address import HypermailAddress as HypermailAddress
    from hypermail.internet.cred import CertificateCredentials as CertificateCredentials
    from hypermail.internet.cred import ICertificateCredentials as ICertificateCredentials
    from hypermail.internet.cred import PinChecker as PinChecker
    from hypermail.internet.cred import PortalSessionFactory as PortalSessionFactory
    from hypermail.internet.credentials import identityIn as identityIn
    from hypermail.internet.credentials import readHiveKey as readHiveKey
    from hypermail.internet.credentials import readIdentity as readIdentity
    from hypermail.internet.credentials import readPins as readPins
    from hypermail.internet.credentials import readSecret as readSecret
    from hypermail.internet.credentials import readTrustRoots as readTrustRoots
    from hypermail.internet.credentials import stateDirectory as stateDirectory
    from hypermail.internet.credentials import writeIdentity as writeIdentity
    from hypermail.internet.datagrams import HypermailDatagramProtocol as HypermailDatagramProtocol
    from hypermail.internet.dialects import DialectDatagramProtocol as DialectDatagramProtocol
    from hypermail.internet.endpoints import HypermailClientEndpoint as HypermailClientEndpoint
    from hypermail.internet.endpoints import HypermailServerEndpoint as HypermailServerEndpoint
    from hypermail.internet.endpoints import SessionClientEndpoint as SessionClientEndpoint
    from hypermail.internet.endpoints import SessionServerEndpoint as SessionServerEndpoint
    from hypermail.internet.message import Message as Message
    from hypermail.internet.message import SentMessage as SentMessage
    from hypermail.internet.naming import NamedStreams as NamedStreams
    from hypermail.internet.protocol import SessionFactory as SessionFactory
    from hypermail.internet.protocol import SessionProtocol as SessionProtocol
    from hypermail.internet.security import ListenerTLS as ListenerTLS
    from hypermail.internet.security import Plain as Plain
    from hypermail.internet.security import SharedSecret as SharedSecret
    from hypermail.internet.security import StarterTLS as StarterTLS
    from hypermail.options import Delivery as Delivery
    from hypermail.options import ListenerOptions as ListenerOptions
    from hypermail.options import Options as Options
    from hypermail.options import Way as Way
    from hypermail.security.identity import Identity as Identity
    from hypermail.security.identity import pin_of as pin_of
    from hypermail.services.kept import openStore as openStore

_HOMES = {
    "hypermail.dialects.batch.dialect": ("Batch",),
    "hypermail.dialects.dialect": ("Dialect",),
    "hypermail.dialects.digest.dialect": ("Digest",),
    "hypermail.dialects.digest.packets": ("DigestPayload",),
    "hypermail.errors": (
        "CredentialError",
        "Delivered",
        "HandshakeFailed",
        "HandshakeRefused",
        "HypermailError",
        "IllegalTransition",
        "KeysSpent",
        "LimitExceeded",
        "MalformedPacket",
        "MessageCancelled",
        "MessageDropped",
        "MessageError",
        "MessageExpired",
        "MessageRejected",
        "MessageTooLarge",
        "MessageUndelivered",
        "NotSupported",
        "PeerSilent",
        "PeerUntrusted",
        "ProtocolViolation",
        "Reason",
        "RemoteAddressRefused",
        "SessionAborted",
        "SessionClosed",
        "SessionKilled",
        "SessionLost",
        "SessionRejected",
        "SessionReset",
        "SessionTimedOut",
        "StoreFailed",
        "StreamAborted",
        "StreamCleared",
        "StreamError",
        "StreamForgotten",
        "StreamRejected",
        "Unreachable",
        "UsageError",
        "VersionMismatch",
    ),
    "hypermail.events": ("SessionRequested", "StreamOptions"),
    "hypermail.internet.address": ("HypermailAddress",),
    "hypermail.internet.cred": (
        "CertificateCredentials",
        "ICertificateCredentials",
        "PinChecker",
        "PortalSessionFactory",
    ),
    "hypermail.internet.credentials": (
        "identityIn",
        "readHiveKey",
        "readIdentity",
        "readPins",
        "readSecret",
        "readTrustRoots",
        "stateDirectory",
        "writeIdentity",
    ),
    "hypermail.internet.datagrams": ("HypermailDatagramProtocol",),
    "hypermail.internet.dialects": ("DialectDatagramProtocol",),
    "hypermail.internet.endpoints": (
        "HypermailClientEndpoint",
        "HypermailServerEndpoint",
        "SessionClientEndpoint",
        "SessionServerEndpoint",
    ),
    "hypermail.internet.message": ("Message", "SentMessage"),
    "hypermail.internet.naming": ("NamedStreams",),
    "hypermail.internet.protocol": ("SessionFactory", "SessionProtocol"),
    "hypermail.internet.security": ("ListenerTLS", "Plain", "SharedSecret", "StarterTLS"),
    "hypermail.options": ("Delivery", "ListenerOptions", "Options", "Way"),
    "hypermail.security.identity": ("Identity", "pin_of"),
    "hypermail.services.kept": ("openStore",),
}
__getattr__, __dir__, __all__ = lazily(__name__, _HOMES)
