"""Instruments that tell what an estimator or a critic is worth, apart from any training run."""
