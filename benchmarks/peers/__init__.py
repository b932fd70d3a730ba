"""
The peers of the comparison on one machine: who carries the work, how it is set, and what it can.

Each room has C{listen(task)} and C{start(task)}, which run in a process of their own and never return: whoever has
started them ends them. Its docstring says how the peer is set, and why; a setting is the best one for the peer that
we know of, as long as everything that was sent still arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

#: What the kinds of work are called.
BULK, MESSAGES, ASKS, OPENINGS, IDLE = "bulk", "messages", "asks", "openings", "idle"
EVERYTHING = (BULK, MESSAGES, ASKS, OPENINGS, IDLE)

#: The module that is there where hypermail's compiled twin was built.
TWIN = "hypermail.security._twin"


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One of those that are compared.

    @ivar label: in tables and plots.
    @ivar room: its module here.
    @ivar module: that has to be installed.
    @ivar package: what brings that.
    @ivar encrypted: whether what it carries is encrypted, and its listener known by a certificate or key.
    @ivar kinds: of work that it can do, or in which it differs from another of the same room.
    @ivar arguments: of the room.
    @ivar environment: of its processes, besides that of ours; None for what is not to be in it.
    """

    label: str
    room: str
    module: str = "twisted"
    package: str = "Twisted"
    encrypted: bool = True
    kinds: tuple[str, ...] = EVERYTHING
    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The label, with what has to be known beside each figure."""
        return self.label if self.encrypted else f"{self.label} (not encrypted)"

    def missing(self) -> str | None:
        """Why it cannot be measured here; None when it can."""
        try:
            found = find_spec(self.module)
        except ImportError:
            found = None
        if found is not None:
            return None
        return "not built" if self.module == TWIN else f"{self.package} is not installed"


def _hypermail(label: str, mode: str, **settings: Any) -> Peer:
    compiled = settings.get("module") == TWIN
    arguments = {"mode": mode, "compiled": compiled, **settings.pop("arguments", {})}
    environment = {"HYPERMAIL_PURE": None if compiled else "1"}
    own = {"module": "hypermail", "package": "hypermail", "environment": environment, **settings}
    return Peer(label, "sessions", encrypted=mode != "plain", arguments=arguments, **own)


_COMPILED = {"module": TWIN}
_EACH = {"kinds": (MESSAGES,), "arguments": {"each": True}}

PEERS = {
    "hypermail": _hypermail("hypermail", "tls"),
    "hypermail-each": _hypermail("hypermail, a Deferred each", "tls", **_EACH),
    "hypermail-compiled": _hypermail("hypermail, compiled", "tls", **_COMPILED),
    "hypermail-compiled-each": _hypermail("hypermail, compiled, a Deferred each", "tls", **_EACH, **_COMPILED),
    "hypermail-plain": _hypermail("hypermail, mode plain", "plain", kinds=(BULK, MESSAGES, ASKS, OPENINGS)),
    "twisted-tcp": Peer("Twisted TCP", "tcp", encrypted=False, arguments={"tls": False}),
    "twisted-tls": Peer("Twisted TLS", "tcp", arguments={"tls": True}),
    "amp": Peer("AMP", "amp", encrypted=False),
    "amp-each": Peer("AMP, an answer each", "amp", encrypted=False, kinds=(MESSAGES,), arguments={"each": True}),
    "aioquic": Peer("aioquic", "aioquic_quic", "aioquic", "aioquic"),
    "aioquic-large": Peer(
        "aioquic, 16,000-byte datagrams",
        "aioquic_quic",
        "aioquic",
        "aioquic",
        kinds=(MESSAGES, ASKS),
        arguments={"large": True},
    ),
    "qh3": Peer("qh3", "qh3_quic", "qh3", "qh3"),
    "enet": Peer("ENet", "enet_udp", "enet", "pyenet", encrypted=False),
    "kcp": Peer("KCP", "kcp_udp", "kcp", "kcp", encrypted=False, kinds=(BULK, MESSAGES, ASKS)),
    "zeromq": Peer("ZeroMQ, CURVE", "zeromq", "zmq", "pyzmq"),
    "grpc": Peer("gRPC, TLS", "grpc_tls", "grpc", "grpcio"),
}
