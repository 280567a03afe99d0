"""Sequence layers: each maps (B, L, H) to (B, L, H) under the contract of :mod:`ssm_models.contract`."""
