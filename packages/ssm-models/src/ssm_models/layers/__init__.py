"""Sequence layers, (B, L, H) to (B, L, H), with one contract (see :mod:`ssm_models.contract`)."""
