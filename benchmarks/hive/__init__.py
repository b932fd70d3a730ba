"""
What a queen and her cells do under load, beside nginx, and what becomes of requests when something fails.

    python -m benchmarks.hive rate        requests per second, latencies, rates of large bodies; beside nginx
    python -m benchmarks.hive slow        2 GiB up and down with pauses: memory
    python -m benchmarks.hive kills       cells and queens are killed within 200 requests
    python -m benchmarks.hive websockets  4,000 that are idle: memory of each
    python -m benchmarks.hive roaming     a cell whose address changes within a download and an upload
    python -m benchmarks.hive --render    measures nothing, shows what is there

The queen is C{twistd hypermail-queen}, each cell a process of its own, over TLS or over hypermail. C{rate} needs
C{wrk}, C{h2load} and nginx; C{roaming} what L{benchmarks.netemu} needs. Each has options: C{rate --help}.
"""
