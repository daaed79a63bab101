"""From a parsed resource to the objects it asks for: deterministic and pure."""
