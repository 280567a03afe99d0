"""The real form of conjugate pairs: M stored complex entries of a state, flattened, are a real vector of N = 2 M."""

import torch
from torch import Tensor

from ssm_core.complex import conj
from ssm_core.products import einsum


def row(c: Tensor) -> Tensor:
    """Return the real row vector (..., N) with ``row . x = 2 Re sum_m c x``, for c, complex (..., M, 2)."""
    return (2 * conj(c)).flatten(-2)


def unrow(c: Tensor) -> Tensor:
    """Return c for a row vector; the inverse of :func:`row`."""
    return conj(c.unflatten(-1, (-1, 2))) / 2


def rotations(a: Tensor) -> Tensor:
    """Return a complex diagonal (H, M, 2) as a real matrix (H, N, N)."""
    real, imag = a.unbind(-1)
    H, M = real.shape
    block = torch.stack((torch.stack((real, -imag), -1), torch.stack((imag, real), -1)), -2)
    return torch.diag_embed(block.permute(2, 3, 0, 1)).permute(2, 3, 0, 4, 1).reshape(H, 2 * M, 2 * M)


def low_rank(left: Tensor, right: Tensor) -> Tensor:
    """Return ``x -> sum_r left_r 2 Re sum_m right_r x``, a real matrix (H, N, N), for complex (R, H, M, 2) factors."""
    return einsum("rhn,rhm->hnm", left.flatten(-2), row(right))
