"""One step of a diagonal SSM in one fused kernel of ssm-kernels: the recurrence over a single sample."""

from torch import Tensor


def ssm_step(u: Tensor, x: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x' = a_bar x + b_bar u``, ``y = 2 Re sum_m c x'``."""
    import ssm_kernels

    y, x = ssm_kernels.diagonal_scan(u.unsqueeze(1), x, a_bar, b_bar, c)
    return y.squeeze(1), x
