"""
The front of the queen: HTTP, as clients of hers speak it (C{docs/protocol/hive}, "Clients").

=============== =====================================================================================
L{calls}        one request of a client's, and its response, whatever version of HTTP carries them
L{http1}        HTTP/1.1 and 1.0, on a connection
L{http1_call}   a request of these, as who answers sees it
L{http2}        HTTP/2, on a connection
L{http2_output} what goes out there, a frame of each request in turn
L{http2_stream} one request there
L{http2_heads}  the head of one
L{frame_watch}  what h2 does not tell of frames
L{allowance}    how often somebody may do something
L{line}         a client's connection, below HTTP: its deadlines, its back pressure, and how it ends
L{answering}    between a version of HTTP and who answers
L{wire}         headers between bytes and strings
L{times}        the time of day, as responses have it
L{front}        all connections, and which version each of them speaks
L{pages}        what the queen says herself
=============== =====================================================================================
"""
