"""
Ready-made services: the programs behind C{twistd hypermail} and the C{hypermail} command.

=============== =====================================================================================
L{paths}        which names may become files here, and how a taken name is numbered
L{disk}         the few things that are done to a file system, in one object that tests replace
L{directory}    the inbox on disk: a file has its name when it is whole and safe
L{arrivals}     one file on its way in
L{parts}        what an inbox keeps of transfers that are not over
L{digesting}    SHA-256 of a file that is read or written from its middle on
L{files}        how a file travels on a stream: shared by both sides
L{inbox}        streams and messages into the directory
L{receiving}    one stream that brings a file
L{echo}         everything back to where it came from
L{listener}     the service: a socket, an inbox, an echo, a graceful end
L{announcing}   what a listener says at its start
L{passages}     what C{--forward} and C{--listen} say
L{exits}        the listener's end of a tunnel
L{entrances}    the starter's end of a tunnel, a service
L{pipes}        two transports as one
L{flows}        datagrams through a tunnel
L{keeping}      a session that is opened again whenever it was lost: C{StarterService}
L{hangup}       SIGHUP: identity and trust are read again
L{ending}       how a program that cannot start says so
L{tap}          the options of C{twistd hypermail}
L{status}       what a running program tells about its sessions
L{status_site}  the same over HTTP
L{metrics}      the same for Prometheus
L{tree}         what is meant by the files and directories of a command line
L{reading}      a file read off the reactor's thread, into a stream that may be slow
L{sending}      many files through one session, and the next one
L{carrying}     one stream that carries a file away
L{returning}    the session of a command, opened again when it is lost
L{spool}        the outbox on disk: which files are to leave, and where they go then
L{outbox}       files that are put in a directory leave when the peer can be reached, a service
L{progress}     how far it is
L{starter}      what the C{hypermail} command does, from opening a session to closing it
L{watching}     what C{hypermail status} asks for and shows
L{live}         the same as a table on a terminal that stays up to date
L{running}      the reactor of a command, until its work is done or a signal ends it
L{store}        durable sessions on disk, written by a thread
L{store_file}   the same, blocking: one file, for one process at a time
L{store_group}  changes that are written together, and what they come to
L{store_rows}   how they are written in the rows of the file
L{store_sql}    its tables, and how it is made and opened
L{store_shares} the stores of a listener's workers, and how sessions get from one to another
L{workers}      threads for what blocks
L{addresses}    C{HOST:PORT} and C{udp:4700:interface=127.0.0.1}
=============== =====================================================================================

This room imports everything below C{hypermail.internet} and Twisted. Nothing of hypermail but
C{hypermail.cli} and the plugin imports it.
"""
