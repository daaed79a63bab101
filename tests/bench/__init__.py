"""Measures the operator against its budgets on a real cluster: `python -m tests.bench`.

All measurements are taken from outside: from the API server's audit log, the kernel's accounting of
the operator's process, its metrics, and a plugin deployed by hand as the baseline. Speed is never a
test: a missed budget is told, not failed. `catalogue` lists the scenarios; each has a module with
its budgets. The package runs in the tests' environment.
"""
