"""The Vandermonde products: the fast form against the sum, in value, gradient and float32 accuracy."""

import pytest
import torch
from ssm_core.ops import vandermonde, vandermonde_transpose


def exponents(H, M, dt=0.3, dtype=torch.float64):
    """Decaying and oscillating exponents like those of S4D-Lin."""
    real = -0.5 * (1 + torch.rand(H, M, dtype=dtype))
    imag = torch.pi * torch.arange(M, dtype=dtype) * (1 + 0.1 * torch.rand(H, M, dtype=dtype))
    return dt * torch.stack((real, imag), -1)


def inputs(C, H, M, L, dt=0.3):
    torch.manual_seed(L)
    c = torch.randn(C, H, M, 2, dtype=torch.float64, requires_grad=True)
    u = torch.randn(C, H, L, dtype=torch.float64, requires_grad=True)
    return c, exponents(H, M, dt).requires_grad_(), u


SHAPES = [(1, 1, 1, 1), (2, 3, 4, 2), (1, 2, 1, 3), (5, 3, 2, 17), (2, 1, 5, 97), (1, 2, 8, 1021)]


@pytest.mark.parametrize(("C", "H", "M", "L"), SHAPES)
def test_formula_entry_by_entry(C, H, M, L):
    c, a, u = inputs(C, H, M, L)
    l = L // 2  # noqa: E741
    powers = torch.exp(torch.view_as_complex(a) * l)
    entry = 2 * (torch.view_as_complex(c) * powers).real.sum(-1)
    torch.testing.assert_close(vandermonde(c, a, L)[..., l], entry, rtol=1e-10, atol=1e-10)
    state = torch.zeros(C, H, M, dtype=torch.complex128)
    for sample in u.unbind(-1):
        state = torch.exp(torch.view_as_complex(a)) * state + sample.unsqueeze(-1)
    torch.testing.assert_close(vandermonde_transpose(u, a), torch.view_as_real(state), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("C", "H", "M", "L"), SHAPES)
@pytest.mark.parametrize("dt", [1e-6, 1e-2, 1.0])
def test_fast_form_agrees_with_the_sum(C, H, M, L, dt):
    c, a, u = inputs(C, H, M, L, dt)
    grad, grad_x = torch.randn(C, H, L, dtype=torch.float64), torch.randn(C, H, M, 2, dtype=torch.float64)
    results = []
    for backend in ("naive", "torch"):
        k = vandermonde(c, a, L, backend=backend)
        x = vandermonde_transpose(u, a, backend=backend)
        gradients = torch.autograd.grad((k, x), (c, a, u), (grad, grad_x))
        results.append((k, x, *gradients))
    for naive, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, naive, rtol=1e-10, atol=1e-10 * naive.detach().abs().max().item())


@pytest.mark.parametrize("backend", ["naive", "torch"])
def test_gradcheck(backend):
    c, a, u = inputs(2, 2, 3, 11)
    assert torch.autograd.gradcheck(lambda c, a: vandermonde(c, a, 11, backend=backend), (c, a))
    assert torch.autograd.gradcheck(lambda u, a: vandermonde_transpose(u, a, backend=backend), (u, a))


@pytest.mark.parametrize("L", [1024, 65536])
@pytest.mark.parametrize("dt", [1e-4, 1e-2, 1.0])
def test_float32_is_no_worse_than_the_sum(L, dt):
    c, a, _ = inputs(1, 2, 32, L, dt)
    c, a = c.detach().float().requires_grad_(), a.detach().float().requires_grad_()
    grad = torch.randn(1, 2, L)

    def run(c, a, backend):
        k = vandermonde(c, a, L, backend=backend)
        return k, *torch.autograd.grad(k, (c, a), grad.to(k.dtype))

    truth = run(c.double(), a.double(), "naive")
    naive, fast = run(c, a, "naive"), run(c, a, "torch")
    for exact, by_sum, by_products in zip(truth, naive, fast, strict=True):
        scale = exact.abs().max()
        allowed = 4 * ((by_sum - exact).abs().max() / scale).clamp_min(torch.finfo(torch.float32).eps)
        assert (by_products - exact).abs().max() / scale <= allowed


def test_only_one_gradient_wanted():
    c, a, u = inputs(2, 2, 3, 11)
    both = torch.autograd.grad(vandermonde(c, a, 11).sum(), (c, a))
    (alone,) = torch.autograd.grad(vandermonde(c, a.detach(), 11).sum(), c)
    torch.testing.assert_close(alone, both[0])
    (alone,) = torch.autograd.grad(vandermonde(c.detach(), a, 11).sum(), a)
    torch.testing.assert_close(alone, both[1])
    both = torch.autograd.grad(vandermonde_transpose(u, a).sum(), (u, a))
    (alone,) = torch.autograd.grad(vandermonde_transpose(u, a.detach()).sum(), u)
    torch.testing.assert_close(alone, both[0])


def test_compiles_whole():
    c, a, u = inputs(2, 2, 3, 37)

    def run(c, a, u):
        return vandermonde(c, a, 37).square().sum() + vandermonde_transpose(u, a).square().sum()

    eager = torch.autograd.grad(run(c, a, u), (c, a, u))
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for one, other in zip(eager, torch.autograd.grad(compiled(c, a, u), (c, a, u)), strict=True):
        torch.testing.assert_close(one, other)


def test_half_inputs_and_autocast_compute_in_float32():
    c, a, _ = inputs(1, 2, 4, 33)
    k = vandermonde(c.float(), a.float(), 33)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(vandermonde(c.float(), a.float(), 33), k, rtol=0, atol=0)
    assert vandermonde(c.bfloat16(), a.float(), 33).dtype == torch.float32


def test_wrong_shapes_are_named():
    c, a, u = inputs(1, 2, 4, 5)
    with pytest.raises(ValueError, match=r"not \(1, 2, 4, 2\) and \(1, 4, 2\)"):
        vandermonde(c, a[:1], 5)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        vandermonde(c, a, 0)
    with pytest.raises(ValueError, match=r"not \(1, 2, 5\) and \(1, 4, 2\)"):
        vandermonde_transpose(u, a[:1])
