"""
The front of the queen: HTTP, as clients of hers speak it (C{docs/protocol/hive}, "Clients").

============== =======================================================================================
L{calls}       one request of a client's, and its response, whatever version of HTTP carries them
============== =======================================================================================
"""
