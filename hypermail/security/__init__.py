"""
How datagrams are sealed, and how the two sides come to agree on it.

Imports L{hypermail.errors} and L{hypermail.options}. Obeys
C{docs/protocol/security.rst}. A mode is a L{hypermail.security.handshake.Handshake} and the
L{hypermail.security.seal.Seal}s that it makes; nothing above knows more of it.
"""
