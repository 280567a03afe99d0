"""The Vandermonde products by their formulas."""

import torch
from torch import Tensor


def vandermonde(c: Tensor, a: Tensor, L: int) -> Tensor:
    """Return ``K[c,h,l] = 2 Re sum_m c[c,h,m] exp(a[h,m] l)``."""
    lags = torch.arange(L, dtype=a.dtype, device=a.device)
    powers = torch.exp(torch.view_as_complex(a.contiguous()).unsqueeze(-1) * lags)
    return 2 * torch.einsum("chm,hml->chl", torch.view_as_complex(c.contiguous()), powers).real


def vandermonde_transpose(u: Tensor, a: Tensor) -> Tensor:
    """Return ``X[b,h,m] = sum_l exp(a[h,m] (L-1-l)) u[b,h,l]``."""
    lags = torch.arange(u.shape[-1] - 1, -1, -1, dtype=a.dtype, device=a.device)
    powers = torch.exp(torch.view_as_complex(a.contiguous()).unsqueeze(-1) * lags)
    return torch.view_as_real(torch.einsum("bhl,hml->bhm", u.to(powers.dtype), powers))
