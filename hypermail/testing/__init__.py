"""
The simulated network, for hypermail's own tests and for yours.

Datagrams travel in virtual time under L{Conditions}: loss, duplication, reordering, delay, jitter, corruption,
bandwidth, a queue, an MTU, blackholes, changing addresses. All chance comes from a seed, so what happened once
happens again. Two ways in:

* L{SimulatedNetwork.reactor} makes Twisted reactors in one L{SimulatedNetwork}, on which your own
  L{SessionProtocol<hypermail.SessionProtocol>} runs as it would on a real one.
* L{Pair} and L{World} drive the sans-I/O core without Twisted, between L{Application}s, and assert that
  everything was delivered and nothing is left.

This room imports the core and everything below it, and Twisted's interfaces, but not C{hypermail.internet}.
"""

from hypermail.testing.application import Application, GatheredStream, Received
from hypermail.testing.conditions import PERFECT, Blackhole, Conditions, Counters
from hypermail.testing.direction import Direction
from hypermail.testing.modes import PLAIN, Handshakes, secret_handshakes
from hypermail.testing.network import Address, SimulatedNetwork
from hypermail.testing.node import Node
from hypermail.testing.pair import Pair, World
from hypermail.testing.reactor import SimulatedPort, SimulatedReactor, SimulatedResolver
from hypermail.testing.side import Side
from hypermail.testing.timeline import Timer

__all__ = [
    "PERFECT",
    "PLAIN",
    "Address",
    "Application",
    "Blackhole",
    "Conditions",
    "Counters",
    "Direction",
    "GatheredStream",
    "Handshakes",
    "Node",
    "Pair",
    "Received",
    "Side",
    "SimulatedNetwork",
    "SimulatedPort",
    "SimulatedReactor",
    "SimulatedResolver",
    "Timer",
    "World",
    "secret_handshakes",
]
