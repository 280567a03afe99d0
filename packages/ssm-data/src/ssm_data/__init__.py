"""Data sets of the state space benchmarks: obtained, verified, prepared, batched."""
