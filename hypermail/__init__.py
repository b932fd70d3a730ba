"""
Messages and streams over UDP between two Twisted programs, in sessions.

What programs use is here, and is loaded when it is used: importing this package, or the sans-I/O core in
it, imports neither Twisted nor a reactor. C{docs/} says what of it is stable.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypermail.errors import Delivered as Delivered
    from hypermail.errors import HypermailError as HypermailError
    from hypermail.errors import IllegalTransition as IllegalTransition
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
    from hypermail.errors import StreamAborted as StreamAborted
    from hypermail.errors import StreamCleared as StreamCleared
    from hypermail.errors import StreamError as StreamError
    from hypermail.errors import StreamRejected as StreamRejected
    from hypermail.errors import Unreachable as Unreachable
    from hypermail.errors import UsageError as UsageError
    from hypermail.errors import VersionMismatch as VersionMismatch
    from hypermail.events import StreamOptions as StreamOptions
    from hypermail.internet.address import HypermailAddress as HypermailAddress
    from hypermail.internet.datagrams import HypermailDatagramProtocol as HypermailDatagramProtocol
    from hypermail.internet.endpoints import HypermailClientEndpoint as HypermailClientEndpoint
    from hypermail.internet.endpoints import HypermailServerEndpoint as HypermailServerEndpoint
    from hypermail.internet.endpoints import SessionClientEndpoint as SessionClientEndpoint
    from hypermail.internet.endpoints import SessionServerEndpoint as SessionServerEndpoint
    from hypermail.internet.protocol import SessionFactory as SessionFactory
    from hypermail.internet.protocol import SessionProtocol as SessionProtocol
    from hypermail.options import Delivery as Delivery
    from hypermail.options import ListenerOptions as ListenerOptions
    from hypermail.options import Options as Options
    from hypermail.options import Way as Way

_HOMES = {
    "hypermail.errors": (
        "Delivered",
        "HypermailError",
        "IllegalTransition",
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
        "StreamAborted",
        "StreamCleared",
        "StreamError",
        "StreamRejected",
        "Unreachable",
        "UsageError",
        "VersionMismatch",
    ),
    "hypermail.events": ("StreamOptions",),
    "hypermail.internet.address": ("HypermailAddress",),
    "hypermail.internet.datagrams": ("HypermailDatagramProtocol",),
    "hypermail.internet.endpoints": (
        "HypermailClientEndpoint",
        "HypermailServerEndpoint",
        "SessionClientEndpoint",
        "SessionServerEndpoint",
    ),
    "hypermail.internet.protocol": ("SessionFactory", "SessionProtocol"),
    "hypermail.options": ("Delivery", "ListenerOptions", "Options", "Way"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    """What L{dir} shows: the public names, loaded or not."""
    return sorted({*globals(), *_HOME})
