"""How files get to the disk and back, whole."""
