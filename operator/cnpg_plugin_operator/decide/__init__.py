"""Facts in, verdicts out: pure functions with named reasons. No I/O, no clock, no randomness."""
