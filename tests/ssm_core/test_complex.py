"""Complex arithmetic on real tensors, against complex dtypes and Taylor series."""

import math

import pytest
import torch
from ssm_core.complex import abs2, cexp, cexpm1, cexpm1_over, cmul, conj


def as_complex(x):
    return torch.view_as_complex(x.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quotient_is_exact_around_zero(dtype):
    """Against the Taylor series with more terms, over radii on both sides of the switch."""
    radius = torch.logspace(-12, 0, 200, dtype=torch.float64)
    angle = torch.linspace(0, 6.28, 200, dtype=torch.float64)
    z = torch.view_as_real(torch.polar(radius, angle)).to(dtype)
    exact, term = torch.zeros(200, dtype=torch.complex128), torch.ones(200, dtype=torch.complex128)
    for k in range(1, 40):
        exact += term
        term = term * as_complex(z.double()) / (k + 1)
    error = (as_complex(cexpm1_over(z).double()) - exact).abs() / exact.abs()
    assert error.max() < 8 * torch.finfo(dtype).eps


def test_quotient_at_zero_has_value_one_and_slope_a_half():
    z = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    value = cexpm1_over(z)
    torch.testing.assert_close(value.detach(), torch.tensor([[1.0, 0.0]]).double())
    (slope,) = torch.autograd.grad(value[..., 0].sum(), z)
    torch.testing.assert_close(slope, torch.tensor([[0.5, 0.0]]).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slope_of_the_quotient_is_exact_around_zero(dtype):
    """Against the derivative of the Taylor series, over radii on both sides of the switch and beyond."""
    radius = torch.cat((torch.zeros(1, dtype=torch.float64), torch.logspace(-40, 0.5, 300, dtype=torch.float64)))
    angle = torch.linspace(0, 40, len(radius), dtype=torch.float64)
    z = torch.view_as_real(torch.polar(radius, angle)).to(dtype).requires_grad_()
    weights = torch.view_as_real(torch.polar(torch.ones_like(radius), 3 * angle)).to(dtype)
    (slope,) = torch.autograd.grad(cexpm1_over(z), z, weights)
    exact = (
        sum((k + 1) / math.factorial(k + 2) * as_complex(z.detach().double()) ** k for k in range(60))
        * as_complex(weights.double()).conj()
    )
    error = (as_complex(slope.double()).conj() - exact).abs() / exact.abs()
    assert error.max() < 64 * torch.finfo(dtype).eps


def test_complex_arithmetic():
    torch.manual_seed(0)
    x, y = torch.randn(2, 7, 2).double()
    p, q = as_complex(x), as_complex(y)
    torch.testing.assert_close(as_complex(cmul(x, y)), p * q)
    torch.testing.assert_close(as_complex(conj(x)), p.conj())
    torch.testing.assert_close(abs2(x), p.abs().square())
    torch.testing.assert_close(as_complex(cexpm1(x)), p.exp() - 1)
    torch.testing.assert_close(as_complex(cexp(x)), p.exp())
