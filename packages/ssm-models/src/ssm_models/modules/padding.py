"""Masking of padding, which counts as zero."""

import torch
from torch import Tensor


def mask_padding(u: Tensor, lengths: Tensor | None) -> Tensor:
    """Return ``u`` with zeros instead of padding.

    Args:
        u: real (B, L, H).
        lengths: integers (B,), the length of each sequence; later positions are padding. None: there is no padding.
    """
    if lengths is None:
        return u
    inside = torch.arange(u.shape[1], device=u.device) < lengths[:, None]
    return u * inside.unsqueeze(-1).to(u.dtype)
