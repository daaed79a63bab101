"""The operator measured against its budgets on a real cluster: `python3 -m tests.bench`.

Everything is counted from outside: the API server's audit log, the kernel's books on the operator's
process, and a plugin deployed by hand as the baseline. Nothing but the standard library is used,
except by `tests.bench.tls`, which is run in the tests' environment: it times the handshake beside
Go's, without a cluster (`python3 -m tests.bench handshake`).
"""
