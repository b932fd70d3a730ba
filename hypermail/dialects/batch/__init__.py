"""
The dialect C{batch}: the wire format of seed 001, as the Erlang application reliable_udp speaks it.

What is sent is what the original bears, and what comes is answered as it expects; what it does wrong is not done here.
The bytes, and the differences: C{docs/protocol/dialects}.
"""

from hypermail.dialects.batch.dialect import Batch

__all__ = ["Batch"]
