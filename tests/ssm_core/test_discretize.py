"""The discretisation rules against their definitions."""

import pytest
import torch
from ssm_core.complex import cexp
from ssm_core.discretize import bilinear, bilinear_dense, zoh, zoh_dense


def system(H=3, M=5, dt=0.1):
    torch.manual_seed(0)
    a = torch.stack((-torch.rand(H, M), 20 * torch.randn(H, M)), -1).double()
    return a.requires_grad_(), torch.full((H, 1), dt, dtype=torch.float64).requires_grad_()


def as_complex(x):
    return torch.view_as_complex(x.detach())


@pytest.mark.parametrize("dt", [1e-6, 1e-3, 1.0])
def test_zoh(dt):
    a, step = system(dt=dt)
    exponent, factor = zoh(a, step)
    a_bar = torch.exp(as_complex(a) * dt)
    torch.testing.assert_close(torch.exp(as_complex(exponent)), a_bar, rtol=1e-12, atol=0)
    torch.testing.assert_close(as_complex(factor), (a_bar - 1) / as_complex(a), rtol=1e-8, atol=0)


@pytest.mark.parametrize("dt", [1e-6, 1e-3, 1.0])
def test_bilinear(dt):
    a, step = system(dt=dt)
    exponent, factor = bilinear(a, step)
    z = as_complex(a) * dt / 2
    torch.testing.assert_close(torch.exp(as_complex(exponent)), (1 + z) / (1 - z), rtol=1e-12, atol=0)
    torch.testing.assert_close(as_complex(factor), dt / (1 - z), rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", [zoh, bilinear])
def test_gradcheck(rule):
    assert torch.autograd.gradcheck(rule, system())


def test_real_pole_beyond_two_over_dt_alternates():
    """dt a = -6: A_bar = -1/2, whose logarithm has the phase pi."""
    exponent, _ = bilinear(torch.tensor([[-6.0, 0.0]]).double(), torch.ones(1).double())
    torch.testing.assert_close(cexp(exponent), torch.tensor([[-0.5, 0.0]]).double())


def test_pole_at_two_over_dt_gives_zero():
    a = torch.tensor([[-2.0, 0.0]], requires_grad=True)
    exponent, _ = bilinear(a, torch.ones(1))
    assert exponent.isfinite().all()
    assert cexp(exponent).abs().max() < 1e-15
    assert torch.autograd.grad(exponent.sum(), a)[0].isfinite().all()


def test_bilinear_float32_keeps_its_digits_near_zero():
    a = torch.tensor([[-2.001, 0.0], [-1.0, 0.0], [-1e-5, 1e-3]])
    exponent, _ = bilinear(a, torch.ones(1))
    exact, _ = bilinear(a.double(), torch.ones(1).double())
    torch.testing.assert_close(cexp(exponent)[..., 0].double(), cexp(exact)[..., 0], rtol=1e-5, atol=0)
    torch.testing.assert_close(exponent[2].double(), exact[2], rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("dt", [1e-4, 0.1])
def test_dense_rules_are_the_diagonal_ones_in_another_basis(dtype, dt):
    torch.manual_seed(0)
    poles = -torch.rand(4, dtype=torch.float64)
    basis = torch.eye(4, dtype=dtype) + 0.3 * torch.randn(4, 4, dtype=dtype)
    inverse = torch.linalg.inv(basis)
    A, B = basis @ torch.diag(poles.to(dtype)) @ inverse, torch.randn(4, dtype=dtype)
    a = torch.stack((poles, torch.zeros_like(poles)), -1)
    for dense, diagonal in ((zoh_dense, zoh), (bilinear_dense, bilinear)):
        A_bar, B_bar = dense(A, B, dt)
        exponent, factor = diagonal(a, torch.full((4,), dt, dtype=torch.float64))
        expected = basis @ torch.diag(exponent[..., 0].exp().to(dtype)) @ inverse
        torch.testing.assert_close(A_bar, expected, rtol=1e-10, atol=1e-12)
        expected = basis @ (factor[..., 0].to(dtype) * (inverse @ B))
        torch.testing.assert_close(B_bar, expected, rtol=1e-10, atol=1e-12)


def test_dense_rules_take_many_steps_at_once():
    A, B = -torch.eye(3).double(), torch.ones(3).double()
    dt = torch.tensor([0.1, 0.2]).double()
    for rule in (zoh_dense, bilinear_dense):
        A_bar, B_bar = rule(A, B, dt)
        for i in range(2):
            one = rule(A, B, float(dt[i]))
            torch.testing.assert_close((A_bar[i], B_bar[i]), one)
