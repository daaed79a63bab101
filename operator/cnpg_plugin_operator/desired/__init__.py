"""From a parsed resource to the objects it requests: deterministic and pure."""
