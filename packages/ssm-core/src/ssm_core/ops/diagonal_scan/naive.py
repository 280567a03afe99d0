"""The recurrence of a diagonal SSM, sample by sample."""

import torch
from torch import Tensor

from ssm_core.ops.step.naive import ssm_step


def diagonal_scan(u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x[l] = a_bar x[l-1] + b_bar u[l]``, ``y[l] = 2 Re sum_m c x[l]``."""
    x, outputs = x0, []
    for sample in u.unbind(1):
        y, x = ssm_step(sample, x, a_bar, b_bar, c)
        outputs.append(y)
    return torch.stack(outputs, 1), x
