"""The fused recurrence and its gradient against the recurrence in float64, sample by sample."""

import itertools

import pytest
import torch
from ssm_core.ops.step.cuda import ssm_step
from ssm_kernels import diagonal_scan
from ssm_kernels.ops import diagonal_scan as module

EPSILON = torch.finfo(torch.float32).eps
NAMES = ("u", "x0", "a_bar", "b_bar", "c")


def direct(u, x0, a_bar, b_bar, c):
    """The recurrence as it is written, in the precision of its arguments."""
    x, a_bar, b_bar, c = map(torch.view_as_complex, (x0, a_bar, b_bar, c))
    outputs = []
    for sample in u.unbind(1):
        x = a_bar * x + b_bar * sample[..., None]
        outputs.append(2 * torch.einsum("chm,bhm->bch", c, x).real)
    return torch.stack(outputs, 1), torch.view_as_real(x)


def problem(B, L, H, M, C, decay=0.05):
    modulus, angle = torch.exp(-decay * torch.rand(H, M)), 3 * torch.randn(H, M)
    a_bar = torch.stack([modulus * angle.cos(), modulus * angle.sin()], -1)
    return (
        torch.randn(B, L, H),
        torch.randn(B, H, M, 2),
        a_bar,
        torch.randn(H, M, 2),
        torch.randn(C, H, M, 2),
    )


def both(function, inputs, upstream):
    """Outputs and gradients of every input."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    outputs = function(*leaves)
    gradients = torch.autograd.grad(outputs, leaves, [each.to(leaves[0]) for each in upstream])
    return [each.detach() for each in (*outputs, *gradients)]


def assert_as_exact(inputs, upstream, device, times=4):
    """Each result off by no more than ``times`` what the float32 recurrence is off, and a few roundings."""
    exact = both(direct, [each.double() for each in inputs], upstream)
    plain = both(direct, inputs, upstream)
    ours = both(diagonal_scan, [each.to(device) for each in inputs], upstream)
    for name, one, other, truth in zip(("y", "x", *NAMES), ours, plain, exact, strict=True):
        assert one.shape == truth.shape
        allowed = times * (other - truth).abs().max() + 8 * EPSILON * truth.abs().max()
        assert (one.cpu() - truth).abs().max() <= allowed, name


@pytest.fixture(params=["whole", "segments"])
def _cut(request, monkeypatch):
    monkeypatch.setattr(module, "LEAST_SEGMENT", 7)
    monkeypatch.setattr(module, "SPLIT", 1 if request.param == "whole" else 100)


@pytest.mark.usefixtures("_cut")
@pytest.mark.parametrize(
    ("B", "L", "H", "M", "C"),
    [
        *((2, L, 3, M, 1) for M, L in itertools.product([1, 3, 32, 33], [1, 17, 97])),
        (1, 64, 1, 8, 1),
        (1, 131, 5, 5, 3),
        (3, 33, 130, 1, 1),
        (2, 40, 4, 65, 2),
    ],
)
def test_values_and_gradients(device, B, L, H, M, C):
    upstream = torch.randn(B, L, C, H), torch.randn(B, H, M, 2)
    assert_as_exact(problem(B, L, H, M, C), upstream, device)


def test_segments_are_as_long_as_asked(monkeypatch):
    """Every sample lies in one segment, and none is empty; time is cut only where sequences are few."""
    for B, L, H, M in itertools.product([1, 3], [1, 255, 512, 1000, 16385], [1, 64, 300], [1, 32]):
        Q = module.segment_length(B, L, H, M)
        segments = module.blocks(L, Q)
        assert (segments - 1) * Q < L <= segments * Q
        assert segments == 1 or (Q >= module.LEAST_SEGMENT and B * module.head_blocks(H, M) * segments <= module.SPLIT)
    assert module.segment_length(16, 1024, 128, 32) == 1024
    assert module.segment_length(1, 16384, 64, 32) == 1024


@pytest.mark.parametrize("length", [512, 1023])
def test_long_memory(device, length):
    """States that hardly decay, over the lengths at which time is cut by itself."""
    inputs = problem(1, length, 2, 4, 1, decay=1e-4)
    assert module.segment_length(1, length, 2, 4) < length
    assert_as_exact(inputs, (torch.randn(1, length, 1, 2), torch.randn(1, 2, 4, 2)), device)


def test_one_output_alone_has_gradients(device):
    inputs = problem(2, 9, 3, 4, 2)
    for i in range(2):
        found, expected = (
            torch.autograd.grad(function(*leaves)[i].square().sum(), leaves, allow_unused=True, materialize_grads=True)
            for function, leaves in (
                (diagonal_scan, [each.to(device).requires_grad_() for each in inputs]),
                (direct, [each.double().requires_grad_() for each in inputs]),
            )
        )
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.cpu().double(), other, rtol=1e-4, atol=1e-4)


def test_zero_poles_and_zero_inputs_have_no_special_case(device):
    u, x0, a_bar, b_bar, c = problem(2, 70, 3, 4, 1)
    for inputs in ((u, x0, torch.zeros_like(a_bar), b_bar, c), (u, x0, a_bar, torch.zeros_like(b_bar), c)):
        assert_as_exact(inputs, (torch.randn(2, 70, 1, 3), torch.randn(2, 3, 4, 2)), device)


def test_steps_are_the_scan(device):
    u, x, *rest = (each.to(device) for each in problem(2, 11, 3, 5, 2))
    y, last = diagonal_scan(u, x, *rest)
    for l in range(u.shape[1]):  # noqa: E741
        y_t, x = ssm_step(u[:, l], x, *rest)
        torch.testing.assert_close(y_t, y[:, l], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x, last, rtol=1e-5, atol=1e-5)


def test_strided_and_unaligned_arguments(device):
    u, x0, a_bar, b_bar, c = (each.to(device) for each in problem(2, 9, 3, 5, 1))
    packed = torch.cat([torch.zeros(1, device=device), x0.flatten()])[1:].view_as(x0)
    assert packed.data_ptr() % 8
    transposed = u.transpose(1, 2).contiguous().transpose(1, 2)
    for one, other in zip(
        diagonal_scan(transposed, packed, a_bar, b_bar, c), diagonal_scan(u, x0, a_bar, b_bar, c), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("wrong", range(5))
def test_refusals_name_the_cause(wrong):
    inputs = list(problem(2, 5, 3, 4, 1))
    shapes = [tuple(each.shape) for each in inputs]
    inputs[wrong] = inputs[wrong][..., :-1]
    with pytest.raises(ValueError, match=r"takes u \(B, L, H\)"):
        diagonal_scan(*inputs)
    inputs[wrong] = torch.zeros(shapes[wrong], dtype=torch.float64)
    with pytest.raises(ValueError, match="float64"):
        diagonal_scan(*inputs)


def test_an_empty_sequence_is_refused():
    u, *rest = problem(2, 5, 3, 4, 1)
    with pytest.raises(ValueError, match="takes u"):
        diagonal_scan(u[:, :0], *rest)
