"""The time of a training step by kind of work, from torch's profiler; ``bench kernels --profile`` prints it."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from ssm_bench.speed.cases import make_case
from ssm_bench.speed.grid import Problem
from ssm_bench.speed.timer import timed

#: Number of training steps under the profiler.
STEPS = 3
#: Number of operators that are named for each kind.
_LARGEST = 4
OPTIMIZER, OURS, OTHER = "optimiser", "kernels of ours", "views, memory, Python"
#: Kinds of torch's operators by their names; an operator has the first kind that fits.
_KINDS = {
    "Fourier transforms": r"_fft_",
    "matrix products": r"(mm|bmm|addmm_?|baddbmm_?|_?linalg_\w+)$",
    "copies and fills": r"(copy_|clone|cat|fill_|zero_|constant_pad_nd|index\w*|gather|scatter\w*|flip|repeat|roll"
    r"|where|masked_fill_?)$",
    OTHER: r"(empty\w*|new_\w+|zeros\w*|ones\w*|resize_|as_strided|view\w*|_?reshape\w*|slice|select|transpose|t"
    r"|permute|expand\w*|unsqueeze|squeeze|unbind|split\w*|chunk|narrow\w*|detach\w*|alias|real|imag|unflatten|flatten"
    r"|to|linear|matmul|einsum|_unsafe_view|pad|stack|result_type|item|_local_scalar_dense|lift_fresh|movedim"
    r"|contiguous)$",
    "element-wise and sums": r".*$",
}
KINDS = (*_KINDS, OURS, OPTIMIZER)


@dataclass(frozen=True)
class Part:
    """A kind of work in a training step.

    Attributes:
        kind: one of :data:`KINDS`.
        milliseconds: its time in a step.
        share: its share of the step.
        calls: the number of operators called in a step.
        largest: the operators that take the most time, each with its milliseconds.
    """

    kind: str
    milliseconds: float
    share: float
    calls: float
    largest: tuple[tuple[str, float], ...]


def step_parts(problem: Problem, device: torch.device) -> list[Part]:
    """Return the parts of a training step, the largest first; they add up to the step.

    The time of an operator does not include the operators that it calls; on a GPU it is the time of its kernels. Time
    that belongs to no operator counts as ``views, memory, Python``; on a GPU this includes waiting. The profiler
    lengthens this part by about a microsecond per call.
    """
    step = make_case(problem, device).call("auto", "training step")
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with torch.profiler.profile(activities=activities) as profiler:
        whole = timed(step, device, STEPS) * STEPS * 1e6
    spent: dict[str, Any] = defaultdict(Counter)
    calls: Counter[str] = Counter()
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CPU:
            kind = _kind(event)
            own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
            spent[kind][event.name.removeprefix("aten::")] += own
            calls[kind] += 1
    spent[OTHER]["outside operators"] += whole - sum(sum(times.values()) for times in spent.values())
    parts = []
    for kind, times in spent.items():
        total = sum(times.values())
        largest = tuple((name, own / 1e3 / STEPS) for name, own in times.most_common(_LARGEST) if own > 0)
        parts.append(Part(kind, total / 1e3 / STEPS, total / whole, calls[kind] / STEPS, largest))
    return sorted(parts, key=lambda part: -part.milliseconds)


def _kind(event: Any) -> str:
    if any(each.name.startswith("Optimizer.step") for each in _ancestors(event)):
        return OPTIMIZER
    namespace, _, name = event.name.partition("::")
    if namespace == "aten":
        return next(kind for kind, names in _KINDS.items() if re.match(names, name))
    return OURS if namespace == "ssm_kernels" else OTHER


def _ancestors(event: Any) -> list[Any]:
    found = []
    while event is not None:
        found.append(event)
        event = event.cpu_parent
    return found
