"""
Packets and datagrams <-> bytes, and the small data structures that both sides of the wire share.

Imports L{hypermail.errors} and L{hypermail.options}. Obeys C{docs/protocol/datagrams.rst} and
C{docs/protocol/packets.rst}. Nothing here keeps state about a peer.
"""
