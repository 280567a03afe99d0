"""The operators as torch sees them: registration, compilation, determinism; streams and graphs on a GPU."""

import pytest
import torch
from ssm_kernels import available, cauchy, ops, vandermonde

needs_gpu = pytest.mark.skipif(not available()[0], reason=available()[1])


def arguments(device):
    c = torch.randn(2, 3, 5, 2, device=device)
    a = torch.stack([-torch.rand(3, 5, device=device), 10 * torch.rand(3, 5, device=device)], -1)
    y = torch.linspace(0, 20, 37, device=device)
    return c, a, y


def test_registration(device):
    """Schema, fake kernels, autograd and ahead-of-time dispatch with dynamic shapes."""
    c, a, y = arguments(device)
    c.requires_grad_()
    a.requires_grad_()
    torch.library.opcheck(ops.vandermonde_op, (c, a, 41))
    torch.library.opcheck(ops.cauchy_op, (c, a, y))


def test_compiled_code_is_the_same(device):
    def both(c, a, y):
        return vandermonde(c, a, 2 * y.shape[0] + 1).square().sum() + cauchy(c, a, y).square().sum()

    results = []
    for function in (both, torch.compile(both, backend="aot_eager", fullgraph=True)):
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
    for backward in (
        lambda: ops.vandermonde_backward_op(grads[0], c, a),
        lambda: ops.cauchy_backward_op(grads[1], c, a, y),
    ):
        for first, second in zip(backward(), backward(), strict=True):
            assert torch.equal(first, second)


@needs_gpu
def test_other_streams_and_graph_replay():
    """Captured in a graph, the operators follow the contents of their inputs."""
    c, a, y = arguments("cuda")
    c.requires_grad_()
    a.requires_grad_()

    def step():
        loss = vandermonde(c, a, 1025).square().sum() + cauchy(c, a, y).square().sum()
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
