"""Make one table per benchmark and scale from records and published numbers. Does not import torch."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ssm_bench.catalog import Benchmark
from ssm_bench.metrics import METRICS
from ssm_bench.record import Record
from ssm_bench.results.published import published_rows
from ssm_bench.results.sweeps import find_sweeps


@dataclass(frozen=True)
class Value:
    """A number of the table in its unit: mean over ``n`` seeds, and their standard deviation if n > 1.

    ``diverged`` counts runs without a number; ``mean`` is None if no run has one.
    """

    mean: float | None
    std: float | None = None
    n: int = 1
    mark: str = ""
    decimals: int = 2
    diverged: int = 0

    def __str__(self) -> str:
        if self.mean is None:
            return "diverged" if self.diverged == 1 else f"{self.diverged} diverged"
        spread = f" ± {self.std:.{self.decimals}f}" if self.std is not None else ""
        lost = f" ({self.diverged} of {self.n + self.diverged} diverged)" if self.diverged else ""
        return f"{self.mean:.{self.decimals}f}{spread}{lost}{self.mark}"


@dataclass(frozen=True)
class Row:
    """A model's values by task; ``seeds`` is the number of seeds, or a range if the tasks differ in that number."""

    model: str
    seeds: str
    values: dict[str, Value]
    average: Value | None
    source: str = ""


@dataclass(frozen=True)
class Results:
    """The table of a benchmark at one scale: numbers of the test split, or of validation for the points of sweeps.

    ``notes`` say which points of sweeps were chosen.
    """

    benchmark: Benchmark
    scale: str
    ours: list[Row]
    published: list[Row]
    notes: list[str] = field(default_factory=list)
    split: Literal["test", "validation"] = "test"

    @property
    def title(self) -> str:
        metric = METRICS[self.benchmark.metric]
        return f"{self.benchmark.title} v{self.benchmark.version}: {self.split} {metric.title}"


def make_results(benchmark: Benchmark, scale: str, records: Iterable[Record]) -> Results:
    """Aggregate records of one benchmark and scale over seeds; others are left out.

    A mean is over runs of one recipe on the same data that differ only in the seed. Runs of a model that differ in
    anything else get rows of their own, and the names of these rows say what differs. A sweep has one row, which shows
    for each task the point that is best in validation.
    """
    own = _own(benchmark, scale, records)
    ours = [_row(benchmark, title, tasks) for title, tasks in sorted(_rows([r for r in own if not r.sweep]).items())]
    notes = []
    for sweep in find_sweeps([record for record in own if not record.diverged]):
        ours.append(_row(benchmark, sweep.title, {task: sweep.points[task][sweep.best(task)] for task in sweep.points}))
        for task in (task for task in benchmark.tasks if task in sweep.points):
            notes.append(
                f"{sweep.name} on {benchmark.tasks[task].title}: {sweep.best(task)}, "
                f"the best of {len(sweep.points[task])} in validation"
            )
    published = [
        Row(
            row.model,
            "",
            values := {
                task: _value(benchmark, [value], mark="*" if task in row.chance else "")
                for task, value in row.values.items()
            },
            _average(benchmark, values),
            row.source,
        )
        for row in published_rows(benchmark)
    ]
    return Results(benchmark, scale, ours, published, notes)


def make_points(benchmark: Benchmark, scale: str, records: Iterable[Record]) -> Results:
    """Return every point of every sweep, with the validation numbers that choose among them."""
    rows = []
    for sweep in find_sweeps([record for record in _own(benchmark, scale, records) if not record.diverged]):
        for point in sorted({point for points in sweep.points.values() for point in points}):
            tasks = {task: points[point] for task, points in sweep.points.items() if point in points}
            chosen = {task for task in tasks if sweep.best(task) == point}
            rows.append(_row(benchmark, f"{sweep.name} {point}", tasks, "val", chosen))
    return Results(benchmark, scale, rows, [], split="validation")


def _own(benchmark: Benchmark, scale: str, records: Iterable[Record]) -> list[Record]:
    return [r for r in records if r.benchmark == benchmark.name and r.scale == scale and r.task in benchmark.tasks]


def _rows(records: Sequence[Record]) -> dict[str, dict[str, list[Record]]]:
    """Return title -> task -> the runs of one recipe, one per seed.

    The title of most rows is the model and its override words. If a model and its words belong to several recipes of a
    task (for example because its file was edited between the runs), the newest recipe has this title, and the titles of
    the others add what differs.
    """
    named: dict[tuple[str, str], dict[str, dict[str, list[Record]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for record in records:
        named[record.model, " ".join(record.overrides)][record.task][_recipe_key(record)].append(record)
    rows: dict[str, dict[str, list[Record]]] = defaultdict(dict)
    for (model, words), tasks in named.items():
        for task, recipes in tasks.items():
            groups = sorted(recipes.values(), key=lambda group: max(r.finished for r in group), reverse=True)
            for group in groups:
                extra = "" if group is groups[0] else _difference(group[0], groups[0][0])
                title = " ".join(filter(None, (model, words, extra)))
                while task in rows[title]:
                    title += "'"
                rows[title][task] = _one_a_seed(group)
    return {title: tasks for title, tasks in rows.items() if tasks}


def _recipe_key(record: Record) -> str:
    return json.dumps([_settings(record), record.data_fingerprint], sort_keys=True)


def _one_a_seed(group: Sequence[Record]) -> list[Record]:
    """Keep the earliest run of each seed."""
    first: dict[int, Record] = {}
    for record in sorted(group, key=lambda record: record.finished):
        first.setdefault(record.seed, record)
    return [first[seed] for seed in sorted(first)]


def _difference(record: Record, other: Record) -> str:
    """Return the keys in which a recipe differs from another one, with their values: ``[optimizer.lr=0.5]``."""
    mine, theirs = _settings(record), _settings(other)
    keys = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
    words = [f"{key}={json.dumps(mine.get(key))}" for key in keys]
    if record.data_fingerprint != other.data_fingerprint:
        words.append(f"data {record.data_fingerprint[:8]}")
    return f"[{' '.join(words)}]"


def _settings(record: Record) -> dict[str, Any]:
    """Return the recipe without the seed and without the path of a layer's file; its source_digest is kept."""
    return {key: value for key, value in _flat(record.recipe).items() if key not in ("seed", "model.path")}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _row(
    benchmark: Benchmark, title: str, tasks: dict[str, list[Record]], split: str = "test", chosen: Collection[str] = ()
) -> Row:
    factor = METRICS[benchmark.metric].factor
    values = {}
    for task, records in tasks.items():
        numbers = [factor * record.metrics[f"{split}/{benchmark.metric}"] for record in records if not record.diverged]
        mark = " (best)" if task in chosen else ""
        values[task] = _value(benchmark, numbers, mark=mark, diverged=len(records) - len(numbers))
    counts = sorted({value.n + value.diverged for value in values.values()})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    return Row(title, seeds, values, _average(benchmark, values))


def _value(benchmark: Benchmark, values: Sequence[float], *, mark: str = "", diverged: int = 0) -> Value:
    spread = statistics.stdev(values) if len(values) > 1 else None
    mean = statistics.fmean(values) if values else None
    return Value(mean, spread, len(values), mark, METRICS[benchmark.metric].decimals, diverged)


def _average(benchmark: Benchmark, values: dict[str, Value]) -> Value | None:
    """Return the mean over all tasks, or None if one has no number or the protocol has no average."""
    means = [value.mean for value in values.values() if value.mean is not None]
    if not benchmark.average or set(values) != set(benchmark.tasks) or len(means) < len(values):
        return None
    return Value(statistics.fmean(means), decimals=METRICS[benchmark.metric].decimals)


def columns(results: Results) -> list[str]:
    """Return the titles of a table's columns."""
    titles = [task.title for task in results.benchmark.tasks.values()]
    return ["Model", "Seeds", *titles, *(["Average"] if results.benchmark.average else [])]


def row_texts(results: Results, row: Row) -> list[str]:
    """Return the texts of a table's row."""
    values = [str(row.values[task]) if task in row.values else "-" for task in results.benchmark.tasks]
    if results.benchmark.average:
        values.append(str(row.average) if row.average else "-")
    return [row.model, row.seeds, *values]
