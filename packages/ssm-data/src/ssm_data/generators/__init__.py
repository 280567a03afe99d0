"""Generators of synthetic data, seeded and independent of the number of processes."""
