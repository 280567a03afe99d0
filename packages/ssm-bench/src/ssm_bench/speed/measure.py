"""Measure time, memory and error of the back ends of a problem in one process, and the ceilings of the device."""

import statistics
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context

import torch
from torch import Tensor

from ssm_bench.memory import peak_of_call
from ssm_bench.speed.case import Case
from ssm_bench.speed.cases import make_case
from ssm_bench.speed.feasible import why_not
from ssm_bench.speed.grid import Problem
from ssm_bench.speed.operators import FEW
from ssm_bench.speed.own_process import peak_resident
from ssm_bench.speed.timer import repeat

#: If a call takes at most this many seconds, the forward pass alone is measured, too.
_QUICK = 3.0
#: If a training step takes more bytes than this, the memory of a separate process is measured, too.
_LARGE = 2**30
#: Least seconds that are spent on each back end.
_SECONDS = 1.5


@dataclass(frozen=True)
class Ceiling:
    """The highest rates that were measured on the device.

    Attributes:
        bandwidth: bytes per second of a copy of a large tensor, read and written.
        arithmetic: operations per second of a large matrix product in float32.
    """

    bandwidth: float
    arithmetic: float


@dataclass(frozen=True)
class Row:
    """One back end on one problem.

    Times are in ms and rates in 1e9 per second. Shares are relative to the ceilings. A value that is unknown is nan.
    """

    name: str
    B: int
    H: int
    N: int
    L: int
    layers: int
    work: str  # one of Case.works
    backend: str
    median_ms: float
    quartile1_ms: float
    quartile3_ms: float
    least_ms: float
    repeats: int
    speedup: float  # median of naive over this median; nan if naive did not run
    peak_mib: float  # above inputs and parameters
    resident_mib: float  # a whole process; only for our large training steps on a CPU
    gflops: float
    gflops_share: float
    gbytes: float  # least traffic: inputs, outputs and gradients, once in each pass that needs them
    gbytes_share: float
    error: float  # largest error of outputs and gradients against float64, relative to the largest entry
    naive_error: float  # error of naive on the same numbers, also if naive is not timed; nan if it does not run

    @property
    def problem(self) -> Problem:
        return Problem(self.name, self.B, self.H, self.N, self.L, self.layers)


@dataclass(frozen=True)
class Omission:
    """A back end that was not measured.

    Attributes:
        sentence: why it was not measured.
        failed: whether it should have run and raised an error.
        trace: the traceback of the error, else empty.
    """

    sentence: str
    failed: bool = False
    trace: str = ""


def _failure(what: str, failure: Exception) -> Omission:
    """Return the omission for the error that is being handled."""
    return Omission(f"{what} failed: {failure}", failed=True, trace=traceback.format_exc())


def ceiling(device: torch.device) -> Ceiling:
    """Measure the ceilings."""
    elements, n = (2**28, 8192) if device.type == "cuda" else (2**25, 2048)
    times = _copy_and_product(device, elements, n)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the processes that measure need the memory
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
    """Measure each work of a problem with all its back ends, which take turns.

    Args:
        first_only: measure only the first work, which has the backward pass if there is one.

    Returns:
        The rows, and the back ends that were left out.
    """
    case = make_case(problem, device)
    omissions = [Omission(f"{problem.name} on {backend}: {reason}") for backend, reason in case.refusals]
    few = problem if case.mixes else replace(problem, H=min(problem.H, FEW))
    fits = case.mixes or why_not(few, case, "naive", device, bytes_a_number=8) is None
    reference = "naive" if fits else "torch"
    truths, errors = case.results(reference, double=True), {}
    naive_error = error(case, "naive", truths) if fits else float("nan")
    for backend in case.backends:
        try:
            if reason := why_not(problem, case, backend, device):
                omissions.append(Omission(f"{_title(problem)} on {backend} is left out: {reason}"))
            else:
                errors[backend] = naive_error if backend == "naive" else error(case, backend, truths)
        except Exception as failure:  # the other back ends are still worth measuring
            omissions.append(_failure(f"{_title(problem)} on {backend}", failure))
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
    """Call :func:`measure` in a process of its own.

    In a new process the allocator holds no memory of other problems, and no error of an earlier kernel has made the GPU
    unusable.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        try:
            return process.submit(measure, problem, device, top, first_only=first_only).result()
        except Exception as failure:  # the other problems are still worth measuring
            return [], [_failure(_title(problem), failure)]


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
            peaks[backend] = peak_of_call(call, device)  # this first call also warms up
        except torch.OutOfMemoryError:
            omissions.append(Omission(f"{what} is left out: the device has too little memory."))
        except Exception as failure:
            omissions.append(_failure(what, failure))
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


def error(case: Case, backend: str, truths: Sequence[Tensor]) -> float:
    """Return the largest error of the results against exact ones; nan if any result is nan.

    The error of each tensor is relative to its largest entry.
    """
    errors = [
        (one - truth).abs().max() / truth.abs().max() for one, truth in zip(case.results(backend), truths, strict=True)
    ]
    return torch.stack(errors).max().item()
