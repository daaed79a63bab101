"""Available: whether the plugin's pods run the wanted revision."""
