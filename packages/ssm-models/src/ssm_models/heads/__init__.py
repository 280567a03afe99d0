"""Encoders before a backbone, and decoders after it."""
