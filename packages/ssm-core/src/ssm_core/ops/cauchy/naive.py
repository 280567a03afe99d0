"""The Cauchy product by its formula."""

import torch
from torch import Tensor


def cauchy(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_m v / (i y - w) + v* / (i y - w*)``."""
    v, w = (torch.view_as_complex(each.contiguous()).unsqueeze(-1) for each in (v, w))
    z = torch.complex(torch.zeros_like(y), y)
    return torch.view_as_real((v / (z - w) + v.conj() / (z - w.conj())).sum(-2))
