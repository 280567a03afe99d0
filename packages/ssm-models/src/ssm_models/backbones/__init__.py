"""Backbones, which combine sequence layers and are sequence layers themselves."""
