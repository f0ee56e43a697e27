"""`rlft fit` and `rlft validate`: from command-line arguments to a trainer."""
