"""Zeros in place of padding."""

import torch
from torch import Tensor


def mask_padding(u: Tensor, lengths: Tensor | None) -> Tensor:
    """``u`` (B, L, H) with zeros beyond each sequence's length."""
    if lengths is None:
        return u
    inside = torch.arange(u.shape[1], device=u.device) < lengths[:, None]
    return u * inside.unsqueeze(-1).to(u.dtype)
