"""The long convolution: by FFT against the sum, causal and bidirectional, any kernel length."""

import pytest
import torch
from ssm_core.ops import long_conv
from ssm_core.ops.long_conv import torch as fast_form
from ssm_core.ops.long_conv.torch import fft_size

SHAPES = [(1, 1, 1, 1, 1, 1), (2, 17, 3, 2, 17, 16), (2, 97, 2, 1, 5, 120), (1, 97, 2, 2, 200, 3), (3, 2, 1, 1, 1, 1)]


def inputs(B, L, H, C, K, K_reverse):
    torch.manual_seed(L)
    shapes = (B, L, H), (C, H, K), (C, H, K_reverse)
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def by_hand(u, k, k_reverse):
    """The two sums of the docstring, sample by sample."""
    y = u.new_zeros(u.shape[0], u.shape[1], *k.shape[:2])
    for l in range(u.shape[1]):  # noqa: E741
        for j in range(min(l + 1, k.shape[-1])):
            y[:, l] += k[..., j] * u[:, l - j].unsqueeze(1)
        for j in range(min(u.shape[1] - l - 1, k_reverse.shape[-1])):
            y[:, l] += k_reverse[..., j] * u[:, l + 1 + j].unsqueeze(1)
    return y


@pytest.mark.parametrize("backend", ["naive", "torch"])
@pytest.mark.parametrize("shape", SHAPES)
def test_definition(shape, backend):
    u, k, k_reverse = (each.detach() for each in inputs(*shape))
    expected = by_hand(u, k, k_reverse)
    torch.testing.assert_close(long_conv(u, k, k_reverse, backend=backend), expected, rtol=1e-10, atol=1e-10)
    expected = by_hand(u, k, torch.zeros_like(k_reverse))
    torch.testing.assert_close(long_conv(u, k, backend=backend), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (2, 1021, 2, 1, 1021, 1021)])
def test_gradients_agree_with_the_sum(shape, bidirectional):
    tensors = inputs(*shape) if bidirectional else inputs(*shape)[:2]
    grad = torch.randn(shape[0], shape[1], shape[3], shape[2], dtype=torch.float64)
    naive, fast = (
        torch.autograd.grad(long_conv(*tensors, backend=backend), tensors, grad) for backend in ("naive", "torch")
    )
    for one, other in zip(fast, naive, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", ["naive", "torch"])
def test_gradcheck(backend):
    tensors = inputs(2, 5, 2, 2, 4, 3)
    assert torch.autograd.gradcheck(lambda *args: long_conv(*args, backend=backend), tensors)


def test_only_one_gradient_wanted():
    u, k, _ = inputs(2, 9, 2, 2, 9, 1)
    both = torch.autograd.grad(long_conv(u, k).square().sum(), (u, k))
    (alone,) = torch.autograd.grad(long_conv(u, k.detach()).square().sum(), u)
    torch.testing.assert_close(alone, both[0])
    (alone,) = torch.autograd.grad(long_conv(u.detach(), k).square().sum(), k)
    torch.testing.assert_close(alone, both[1])


def test_nothing_wraps_at_full_length():
    """A kernel and an input of equal length, both alive at their ends."""
    u, k = torch.zeros(1, 64, 1), torch.zeros(1, 1, 64)
    u[0, -1] = k[..., -1] = 1
    assert long_conv(u, k).abs().max() < 1e-6


def test_half_precision_computes_in_float32():
    u, k, k_reverse = (each.detach().float() for each in inputs(2, 33, 3, 1, 33, 32))
    y = long_conv(u.bfloat16(), k, k_reverse)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, long_conv(u.bfloat16().float(), k, k_reverse).bfloat16())


def test_float32_error_is_that_of_the_sum():
    u, k, _ = (each.detach().float() for each in inputs(2, 1021, 3, 1, 1021, 1))
    exact = long_conv(u.double(), k.double(), backend="naive")
    naive, fast = ((long_conv(u, k, backend=each) - exact).abs().max() for each in ("naive", "torch"))
    assert fast <= 4 * naive


def test_compiles_whole():
    u, k, k_reverse = inputs(2, 21, 2, 1, 21, 20)

    def loss(u, k, k_reverse):
        return long_conv(u, k, k_reverse).square().sum()

    eager = torch.autograd.grad(loss(u, k, k_reverse), (u, k, k_reverse))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(u, k, k_reverse)
    for one, other in zip(eager, torch.autograd.grad(compiled, (u, k, k_reverse)), strict=True):
        torch.testing.assert_close(one, other)


def test_blocks_are_put_together(monkeypatch):
    """Blocks of samples, of features, and what is left over of both."""
    for B, H, block in ((7, 3, 3 * 2 * 108), (2, 37, 2 * 16 * 108)):
        tensors = inputs(B, 53, H, 2, 53, 52)
        whole = long_conv(*tensors)
        grad = torch.randn_like(whole)
        expected = torch.autograd.grad(whole, tensors, grad)
        monkeypatch.setattr(fast_form, "_BLOCK", block // torch.get_num_threads())
        assert len(list(fast_form._blocks(tensors[0], 2 * 108))) > 2
        parts = long_conv(*tensors)
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
        for one, other in zip(torch.autograd.grad(parts, tensors, grad), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        monkeypatch.undo()


def test_fft_sizes_are_the_least_fast_ones():
    def fast(n):
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    sizes = [n for n in range(2, 5000, 2) if fast(n)]
    for n in range(1, 4000):
        assert fft_size(n) == next(size for size in sizes if size >= n)


def test_wrong_shapes_are_named():
    u, k, _ = inputs(2, 5, 3, 2, 4, 3)
    with pytest.raises(ValueError, match=r"k \(C, H, K\), not \(2, 5, 3\) and \(2, 2, 4\)"):
        long_conv(u, k[:, :2])
    with pytest.raises(ValueError, match="k has 2 channels and k_reverse 1"):
        long_conv(u, k, k[:1])
