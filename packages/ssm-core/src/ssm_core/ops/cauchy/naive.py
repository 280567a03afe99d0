"""The Cauchy product as its sum."""

import torch
from torch import Tensor


def cauchy(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """``sum_m v / (i y - w) + v* / (i y - w*)``."""
    v, w = torch.view_as_complex(v.contiguous()), torch.view_as_complex(w.contiguous())
    z = torch.complex(torch.zeros_like(y), y)
    poles = 1 / (z - w.unsqueeze(-1))
    conjugate = 1 / (z - w.conj().unsqueeze(-1))
    total = torch.einsum("khm,hmf->khf", v, poles) + torch.einsum("khm,hmf->khf", v.conj(), conjugate)
    return torch.view_as_real(total)
