"""
A listener of several processes: C{twistd hypermail --workers N}.

The parent opens the sockets and keeps them open, starts a process for each worker with its share of them, and another
one whenever that has ended. It carries no session. What comes for a worker that is not there waits in its socket.

============== =====================================================================================
L{counting}    how many workers there are
L{service}     the parent: sockets, workers, a start and an end in order
L{life}        one worker as the parent sees it: its process, and the next one
L{states}      the states of that
L{worker}      the process of a worker
L{orders}      what a worker is told at its start
L{talk}        what parent and worker say to each other, over pipes
L{overview}    the status of all workers as one
============== =====================================================================================
"""
