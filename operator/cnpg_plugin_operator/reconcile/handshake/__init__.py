"""HandshakeSucceeded: calls the plugin as CloudNativePG would."""
