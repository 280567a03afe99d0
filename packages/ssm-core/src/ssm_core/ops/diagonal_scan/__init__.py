"""The recurrence of a diagonal state space model over a whole sequence, from a given state."""

from torch import Tensor, bfloat16

from ssm_core.backends import (
    Backend,
    Implementation,
    Operator,
    at_least_float32,
    float64_refusal,
    full_precision,
    kernels_refusal,
    tensor_cores_refusal,
)
from ssm_core.ops.diagonal_scan import cuda, naive, tensor_cores, torch

_diagonal_scan = Operator(
    "diagonal_scan",
    {
        Backend.CUDA: Implementation(cuda.diagonal_scan, kernels_refusal),
        Backend.TORCH: Implementation(torch.diagonal_scan, float64_refusal),
        Backend.NAIVE: Implementation(naive.diagonal_scan),
        Backend.TENSOR_CORES: Implementation(
            tensor_cores.diagonal_scan, tensor_cores_refusal, "no GPU has timed it yet; name it to use it."
        ),
    },
)


def diagonal_scan(
    u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor, *, backend: str = Backend.AUTO
) -> tuple[Tensor, Tensor]:
    """Run ``x[l] = a_bar x[l-1] + b_bar u[l]`` and ``y[l] = 2 Re sum_m c x[l]`` over a whole sequence.

    Half-precision inputs are computed in float32, except that ``tensor-cores`` takes a bfloat16 ``u`` as it is.

    Args:
        u: input, real (B, L, H) with L at least 1.
        x0: state before the first sample, complex (B, H, M, 2).
        a_bar: complex (H, M, 2), of modulus at most about 1.
        b_bar: complex (H, M, 2).
        c: complex (C, H, M, 2).
        backend: see :mod:`ssm_core.backends`.

    Returns:
        ``y``, real (B, L, C, H), in the dtype of u; and the state after the last sample, complex (B, H, M, 2), in
        float32 or better.

    Raises:
        ValueError: the shapes do not fit.
    """
    if (
        u.ndim != 3
        or u.shape[1] < 1
        or a_bar.ndim != 3
        or x0.shape != (u.shape[0], *a_bar.shape)
        or b_bar.shape != a_bar.shape
        or c.shape[1:] != a_bar.shape
        or u.shape[2] != a_bar.shape[0]
    ):
        raise ValueError(
            "diagonal_scan takes u (B, L, H), x0 (B, H, M, 2), a_bar (H, M, 2), b_bar (H, M, 2) and "
            f"c (C, H, M, 2), not {', '.join(str(tuple(each.shape)) for each in (u, x0, a_bar, b_bar, c))}."
        )
    signal = u
    u, x0, a_bar, b_bar, c = at_least_float32(u, x0, a_bar, b_bar, c)
    if signal.dtype == bfloat16 and _diagonal_scan.asked(backend) is Backend.TENSOR_CORES:
        u = signal
    with full_precision(u):
        y, x = _diagonal_scan(backend, u, x0, a_bar, b_bar, c)
    return y.to(signal.dtype), x
