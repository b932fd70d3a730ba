"""
Streams: ordered bytes both ways, multiplexed, each direction ending alone, with back pressure.

Imports L{hypermail.link} and what lies below; knows nothing of messages or sessions. Obeys
C{docs/protocol/streams.rst}. The two directions of a stream are classes of their own.
"""
