"""Time, memory, error and the machine's ceilings, measured side by side in one process."""

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ssm_bench.kernel_bench.grid import Problem
from ssm_bench.kernel_bench.problems import Case, make_case

_FEW = 8  # features on which errors are taken
_SMALL = {"H": 32, "L": 1024}  # the problem from which time and memory are foreseen
_PATIENCE = {"naive": 20.0, "others": 3.0}  # seconds of a call; the baseline is worth waiting for
_SECONDS = 0.5  # spent on each back end, at least
_REPEATS = (3, 50)  # at least, at most
_BURST = (20, 0.01)  # calls that a GPU receives at once, at most, and the seconds that they fill

PASSES = ("forward+backward", "forward")


@dataclass(frozen=True)
class Ceiling:
    """What the device reaches here and now: a copy of a large tensor (bytes/s), a float32 product (operations/s)."""

    bandwidth: float
    arithmetic: float


@dataclass(frozen=True)
class Row:
    """One back end on one problem. Times in ms; rates in 1e9 a second; shares are of the ceilings."""

    name: str
    B: int
    H: int
    N: int
    L: int
    work: str  # one of PASSES
    backend: str
    median_ms: float
    quartile1_ms: float
    quartile3_ms: float
    least_ms: float
    repeats: int
    speedup: float  # over naive; nan where that did not run
    peak_mib: float  # above the inputs
    gflops: float
    gflops_share: float
    gbytes: float  # least traffic: inputs, outputs and gradients once in each pass that needs them
    gbytes_share: float
    error: float  # largest of outputs and gradients, against float64, relative to the largest entry


@dataclass(frozen=True)
class Omission:
    """A sentence on a back end that was not measured; ``failed`` if it should have run."""

    sentence: str
    failed: bool = False


def ceiling(device: torch.device) -> Ceiling:
    """Measure the ceilings."""
    elements, n = (2**28, 8192) if device.type == "cuda" else (2**25, 2048)
    source, target = torch.ones(elements, device=device), torch.empty(elements, device=device)
    x, y = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    calls = {"copy": lambda: target.copy_(source), "product": lambda: torch.mm(x, y)}
    for call in calls.values():
        call()
    times = repeat(calls, device, 1.0)
    return Ceiling(8 * elements / min(times["copy"]), 2 * n**3 / min(times["product"]))


def measure(
    problem: Problem, device: torch.device, top: Ceiling, passes: Sequence[str] = PASSES
) -> tuple[list[Row], list[Omission]]:
    """One problem, each pass with its back ends in turn; and the back ends that are left out.

    Of the passes those are measured that the problem has in use; the forward pass alone only where both are
    quick.
    """
    case = make_case(problem, device)
    omissions = [Omission(f"{problem.name} on {backend}: {reason}") for backend, reason in case.refusals]
    errors, truths = {}, exact(case, _reference(problem, case, device))
    for backend in case.backends:
        try:
            if reason := _refusal(problem, case, backend, device):
                omissions.append(Omission(f"{_title(problem)} on {backend} is left out: {reason}"))
            else:
                errors[backend] = error(case, backend, truths)
        except Exception as failure:  # the other back ends are still worth measuring
            omissions.append(Omission(f"{_title(problem)} on {backend} failed: {failure}", failed=True))
    rows: list[Row] = []
    for work in passes:
        slow = any(row.median_ms > _PATIENCE["others"] * 1e3 for row in rows)
        if errors and not slow and (case.backward or work == "forward"):
            rows += _measure(problem, case, work, errors, device, top)
    return rows, omissions


def _title(problem: Problem) -> str:
    return f"{problem.name} (H {problem.H}, L {problem.L})"


def _measure(
    problem: Problem, case: Case, work: str, errors: dict[str, float], device: torch.device, top: Ceiling
) -> list[Row]:
    outputs = case.cotangents()
    cotangents = outputs if "+" in work else None
    calls: dict[str, Callable[[], object]] = {each: partial(case.run, each, cotangents) for each in errors}
    peaks = {each: peak_memory(call, device) for each, call in calls.items()}  # and a first call, to warm up
    times = repeat(calls, device, _SECONDS)
    inputs_size, outputs_size = _bytes(case.tensors), _bytes(outputs)
    traffic = inputs_size + outputs_size if cotangents is None else 3 * inputs_size + 2 * outputs_size
    flops = case.flops[0] if cotangents is None else sum(case.flops)
    baseline = statistics.median(times["naive"]) if "naive" in times else float("nan")
    rows = []
    for backend, taken in times.items():
        quartile1, median, quartile3 = statistics.quantiles(taken, n=4, method="inclusive")
        row = Row(
            problem.name,
            problem.B,
            problem.H,
            problem.N,
            problem.L,
            work,
            backend,
            median_ms=median * 1e3,
            quartile1_ms=quartile1 * 1e3,
            quartile3_ms=quartile3 * 1e3,
            least_ms=min(taken) * 1e3,
            repeats=len(taken),
            speedup=baseline / median,
            peak_mib=peaks[backend] / 2**20,
            gflops=flops / median / 1e9,
            gflops_share=flops / median / top.arithmetic,
            gbytes=traffic / median / 1e9,
            gbytes_share=traffic / median / top.bandwidth,
            error=errors[backend],
        )
        rows.append(row)
    return rows


def repeat(calls: Mapping[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, list[float]]:
    """Times in seconds of each call, taken in turn so that a busy machine disturbs all alike.

    A call is repeated until it has taken ``seconds``. On a GPU a repetition of a short one is a burst of calls, so
    that launching them hides behind computing them, as it does in training.
    """
    bursts = {name: _burst(call, device) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    least, most = _REPEATS
    while True:
        waiting = [
            name for name, taken in times.items() if len(taken) < least or (len(taken) < most and sum(taken) < seconds)
        ]
        if not waiting:
            return times
        for name in waiting:
            times[name].append(timed(calls[name], device, bursts[name]))


def _burst(call: Callable[[], object], device: torch.device) -> int:
    most, seconds = _BURST
    return max(1, min(most, int(seconds / timed(call, device)))) if device.type == "cuda" else 1


def timed(call: Callable[[], object], device: torch.device, times: int = 1) -> float:
    """Seconds that a call takes on the device, the mean of ``times`` in a row."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / times


def peak_memory(call: Callable[[], object], device: torch.device) -> float:
    """Bytes that torch's allocator holds at most during a call, above those before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    results = profile.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


def exact(case: Case, reference: str = "naive") -> tuple[Tensor, ...]:
    """Outputs and gradients of a few features in float64, by the reference back end."""
    few = case.cut(_FEW)
    cotangents = [each.double() for each in few.cotangents()] if case.backward else None
    return few.double().run(reference, cotangents)


def error(case: Case, backend: str, truths: Sequence[Tensor]) -> float:
    """Largest error of outputs and gradients against exact ones, each relative to its largest entry."""
    few = case.cut(_FEW)
    found = few.run(backend, few.cotangents() if case.backward else None)
    errors = ((one - truth).abs().max() / truth.abs().max() for one, truth in zip(found, truths, strict=True))
    return max(each.item() for each in errors)


def _reference(problem: Problem, case: Case, device: torch.device) -> str:
    """The back end that is taken for exact in float64: naive, where that is neither too large nor too slow."""
    few = replace(problem, H=min(problem.H, _FEW))
    return "naive" if _refusal(few, case, "naive", device, 8) is None else "torch"


def _refusal(problem: Problem, case: Case, backend: str, device: torch.device, bytes_a_number: int = 4) -> str | None:
    """Why a back end is not measured on a problem of this size, or None."""
    if case.wholesale:
        return None
    needed, seconds = _expect(problem, backend, device)
    needed, free = needed * bytes_a_number / 4, _free_memory(device)
    if needed > 0.5 * free:  # beyond, a machine is busy with its memory
        return f"it needs about {needed / 2**30:.1f} GiB, more than half of the {free / 2**30:.1f} GiB free."
    if seconds > _PATIENCE.get(backend, _PATIENCE["others"]):
        return f"a call takes about {seconds:.0f} s."
    return None


def _expect(problem: Problem, backend: str, device: torch.device) -> tuple[float, float]:
    """Bytes and seconds that a problem takes, judged from two small ones and how they grow with L."""
    H, L = min(problem.H, _SMALL["H"]), min(problem.L, _SMALL["L"])
    found = []
    for length in (max(1, L // 2), L):
        case = make_case(replace(problem, H=H, L=length), device)
        call = partial(case.run, backend, case.cotangents() if case.backward else None)
        found.append((peak_memory(call, device), min(timed(call, device) for _ in range(2))))
    half, whole = found
    features, longer = problem.H / H, problem.L / L
    memory = features * whole[0] * longer ** math.log2(whole[0] / half[0])
    seconds = features * whole[1] * longer ** max(1.0, math.log2(whole[1] / half[1]))
    return memory, seconds


def _free_memory(device: torch.device) -> float:
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)
