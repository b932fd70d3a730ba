"""
Don't-fragment: a socket whose datagrams arrive in one piece or not at all, so that their size can be tried out.

Also the MTU that the kernel has heard of from routers is ignored: whoever forges their messages could make it anything.
"""

from __future__ import annotations

import socket
import sys

# linux/in.h and linux/in6.h; the socket module has names for none of them everywhere.
IP_MTU_DISCOVER = 10
IP_PMTUDISC_PROBE = 3
IPV6_MTU_DISCOVER = 23
IPV6_PMTUDISC_PROBE = 3
IPV6_DONTFRAG = 62


def forbidFragments(made: socket.socket) -> bool:
    """
    Have a UDP socket's datagrams not be cut up, by nobody.

    @return: whether the system does that.
    """
    if sys.platform != "linux":
        return False
    try:
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    except OSError:
        return False
    return True
