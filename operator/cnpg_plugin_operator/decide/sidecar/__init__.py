"""Mode Sidecar: which plugins run in CloudNativePG's pods, and what they do there."""
