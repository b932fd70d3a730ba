"""
One live path between two sides: packet numbers, acknowledgements, loss, congestion, timers, heartbeat.

The seeds' "logical centre". It imports L{hypermail.wire}, L{hypermail.security} and what lies below, and
obeys C{docs/protocol/link.rst}. It knows packets of its own and carries all others as I{contents}: what a
datagram held, so that whoever gave it can be told that it arrived or was lost. A link is disposable;
what must outlive it lives in sessions, messages and streams.
"""
