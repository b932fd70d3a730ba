"""
The dialect C{batch}: the wire format of seed 001, as the Erlang application reliable_udp speaks it.
"""
