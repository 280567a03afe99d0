"""One step of a diagonal SSM."""

import torch
from torch import Tensor


def ssm_step(u: Tensor, x: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x' = a_bar x + b_bar u``, ``y = 2 Re sum_m c x'``."""
    x, a_bar, b_bar, c = (torch.view_as_complex(each.contiguous()) for each in (x, a_bar, b_bar, c))
    x = a_bar * x + b_bar * u.unsqueeze(-1)
    return 2 * torch.einsum("chm,bhm->bch", c, x).real, torch.view_as_real(x)
