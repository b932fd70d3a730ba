"""
The dialect C{digest}: the wire format of seed 003, as the Java library napentathol/udp speaks it.

A client and a server; messages that are acknowledged and messages that are not; nothing is encrypted, but each packet
is signed with its sender's secret. What is not so in that library: timestamps are looked at, replays are told from
repetitions, and strangers are never answered with more than they have sent.
"""

from hypermail.dialects.digest.dialect import Digest
from hypermail.dialects.digest.packets import DigestPayload

__all__ = ["Digest", "DigestPayload"]
