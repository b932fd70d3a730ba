"""
Messages (seed 001's batches) on lanes: whole, exactly once, acknowledged by the peer's application.

Imports L{hypermail.link} and what lies below; knows nothing of streams or sessions. Obeys
C{docs/protocol/messages.rst}. Outgoing and incoming messages are apart and know each other only through
packets.
"""
