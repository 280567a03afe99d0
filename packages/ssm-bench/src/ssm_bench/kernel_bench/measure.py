"""Time, memory, error and the machine's ceilings; the back ends of a problem side by side in one process."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context

import torch
from torch import Tensor

from ssm_bench.kernel_bench.case import Case
from ssm_bench.kernel_bench.grid import Problem
from ssm_bench.kernel_bench.memory import free_memory, peak_memory, peak_resident
from ssm_bench.kernel_bench.problems import FEW, make_case

_SMALL_H = 32  # the problem from which time and memory are foreseen; the length is for one whose features mix, or not
_SMALL_L = {True: 512, False: 1024}
_PATIENCE = {"keops": 3.0, **dict.fromkeys(("torch", "cuda", "tensor-cores", "naive", "auto"), 20.0)}  # s a call
_QUICK = 3.0  # seconds of a call, up to which its forward pass is measured too
_LARGE = 2**30  # bytes of a training step, from which a process of its own tells what is needed in all
_SECONDS = 1.5  # spent on each back end, at least
_REPEATS = (5, 50)  # at least, at most
_BURST = (20, 0.01)  # calls that a GPU receives at once, at most, and the seconds that they fill


@dataclass(frozen=True)
class Ceiling:
    """What the device reaches here and now: a copy of a large tensor (bytes/s), a float32 product (operations/s)."""

    bandwidth: float
    arithmetic: float


@dataclass(frozen=True)
class Row:
    """One back end on one problem. Times in ms; rates in 1e9 a second; shares are of the ceilings; nan: not known."""

    name: str
    B: int
    H: int
    N: int
    L: int
    layers: int
    work: str  # see Case.works
    backend: str
    median_ms: float
    quartile1_ms: float
    quartile3_ms: float
    least_ms: float
    repeats: int
    speedup: float  # over naive; nan where that did not run
    peak_mib: float  # above inputs and parameters
    resident_mib: float  # of a whole process, for our large training steps on a CPU
    gflops: float
    gflops_share: float
    gbytes: float  # least traffic: inputs, outputs and gradients once in each pass that needs them
    gbytes_share: float
    error: float  # largest of outputs and gradients, against float64, relative to the largest entry
    naive_error: float  # that of naive on the same numbers, also where it is not timed; nan where it does not run

    @property
    def problem(self) -> Problem:
        return Problem(self.name, self.B, self.H, self.N, self.L, self.layers)


@dataclass(frozen=True)
class Omission:
    """A sentence on a back end that was not measured; ``failed`` if it should have run."""

    sentence: str
    failed: bool = False


def ceiling(device: torch.device) -> Ceiling:
    """Measure the ceilings."""
    elements, n = (2**28, 8192) if device.type == "cuda" else (2**25, 2048)
    times = _copy_and_product(device, elements, n)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # leaves the memory to the processes that measure
    return Ceiling(8 * elements / min(times["copy"]), 2 * n**3 / min(times["product"]))


def _copy_and_product(device: torch.device, elements: int, n: int) -> dict[str, list[float]]:
    source, target = torch.ones(elements, device=device), torch.empty(elements, device=device)
    x, y = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    calls = {"copy": lambda: target.copy_(source), "product": lambda: torch.mm(x, y)}
    for call in calls.values():
        call()
    return repeat(calls, device, 1.0)


def measure(
    problem: Problem, device: torch.device, top: Ceiling, *, first_only: bool = False
) -> tuple[list[Row], list[Omission]]:
    """One problem, each of its works with the back ends in turn; and the back ends that are left out.

    Args:
        first_only: of its works only the first, which has the backward pass where there is one.
    """
    case = make_case(problem, device)
    omissions = [Omission(f"{problem.name} on {backend}: {reason}") for backend, reason in case.refusals]
    few = problem if case.mixes else replace(problem, H=min(problem.H, FEW))
    fits = case.mixes or _refusal(few, case, "naive", device, bytes_a_number=8) is None
    reference = "naive" if fits else "torch"
    truths, errors = case.results(reference, double=True), {}
    naive_error = error(case, "naive", truths) if fits else float("nan")
    for backend in case.backends:
        try:
            if reason := _refusal(problem, case, backend, device):
                omissions.append(Omission(f"{_title(problem)} on {backend} is left out: {reason}"))
            else:
                errors[backend] = naive_error if backend == "naive" else error(case, backend, truths)
        except Exception as failure:  # the other back ends are still worth measuring
            omissions.append(Omission(f"{_title(problem)} on {backend} failed: {failure}", failed=True))
    rows: list[Row] = []
    for work in case.works[:1] if first_only else case.works:
        if errors and not any(row.median_ms > _QUICK * 1e3 for row in rows):
            more, failures = _measure(problem, case, work, errors, naive_error, device, top)
            rows += more
            omissions += failures
    return rows, omissions


def measure_alone(
    problem: Problem, device: torch.device, top: Ceiling, *, first_only: bool = False
) -> tuple[list[Row], list[Omission]]:
    """:func:`measure` in a process of its own, which finds no memory that another problem left to the allocator, nor a
    GPU that an earlier kernel's error made unusable."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        try:
            return process.submit(measure, problem, device, top, first_only=first_only).result()
        except Exception as failure:  # the other problems are still worth measuring
            return [], [Omission(f"{_title(problem)} failed: {failure}", failed=True)]


def _title(problem: Problem) -> str:
    return f"{problem.name} (H {problem.H}, L {problem.L})"


def _measure(
    problem: Problem,
    case: Case,
    work: str,
    errors: dict[str, float],
    naive_error: float,
    device: torch.device,
    top: Ceiling,
) -> tuple[list[Row], list[Omission]]:
    calls, peaks, omissions = {}, {}, []
    for backend in errors:
        what = f"{_title(problem)}, {work}, on {backend}"
        try:
            call = case.call(backend, work)
            peaks[backend] = peak_memory(call, device)  # and a first call, to warm up
        except torch.OutOfMemoryError:
            omissions.append(Omission(f"{what} is left out: the device has not the memory."))
        except Exception as failure:
            omissions.append(Omission(f"{what} failed: {failure}", failed=True))
        else:
            calls[backend] = call
    times = repeat(calls, device, _SECONDS)
    flops, traffic = case.flops(work), case.traffic(work)
    baseline = statistics.median(times["naive"]) if "naive" in times else float("nan")
    rows = []
    for backend, taken in times.items():
        quartiles = statistics.quantiles(taken, n=4, method="inclusive")
        quartile1, median, quartile3 = (each / case.units for each in quartiles)
        alone = problem.layers and backend != "naive" and device.type == "cpu" and peaks[backend] > _LARGE
        row = Row(
            **asdict(problem),
            work=work,
            backend=backend,
            median_ms=median * 1e3,
            quartile1_ms=quartile1 * 1e3,
            quartile3_ms=quartile3 * 1e3,
            least_ms=min(taken) / case.units * 1e3,
            repeats=len(taken),
            speedup=baseline / case.units / median,
            peak_mib=peaks[backend] / 2**20,
            resident_mib=(peak_resident(problem, backend, work) if alone else float("nan")) / 2**20,
            gflops=flops / median / 1e9,
            gflops_share=flops / median / top.arithmetic,
            gbytes=traffic / median / 1e9,
            gbytes_share=traffic / median / top.bandwidth,
            error=errors[backend],
            naive_error=naive_error,
        )
        rows.append(row)
    return rows, omissions


def repeat(calls: Mapping[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, list[float]]:
    """Times in seconds of each call, taken in turn so that a busy machine disturbs all alike.

    A call is repeated until it has taken ``seconds``; a short one follows a call of its own that does not count, as
    in training, where caches and allocator have been left by the same work. On a GPU a repetition of a short one is
    a burst of calls, so that launching them hides behind computing them.
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
            if times[name] and min(times[name]) < seconds:
                calls[name]()
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


def error(case: Case, backend: str, truths: Sequence[Tensor]) -> float:
    """Largest error of the results against exact ones, each tensor's relative to its largest entry; nan if any is."""
    errors = [
        (one - truth).abs().max() / truth.abs().max() for one, truth in zip(case.results(backend), truths, strict=True)
    ]
    return torch.stack(errors).max().item()


def _refusal(problem: Problem, case: Case, backend: str, device: torch.device, bytes_a_number: int = 4) -> str | None:
    """Why a back end is not measured on a problem of this size, or None."""
    needed, seconds = _expect(problem, case.mixes, backend, device)
    needed, free = needed * bytes_a_number / 4, free_memory(device)
    if needed > 0.5 * free:  # beyond, a machine is busy with its memory
        return f"it needs about {needed / 2**30:.1f} GiB, more than half of the {free / 2**30:.1f} GiB free."
    if seconds > _PATIENCE[backend]:
        return f"a call takes about {seconds:.0f} s."
    return None


def _expect(problem: Problem, mixes: bool, backend: str, device: torch.device) -> tuple[float, float]:
    """Bytes and seconds that a problem takes, judged from two small ones and how they grow with L."""
    H = problem.H if mixes else min(problem.H, _SMALL_H)
    L, layers = min(problem.L, _SMALL_L[mixes]), min(problem.layers, 1)
    found = []

    def small(length: int) -> Callable[[], object]:
        case = make_case(replace(problem, H=H, L=length, layers=layers), device)
        return case.call(backend, case.works[0])

    if device.type == "cuda":
        small(L)()  # libraries take memory at their first call that they keep, and that does not grow with the problem
    for length in (max(1, L // 2), L):
        call = small(length)
        found.append((peak_memory(call, device), min(timed(call, device) for _ in range(2))))
    half, whole = found
    larger, longer = problem.H / H * max(1, problem.layers), problem.L / L
    memory = larger * whole[0] * longer ** math.log2(whole[0] / half[0])
    seconds = larger * whole[1] * longer ** max(1.0, math.log2(whole[1] / half[1]))
    return memory, seconds
