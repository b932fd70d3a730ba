"""
The hive: a queen terminates HTTPS and routes requests to cells, which dial out to her (seed 002, HLHV).

================ =====================================================================================
L{frames}        what queen and cell say to each other, and how it is written
L{reading}       bytes as they come, into frames
L{fields}        JSON of a stranger's, key by key
L{band}          one request at a time, and its response
L{states}        of a band, as tables
L{garden}        the bands of one cell
L{headers}       what may be in headers, and which go no further
L{targets}       what a request asks for
L{forwarded}     for whom a proxy asks
L{mounts}        which cells a request is for
L{keys}          the key that cells log in with, and its hash
L{aliases}       which host a request's host means
L{directives}    the queen's configuration file
================ =====================================================================================

All of these know no sockets; L{garden} knows Deferreds and a clock that it is given. Obeys C{docs/protocol/hive}. The
room may import C{hypermail.services} and everything below.
"""
