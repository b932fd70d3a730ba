"""
hypermail, and what else there is, through the same bad network: two processes in two network namespaces.

    python -m benchmarks.network [SUITE...] [--repeat N] [--peers KEY...] [--out DIR] [--docs DIR]

===============  ==============================================================================================
suite
===============  ==============================================================================================
C{goodput}       one bulk stream at 0, 1, 5 % loss
C{latency}       small ordered messages at a steady rate, at 0, 1, 5 % loss: how long each takes, one way
C{roundtrip}     both again at 1 % loss and round trips of 10, 50, 200 ms, for shorter
C{blackout}      one bulk stream while the network fails for 10 ms of every second, beside the undisturbed
C{fairness}      a bulk stream of hypermail's beside one of TCP's, through one bottleneck
C{matrix}        the scenarios that hypermail must stand, each with what it has to show there
===============  ==============================================================================================

Needs what C{benchmarks.netemu} needs: Linux, root, C{ip}, C{/dev/net/tun} and a C compiler. The other peers and the
plots come with C{pip install -e '.[bench]'}; a peer that is not installed is left out, and the program says so.

Every measurement has a fresh network, so that nothing (TCP's metrics of a destination, say) is remembered. What
is measured is interleaved: all peers under one condition, then the next condition, and that so often as C{--repeat}
says; medians are shown. Results are kept in C{OUT/results.json}, each suite replacing its own, so that suites can be
run one by one; with C{--render} nothing is measured, and tables and plots are made of what is there.

=================  ============================================================================================
C{work}            what is sent, and what a receiver makes of it
C{program}         the process on one side
C{peers}           how each peer carries the work
C{relay}           a NAT that changes its mind
C{measuring}       one measurement: the network, both processes, their reports
C{suites}          the suites but the matrix
C{matrix}          the matrix
C{figures}         percentiles, medians, tables
C{results}         what is kept in a file, and how it is shown
C{plots}           the plots
=================  ============================================================================================
"""
