"""Conversion of settings and parameters of other implementations to ours."""
