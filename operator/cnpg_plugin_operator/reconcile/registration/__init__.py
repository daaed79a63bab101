"""Registered: announces the plugin to CloudNativePG, and restarts CloudNativePG if necessary."""
