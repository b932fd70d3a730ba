"""
A bad network between two network namespaces of this machine, for real processes and real sockets.

C{netemu.c} carries the packets (many kernels lack C{tc netem}); L{BadNetwork} builds it on demand, makes the
namespaces, and cleans up. Needs Linux, root, C{ip} (iproute2), C{/dev/net/tun} and, the first time, a C compiler;
L{unavailable} says what is missing.
"""

from benchmarks.netemu.namespaces import BadNetwork, Counts, NetworkUnavailable, Side, build, unavailable

__all__ = ["BadNetwork", "Counts", "NetworkUnavailable", "Side", "build", "unavailable"]
