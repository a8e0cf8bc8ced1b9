"""shopctl demo: the talk's fleet on this machine, and the story of three releases."""
