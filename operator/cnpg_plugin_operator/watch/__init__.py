"""Events become wake-ups, and wake-ups become passes: kopf is imported only here."""
