"""The input of decisions: frozen facts about plugins, CloudNativePG and its pods."""
