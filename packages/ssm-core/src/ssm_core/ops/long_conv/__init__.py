"""Convolution with a kernel as long as the sequence."""

from torch import Tensor

from ssm_core.backends import Backend, Implementation, Operator, at_least_float32, full_precision
from ssm_core.ops.long_conv import naive, torch

_long_conv = Operator(
    "long_conv",
    {Backend.TORCH: Implementation(torch.long_conv), Backend.NAIVE: Implementation(naive.long_conv)},
)


def long_conv(u: Tensor, k: Tensor, k_reverse: Tensor | None = None, *, backend: str = Backend.AUTO) -> Tensor:
    """Convolve: ``y[b,l,c,h] = sum_j k[c,h,j] u[b,l-j,h] + sum_j k_reverse[c,h,j] u[b,l+1+j,h]``.

    Samples outside the sequence count as zero. Tap 0 of the anticausal kernel belongs to the next sample, so that a
    bidirectional layer does not count the present one twice.

    Args:
        u: input, real (B, L, H).
        k: causal kernel, real (C, H, K); taps beyond L have no effect.
        k_reverse: anticausal kernel, real (C, H, K'), or None.
        backend: see :mod:`ssm_core.backends`.

    Returns:
        Real (B, L, C, H) in the dtype of u; computed in float32 or better.

    Raises:
        ValueError: the shapes do not fit.
    """
    for name, kernel in (("k", k), ("k_reverse", k_reverse)):
        if kernel is not None and (u.ndim != 3 or kernel.ndim != 3 or kernel.shape[1] != u.shape[2]):
            raise ValueError(
                f"long_conv takes u (B, L, H) and {name} (C, H, K), not {tuple(u.shape)} and {tuple(kernel.shape)}."
            )
    if k_reverse is not None and k_reverse.shape[0] != k.shape[0]:
        raise ValueError(f"k has {k.shape[0]} channels and k_reverse {k_reverse.shape[0]}; give both the same number.")
    dtype, L = u.dtype, u.shape[1]
    if k_reverse is None:
        u, k = at_least_float32(u, k[..., :L])
    else:
        u, k, k_reverse = at_least_float32(u, k[..., :L], k_reverse[..., : L - 1])
    with full_precision(u):
        return _long_conv(backend, u, k, k_reverse).to(dtype)
