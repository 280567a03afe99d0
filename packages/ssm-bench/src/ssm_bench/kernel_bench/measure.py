"""Time, memory, error and the machine's ceilings, measured side by side in one process."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ssm_bench.kernel_bench.grid import Problem
from ssm_bench.kernel_bench.problems import Case, make_case

_FEW = 16  # features on which errors are taken, and from which the memory of all is estimated
_SECONDS = 2.0  # spent on each back end, at least
_REPEATS = (3, 50)  # at least, at most


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
    work: str  # "forward" or "forward+backward"
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


class TooLargeError(RuntimeError):
    """A problem needs more memory than is free."""


def ceiling(device: torch.device) -> Ceiling:
    """Measure the ceilings."""
    elements, n = (2**28, 8192) if device.type == "cuda" else (2**25, 2048)
    source, target = torch.ones(elements, device=device), torch.empty(elements, device=device)
    x, y = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    times = repeat({"copy": lambda: target.copy_(source), "product": lambda: torch.mm(x, y)}, device, 1.0)
    return Ceiling(8 * elements / min(times["copy"]), 2 * n**3 / min(times["product"]))


def measure(problem: Problem, device: torch.device, top: Ceiling) -> tuple[list[Row], list[Omission]]:
    """One problem, each pass with its back ends in turn; and the back ends that are left out."""
    case = make_case(problem, device)
    omissions = [Omission(f"{problem.name} on {backend}: {reason}") for backend, reason in case.refusals]
    errors = {}
    for backend in case.backends:
        try:
            _require_memory(case, backend, problem, device)
            errors[backend] = error(case, backend)
        except TooLargeError as refusal:
            omissions.append(Omission(str(refusal)))
        except Exception as failure:  # the other back ends are still worth measuring
            omissions.append(Omission(f"{problem.name} on {backend} failed: {failure}", failed=True))
    rows = []
    for work in ("forward", "forward+backward") if case.backward and errors else ("forward",):
        rows += _measure(problem, case, work, errors, device, top)
    return rows, omissions


def _measure(
    problem: Problem, case: Case, work: str, errors: dict[str, float], device: torch.device, top: Ceiling
) -> list[Row]:
    outputs = case.cotangents()
    cotangents = outputs if "+" in work else None
    calls: dict[str, Callable[[], object]] = {each: partial(case.run, each, cotangents) for each in errors}
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
            peak_mib=peak_memory(calls[backend], device) / 2**20,
            gflops=flops / median / 1e9,
            gflops_share=flops / median / top.arithmetic,
            gbytes=traffic / median / 1e9,
            gbytes_share=traffic / median / top.bandwidth,
            error=errors[backend],
        )
        rows.append(row)
    return rows


def repeat(calls: dict[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, list[float]]:
    """Times in seconds of each call, taken in turn so that a busy machine disturbs all alike.

    A call is repeated until it has taken ``seconds``; a first, untimed one compiles and warms up.
    """
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    least, most = _REPEATS
    while True:
        waiting = [
            name for name, taken in times.items() if len(taken) < least or (len(taken) < most and sum(taken) < seconds)
        ]
        if not waiting:
            return times
        for name in waiting:
            times[name].append(timed(calls[name], device))


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds that a call takes on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


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


def error(case: Case, backend: str) -> float:
    """Largest error of outputs and gradients against float64, each relative to its largest entry."""
    few = case.cut(_FEW)
    cotangents = few.cotangents() if case.backward else None
    exact_cotangents = None if cotangents is None else [each.double() for each in cotangents]
    exact = few.double().run("naive", exact_cotangents)
    found = few.run(backend, cotangents)
    errors = ((one - truth).abs().max() / truth.abs().max() for one, truth in zip(found, exact, strict=True))
    return max(each.item() for each in errors)


def _require_memory(case: Case, backend: str, problem: Problem, device: torch.device) -> None:
    """Raise TooLargeError where the memory would not suffice, judged from a few features."""
    if case.wholesale or problem.H <= _FEW:
        return
    few = case.cut(_FEW)
    cotangents = few.cotangents() if case.backward else None
    needed = peak_memory(lambda: few.run(backend, cotangents), device) * problem.H / _FEW
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    if needed > 0.8 * free:
        raise TooLargeError(
            f"{problem.name} on {backend} at H {problem.H}, L {problem.L} needs about {needed / 2**30:.1f} GiB, "
            f"and {free / 2**30:.1f} GiB are free: left out."
        )


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)
