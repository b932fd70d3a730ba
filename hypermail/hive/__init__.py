"""
The hive: a queen terminates HTTPS and routes requests to cells, which dial out to her (seed 002, HLHV).

================ =====================================================================================
L{frames}        what queen and cell say to each other, and how it is written
L{reading}       bytes as they come, into frames
L{errors}        what goes wrong
L{fields}        JSON of a stranger's, key by key
L{band}          one request at a time, and its response
L{states}        of a band, as tables
L{choosing}      which of several cells gets a request
L{garden}        the bands of one cell
L{framing}       a connection of frames
L{bands}         a band as the queen has it, between a request and a cell
L{leash}         the cell's end of a leash
L{leashes}       the queen's cells: who has logged in, and what they have mounted
L{pressure}      a cell that takes nothing of what its leash is sent
L{headers}       what may be in headers, and which go no further
L{heads}         the head of a request, and what a cell is told of it
L{targets}       what a request asks for
L{forwarded}     for whom a proxy asks
L{mounts}        which cells a request is for
L{away}          what cells had mounted that were lost just now
L{access}        lines of the access log
L{access_log}    its file
L{keys}          the key that cells log in with, and its hash
L{figures}       how many requests there are, and how long they take
L{overview}      all that is told of a queen
L{status_page}   a page of it, in a browser
L{metrics}       for Prometheus
L{aliases}       which host a request's host means
L{directives}    the queen's configuration file
L{certificates}  which certificate a client gets to see
L{renewal}       a certificate in files that another program renews
L{redirect}      what is served without TLS
================ =====================================================================================

L{framing} and what has to do with connections, and L{garden}, know Twisted; the others know nothing of I/O. Obeys
C{docs/protocol/hive}. The room may import C{hypermail.services} and everything below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypermail._lazy import lazily

if TYPE_CHECKING:
    from hypermail.hive.cell.application import CellApplication as CellApplication
    from hypermail.hive.cell.asgi import AsgiApplication as AsgiApplication
    from hypermail.hive.cell.cell import Cell as Cell
    from hypermail.hive.cell.files import FilesApplication as FilesApplication
    from hypermail.hive.cell.proxy import ProxyApplication as ProxyApplication
    from hypermail.hive.cell.queens import Queen as Queen
    from hypermail.hive.cell.resource import ResourceApplication as ResourceApplication
    from hypermail.hive.cell.wsgi import WsgiApplication as WsgiApplication
    from hypermail.hive.directives import Directives as Directives
    from hypermail.hive.errors import LeashLost as LeashLost
    from hypermail.hive.errors import MountRejected as MountRejected
    from hypermail.hive.exchanges import Exchange as Exchange
    from hypermail.hive.queen import QueenService as QueenService

_HOMES = {
    "hypermail.hive.cell.application": ("CellApplication",),
    "hypermail.hive.cell.asgi": ("AsgiApplication",),
    "hypermail.hive.cell.cell": ("Cell",),
    "hypermail.hive.cell.files": ("FilesApplication",),
    "hypermail.hive.cell.proxy": ("ProxyApplication",),
    "hypermail.hive.cell.queens": ("Queen",),
    "hypermail.hive.cell.resource": ("ResourceApplication",),
    "hypermail.hive.cell.wsgi": ("WsgiApplication",),
    "hypermail.hive.directives": ("Directives",),
    "hypermail.hive.errors": ("LeashLost", "MountRejected"),
    "hypermail.hive.exchanges": ("Exchange",),
    "hypermail.hive.queen": ("QueenService",),
}
__getattr__, __dir__, __all__ = lazily(__name__, _HOMES)
