"""The recurrence of one diagonal state for all features, over a whole sequence."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssm_core.complex import cexp, cmul
from ssm_core.products import einsum

#: Length of a block of :func:`complex_scan`.
_CHUNK = 32


def complex_scan(v: Tensor, exponent: Tensor, x: Tensor) -> Tensor:
    """Return all states of ``x[l] = exp(exponent) x[l-1] + v[l]``.

    Products with small Toeplitz matrices compute the states inside blocks; a recursion computes those between blocks.

    Args:
        v: complex (B, L, M, 2).
        exponent: complex (M, 2).
        x: the state before the first sample, complex (B, M, 2).

    Returns:
        Complex (B, L, M, 2).
    """
    batch, L, M, _ = v.shape
    q = min(_CHUNK, L)
    # The phases are float64, because each recursion multiplies the exponent by the block length. The tables are small.
    steps = torch.arange(q + 1, dtype=torch.float64, device=v.device)
    powers = cexp(exponent.double() * steps[:, None, None]).to(v.dtype)  # (q+1, M, 2)
    real, imag = powers.unbind(-1)
    rotation = torch.stack((torch.stack((real, -imag), -1), torch.stack((imag, real), -1)), -2)
    lag = torch.arange(q, device=v.device)
    lag = lag[:, None] - lag
    toeplitz = torch.where((lag >= 0)[..., None, None, None], rotation[lag.clamp_min(0)], 0)  # (q, q, M, 2, 2)

    blocks = F.pad(v, (0, 0, 0, 0, 0, -L % q)).view(batch, -1, q, M, 2)
    local = einsum("ijmrs,bnjms->bnimr", toeplitz, blocks)
    starts = x[:, None]
    if blocks.shape[1] > 1:
        ends = local[:, :-1, -1]
        starts = torch.cat((starts, complex_scan(ends, q * exponent.double(), x)), 1)
    return (local + cmul(powers[1:], starts[:, :, None])).flatten(1, 2)[:, :L]
