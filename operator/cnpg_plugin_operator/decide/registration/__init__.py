"""Registered: whether CloudNativePG uses the plugin, and when CloudNativePG has to restart."""
