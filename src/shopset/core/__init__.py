"""The pure core: no I/O and no clock; what it knows of the world is an argument."""
