"""One step of a diagonal state space model, for recurrent use."""

from torch import Tensor

from ssm_core.backends import Backend, Implementation, Operator, kernels_refusal
from ssm_core.ops.step import cuda, naive, torch

_ssm_step = Operator(
    "ssm_step",
    {
        Backend.CUDA: Implementation(cuda.ssm_step, kernels_refusal),
        Backend.TORCH: Implementation(torch.ssm_step),
        Backend.NAIVE: Implementation(naive.ssm_step),
    },
)


def ssm_step(
    u: Tensor, x: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor, *, backend: str = Backend.AUTO
) -> tuple[Tensor, Tensor]:
    """Run one step: ``x' = a_bar x + b_bar u`` and ``y[b,c,h] = 2 Re sum_m c[c,h,m] x'[b,h,m]``.

    The shapes are not checked, because this function runs once for each sample.

    Args:
        u: one input sample, real (B, H).
        x: state, complex (B, H, M, 2).
        a_bar: complex (H, M, 2).
        b_bar: complex (H, M, 2).
        c: complex (C, H, M, 2).
        backend: see :mod:`ssm_core.backends`.

    Returns:
        ``y``, real (B, C, H), and the new state, complex (B, H, M, 2).
    """
    return _ssm_step(backend, u, x, a_bar, b_bar, c)
