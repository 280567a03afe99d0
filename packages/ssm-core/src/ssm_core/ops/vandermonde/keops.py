"""The Vandermonde product by KeOps, which compiles the formula and the formula of each gradient at first use."""

import torch
from torch import Tensor

_FORMULA = "Exp(Elem(a, 0) * l) * (Elem(c, 0) * Cos(Elem(a, 1) * l) - Elem(c, 1) * Sin(Elem(a, 1) * l))"


def vandermonde(c: Tensor, a: Tensor, L: int) -> Tensor:
    """Return ``K[c,h,l] = 2 Re sum_m c[c,h,m] exp(a[h,m] l)``."""
    from pykeops.torch import Genred

    product = Genred(_FORMULA, ["c = Vj(2)", "a = Vj(2)", "l = Vi(1)"], reduction_op="Sum", axis=1)
    lags = torch.arange(L, dtype=a.dtype, device=a.device).view(1, 1, L, 1)
    return 2 * product(c.contiguous(), a.contiguous().unsqueeze(0), lags).squeeze(-1)
