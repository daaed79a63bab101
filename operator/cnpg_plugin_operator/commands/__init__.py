"""The commands of the program, each composed of the layers below."""
