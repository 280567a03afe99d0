"""The recurrence of a diagonal SSM as matrix products on tensor cores, in kernels of ssm-kernels."""

from torch import Tensor


def diagonal_scan(u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x[l] = a_bar x[l-1] + b_bar u[l]``, ``y[l] = 2 Re sum_m c x[l]``; u in float32 or bfloat16."""
    import ssm_kernels

    return ssm_kernels.chunked_scan(u, x0, a_bar, b_bar, c)
