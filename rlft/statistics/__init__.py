"""Statistics. `rates` imports no torch, for commands that only read logs and start at once."""
