"""Backbones: they put sequence layers together, and are sequence layers themselves."""
