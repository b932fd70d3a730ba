"""
Every error of hypermail, in one tree under L{HypermailError}.

An error knows the reason code that stands for it on the wire (L{Reason}), so that the layer that ends
something can tell the peer why, and the layer that learns of an end can raise what the peer meant.

Imports nothing of hypermail. Codes: C{docs/protocol/reasons.rst}.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class Reason(IntEnum):
    """Why something ended, as it is written on the wire (32 bits)."""

    NONE = 0
    APPLICATION = 1
    PROTOCOL_VIOLATION = 2
    LIMIT_EXCEEDED = 3
    UNSUPPORTED_VERSION = 4
    SESSION_REJECTED = 5
    TOO_MANY_SESSIONS = 6
    CONNECTION_TIMEOUT = 7
    PEER_SILENT = 8
    RESET = 9
    INTERNAL_ERROR = 10
    SHUTTING_DOWN = 11
    CANNOT_REOPEN = 12
    WRONG_WAY = 13
    UNREACHABLE = 14
    HANDSHAKE_FAILED = 15
    PEER_UNTRUSTED = 16
    NOT_ALLOWED = 17
    KEYS_SPENT = 18
    SESSION_UNKNOWN = 19
    SESSION_TAKEN = 20
    PEER_RESTARTED = 21
    STORE_FAILED = 22
    NOT_DURABLE = 23
    MESSAGE_REJECTED = 32
    MESSAGE_CLEARED = 33
    STREAM_REJECTED = 48
    STREAM_ABORTED = 49
    STREAM_NAME_UNKNOWN = 50

    @classmethod
    def describe(cls, code: int) -> str:
        """
        The name of a code for people to read; unknown codes stay numbers.

        @param code: a reason code as it came from the wire.
        """
        try:
            return cls(code).name.lower().replace("_", " ")
        except ValueError:
            return f"reason {code}"


class Delivered(Enum):
    """Whether a message that was given up had reached the peer's application."""

    NO = "no"
    UNKNOWN = "unknown"


class HypermailError(Exception):
    """
    The root of all errors of hypermail.

    @ivar code: the reason code that stands for this error on the wire.
    @ivar text: what happened, for people.
    """

    default_code: int = Reason.INTERNAL_ERROR

    def __init__(self, text: str = "", code: int | None = None) -> None:
        self.code: int = self.default_code if code is None else code
        self.text = text or Reason.describe(self.code)
        super().__init__(self.text)


class IllegalTransition(HypermailError):
    """A state machine got an input that its table does not allow in its state."""

    default_code = Reason.PROTOCOL_VIOLATION


class NotSupported(HypermailError):
    """What was asked for does not exist here; the text names the mode, dialect or option."""


class UsageError(HypermailError, ValueError):
    """The caller's arguments make no sense; nothing was changed."""


class RemoteAddressRefused(UsageError):
    """Mode C{plain} was asked to leave this machine without having been told so twice."""


class CredentialError(UsageError):
    """A key, certificate, pin or secret cannot be used; the text names the file and says what to do."""


class StoreFailed(HypermailError):
    """What has to outlive the process cannot be written or read; the text names the file and says what to do."""

    default_code = Reason.STORE_FAILED


# What the peer did wrong.


class ProtocolViolation(HypermailError):
    """The peer broke a rule of the protocol; the session ends with this."""

    default_code = Reason.PROTOCOL_VIOLATION


class LimitExceeded(ProtocolViolation):
    """The peer went past a limit that it had been told."""

    default_code = Reason.LIMIT_EXCEEDED


class MalformedPacket(ProtocolViolation):
    """An authentic datagram held something that is no packet."""


# How sessions end.


class SessionLost(HypermailError):
    """A session has ended, or never began; the base of all ways to end."""


class SessionClosed(SessionLost):
    """The session was closed gracefully: everything that was accepted was delivered."""

    default_code = Reason.NONE


class SessionRejected(SessionLost):
    """The listener did not want this session."""

    default_code = Reason.SESSION_REJECTED


class SessionTimedOut(SessionLost):
    """Nobody answered within C{connection_timeout}, or a session had no link for C{session_timeout}."""

    default_code = Reason.CONNECTION_TIMEOUT


class PeerSilent(SessionLost):
    """The peer has stopped answering: C{ping_packet_count} pings went unanswered."""

    default_code = Reason.PEER_SILENT


class SessionReset(SessionLost):
    """The peer does not know this session any more (it was restarted)."""

    default_code = Reason.RESET


class SessionKilled(SessionLost):
    """The peer ended the session at once (C{SessionDeath}); code and text are the peer's."""


class SessionAborted(SessionLost):
    """This side ended the session at once, by C{abort} or because of the peer's violation."""

    default_code = Reason.APPLICATION


class VersionMismatch(SessionLost):
    """The listener does not speak this version or mode; the text lists what it speaks."""

    default_code = Reason.UNSUPPORTED_VERSION


class HandshakeFailed(SessionLost):
    """The two sides could not agree on keys; the text says why, and who found out."""

    default_code = Reason.HANDSHAKE_FAILED


class HandshakeRefused(HandshakeFailed):
    """The peer broke the handshake off: it does not trust what this side has shown, or misses something."""


class PeerUntrusted(HandshakeFailed):
    """
    The peer's certificate is not one that this side trusts.

    @ivar pin: C{sha256/...} of the public key that it has shown; empty when it has shown none.
    """

    default_code = Reason.PEER_UNTRUSTED

    def __init__(self, text: str = "", pin: str = "") -> None:
        super().__init__(text)
        self.pin = pin


class KeysSpent(SessionLost):
    """The keys of the link have served as often as is safe, or too many datagrams were forged under them."""

    default_code = Reason.KEYS_SPENT


class Unreachable(SessionLost):
    """The address cannot be reached from here: no such host, no route, no socket."""

    default_code = Reason.UNREACHABLE


# What can happen to a message.


class MessageError(HypermailError):
    """A message was not taken by the peer's application; the base of all reasons."""

    default_code = Reason.MESSAGE_REJECTED


class MessageRejected(MessageError):
    """The peer's application refused the message, or failed on it; code and text are its own."""


class MessageTooLarge(MessageError, ValueError):
    """The message is larger than the peer takes, or than a datagram for direct messages."""

    default_code = Reason.LIMIT_EXCEEDED


class MessageExpired(MessageError):
    """The message's time ran out before the peer's application had taken it."""

    default_code = Reason.MESSAGE_CLEARED


class MessageCancelled(MessageError):
    """The message was withdrawn by its sender before the peer's application had taken it."""

    default_code = Reason.MESSAGE_CLEARED


class MessageDropped(MessageError):
    """A buffered lane was full and this was its oldest message."""

    default_code = Reason.MESSAGE_CLEARED


class MessageUndelivered(MessageError):
    """
    The session ended before the message was settled.

    @ivar delivered: L{Delivered.NO} when it cannot have reached the peer's application,
        L{Delivered.UNKNOWN} when it may have.
    @ivar cause: the error that ended the session.
    @ivar kept: whether the session is left to the disk, and with it the message, which may yet be delivered: what
        becomes of it is told when the session goes on.
    """

    def __init__(self, cause: HypermailError, delivered: Delivered, kept: bool = False) -> None:
        super().__init__(f"session lost, delivered: {delivered.value} ({cause.text})", cause.code)
        self.cause = cause
        self.delivered = delivered
        self.kept = kept


# What can happen to a stream.


class StreamError(HypermailError):
    """A stream ended otherwise than by both sides finishing; the base of all reasons."""

    default_code = Reason.STREAM_ABORTED


class StreamRejected(StreamError):
    """The peer's application did not want this stream; code and text are its own."""

    default_code = Reason.STREAM_REJECTED


class StreamCleared(StreamError):
    """The peer ended the stream abnormally; code and text are its own."""


class StreamAborted(StreamError):
    """This side ended the stream abnormally."""


class StreamForgotten(StreamError):
    """The peer's process was restarted, and its session goes on without its streams."""

    default_code = Reason.PEER_RESTARTED
