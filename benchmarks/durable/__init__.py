"""
What durable lanes promise and what they cost, with real processes and real stores.

    python -m benchmarks.durable.kills    100,000 messages, while both sides are killed and the network is cut
    python -m benchmarks.durable.rate     messages per second, durable and not
"""
