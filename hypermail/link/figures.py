"""
A link's counters and estimates, for people to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypermail.link.ecn import OFF
from hypermail.options import Mode

if TYPE_CHECKING:
    from hypermail.link.link import Link


#: Those that count, and go on over the next link of a session.
COUNTERS = (
    "mtu_probes",
    "black_holes",
    "datagrams_sent",
    "datagrams_received",
    "datagrams_lost",
    "datagrams_late",
    "datagrams_dropped",
    "datagrams_forged",
    "key_updates",
    "bytes_sent",
    "bytes_received",
    "bytes_lost",
    "moves",
    "path_responses_forged",
    "probe_timeouts",
    "ecn_marked",
    "ecn_impossible",
)


def figures(link: Link) -> dict[str, Any]:
    """What one link has counted and reckons, by name."""
    recovery, route = link.recovery, link.route
    return {
        "mode": Mode(link.mode).name.lower(),
        "cipher": link.cipher,
        "congestion": route.controller_name,
        "rtt": link.rtt.smoothed if link.rtt.measured else None,
        "window": route.congestion.window,
        "in_flight": recovery.in_flight,
        "paced_until": link.allowance.resume_at,
        "mtu": link.path.mtu,
        "mtu_probes": route.discovery.probes,
        "black_holes": route.discovery.black_holes,
        "datagrams_sent": link.outbound.datagrams,
        "datagrams_received": link.inbound.datagrams,
        "datagrams_lost": recovery.lost_datagrams,
        "datagrams_late": recovery.late_datagrams,
        "datagrams_dropped": link.inbound.dropped,
        "datagrams_forged": link.forged,
        "key_updates": link.key_updates,
        "bytes_sent": link.outbound.bytes,
        "bytes_received": link.inbound.bytes,
        "bytes_lost": recovery.lost_bytes,
        "moves": route.moves,
        "path_responses_forged": route.responses_forged,
        "probe_timeouts": recovery.probe_timeouts,
        **(route.marking.statistics() if route.marking is not None else OFF),
    }
