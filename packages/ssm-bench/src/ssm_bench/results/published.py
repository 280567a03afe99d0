"""The numbers of the literature, from results/published/. Does not import torch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.catalog import Benchmark, benchmarks_root
from ssm_bench.errors import UserError
from ssm_bench.metrics import METRICS
from ssm_bench.recipe import compose_data


@dataclass(frozen=True)
class Published:
    """One model's row in the literature: task -> value in the table's unit; ``chance`` marks a failed task."""

    model: str
    values: Mapping[str, float]
    chance: frozenset[str]
    source: str


def published_rows(benchmark: Benchmark) -> list[Published]:
    """Return the rows that the benchmark names in ``published``, in that order; a failed task has its chance value."""
    file = published_root() / f"{benchmark.name}.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    found = []
    for model in benchmark.meta.get("published", []):
        own = [row for row in rows if row["model"] == model and row["task"] in benchmark.tasks]
        if not own:
            raise UserError(f"benchmark.yaml of {benchmark.name} names the published row {model}; {file} has none.")
        failed = {row["task"] for row in own if row["value"] == "chance"}
        values = {row["task"]: float(row["value"]) for row in own if row["task"] not in failed}
        factor = METRICS[benchmark.metric].factor
        values |= {task: factor * _chance(benchmark, task) for task in failed}
        found.append(Published(model, values, frozenset(failed), own[0]["source"]))
    return found


def _chance(benchmark: Benchmark, task: str) -> float:
    """Return what the best constant guess reaches on the published test data of a task."""
    return compose_data(benchmark, task, "paper").expected().chance


def published_root() -> Path:
    """Return results/published/ of the checkout, or its copy in the wheel."""
    return benchmarks_root().parent / "results" / "published"
