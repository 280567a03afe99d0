"""The Cauchy product in one fused kernel of ssm-kernels."""

from torch import Tensor


def cauchy(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_m v / (i y - w) + v* / (i y - w*)``."""
    import ssm_kernels

    return ssm_kernels.cauchy(v, w, y)
