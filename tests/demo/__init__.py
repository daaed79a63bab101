"""The product shown on one machine: `make demo`, or `python3 -m tests.demo`.

Nothing but the standard library is used, so that it runs on a fresh clone. The parts that install
the operator and follow objects serve the benchmark too.
"""
