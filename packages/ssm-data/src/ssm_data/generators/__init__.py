"""Generators of synthetic data. They are seeded; their results do not depend on the number of processes."""
