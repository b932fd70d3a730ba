"""
The peers' secrets: known at once, or asked for, while what needs them waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypermail.dialects.digest.dialect import Digest
from hypermail.dialects.digest.packets import DigestPacket, uuid_text

#: Peers whose secrets are being asked for at once.
MOST_ASKED = 256
#: Bytes of a packet that waits: one with a timestamp has no more. A client that has no session, and says data that is
#: longer, says PING as well.
LONGEST_WAITING = 256

#: A packet that waits, and where it has come from.
Waiting = tuple[DigestPacket, Any]


class PeerSecrets:
    """
    Of one socket.

    @ivar questions: what is to be asked: UUIDs, each with the function that gives its answer, or a Deferred of it.
    """

    __slots__ = ("_ask", "_known", "_plain", "_waiting", "questions")

    def __init__(self, options: Digest) -> None:
        secrets = options.secrets
        self._plain = options.plain
        self._known: Mapping[str, bytes] = secrets if isinstance(secrets, Mapping) else {}
        self._ask: Callable[[str], object] | None = None
        if secrets is not None and not isinstance(secrets, Mapping):
            self._ask = secrets
        self._waiting: dict[bytes, Waiting] = {}
        self.questions: list[tuple[bytes, Callable[[], object]]] = []

    def __len__(self) -> int:
        """How many are being asked for."""
        return len(self._waiting)

    @property
    def asks(self) -> bool:
        """Whether secrets have to be asked for."""
        return self._ask is not None

    def asked(self, uuid: bytes) -> bool:
        """Whether a peer's secret is being asked for."""
        return uuid in self._waiting

    def known(self, uuid: bytes) -> bytes | None:
        """A secret that need not be asked for; None when there is none."""
        return self._known.get(uuid_text(uuid)) or None

    def ask(self, packet: DigestPacket, address: Any) -> bool:
        """
        Ask for the secret of a packet's sender.

        @return: whether the packet waits; of several of one sender the last one does. Long ones do not, since anybody
            can send them.
        """
        uuid, ask = packet.sender, self._ask
        if ask is None or len(packet.covered) > LONGEST_WAITING:
            return False
        if uuid not in self._waiting and len(self._waiting) >= MOST_ASKED:
            return False
        if uuid not in self._waiting:
            self.questions.append((uuid, lambda: ask(uuid_text(uuid))))
        self._waiting[uuid] = (packet, address)
        return True

    def answered(self, uuid: bytes) -> Waiting | None:
        """A secret was found, or not: this has waited for it."""
        return self._waiting.pop(uuid, None)
