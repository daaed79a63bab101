"""The commands of the program, each put together from the parts below it."""
