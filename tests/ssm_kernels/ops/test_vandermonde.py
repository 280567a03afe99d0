"""The fused Vandermonde product and its gradient against the direct sum in float64."""

import itertools

import pytest
import torch
from ssm_kernels import vandermonde
from ssm_kernels.ops import common

EPSILON = torch.finfo(torch.float32).eps


def direct(c, a, L):
    """The sum as it is written, in the precision of its arguments."""
    c, a = torch.view_as_complex(c), torch.view_as_complex(a)
    steps = torch.arange(L, dtype=a.real.dtype, device=a.device)
    return 2 * torch.einsum("chm,hml->chl", c, torch.exp(a[..., None] * steps)).real


def problem(C, H, M, dt=0.05, frequency=30.0):
    c = torch.randn(C, H, M, 2)
    a = torch.stack([-torch.rand(H, M), frequency * torch.randn(H, M)], -1) * dt
    return c, a


def gradients(function, inputs, L, grad):
    inputs = [x.clone().requires_grad_() for x in inputs]
    return torch.autograd.grad(function(*inputs, L), inputs, grad.to(inputs[0]))


def assert_within(ours, exact, roundings, scale):
    """Each error is at most so many roundings of the sum of the terms' magnitudes (and float32's smallest number)."""
    assert ((ours - exact).abs() <= roundings * EPSILON * scale + 1e-35).all()


def assert_gradients(ours, c, a, L, grad):
    c, a, grad = c.double(), a.double(), grad.double()
    dc, da = gradients(direct, (c, a), L, grad)
    steps = torch.arange(L, dtype=torch.float64)
    decay = torch.exp(a[..., 0, None] * steps)
    assert_within(ours[0].cpu(), dc, 8, torch.einsum("chl,hml->chm", 2 * grad.abs(), decay)[..., None])
    moments = torch.einsum("chl,hml->chm", 2 * grad.abs() * steps, decay)
    assert_within(ours[1].cpu(), da, 8, (c.norm(dim=-1) * moments).sum(0)[..., None])


@pytest.mark.parametrize(
    ("C", "H", "M", "L"),
    [
        *((1, 2, M, L) for M, L in itertools.product([1, 3, 32, 33], [1, 17, 1000, 1025])),
        (3, 1, 65, 257),
        (2, 5, 7, 4097),
        (7, 3, 2, 2),
    ],
)
def test_values_and_gradients(device, C, H, M, L):
    c, a = problem(C, H, M)
    grad = torch.randn(C, H, L)
    out = vandermonde(c.to(device), a.to(device), L).cpu()
    decay = torch.exp(a[..., 0, None].double() * torch.arange(L))
    scale = torch.einsum("chm,hml->chl", 2 * c.double().norm(dim=-1), decay)
    assert_within(out, direct(c.double(), a.double(), L), 8, scale)
    assert_gradients(gradients(vandermonde, (c.to(device), a.to(device)), L, grad), c, a, L, grad)


@pytest.mark.parametrize("dt", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("frequency", [1.0, 1300.0])
def test_long_kernels_keep_their_phase(device, dt, frequency):
    """65,537 positions: the error stays at rounding level, where a float32 phase is off by 2^-24 Im(a) l."""
    L = 65537
    a = torch.tensor([[[-0.5, frequency], [-1e-6, 3.0], [-0.0, frequency / 3]]]) * dt
    c = torch.tensor([[[[1.0, -0.5], [0.3, 2.0], [-1.0, 0.0]]]])
    exact = direct(c.double(), a.double(), L)
    assert_within(vandermonde(c.to(device), a.to(device), L).cpu(), exact, 8, c.norm(dim=-1).sum())


def test_long_gradients(device):
    L = 16385
    c, a = problem(1, 1, 3, dt=1e-3, frequency=1000.0)
    grad = torch.randn(1, 1, L)
    assert_gradients(gradients(vandermonde, (c.to(device), a.to(device)), L, grad), c, a, L, grad)


def test_gradients_of_several_tiles_a_block(device, monkeypatch):
    monkeypatch.setattr(common, "FULL_GRID", 1)
    L = (common.MAX_TILES + 1) * 1024 + 5
    c, a = problem(1, 1, 3, dt=1e-3)
    grad = torch.randn(1, 1, L)
    assert_gradients(gradients(vandermonde, (c.to(device), a.to(device)), L, grad), c, a, L, grad)


def test_strided_and_unaligned_arguments(device):
    """Slices of packed tensors, whose storage starts between float2 boundaries, and expanded gradients."""
    c, a = problem(2, 3, 5)
    packed = torch.cat([torch.zeros(1), c.flatten()]).to(device)[1:].view_as(c)
    assert packed.data_ptr() % 8
    transposed = a.to(device).transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(vandermonde(packed, transposed, 33), vandermonde(c.to(device), a.to(device), 33))
    leaf = packed.clone().requires_grad_()
    vandermonde(leaf, transposed, 33).sum().backward()
    same, _ = gradients(vandermonde, (c.to(device), a.to(device)), 33, torch.ones(2, 3, 33))
    assert torch.equal(leaf.grad, same)


@pytest.mark.parametrize(
    ("c", "a", "L", "message"),
    [
        (torch.zeros(1, 2, 3, 2), torch.zeros(2, 4, 2), 5, r"\(1, 2, 3, 2\) and \(2, 4, 2\)"),
        (torch.zeros(1, 2, 0, 2), torch.zeros(2, 0, 2), 5, "not"),
        (
            torch.zeros(1, 2, 3, 2).double(),
            torch.zeros(2, 3, 2).double(),
            5,
            "float32, but c is torch.float64",
        ),
        (torch.zeros(1, 2, 3, 2), torch.zeros(2, 3, 2), 0, "positions, not 0"),
        (torch.zeros(1, 2, 3, 2), torch.zeros(2, 3, 2), 2**24 + 1, "positions, not 16777217"),
    ],
)
def test_refusals_name_the_cause(c, a, L, message):
    with pytest.raises(ValueError, match=message):
        vandermonde(c, a, L)
