"""The operators as torch sees them: registration, compilation, determinism; streams and graphs on a GPU."""

import pytest
import ssm_core.ops  # noqa: F401
import torch
from ssm_core.backends import OPERATORS
from ssm_kernels import available, cauchy, chunked_scan, diagonal_scan, vandermonde
from ssm_kernels.ops.cauchy import cauchy_backward_op, cauchy_op
from ssm_kernels.ops.chunked_scan import chunked_scan_backward_op, chunked_scan_op
from ssm_kernels.ops.diagonal_scan import diagonal_scan_backward_op, diagonal_scan_op
from ssm_kernels.ops.vandermonde import vandermonde_backward_op, vandermonde_op

needs_gpu = pytest.mark.skipif(not available()[0], reason=available()[1])


def arguments(device):
    c = torch.randn(2, 3, 5, 2, device=device)
    a = torch.stack([-torch.rand(3, 5, device=device), 10 * torch.rand(3, 5, device=device)], -1)
    y = torch.linspace(0, 20, 37, device=device)
    return c, a, y


def recurrence(c, a):
    """``u, x0, a_bar, b_bar, c`` of a scan with the same c and rates a."""
    u, x0, b = torch.randn(2, 37, 3), torch.randn(2, 3, 5, 2), torch.randn(3, 5, 2)
    return u.to(c), x0.to(c), torch.view_as_real(torch.view_as_complex(a).exp()), b.to(c), c


def all_operators(c, a, y):
    kernel, product = vandermonde(c, a, 2 * y.shape[0] + 1), cauchy(c, a, y)
    scans = (*diagonal_scan(*recurrence(c, a)), *chunked_scan(*recurrence(c, a)))
    return sum(each.square().sum() for each in (kernel, product, *scans))


def test_registration(device):
    """Schema, fake kernels, autograd and ahead-of-time dispatch with dynamic shapes."""
    c, a, y = arguments(device)
    c.requires_grad_()
    a.requires_grad_()
    torch.library.opcheck(vandermonde_op, (c, a, 41))
    torch.library.opcheck(cauchy_op, (c, a, y))
    leaves = [each.detach().requires_grad_() for each in recurrence(c, a)]
    torch.library.opcheck(diagonal_scan_op, (*leaves[:4], leaves[4][0]))
    half = leaves[0].detach()[:, :32].bfloat16().requires_grad_()
    torch.library.opcheck(chunked_scan_op, (half, *leaves[1:4], leaves[4][0]))


@pytest.mark.parametrize("name", ["vandermonde", "cauchy", "diagonal_scan", "ssm_step"])
def test_ssm_core_prefers_the_kernels(name):
    assert next(iter(OPERATORS[name].implementations)) == "cuda"


def test_compiled_code_is_the_same(device):
    results = []
    for function in (all_operators, torch.compile(all_operators, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(0)
        c, a, y = arguments(device)
        c.requires_grad_()
        a.requires_grad_()
        function(c, a, y).backward()
        results.append((c.grad, a.grad))
    for eager, compiled in zip(*results, strict=True):
        assert torch.equal(eager, compiled)


def test_backward_repeats_bit_for_bit(device):
    c, a, y = arguments(device)
    grads = torch.randn(2, 3, 9001, device=device), torch.randn(2, 3, 37, 2, device=device)
    scan = recurrence(c, a)
    for backward in (
        lambda: vandermonde_backward_op(grads[0], c, a),
        lambda: cauchy_backward_op(grads[1], c, a, y),
        lambda: diagonal_scan_backward_op(scan[0], scan[1], *scan[:4], c[0]),
        lambda: chunked_scan_backward_op(scan[0][:, :32], scan[1], scan[0][:, :32], *scan[1:4], c[0]),
    ):
        for first, second in zip(backward(), backward(), strict=True):
            assert torch.equal(first, second)


@needs_gpu
def test_other_streams_and_graph_replay():
    """Captured in a graph, the operators follow the contents of their inputs."""
    c, a, y = arguments("cuda")
    c.requires_grad_()
    a.requires_grad_()

    more = [each.detach() for each in recurrence(c, a)[:2]]

    def step():
        outputs = diagonal_scan(*more, a / 20, a, c)[0] + chunked_scan(*more, a / 20, a, c)[0]
        loss = vandermonde(c, a, 1025).square().sum() + cauchy(c, a, y).square().sum() + outputs.square().sum()
        return torch.autograd.grad(loss, (c, a))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        warm = step()
    torch.cuda.current_stream().wait_stream(side)
    for ours, eager in zip(warm, step(), strict=True):
        assert torch.equal(ours, eager)

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        c.mul_(-0.5)
        a.mul_(0.9)
    graph.replay()
    for ours, eager in zip(captured, step(), strict=True):
        assert torch.equal(ours, eager)
