"""
Sessions: what two applications have agreed on, from open to close or death.

Imports L{hypermail.messages}, L{hypermail.streams} and what lies below. Obeys
C{docs/protocol/sessions.rst}.
"""
