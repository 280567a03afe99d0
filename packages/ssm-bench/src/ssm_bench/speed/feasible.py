"""Estimate from two small problems whether a back end has enough time and memory for a problem."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from ssm_bench.memory import free_memory, peak_of_call
from ssm_bench.speed.case import Case
from ssm_bench.speed.cases import make_case
from ssm_bench.speed.grid import Problem
from ssm_bench.speed.timer import timed
from ssm_bench.speed.treatment import treatment

#: Features of the small problems if the features do not mix.
_SMALL_H = 32
#: Length of the larger of the two small problems; the key says whether the features mix.
_SMALL_L = {True: 512, False: 1024}
#: Share of the free memory that a problem may need; with more, the system may have to free memory during the call.
_SHARE = 0.5


def why_not(problem: Problem, case: Case, backend: str, device: torch.device, bytes_a_number: int = 4) -> str | None:
    """Return a sentence that says why a back end is not measured on a problem of this size, or None."""
    needed, seconds = expect(problem, case.mixes, backend, device)
    needed, free = needed * bytes_a_number / 4, free_memory(device)
    if needed > _SHARE * free:
        return f"it needs about {needed / 2**30:.1f} GiB, more than half of the {free / 2**30:.1f} GiB free."
    if seconds > treatment(backend).patience:
        return f"a call takes about {seconds:.0f} s."
    return None


def expect(problem: Problem, mixes: bool, backend: str, device: torch.device) -> tuple[float, float]:
    """Estimate the bytes and the seconds of a problem from two small problems and their growth with L."""
    H = problem.H if mixes else min(problem.H, _SMALL_H)
    L, layers = min(problem.L, _SMALL_L[mixes]), min(problem.layers, 1)
    found = []

    def small(length: int) -> Callable[[], object]:
        case = make_case(replace(problem, H=H, L=length, layers=layers), device)
        return case.call(backend, case.works[0])

    if device.type == "cuda":
        # At their first call, libraries allocate memory that they keep and that does not grow with the problem.
        small(L)()
    for length in (max(1, L // 2), L):
        call = small(length)
        found.append((peak_of_call(call, device), min(timed(call, device) for _ in range(2))))
    half, whole = found
    larger, longer = problem.H / H * max(1, problem.layers), problem.L / L
    memory = larger * whole[0] * longer ** math.log2(whole[0] / half[0])
    seconds = larger * whole[1] * longer ** max(1.0, math.log2(whole[1] / half[1]))
    return memory, seconds
