"""Leaves the operator running for hours among disturbances: `python -m tests.soak`.

What grows slowly, and what happens rarely, shows only here. All is seen from outside, as in
`tests/bench`, whose measures, fleet and report this uses. Unlike there a missed budget fails the
command, because none of them depends on how fast the machine is.
"""
