"""Both fused recurrences and their gradients against the recurrence in float64, sample by sample."""

import itertools

import pytest
import torch
from ssm_core.ops.step.cuda import ssm_step
from ssm_kernels import chunked_scan, diagonal_scan
from ssm_kernels.ops import chunked_scan as chunked
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
    gradients = torch.autograd.grad(outputs, leaves, [up.to(out) for up, out in zip(upstream, outputs, strict=True)])
    return [each.detach() for each in (*outputs, *gradients)]


def assert_as_exact(inputs, upstream, device, scan=diagonal_scan, times=4):
    """Each result off by no more than ``times`` what the float32 recurrence is off, and a few roundings."""
    exact = both(direct, [each.double() for each in inputs], upstream)
    plain = both(direct, inputs, upstream)
    ours = both(scan, [each.to(device) for each in inputs], upstream)
    for name, one, other, truth in zip(("y", "x", *NAMES), ours, plain, exact, strict=True):
        assert one.shape == truth.shape
        allowed = times * (other - truth).abs().max() + 8 * EPSILON * truth.abs().max()
        assert (one.cpu() - truth).abs().max() <= allowed, name


@pytest.fixture(params=["whole", "segments"])
def _cut(request, monkeypatch):
    monkeypatch.setattr(module, "LEAST_SEGMENT", 7)
    for each in (module, chunked):
        monkeypatch.setattr(each, "SPLIT", 1 if request.param == "whole" else 100)


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


CHUNKED = [
    *((2, L, 3, M, 1) for M, L in itertools.product([1, 3, 32, 33], [5, 17, 96])),
    (1, 272, 4, 8, 1),  # more than a tile
    (1, 1021, 5, 5, 3),
    (5, 32, 17, 1, 1),
    (2, 560, 8, 9, 2),  # segments of 512 and of 48
]


@pytest.mark.usefixtures("_cut")
@pytest.mark.parametrize(("B", "L", "H", "M", "C"), CHUNKED)
def test_chunks_in_float32(device, B, L, H, M, C):
    upstream = torch.randn(B, L, C, H), torch.randn(B, H, M, 2)
    assert_as_exact(problem(B, L, H, M, C), upstream, device, chunked_scan)


@pytest.mark.usefixtures("_cut")
@pytest.mark.parametrize(("B", "L", "H", "M"), [(2, 96, 3, 33), (1, 529, 8, 3), (5, 272, 17, 1)])
def test_chunks_in_bfloat16(device, B, L, H, M):
    """Results of bfloat16 are off by its rounding, 2^-8. Beside that, a term of a sum is a product of at most four
    numbers that are split, each off by 2^-17, and lacks at most two products of low parts, 2^-16 each. The terms'
    moduli add up in the recurrence of all moduli."""

    def moduli(tensor, name):
        return tensor.abs() if name == "u" else torch.nn.functional.pad(tensor.norm(dim=-1, keepdim=True), (0, 1))

    inputs = problem(B, L, H, M, 1)
    inputs = (inputs[0].bfloat16(), *inputs[1:])
    upstream = torch.randn(B, L, 1, H).bfloat16(), torch.randn(B, H, M, 2)
    exact = both(direct, [each.double() for each in inputs], upstream)
    largest = both(
        direct,
        [moduli(each.double(), name) for each, name in zip(inputs, NAMES, strict=True)],
        [moduli(each, name) for each, name in zip(upstream, ("u", "x0"), strict=True)],
    )
    ours = both(chunked_scan, [each.to(device) for each in inputs], upstream)
    for name, one, truth, bound in zip(("y", "x", *NAMES), ours, exact, largest, strict=True):
        signal = name in ("y", "u")
        assert one.dtype == (torch.bfloat16 if signal else torch.float32)
        off, allowed = (one.cpu() - truth).abs(), 8 * 2.0**-17 * (bound if signal else bound[..., :1])
        assert (off <= allowed + signal * 2.0**-8 * truth.abs()).all(), name


def test_chunks_never_see_a_segment_end_inside():
    """Segments are whole tiles, all samples lie in one, and time is cut only where sequences are few."""
    for B, L, H, dtype in itertools.product(
        [1, 3, 64], [16, 512, 560, 16384], [1, 64], [torch.float32, torch.bfloat16]
    ):
        u = torch.empty(B, L, H, dtype=dtype, device="meta")
        Q = chunked.segment_length(u)
        segments = module.blocks(L, Q)
        assert Q % chunked.TILE == 0
        assert (segments - 1) * Q < L <= segments * Q
        assert segments == 1 or B * chunked.head_blocks(u) * segments <= chunked.SPLIT * chunked.STRANDS
    assert chunked.segment_length(torch.empty(64, 1024, 256, device="meta")) == 1024
    assert chunked.segment_length(torch.empty(1, 16384, 64, device="meta")) == 256


def test_segments_are_as_long_as_asked(monkeypatch):
    """Every sample lies in one segment, and none is empty; time is cut only where sequences are few."""
    for B, L, H, M in itertools.product([1, 3], [1, 255, 512, 1000, 16385], [1, 64, 300], [1, 32]):
        Q = module.segment_length(B, L, H, M)
        segments = module.blocks(L, Q)
        assert (segments - 1) * Q < L <= segments * Q
        uncut = B * module.head_blocks(H, M)
        assert segments == 1 or (Q >= module.LEAST_SEGMENT and uncut < module.SPLIT and uncut * segments <= module.CUT)
    assert module.segment_length(16, 1024, 128, 32) == 1024
    assert module.segment_length(1, 16384, 256, 32) == 1024


@pytest.mark.parametrize("scan", [diagonal_scan, chunked_scan])
@pytest.mark.parametrize("length", [512, 1023])
def test_long_memory(device, scan, length):
    """States that hardly decay, over the lengths at which time is cut by itself."""
    inputs = problem(1, length, 2, 4, 1, decay=1e-4)
    assert module.segment_length(1, length, 2, 4) < length
    assert chunked.segment_length(inputs[0]) < length
    assert_as_exact(inputs, (torch.randn(1, length, 1, 2), torch.randn(1, 2, 4, 2)), device, scan)


@pytest.mark.parametrize("scan", [diagonal_scan, chunked_scan])
def test_one_output_alone_has_gradients(device, scan):
    inputs = problem(2, 19, 3, 4, 2)
    for i in range(2):
        found, expected = (
            torch.autograd.grad(function(*leaves)[i].square().sum(), leaves, allow_unused=True, materialize_grads=True)
            for function, leaves in (
                (scan, [each.to(device).requires_grad_() for each in inputs]),
                (direct, [each.double().requires_grad_() for each in inputs]),
            )
        )
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.cpu().double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scan", [diagonal_scan, chunked_scan])
def test_zero_poles_and_zero_inputs_have_no_special_case(device, scan):
    u, x0, a_bar, b_bar, c = problem(2, 70, 3, 4, 1)
    for poles, weights in ((0 * a_bar, b_bar), (1e-30 * a_bar, b_bar), (a_bar, 0 * b_bar)):
        upstream = torch.randn(2, 70, 1, 3), torch.randn(2, 3, 4, 2)
        assert_as_exact((u, x0, poles, weights, c), upstream, device, scan)


def test_steps_are_the_scan(device):
    u, x, *rest = (each.to(device) for each in problem(2, 11, 3, 5, 2))
    y, last = diagonal_scan(u, x, *rest)
    for l in range(u.shape[1]):  # noqa: E741
        y_t, x = ssm_step(u[:, l], x, *rest)
        torch.testing.assert_close(y_t, y[:, l], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x, last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", [-1, 0x7FFFFFFF, 0x7F800001])
def test_chunks_keep_nan(device, dtype, bits):
    """Whatever its bits, which the split into parts rounds; other sequences stay clear of it."""
    u, *rest = (each.to(device) for each in problem(2, 32, 3, 2, 1, decay=0))
    u[0, 5, 1] = torch.tensor(bits, dtype=torch.int32, device=device).view(torch.float32)
    y, _ = chunked_scan(u.to(dtype), *rest)
    assert y[0, 5:, :, 1].isnan().all()
    y[0, :, :, 1] = 0
    assert not y.isnan().any()


@pytest.mark.parametrize("scan", [diagonal_scan, chunked_scan])
def test_strided_and_unaligned_arguments(device, scan):
    u, x0, a_bar, b_bar, c = (each.to(device) for each in problem(2, 16, 4, 5, 1))
    packed, shifted = (torch.cat([torch.zeros(1, device=device), each.flatten()])[1:].view_as(each) for each in (x0, u))
    assert packed.data_ptr() % 8
    transposed = u.transpose(1, 2).contiguous().transpose(1, 2)
    expected = scan(u, x0, a_bar, b_bar, c)
    for same in (transposed, shifted):
        for one, other in zip(scan(same, packed, a_bar, b_bar, c), expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("scan", [diagonal_scan, chunked_scan])
@pytest.mark.parametrize("wrong", range(5))
def test_refusals_name_the_cause(scan, wrong):
    inputs = list(problem(2, 5, 3, 4, 1))
    shapes = [tuple(each.shape) for each in inputs]
    inputs[wrong] = inputs[wrong][..., :-1]
    with pytest.raises(ValueError, match=r"takes u \(B, L, H\)"):
        scan(*inputs)
    inputs[wrong] = torch.zeros(shapes[wrong], dtype=torch.float64)
    with pytest.raises(ValueError, match="float64"):
        scan(*inputs)
    inputs[wrong] = torch.zeros(shapes[wrong], device="meta")
    with pytest.raises(ValueError, match=r"on meta|on cpu and the others on meta"):
        scan(*inputs)


def test_an_empty_sequence_is_refused():
    u, *rest = problem(2, 5, 3, 4, 1)
    with pytest.raises(ValueError, match="takes u"):
        diagonal_scan(u[:, :0], *rest)
