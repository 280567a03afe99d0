"""The Cauchy product of S4: rational functions with given poles, at points of the imaginary axis."""

from torch import Tensor

from ssm_core.backends import (
    Backend,
    Implementation,
    Operator,
    at_least_float32,
    float64_refusal,
    full_precision,
    keops_refusal,
    kernels_refusal,
)
from ssm_core.ops.cauchy import cuda, keops, naive, torch

_cauchy = Operator(
    "cauchy",
    {
        Backend.CUDA: Implementation(cuda.cauchy, kernels_refusal),
        Backend.TORCH: Implementation(torch.cauchy, float64_refusal),
        Backend.NAIVE: Implementation(naive.cauchy),
        Backend.KEOPS: Implementation(keops.cauchy, keops_refusal),
    },
)


def cauchy(v: Tensor, w: Tensor, y: Tensor, *, backend: str = Backend.AUTO) -> Tensor:
    """Return ``sum_m v[k,h,m] / (i y[f] - w[h,m]) + v*[k,h,m] / (i y[f] - w*[h,m])``.

    At the roots of unity the nodes of the bilinear rule are purely imaginary, ``z = i y`` with ``y = 2 tan(pi f / L)``.
    The argument is y and not z, so that float32 is exact near the Nyquist frequency, where y is huge. Source:
    "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396), section 3.2 and appendix C.3.

    Args:
        v: numerators, complex (K, H, M, 2); for rank R there are K = (C + R)(1 + R).
        w: poles, complex (H, M, 2); the real part must not be 0 if a node equals the imaginary part.
        y: nodes on the imaginary axis, real (F,), of any magnitude; they receive no gradient.
        backend: see :mod:`ssm_core.backends`.

    Returns:
        Complex (K, H, F, 2), in float32 or better.

    Raises:
        ValueError: the shapes do not fit.
    """
    if v.ndim != 4 or w.ndim != 3 or y.ndim != 1 or v.shape[1:] != w.shape or w.shape[-1] != 2:
        raise ValueError(
            "cauchy takes v (K, H, M, 2), w (H, M, 2) and y (F,), "
            f"not {tuple(v.shape)}, {tuple(w.shape)} and {tuple(y.shape)}."
        )
    v, w, y = at_least_float32(v, w, y.detach())
    with full_precision(w):
        return _cauchy(backend, v, w, y)
