"""Mode Sidecar: which plugins run in CloudNativePG's pods, and how they affect them."""
