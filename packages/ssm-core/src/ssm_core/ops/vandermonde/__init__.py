"""Products with the Vandermonde matrix of a diagonal state space model, and with its transpose."""

from torch import Tensor

from ssm_core.backends import (
    Backend,
    Implementation,
    Operator,
    at_least_float32,
    float64_refusal,
    full_precision,
    keops_refusal,
)
from ssm_core.ops.vandermonde import cuda, keops, naive, torch

_vandermonde = Operator(
    "vandermonde",
    {
        Backend.CUDA: Implementation(cuda.vandermonde, cuda.refusal),
        Backend.TORCH: Implementation(torch.vandermonde, float64_refusal),
        Backend.NAIVE: Implementation(naive.vandermonde),
        Backend.KEOPS: Implementation(keops.vandermonde, keops_refusal),
    },
)
_transpose = Operator(
    "vandermonde_transpose",
    {
        Backend.TORCH: Implementation(torch.vandermonde_transpose, float64_refusal),
        Backend.NAIVE: Implementation(naive.vandermonde_transpose),
    },
)


def vandermonde(c: Tensor, a: Tensor, L: int, *, backend: str = Backend.AUTO) -> Tensor:
    """Return the kernel of a diagonal SSM: ``K[c,h,l] = 2 Re sum_m c[c,h,m] exp(a[h,m] l)`` for ``l = 0..L-1``.

    With ``c = C B_bar`` and ``a = log A_bar`` this is the convolution kernel; with ``c = C A_bar x`` it is the response
    of an unforced state x. The factor 2 Re stands for the conjugate of each stored entry. Source: "On the
    Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893), equation 3.

    Args:
        c: complex (C, H, M, 2); C may count channels, batch rows or both.
        a: exponents of one step, complex (H, M, 2).
        L: length, at least 1.
        backend: see :mod:`ssm_core.backends`.

    Returns:
        Real (C, H, L), in float32 or better.

    Raises:
        ValueError: the shapes do not fit, or L < 1.
    """
    if c.ndim != 4 or a.ndim != 3 or c.shape[1:] != a.shape or a.shape[-1] != 2:
        raise ValueError(
            f"vandermonde takes c (C, H, M, 2) and a (H, M, 2), not {tuple(c.shape)} and {tuple(a.shape)}."
        )
    if L < 1:
        raise ValueError(f"vandermonde takes a length of at least 1, not {L}.")
    c, a = at_least_float32(c, a)
    with full_precision(a):
        return _vandermonde(backend, c, a, L)


def vandermonde_transpose(u: Tensor, a: Tensor, *, backend: str = Backend.AUTO) -> Tensor:
    """Return the final state of a diagonal SSM that starts at zero: ``X[b,h,m] = sum_l exp(a[h,m] (L-1-l)) u[b,h,l]``.

    The caller multiplies with B_bar.

    Args:
        u: input, real (B, H, L) with L at least 1.
        a: exponents of one step, complex (H, M, 2).
        backend: see :mod:`ssm_core.backends`.

    Returns:
        Complex (B, H, M, 2), in float32 or better.

    Raises:
        ValueError: the shapes do not fit.
    """
    if u.ndim != 3 or a.ndim != 3 or u.shape[1] != a.shape[0] or a.shape[-1] != 2 or u.shape[-1] < 1:
        raise ValueError(
            f"vandermonde_transpose takes u (B, H, L) and a (H, M, 2), not {tuple(u.shape)} and {tuple(a.shape)}."
        )
    u, a = at_least_float32(u, a)
    with full_precision(a):
        return _transpose(backend, u, a)
