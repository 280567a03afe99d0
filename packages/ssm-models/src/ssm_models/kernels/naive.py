"""Each kernel as its formula: the oracle of the tests and the baseline of the timings.

Complex numbers have complex dtypes here, sums and powers are written out, and autograd computes the gradients. All
functions read the parameters of a kernel of :mod:`ssm_models.kernels`, and return taps, real (C, H, L).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from ssm_core.discretize import bilinear_dense, zoh_dense
from torch import Tensor

from ssm_models.config import DenseConfig, DiagonalConfig, DPLRConfig, EMAConfig, FreeConfig
from ssm_models.kernels.base import Kernel
from ssm_models.kernels.dense import DenseKernel
from ssm_models.kernels.diagonal import DiagonalKernel
from ssm_models.kernels.dplr import DPLRKernel
from ssm_models.kernels.ema import EMAKernel
from ssm_models.kernels.free import FreeKernel
from ssm_models.kernels.ssm import SSMKernel
from ssm_models.parameters import TRANSFORMS


def taps(kernel: Kernel, L: int) -> Tensor:
    """Return the first L taps of any kernel by its formula."""
    return _FORMULAS[type(kernel.config)](kernel, L)


def modes(kernel: SSMKernel) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return A and B, complex (H, M), C, complex (C, H, M), and dt, real (H, 1 or M)."""
    A, B, C, dt = kernel._system(1.0)
    return torch.view_as_complex(A), torch.view_as_complex(B), torch.view_as_complex(C), dt


def diagonal_taps(kernel: DiagonalKernel, L: int) -> Tensor:
    """Return ``2 Re sum_m C B_bar exp(dt A l)``, or the softmax kernel of DSS.

    Source: "On the Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893), section 3;
    "Diagonal State Spaces are as Effective as Structured State Spaces" (arXiv:2203.14343), proposition 1.
    """
    A, B, C, dt = modes(kernel)
    disc = kernel.config.disc
    lags = torch.arange(L, dtype=dt.dtype, device=dt.device)
    if disc == "dss":
        rows = ((A * dt).unsqueeze(-1) * lags).exp()
        return torch.einsum("chm,hml->chl", C * B / A, rows / rows.sum(-1, keepdim=True)).real
    if disc == "zoh":
        exponent = A * dt
        weights = C * B * (exponent.exp() - 1) / A
    else:
        exponent = torch.log((1 + A * dt / 2) / (1 - A * dt / 2))
        weights = C * B * dt / (1 - A * dt / 2)
    powers = torch.exp(exponent.unsqueeze(-1) * lags)
    return 2 * torch.einsum("chm,hml->chl", weights, powers).real


def dplr_taps(kernel: DPLRKernel, L: int) -> Tensor:
    """Use the generating function at the roots of unity if C is tied to a length; otherwise the powers of A_bar.

    Source: "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396), algorithm 1, for
    rank 1.

    Raises:
        ValueError: C is tied to another length, or the rank of a tied kernel is not 1.
    """
    config = kernel.config
    if config.l_kernel is None:
        return taps_by_powers(kernel, L)
    if config.l_kernel != L or config.rank != 1:
        raise ValueError(
            f"The formula serves rank 1 and the {config.l_kernel} taps that C is tied to, not rank {config.rank} and "
            f"{L} taps."
        )
    A, B, C, dt = modes(kernel)
    P = torch.view_as_complex(kernel._per_feature(kernel.P, 1)[0].to(kernel.dtype))
    omega = torch.exp(-2j * math.pi / L * torch.arange(L // 2 + 1, dtype=dt.dtype, device=dt.device))
    z = 2 * (1 - omega) / (1 + omega)
    numerators = torch.stack((*(B * C), *(P * C), B * P.conj(), P * P.conj())) * dt
    both = _pairs(numerators)
    poles = _pairs(A * dt)
    sums = (both.unsqueeze(-1) / (z - poles.unsqueeze(-1))).sum(-2)
    (direct, to_C), from_B, inner = sums[:-2].unflatten(0, (2, -1)), sums[-2], sums[-1]
    return torch.fft.irfft((direct - from_B * to_C / (1 + inner)) * 2 / (1 + omega), L)


def taps_by_powers(kernel: SSMKernel, L: int) -> Tensor:
    """Return ``C A_bar^l B_bar``, power by power, with the whole complex matrices of a diagonal or DPLR kernel.

    The kernel has one step size for each feature.
    """
    A, B, C, dt = modes(kernel)
    whole = torch.diag_embed(_pairs(A))
    if isinstance(kernel, DPLRKernel):
        P = _pairs(torch.view_as_complex(kernel._per_feature(kernel.P, 1).to(kernel.dtype)))
        whole = whole - torch.einsum("rhn,rhm->hnm", P, P.conj())
    discretize = zoh_dense if getattr(kernel.config, "disc", "bilinear") == "zoh" else bilinear_dense
    A_bar, B_bar = discretize(whole, _pairs(B), dt[:, 0])
    return _powers(A_bar, B_bar, _pairs(C), L)


def dense_taps(kernel: DenseKernel, L: int) -> Tensor:
    """Return ``C A_bar^l B_bar``, power by power.

    Source: "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State Space Layers"
    (arXiv:2110.13985), section 3.
    """
    repeats = kernel.d_model // kernel.copies
    A, B = kernel.A.repeat(repeats, 1, 1), kernel.B.repeat(repeats, 1)
    dt = TRANSFORMS[kernel.config.dt_transform](kernel.inv_dt)[:, 0]
    # The matrices are computed in float64, and the powers in the precision of the parameters.
    discretize = zoh_dense if kernel.config.disc == "zoh" else bilinear_dense
    A_bar, B_bar = (each.to(A.dtype) for each in discretize(A.double(), B.double(), dt.double()))
    return _powers(A_bar, B_bar, kernel.C, L)


def ema_taps(kernel: EMAKernel, L: int) -> Tensor:
    """Return ``sum_n gamma p beta (1 - p alpha)^l / sqrt(N)``.

    Source: "Mega: Moving Average Equipped Gated Attention" (arXiv:2209.10655), section 3.1.
    """
    p, alpha = torch.sigmoid(kernel.delta), torch.sigmoid(kernel.alpha)
    lags = torch.arange(L, dtype=p.dtype, device=p.device)
    copies = len(kernel.gamma) // len(kernel.beta)
    each = ((p * kernel.beta).unsqueeze(-1) * (1 - p * alpha).unsqueeze(-1) ** lags).repeat(copies, 1, 1)
    total = (kernel.gamma.unsqueeze(-1) * each).sum(1) * kernel.gamma.shape[-1] ** -0.5
    return total.unflatten(0, (kernel.channels, kernel.d_model))


def free_taps(kernel: FreeKernel, L: int) -> Tensor:
    """Return the parameter itself."""
    return kernel.kernel[..., :L]


def _pairs(x: Tensor) -> Tensor:
    """Return both members of each conjugate pair."""
    return torch.cat((x, x.conj()), -1)


def _powers(A: Tensor, B: Tensor, C: Tensor, L: int) -> Tensor:
    """Return the real part of ``C A^l B`` for A (H, N, N), B (H, N) and C (C, H, N), real or complex."""
    found, x = [], B
    for _ in range(L):
        value = torch.einsum("chn,hn->ch", C, x)
        found.append(value.real if value.is_complex() else value)
        x = torch.einsum("hnm,hm->hn", A, x)
    return torch.stack(found, -1)


_FORMULAS: dict[Any, Callable[[Any, int], Tensor]] = {
    DiagonalConfig: diagonal_taps,
    DPLRConfig: dplr_taps,
    DenseConfig: dense_taps,
    EMAConfig: ema_taps,
    FreeConfig: free_taps,
}
