"""Training runs against each other, from their TensorBoard logs alone."""
