"""Backbones: sequence layers put together."""
