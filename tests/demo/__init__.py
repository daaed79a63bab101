"""The product shown on one machine: `make demo`, or `python3 -m tests.demo`.

It uses only the standard library, so that it runs on a fresh clone. The benchmark shares the parts
that install the operator and follow objects.
"""
