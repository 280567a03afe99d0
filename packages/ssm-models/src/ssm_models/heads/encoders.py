"""Encoders: a task's input to (B, L, H)."""

from torch import nn

from ssm_models.config import Interface


def make_encoder(io: Interface, d_model: int) -> nn.Module:
    """An embedding for tokens (B, L), a linear map for a real signal (B, L, d_input)."""
    return nn.Embedding(io.d_input, d_model) if io.tokens else nn.Linear(io.d_input, d_model)
