"""Registered: whether CloudNativePG uses the plugin, and when it has to be restarted."""
