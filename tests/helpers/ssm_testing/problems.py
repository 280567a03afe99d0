"""Small problems for tests of what measures speed."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from ssm_bench.speed import measure
from ssm_bench.speed.grid import NAMES, Problem
from ssm_core.backends import OPERATORS, Backend

CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
TRAINED = [name for name in NAMES if name.endswith("-training")]
SMALL = {name: Problem(name, 2, 20, 8, 33, layers=2 if name in TRAINED else 0) for name in NAMES}
SMALL["ssm_step"] = Problem("ssm_step", 2, 20, 8, 1)
SMALL["sashimi-step"] = Problem("sashimi-step", 2, 4, 4, 1, layers=1)
TOP = measure.Ceiling(1e10, 1e10)


def do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure with few repetitions, and without KeOps, which compiles."""
    monkeypatch.setattr(measure, "_SECONDS", 0.0)
    for operator in OPERATORS.values():
        without = {name: each for name, each in operator.implementations.items() if name is not Backend.KEOPS}
        monkeypatch.setattr(operator, "implementations", without)


def row(
    problem: Problem, backend: str = "naive", work: str = "forward+backward", ms: float = 1.0, **values: Any
) -> measure.Row:
    """Return a row whose values are 1, apart from those that are given."""
    names = {each.name for each in dataclasses.fields(measure.Row)}
    ones: dict[str, Any] = dict.fromkeys(names - {"resident_mib"}, 1.0)
    nan = {"resident_mib": math.nan}
    named = {"work": work, "backend": backend, "median_ms": ms}
    return measure.Row(**ones | nan | dataclasses.asdict(problem) | named | values)
