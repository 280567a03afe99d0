"""The Vandermonde product in one fused kernel of ssm-kernels."""

from torch import Tensor

from ssm_core.backends import kernels_refusal


def refusal(c: Tensor, a: Tensor, L: int) -> str | None:
    """Return why ssm-kernels cannot serve the tensors, as a sentence, or None."""
    if L > 2**24:
        return f"the kernels count positions in float32, up to 2^24, but the length is {L}."
    return kernels_refusal(c, a)


def vandermonde(c: Tensor, a: Tensor, L: int) -> Tensor:
    """Return ``K[c,h,l] = 2 Re sum_m c[c,h,m] exp(a[h,m] l)``."""
    import ssm_kernels

    return ssm_kernels.vandermonde(c, a, L)
