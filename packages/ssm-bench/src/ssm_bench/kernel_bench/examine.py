"""Every back end of every operator, tried once on a small problem."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from ssm_core.backends import OPERATORS

from ssm_bench.kernel_bench.grid import NAMES, Problem
from ssm_bench.kernel_bench.measure import error, timed
from ssm_bench.kernel_bench.problems import make_tensor_case, operands

_REPEATS = 5
_SMALL = {"B": 2, "H": 16, "N": 64, "L": 256}


@dataclass(frozen=True)
class Finding:
    """One back end of an operator: why it is used or not, its time and its error, None where it did not run."""

    operator: str
    backend: str
    used: bool
    failed: bool
    state: str
    milliseconds: float | None = None
    error: float | None = None


def examine(device: torch.device) -> Iterator[Finding]:
    """Findings for every operator and each of its back ends, forward only, float32."""
    for name in NAMES:
        if name in OPERATORS:
            try:
                yield from _examine(Problem(name, **_SMALL), device)
            except Exception as failure:  # as all work on a GPU is once a kernel has read where it must not
                yield Finding(name, "all", False, True, f"failed: {failure}")


def _examine(problem: Problem, device: torch.device) -> Iterator[Finding]:
    case = replace(make_tensor_case(problem, device), backward=False)
    reasons, truths = dict(case.refusals), case.results("naive", double=True)
    choice = OPERATORS[problem.name].explain(*operands(problem, case.tensors))
    for backend in OPERATORS[problem.name].implementations:
        used = backend is choice.used
        if backend in reasons:
            yield Finding(problem.name, backend, False, False, f"cannot run: {reasons[backend]}")
            continue
        try:
            found = error(case, backend, truths)
            times = [timed(case.call(backend, "forward"), device) for _ in range(_REPEATS)]
        except Exception as failure:  # what is wrong here is what the reader wants to know
            yield Finding(problem.name, backend, used, True, f"failed: {failure}")
            continue
        state = "used" if used else f"can run; {choice.others[backend]}"
        yield Finding(problem.name, backend, used, False, state, statistics.median(times) * 1e3, found)
