"""Registered: tells CloudNativePG of the plugin, and restarts it where it has to be."""
