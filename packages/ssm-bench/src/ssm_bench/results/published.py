"""The numbers of the literature, from results/published/. Does not import torch."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.catalog import Benchmark, benchmarks_root
from ssm_bench.errors import UserError
from ssm_bench.metrics import METRICS
from ssm_bench.recipe import compose_data

COLUMNS = ("benchmark", "task", "model", "metric", "value", "std", "averaging", "source")
#: Stands in the column of the task in a row that holds the mean over all tasks.
AVERAGE = "avg"
#: The value of a task that a paper reports as failed.
CHANCE = "chance"


@dataclass(frozen=True)
class Published:
    """One model's row in the literature: task -> value in the table's unit; ``chance`` marks a failed task."""

    model: str
    values: Mapping[str, float]
    chance: frozenset[str]
    source: str


def published_rows(benchmark: Benchmark) -> list[Published]:
    """Return the rows that the benchmark names in ``published``, in that order.

    The value of a task that failed in the paper is its chance value.

    Raises:
        UserError: the file is damaged, or has no row that the benchmark names.
    """
    file = published_root() / f"{benchmark.name}.csv"
    if not file.is_file():
        return []
    rows = _read(file, benchmark)
    found = []
    for model in benchmark.meta.get("published", []):
        own = [row for row in rows if row["model"] == model and row["task"] in benchmark.tasks]
        if not own:
            raise UserError(
                f"benchmark.yaml of {benchmark.name} names the published row {model}, but {file} has no such row."
            )
        failed = {row["task"] for row in own if row["value"] == CHANCE}
        values = {row["task"]: float(row["value"]) for row in own if row["task"] not in failed}
        factor = METRICS[benchmark.metric].factor
        values |= {task: factor * _chance(benchmark, task) for task in failed}
        found.append(Published(model, values, frozenset(failed), own[0]["source"]))
    return found


def _read(file: Path, benchmark: Benchmark) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8") as text:
            lines = csv.reader(text, strict=True)
            if tuple(next(lines, ())) != COLUMNS:
                raise UserError(f"{file} does not begin with the columns {', '.join(COLUMNS)}; restore it.")
            rows: dict[tuple[str, str], dict[str, str]] = {}
            for cells in filter(None, lines):
                row = dict(zip(COLUMNS, cells, strict=False))
                fault = _fault(row, benchmark) if len(cells) == len(COLUMNS) else f"it has {len(cells)} columns"
                if not fault and (row["model"], row["task"]) in rows:
                    fault = f"{row['model']} has two rows of {row['task']}"
                if fault:
                    raise UserError(
                        f"Line {lines.line_num} of {file} is no published number: {fault}; restore the file."
                    )
                rows[row["model"], row["task"]] = row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is no CSV file in UTF-8 ({error}); restore it.") from None
    return list(rows.values())


def _fault(row: Mapping[str, str], benchmark: Benchmark) -> str:
    """Return what is wrong with a row; empty if nothing is."""
    if row["benchmark"] != benchmark.name or row["metric"] != benchmark.metric:
        return f"it is not of {benchmark.name} and {benchmark.metric}"
    if row["task"] not in (*benchmark.tasks, AVERAGE):
        return f"{row['task']!r:.40} is no task"
    if not row["model"] or not row["source"]:
        return "it names no model or no source"
    most = METRICS[benchmark.metric].most * METRICS[benchmark.metric].factor
    for key, other in (("value", CHANCE), ("std", "")):
        if row[key] != other and not _is_number(row[key], most):
            return f"{row[key]!r:.40} is no {key}"
    return ""


def _is_number(text: str, most: float) -> bool:
    """Return whether a text is a finite number from 0 to ``most`` in plain digits."""
    try:
        value = float(text)
    except ValueError:
        return False
    return text.isascii() and text.replace(".", "").isdigit() and math.isfinite(value) and value <= most


def _chance(benchmark: Benchmark, task: str) -> float:
    """Return what the best constant guess reaches on the published test data of a task."""
    return compose_data(benchmark, task, "paper").expected().chance


def published_root() -> Path:
    """Return results/published/ of the checkout, or its copy in the wheel."""
    return benchmarks_root().parent / "results" / "published"
