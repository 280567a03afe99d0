"""What a GPU would punish at random, found on the CPU: missing barriers, access out of bounds."""

from functools import partial

import pytest
import torch
from ssm_kernels import host
from ssm_kernels.compiler import CompileError, Unit
from ssm_kernels.ops import cauchy, chunked_scan, common, diagonal_scan, vandermonde

pytestmark = pytest.mark.usefixtures("emulation")


@pytest.fixture(autouse=True, params=[1, common.FULL_GRID])
def _cuts(request, monkeypatch):
    """Backward passes with several tiles a block and scans with several segments, and both with one."""
    monkeypatch.setattr(common, "FULL_GRID", request.param)
    monkeypatch.setattr(diagonal_scan, "LEAST_SEGMENT", request.param)
    monkeypatch.setattr(diagonal_scan, "SPLIT", 13)
    monkeypatch.setattr(diagonal_scan, "CUT", 13)
    monkeypatch.setattr(chunked_scan, "SPLIT", 1 if request.param == 1 else 13)


def recurrence(B, L, H, M, dtype=torch.float32):
    """``u, x0, a, b, c`` of a decaying one."""
    return torch.randn(B, L, H).to(dtype), *(0.7 * torch.rand(*shape, H, M, 2) for shape in ((B,), (), (), ()))


def chunked(H, dtype):
    """A tile, or two segments of it and a little."""
    B, L, M = 3, 512 + 16, 3
    return recurrence(B, L, H, M, dtype)


def chunked_backward(H, dtype):
    inputs = chunked(H, dtype)
    return torch.randn(inputs[0].shape).to(dtype), torch.randn(inputs[1].shape), *inputs


PROBLEMS = {
    "vandermonde": (vandermonde.forward, lambda: (torch.randn(2, 3, 33, 2), -torch.rand(3, 33, 2), 1025)),
    "vandermonde_backward": (
        vandermonde.backward,
        lambda: (torch.randn(2, 3, 2049), torch.randn(2, 3, 33, 2), -torch.rand(3, 33, 2)),
    ),
    "cauchy": (cauchy.forward, lambda: (torch.randn(9, 2, 33, 2), -torch.rand(2, 33, 2), torch.rand(301))),
    "cauchy_backward": (
        cauchy.backward,
        lambda: (torch.randn(9, 2, 301, 2), torch.randn(9, 2, 33, 2), -torch.rand(2, 33, 2), torch.rand(301)),
    ),
    **{f"scan-{M}": (diagonal_scan.forward, partial(recurrence, 2, 100, 5, M)) for M in (3, 33)},
    **{
        f"scan_backward-{M}": (
            diagonal_scan.backward,
            lambda M=M: (torch.randn(2, 100, 5), torch.randn(2, 5, M, 2), *recurrence(2, 100, 5, M)),
        )
        for M in (3, 33)
    },
    **{
        f"chunked{name}-{dtype}-{H}": (function, partial(make, H, dtype))
        for name, function, make in (
            ("", chunked_scan.forward, chunked),
            ("_backward", chunked_scan.backward, chunked_backward),
        )
        for dtype, H in ((torch.float32, 4), (torch.bfloat16, 3))
    },
}


def run(name, launch):
    torch.manual_seed(0)
    implementation, make = PROBLEMS[name]
    results = implementation(launch, *make())
    return results if isinstance(results, tuple) else (results,)


def fenced_launch(unit, kernel, grid, arguments):
    """Runs on copies of the tensors with NaN before and after each; nothing may be written there."""
    fence, fenced = 4096, []
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            buffer = torch.full((argument.numel() + 2 * fence,), torch.nan, dtype=argument.dtype)
            inside = buffer[fence:-fence].view_as(argument)
            inside.copy_(argument)
            fenced.append((argument, buffer, inside))
    copies = iter(inside for _, _, inside in fenced)
    host.launch(unit, kernel, grid, [next(copies) if isinstance(a, torch.Tensor) else a for a in arguments])
    for argument, buffer, inside in fenced:
        assert buffer[:fence].isnan().all()
        assert buffer[-fence:].isnan().all()
        argument.copy_(inside)


@pytest.mark.parametrize("name", PROBLEMS)
def test_order_of_threads_does_not_matter(name):
    ascending = run(name, host.launch)
    descending = run(name, partial(host.launch, descending=True))
    for one, other in zip(ascending, descending, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_access_out_of_bounds(name):
    for free, fenced in zip(run(name, host.launch), run(name, fenced_launch), strict=True):
        assert torch.equal(free, fenced)


REVERSAL = """
#include "kernel.cuh"

KERNEL reversal(const float *in, float *out) {
  __shared__ float values[THREADS];
  values[threadIdx.x] = in[threadIdx.x];
  BARRIER
  out[threadIdx.x] = values[THREADS - 1 - threadIdx.x];
}
"""


@pytest.mark.parametrize(
    ("barrier", "outcome"),
    [
        ("__syncthreads();", "right"),
        ("", "wrong"),
        ("__syncwarp();", "wrong"),
        ("__shfl_xor_sync(0xFFFFFFFFu, 0.0f, 1);", "wrong"),
        ("if (threadIdx.x) __syncthreads();", "error"),
        ("if (threadIdx.x) __syncwarp();", "error"),
        ("if (threadIdx.x < 32) __syncthreads();", "error"),
    ],
)
def test_the_host_build_finds_faulty_barriers(tmp_path, barrier, outcome):
    source = tmp_path / "reversal.cu"
    source.write_text(REVERSAL.replace("BARRIER", barrier))
    values = torch.arange(128.0)

    def reversed_values(descending):
        out = torch.empty(128)
        host.launch(Unit(str(source), ()), "reversal", (1, 1, 1), (values, out), descending=descending)
        return out

    if outcome == "error":
        with pytest.raises(RuntimeError, match="waited at a barrier"):
            reversed_values(False)
    else:
        for descending in (False, True):
            assert torch.equal(reversed_values(descending), values.flip(0)) is (outcome == "right")


def test_a_refused_source_shows_the_compiler_log(tmp_path):
    source = tmp_path / "wrong.cu"
    source.write_text("this is no C++;\n")
    with pytest.raises(CompileError, match=r"wrong\.cu"):
        host.build(Unit(str(source), ()))
