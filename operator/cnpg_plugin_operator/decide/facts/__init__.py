"""What decisions look at: frozen facts about plugins, CloudNativePG and its pods."""
