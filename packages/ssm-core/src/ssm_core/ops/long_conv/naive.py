"""The long convolution by its formula, as a product with a matrix of shifted kernels."""

import torch
from torch import Tensor


def long_conv(u: Tensor, k: Tensor, k_reverse: Tensor | None) -> Tensor:
    """Return ``y[l] = sum_j k[j] u[l-j] + sum_j k_reverse[j] u[l+1+j]``."""
    L = u.shape[1]
    y = torch.einsum("chts,bsh->btch", _causal(k, L), u)
    if k_reverse is not None:
        strictly = _causal(k_reverse, L).roll(1, -2).tril(-1)
        y = y + torch.einsum("chts,bth->bsch", strictly, u)
    return y


def _causal(k: Tensor, L: int) -> Tensor:
    """Return lower triangular matrices ``T[t,s] = k[t-s]``, real (C, H, L, L)."""
    k = torch.nn.functional.pad(k, (0, L - k.shape[-1]))
    time = torch.arange(L, device=k.device)
    return k[..., (time[:, None] - time).clamp_min(0)].tril()
