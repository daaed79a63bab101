"""Measures the operator against its budgets on a real cluster: `python3 -m tests.bench`.

All measurements are taken from outside: from the API server's audit log, the kernel's accounting of
the operator's process, and a plugin deployed by hand as the baseline. The package uses only the
standard library, except `tests.bench.tls`, which runs in the tests' environment and times the
handshake beside Go's, without a cluster (`python3 -m tests.bench handshake`).
"""
