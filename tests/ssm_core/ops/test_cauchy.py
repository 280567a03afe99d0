"""The Cauchy product: the real form against the sum, in value, gradient and at extreme nodes."""

import pytest
import torch
from ssm_core.ops import cauchy
from ssm_core.ops.cauchy import torch as fast_form


def nodes(L, dtype=torch.float64):
    """The bilinear nodes of a real FFT of size L; the last one is about 1e16 for an even L."""
    return (2 * torch.tan(torch.pi * torch.arange(L // 2 + 1, dtype=torch.float64) / L)).to(dtype)


def inputs(K, H, M, dt=0.1):
    torch.manual_seed(K + M)
    real = -0.5 * (1 + torch.rand(H, M, dtype=torch.float64))
    w = dt * torch.stack((real, torch.randn(H, M, dtype=torch.float64) * 10), -1)
    v = torch.randn(K, H, M, 2, dtype=torch.float64)
    return v.requires_grad_(), w.requires_grad_()


def run(v, w, y, grad, backend):
    z = cauchy(v, w, y, backend=backend)
    return z, *torch.autograd.grad(z, (v, w), grad.to(z.dtype))


def relative(value, exact):
    """Error of each complex number against its own size: a huge node makes a small, but needed, value."""
    return ((value - exact).norm(dim=-1) / exact.norm(dim=-1)).max()


SHAPES = [(1, 1, 1, 1), (4, 3, 4, 2), (2, 2, 3, 17), (1, 2, 5, 97), (6, 1, 8, 1022)]


@pytest.mark.parametrize(("K", "H", "M", "L"), SHAPES)
@pytest.mark.parametrize("dt", [1e-6, 1e-3, 1.0])
def test_fast_form_agrees_with_the_sum(K, H, M, L, dt, monkeypatch):
    monkeypatch.setattr(fast_form, "_BLOCK_CPU", 64)  # several blocks of heads and of nodes
    v, w = inputs(K, H, M, dt)
    y = nodes(L)
    grad = torch.randn(K, H, y.shape[0], 2, dtype=torch.float64)
    naive, fast = run(v, w, y, grad, "naive"), run(v, w, y, grad, "torch")
    assert relative(fast[0], naive[0]) < 1e-10
    for one, other in zip(fast[1:], naive[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10 * other.abs().max().item())


@pytest.mark.parametrize("backend", ["naive", "torch"])
def test_gradcheck(backend):
    v, w = inputs(3, 2, 2)
    y = nodes(12)[:-1]
    assert torch.autograd.gradcheck(lambda v, w: cauchy(v, w, y, backend=backend), (v, w))


@pytest.mark.parametrize("dt", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("L", [1024, 16384])
def test_float32_is_no_worse_than_the_sum(L, dt):
    v, w = inputs(4, 2, 16, dt)
    v, w = v.detach().float().requires_grad_(), w.detach().float().requires_grad_()
    y = nodes(L, torch.float32)
    grad = torch.randn(4, 2, y.shape[0], 2) / (1 + y.abs()).unsqueeze(-1)
    exact = run(v.double(), w.double(), y.double(), grad, "naive")
    naive, fast = run(v, w, y, grad, "naive"), run(v, w, y, grad, "torch")
    floor = torch.tensor(torch.finfo(torch.float32).eps)
    assert relative(fast[0], exact[0]) <= 4 * torch.maximum(relative(naive[0], exact[0]), floor)
    for one, other, truth in zip(fast[1:], naive[1:], exact[1:], strict=True):
        scale = truth.abs().max()
        error, baseline = (one - truth).abs().max() / scale, (other - truth).abs().max() / scale
        assert error <= 4 * torch.maximum(baseline, floor)


def test_float32_at_a_sharp_resonance():
    """A node on top of a pole with a real part 1e-6 of its imaginary part."""
    w = torch.tensor([[[-1e-6, 1.0], [-1e-6, 1.25]]])
    v = torch.ones(1, 1, 2, 2)
    y = torch.tensor([1.0, 1.25, 1.0 + 2**-20])
    assert relative(cauchy(v, w, y), cauchy(v.double(), w.double(), y.double(), backend="naive")) < 1e-6


def test_nyquist_keeps_its_digits():
    """At y = 1e16 the product is -2i Re(sum v) / y, of which the bilinear kernel takes y times."""
    v, w = inputs(2, 2, 4)
    z = cauchy(v.float(), w.float(), torch.tensor([1e16]))
    expected = -2 * v[..., 0].sum(-1) / 1e16
    torch.testing.assert_close(z[..., 0, 1], expected.float(), rtol=1e-5, atol=0)


def test_compiles_whole():
    v, w = inputs(2, 2, 3)
    y = nodes(32)

    def loss(v, w):
        return cauchy(v, w, y)[..., :-1, :].square().sum()

    eager = torch.autograd.grad(loss(v, w), (v, w))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, other in zip(eager, torch.autograd.grad(compiled(v, w), (v, w)), strict=True):
        torch.testing.assert_close(one, other)


def test_custom_operator_is_sound():
    v, w = inputs(2, 2, 3)
    torch.library.opcheck(fast_form.cauchy, (v, w, nodes(7)))


def test_wrong_shapes_are_named():
    v, w = inputs(1, 2, 4)
    with pytest.raises(ValueError, match=r"not \(1, 2, 4, 2\), \(1, 4, 2\) and \(3,\)"):
        cauchy(v, w[:1], nodes(4))
