"""The fused Cauchy product and its gradient against the direct sum in float64."""

import itertools
import math

import pytest
import torch
from ssm_kernels import cauchy
from ssm_kernels.ops import common

EPSILON = torch.finfo(torch.float32).eps


def terms(v, w, y):
    """Both terms of every conjugate pair, complex (2, K, H, M, F)."""
    v, w, z = torch.view_as_complex(v)[..., None], torch.view_as_complex(w)[..., None], 1j * y
    return torch.stack([v / (z - w), v.conj() / (z - w.conj())])


def direct(v, w, y):
    return torch.view_as_real(terms(v, w, y).sum(dim=(0, 3)))


def nodes(F):
    """The bilinear nodes of a kernel of length 2 F - 2, the Nyquist node at 3e16 among them."""
    return torch.tensor([2 * math.tan(math.pi * f / (2 * F - 2)) if F > 1 else 0.0 for f in range(F)])


def problem(K, H, M):
    v = torch.randn(K, H, M, 2)
    w = torch.stack([-0.5 * torch.rand(H, M) - 1e-3, 30 * torch.rand(H, M)], -1)
    return v, w


def gradients(function, v, w, y, grad):
    v, w = v.clone().requires_grad_(), w.clone().requires_grad_()
    return torch.autograd.grad(function(v, w, y), (v, w), grad.to(v))


def assert_gradients(ours, v, w, y, grad):
    """Rounding level, as measured by the sums of the terms' magnitudes."""
    v, w, y, grad = v.double(), w.double(), y.double(), grad.double()
    dv, dw = gradients(direct, v, w, y, grad)
    z, poles = 1j * y, torch.view_as_complex(w)[..., None]
    near, far = 1 / (z - poles).abs(), 1 / (z - poles.conj()).abs()
    size = grad.norm(dim=-1)[:, :, None]
    dv_scale = (size * (near + far)).sum(-1)[..., None]
    dw_scale = (size * (near**2 + far**2) * v.norm(dim=-1)[..., None]).sum((0, -1))[..., None]
    assert ((ours[0].cpu() - dv).abs() <= 16 * EPSILON * dv_scale).all()
    assert ((ours[1].cpu() - dw).abs() <= 16 * EPSILON * dw_scale).all()


@pytest.mark.parametrize(
    ("K", "H", "M", "F"),
    [
        *((1, 2, M, F) for M, F in itertools.product([1, 3, 32, 33], [1, 17, 501, 1025])),
        (4, 3, 32, 129),
        (5, 1, 65, 257),
        (8, 2, 7, 33),
        (9, 2, 3, 300),
    ],
)
def test_values_and_gradients(device, K, H, M, F):
    (v, w), y = problem(K, H, M), nodes(F)
    grad = torch.randn(K, H, F, 2)
    out = cauchy(v.to(device), w.to(device), y.to(device)).cpu()
    scale = terms(v.double(), w.double(), y.double()).abs().sum(dim=(0, 3))[..., None]
    assert ((out - direct(v.double(), w.double(), y.double())).abs() <= 8 * EPSILON * scale).all()
    assert_gradients(gradients(cauchy, v.to(device), w.to(device), y.to(device), grad), v, w, y, grad)


def test_gradients_of_several_tiles_a_block(device, monkeypatch):
    monkeypatch.setattr(common, "FULL_GRID", 1)
    (v, w), y = problem(2, 1, 3), nodes((common.MAX_TILES + 1) * 128 + 5)
    grad = torch.randn(2, 1, y.shape[0], 2)
    assert_gradients(gradients(cauchy, v.to(device), w.to(device), y.to(device), grad), v, w, y, grad)


@pytest.mark.parametrize("re", [-1e-6, -1e-3, -0.5])
def test_resonance(device, re):
    """Nodes as close to a pole as float32 allows, high up, where |w|^2 - y^2 would lose all digits."""
    v, w = torch.tensor([[[[0.7, -1.3]]]]), torch.tensor([[[re, 1300.0]]])
    y = torch.tensor([1300.0, math.nextafter(1300.0, 0), 1300.0 - 2**-13, 1300.0 + 2**-10, 1300.5])
    out = cauchy(v.to(device), w.to(device), y.to(device)).cpu()
    exact = direct(v.double(), w.double(), y.double())
    assert ((out - exact).norm(dim=-1) <= 8 * EPSILON * exact.norm(dim=-1)).all()
    grad = torch.randn(1, 1, 5, 2)
    assert_gradients(gradients(cauchy, v.to(device), w.to(device), y.to(device), grad), v, w, y, grad)


def test_real_poles_and_zero_node(device):
    (v, _), y = problem(2, 1, 4), torch.tensor([0.0, 1e-8, 1.0, 1e18])
    w = torch.tensor([[[-1e-4, 0.0], [-0.5, 0.0], [-3.0, 0.0], [-100.0, 0.0]]])
    out = cauchy(v.to(device), w.to(device), y.to(device)).cpu()
    scale = terms(v.double(), w.double(), y.double()).abs().sum(dim=(0, 3))[..., None]
    assert ((out - direct(v.double(), w.double(), y.double())).abs() <= 8 * EPSILON * scale).all()


@pytest.mark.parametrize(
    ("v", "w", "y", "message"),
    [
        (torch.zeros(1, 2, 3, 2), torch.zeros(2, 4, 2), torch.zeros(5), r"\(1, 2, 3, 2\) and \(2, 4, 2\)"),
        (torch.zeros(1, 2, 3, 2), torch.zeros(2, 3, 2), torch.zeros(5, 1), "not"),
        (torch.zeros(1, 2, 3, 2), torch.zeros(2, 3, 2), torch.zeros(0), "not"),
        (torch.zeros(1, 2, 3, 2), torch.zeros(2, 3, 2), torch.zeros(5).double(), "y is torch.float64"),
    ],
)
def test_refusals_name_the_cause(v, w, y, message):
    with pytest.raises(ValueError, match=message):
        cauchy(v, w, y)
