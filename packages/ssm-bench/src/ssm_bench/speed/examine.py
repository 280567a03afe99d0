"""Try each back end of each operator once on a small problem; ``bench doctor`` prints the findings."""

import statistics
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from ssm_core.backends import OPERATORS

from ssm_bench.speed.grid import NAMES, Problem
from ssm_bench.speed.measure import error
from ssm_bench.speed.operators import make_tensor_case, operands
from ssm_bench.speed.timer import timed

_REPEATS = 5
_SMALL = {"B": 2, "H": 16, "N": 64, "L": 256}


@dataclass(frozen=True)
class Finding:
    """What was found about one back end of an operator.

    Attributes:
        operator: name of the operator.
        backend: name of the back end; ``all`` if the operator failed before any back end ran.
        used: whether AUTO takes it.
        failed: whether it should have run and raised an error.
        state: why it is used or not, or how it failed.
        milliseconds: time of the forward pass; None if it did not run.
        error: error of the forward pass; None if it did not run.
        trace: the traceback of a failure, else empty.
    """

    operator: str
    backend: str
    used: bool
    failed: bool
    state: str
    milliseconds: float | None = None
    error: float | None = None
    trace: str = ""


def examine(device: torch.device) -> Iterator[Finding]:
    """Yield the findings for every operator and each of its back ends: the forward pass in float32."""
    for name in NAMES:
        if name in OPERATORS:
            try:
                yield from _examine(Problem(name, **_SMALL), device)
            except Exception as failure:  # all work on a GPU fails after a kernel has read outside its memory
                yield _failure(name, "all", False, failure)


def _failure(operator: str, backend: str, used: bool, failure: Exception) -> Finding:
    return Finding(operator, backend, used, True, f"failed: {failure}", trace=traceback.format_exc())


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
        except Exception as failure:  # the failure is a finding, too
            yield _failure(problem.name, backend, used, failure)
            continue
        state = "used" if used else f"can run; {choice.others[backend]}"
        yield Finding(problem.name, backend, used, False, state, statistics.median(times) * 1e3, found)
