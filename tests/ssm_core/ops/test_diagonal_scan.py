"""The recurrence and its chunked form, against each other and the convolution."""

import pytest
import torch
from ssm_core.backends import OPERATORS, Implementation, use_backend
from ssm_core.complex import cexp, cmul
from ssm_core.ops import diagonal_scan, long_conv, ssm_step, vandermonde, vandermonde_transpose


def inputs(B, L, H, M, C, dt=0.3):
    torch.manual_seed(L)
    a = dt * torch.stack((-torch.rand(H, M), 5 * torch.randn(H, M)), -1).double()
    shapes = (B, L, H), (B, H, M, 2), (H, M, 2), (C, H, M, 2)
    u, x0, b, c = (torch.randn(*shape, dtype=torch.float64) for shape in shapes)
    return a, [each.requires_grad_() for each in (u, x0, cexp(a), b, c)]


SHAPES = [(1, 1, 1, 1, 1), (2, 17, 3, 2, 2), (2, 64, 1, 3, 1), (1, 97, 2, 4, 3), (2, 259, 2, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dt", [1e-6, 1e-2, 1.0])
def test_recurrence_is_convolution_and_carried_state(shape, dt):
    a, (u, x0, a_bar, b, c) = inputs(*shape, dt=dt)
    L = u.shape[1]
    y, x = diagonal_scan(u, x0, a_bar, b, c, backend="naive")
    driven = long_conv(u, vandermonde(cmul(c, b), a, L))
    unforced = torch.stack([vandermonde(cmul(c, cmul(a_bar, one)), a, L) for one in x0])
    torch.testing.assert_close(y, driven + unforced.permute(0, 3, 1, 2), rtol=1e-10, atol=1e-9)
    final = cmul(b, vandermonde_transpose(u.transpose(1, 2), a)) + cmul(cexp(a * L), x0)
    torch.testing.assert_close(x, final, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dt", [1e-6, 1e-2, 1.0])
def test_chunks_agree_with_the_recurrence(shape, dt):
    _, tensors = inputs(*shape, dt=dt)
    B, L, H, M, C = shape
    upstream = torch.randn(B, L, C, H, dtype=torch.float64), torch.randn(B, H, M, 2, dtype=torch.float64)
    results = []
    for backend in ("naive", "torch"):
        outputs = diagonal_scan(*tensors, backend=backend)
        results.append((*outputs, *torch.autograd.grad(outputs, tensors, upstream)))
    for naive, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, naive, rtol=1e-10, atol=1e-10 * naive.detach().abs().max().item())


@pytest.mark.parametrize("backend", ["naive", "torch"])
def test_gradcheck(backend):
    _, tensors = inputs(2, 3, 2, 2, 2)
    assert torch.autograd.gradcheck(lambda *args: diagonal_scan(*args, backend=backend), tensors)


def test_a_zero_pole_has_no_special_case():
    _, (u, x0, a_bar, b, c) = inputs(1, 70, 1, 2, 1)
    a_bar = torch.zeros_like(a_bar)
    y, x = diagonal_scan(u, x0, a_bar, b, c)
    torch.testing.assert_close(x, b * u[:, -1, :, None, None])
    torch.testing.assert_close(y, diagonal_scan(u, x0, a_bar, b, c, backend="naive")[0])


@pytest.mark.parametrize(("backend", "taken"), [("tensor-cores", torch.bfloat16), ("torch", torch.float32)])
def test_a_bfloat16_signal_reaches_tensor_cores_as_it_is(monkeypatch, backend, taken):
    u, *rest = (each.detach().float() for each in inputs(2, 5, 3, 4, 1)[1])
    u, seen = u.bfloat16(), []

    def scan(u, x0, *rest):
        seen.append(u)
        return u.unsqueeze(2), x0

    monkeypatch.setitem(OPERATORS["diagonal_scan"].implementations, backend, Implementation(scan))
    for named in (False, True):
        with use_backend(backend if named else "auto"):
            y, x = diagonal_scan(u, *rest, backend="auto" if named else backend)
        assert (y.dtype, x.dtype) == (torch.bfloat16, torch.float32)
    assert [each.dtype for each in seen] == [taken] * 2
    assert (seen[0] is u) is (taken == torch.bfloat16)


def test_float32_is_no_worse_than_the_recurrence():
    _, tensors = inputs(2, 1021, 2, 8, 1, dt=0.01)
    tensors = [each.detach().float() for each in tensors]
    exact = diagonal_scan(*(each.double() for each in tensors), backend="naive")
    naive, fast = (diagonal_scan(*tensors, backend=each) for each in ("naive", "torch"))
    for one, other, truth in zip(fast, naive, exact, strict=True):
        assert (one - truth).abs().max() <= 4 * (other - truth).abs().max()


def test_compiles_whole():
    _, tensors = inputs(2, 70, 2, 2, 1)

    def loss(u, x0, a_bar, b, c):
        y, x = diagonal_scan(u, x0, a_bar, b, c)
        y_next, x = ssm_step(u[:, 0], x, a_bar, b, c)
        return y.square().sum() + y_next.square().sum() + x.square().sum()

    eager = torch.autograd.grad(loss(*tensors), tensors)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, other in zip(eager, torch.autograd.grad(compiled(*tensors), tensors), strict=True):
        torch.testing.assert_close(one, other)


def test_wrong_shapes_are_named():
    _, (u, x0, a_bar, b, c) = inputs(2, 3, 2, 2, 1)
    with pytest.raises(ValueError, match=r"not \(2, 3, 2\), \(1, 2, 2, 2\)"):
        diagonal_scan(u, x0[:1], a_bar, b, c)
