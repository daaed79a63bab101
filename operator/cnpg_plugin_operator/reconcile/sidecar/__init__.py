"""Mode Sidecar: runs plugins in CloudNativePG's pods."""
