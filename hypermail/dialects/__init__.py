"""
Older wire formats behind the session interface of hypermail: sans-I/O, bytes and time in, datagrams and events out.

Each dialect is a package of its own, and an object of options that is passed to an endpoint as C{dialect}:
L{hypermail.dialects.batch.Batch}, L{hypermail.dialects.digest.Digest}. What they share is here. Towards
L{hypermail.internet} a dialect's connection is what L{hypermail.connection.Connection} is, and its demux what
L{hypermail.demux.Demux} is, so that sessions, endpoints and programs need not know which they have.

The bytes: C{docs/protocol/dialects}.
"""
