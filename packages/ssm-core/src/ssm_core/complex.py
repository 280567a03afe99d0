"""Complex arithmetic on real tensors whose last axis holds (real, imaginary).

The layout is that of ``torch.view_as_real``. All functions broadcast over the leading axes. They consist of real
elementwise operations, so that ``torch.compile`` compiles them without a graph break.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def cmul(x: Tensor, y: Tensor) -> Tensor:
    """Return the product of ``x`` (..., 2) and ``y`` (..., 2)."""
    (xr, xi), (yr, yi) = x.unbind(-1), y.unbind(-1)
    return torch.stack((xr * yr - xi * yi, xr * yi + xi * yr), -1)


def conj(x: Tensor) -> Tensor:
    """Return the complex conjugate of ``x`` (..., 2)."""
    real, imag = x.unbind(-1)
    return torch.stack((real, -imag), -1)


def abs2(x: Tensor) -> Tensor:
    """Return the squared modulus of ``x`` (..., 2), real (...)."""
    return x.square().sum(-1)


def cexp(x: Tensor) -> Tensor:
    """Return the exponential of ``x`` (..., 2)."""
    real, imag = x.unbind(-1)
    modulus = real.exp()
    return torch.stack((modulus * imag.cos(), modulus * imag.sin()), -1)


def cexpm1(x: Tensor) -> Tensor:
    """Return ``exp(x) - 1`` of ``x`` (..., 2), accurate to rounding for small x too."""
    real, imag = x.unbind(-1)
    # No cancellation in the real part: cos = 1 - 2 sin^2(half angle).
    growth = real.expm1()
    return torch.stack((growth * imag.cos() - 2 * (imag / 2).sin().square(), (growth + 1) * imag.sin()), -1)


def cexpm1_over(x: Tensor) -> Tensor:
    """Return ``(exp(x) - 1) / x`` of ``x`` (..., 2).

    The value and its gradient are accurate to rounding at and near zero too.
    """
    return _Expm1Over.apply(x)


class _Expm1Over(torch.autograd.Function):
    """The quotient with a hand-written derivative, because the derivative of autograd loses all digits near zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        square = abs2(x)
        tiny = square < torch.finfo(x.dtype).eps ** 2  # the value is 1, and the square may be 0
        real, imag = (cmul(cexpm1(x), conj(x)) / torch.where(tiny, 1, square).unsqueeze(-1)).unbind(-1)
        value = torch.stack((torch.where(tiny, 1, real), torch.where(tiny, 0, imag)), -1)
        ctx.save_for_backward(x, value)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, value = ctx.saved_tensors
        real, imag = x.unbind(-1)
        square = abs2(x)
        small = square < _TAYLOR_RADIUS**2
        # The derivative is (exp(x) - value) / x with exp(x) = 1 + x value. Its digits cancel near zero.
        rest = torch.stack((1 - value[..., 0], -value[..., 1]), -1)
        far = value + cmul(rest, conj(x)) / torch.where(small, 1, square).unsqueeze(-1)
        # Near zero the derivative is the polynomial sum (k + 1) / (k + 2)! x^k, in Horner's form.
        u, v = torch.zeros_like(real), torch.zeros_like(real)
        for k in reversed(range(_TAYLOR_TERMS)):
            u, v = (u * real).addcmul_(v, imag, value=-1), (u * imag).addcmul_(v, real)
            u += (k + 1) / math.factorial(k + 2)
        derivative = torch.where(small.unsqueeze(-1), torch.stack((u, v), -1), far)
        return cmul(grad, conj(derivative))


#: Below this modulus the derivative is a polynomial.
_TAYLOR_RADIUS = 0.1
#: Number of terms of the polynomial; the first omitted term is below 11 / 12! 0.1^10 = 3e-18.
_TAYLOR_TERMS = 10
