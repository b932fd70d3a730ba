"""
hypermail beside its peers on one machine: C{python -m benchmarks.compare}.

Two processes for each measurement, over loopback. C{cases} says what is measured, C{work} is what both sides do,
C{program} is the process of a side, L{benchmarks.peers} carry it, C{measuring} runs it all, C{results} makes figures
and tables, C{charts} plots, and C{goals} says what should hold.
"""
