"""Encoders: they map the input of a task to (B, L, H)."""

from torch import nn

from ssm_models.config import Interface


def make_encoder(io: Interface, d_model: int) -> nn.Module:
    """Return an embedding of tokens (B, L), or a linear map of a real signal (B, L, d_input)."""
    return nn.Embedding(io.d_input, d_model) if io.tokens else nn.Linear(io.d_input, d_model)
