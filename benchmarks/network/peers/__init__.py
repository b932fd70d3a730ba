"""
The peers: who carries the work, and how each is called.

Each room has C{listen(task)} and C{start(task)}, which run in a process of their own and never return: whoever has
started them ends them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONGESTION_CONTROLS = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One of those that are compared.

    @ivar label: in tables.
    @ivar room: its module here.
    @ivar arguments: of that.
    @ivar package: that has to be installed.
    @ivar only_messages: whether it differs from another in how it carries messages, and carries streams like that.
    """

    label: str
    room: str
    arguments: dict[str, Any] = field(default_factory=dict)
    package: str = "hypermail"
    only_messages: bool = False

    def unavailable(self) -> str | None:
        """Why it cannot be measured here; None when it can."""
        if find_spec(self.package) is None:
            return f"{self.package} is not installed (pip install -e '.[bench]')"
        control = self.arguments.get("congestion")
        if self.room == "tls" and control not in CONGESTION_CONTROLS.read_text().split():
            return f"this kernel has no TCP congestion control {control} (modprobe tcp_{control})"
        return None


PEERS = {
    "hypermail-cubic": Peer("hypermail, CUBIC", "sessions", {"congestion": "cubic"}),
    "hypermail-bbr": Peer("hypermail, BBR", "sessions", {"congestion": "bbr"}),
    "hypermail-redundant": Peer(
        "hypermail, CUBIC, redundancy 1",
        "sessions",
        {"congestion": "cubic", "redundancy": 1},
        only_messages=True,
    ),
    "tcp-cubic": Peer("Twisted TLS over TCP CUBIC", "tls", {"congestion": "cubic"}),
    "tcp-bbr": Peer("Twisted TLS over TCP BBR", "tls", {"congestion": "bbr"}),
    "aioquic": Peer("aioquic, CUBIC", "quic", {"congestion": "cubic"}, package="aioquic"),
    "enet": Peer("ENet (not encrypted)", "enet_udp", package="enet"),
}
