"""Complex arithmetic on real tensors whose last axis holds (real, imaginary).

The layout is that of ``torch.view_as_real``. All functions broadcast over the leading axes and
are made of real elementwise operations, so that ``torch.compile`` takes them whole.
"""

import math

import torch
from torch import Tensor


def cmul(x: Tensor, y: Tensor) -> Tensor:
    """Product of ``x`` (..., 2) and ``y`` (..., 2)."""
    (xr, xi), (yr, yi) = x.unbind(-1), y.unbind(-1)
    return torch.stack((xr * yr - xi * yi, xr * yi + xi * yr), -1)


def conj(x: Tensor) -> Tensor:
    """Complex conjugate of ``x`` (..., 2)."""
    real, imag = x.unbind(-1)
    return torch.stack((real, -imag), -1)


def abs2(x: Tensor) -> Tensor:
    """Squared modulus of ``x`` (..., 2), real (...)."""
    return x.square().sum(-1)


def cdiv(x: Tensor, y: Tensor) -> Tensor:
    """Quotient of ``x`` (..., 2) by ``y`` (..., 2); the squared modulus of ``y`` must be representable."""
    return cmul(x, conj(y)) / abs2(y).unsqueeze(-1)


def cexp(x: Tensor) -> Tensor:
    """Exponential of ``x`` (..., 2)."""
    real, imag = x.unbind(-1)
    modulus = real.exp()
    return torch.stack((modulus * imag.cos(), modulus * imag.sin()), -1)


def cexpm1(x: Tensor) -> Tensor:
    """``exp(x) - 1`` for ``x`` (..., 2), with all its digits where x is small."""
    real, imag = x.unbind(-1)
    # No cancellation in the real part: cos = 1 - 2 sin^2(half angle).
    growth = real.expm1()
    return torch.stack((growth * imag.cos() - 2 * (imag / 2).sin().square(), (growth + 1) * imag.sin()), -1)


def cexpm1_over(x: Tensor) -> Tensor:
    """``(exp(x) - 1) / x`` for ``x`` (..., 2), exact to rounding at and around zero, with its gradient.

    Near zero the quotient and its derivative cancel; there a Taylor polynomial replaces them.
    """
    small = (abs2(x) < _TAYLOR_RADIUS**2).unsqueeze(-1)
    one = torch.zeros_like(x)
    one[..., 0] = 1
    near = torch.where(small, x, 0)
    series = one / math.factorial(_TAYLOR_TERMS)
    for k in reversed(range(1, _TAYLOR_TERMS)):
        series = cmul(series, near) + one / math.factorial(k)
    return torch.where(small, series, cdiv(cexpm1(x), torch.where(small, one, x)))


_TAYLOR_RADIUS = 0.1
_TAYLOR_TERMS = 10  # the first term left out is below 0.1^10 / 11! = 3e-18
