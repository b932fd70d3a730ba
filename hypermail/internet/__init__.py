"""
Twisted: UDP sockets, sessions and streams as Twisted users know them, endpoints and their strings.

The seeds' "IO". It is the only room that touches a reactor, a clock or a socket, and imports everything
below it. Nothing here decides about the protocol: the core's events go to the application's callbacks, the
application's calls go to the core, and what the core wants sent goes to a carrier.
"""
