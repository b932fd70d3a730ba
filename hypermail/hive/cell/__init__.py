"""
A cell of a hive: it dials out to a queen, and answers the requests that she passes on (seed 002, HLHV).

================ =====================================================================================
L{cell}          the service: whom it serves, as what, until when
L{queens}        where a queen is, and how she is trusted
L{leashing}      a leash that is kept: login, mounts, another attempt whenever it was lost
L{membership}    one leash and its bands
L{application}   what answers requests, and what becomes of one that fails
L{tap}           options of C{twistd hypermail-cell}
L{program}       its service
L{heads}         the head of a request, and of a response, as applications have them
L{resource}      C{twisted.web} resources
L{files}         the files of a directory
L{wsgi}          WSGI applications, in threads
L{asgi}          ASGI applications: HTTP, and their lifespan
L{websocket}     WebSockets of these
L{calls}         one call of these: what passes between threads
L{loops}         their asyncio loop
L{proxy}         a local web server
L{upstream}      connections to that
================ =====================================================================================

An application is a callable of one L{Exchange<hypermail.hive.exchanges.Exchange>}. Obeys C{docs/protocol/hive}, "A
cell's life". The room may import all of C{hypermail.hive} but what is for the queen's end.
"""
