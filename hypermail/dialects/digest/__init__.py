"""
The dialect C{digest}: the wire format of seed 003, as the Java library napentathol/udp speaks it.
"""
