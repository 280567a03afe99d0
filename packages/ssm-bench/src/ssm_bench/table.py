"""Records and published numbers become one table a benchmark and scale. Does not import torch."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich import box
from rich.table import Table

from ssm_bench.catalog import Benchmark
from ssm_bench.metrics import METRICS
from ssm_bench.published import published_rows
from ssm_bench.record import Record
from ssm_bench.sweep import find_sweeps

#: What stands in the table's title, so that no scale can be taken for another.
SCALE_NOTES = {
    "paper": "Paper scale: the published recipes.",
    "mini": "Mini scale: real data cut down; not comparable with published numbers.",
    "smoke": "Smoke scale: generated miniature data, to show that all works; not comparable with published numbers.",
}


@dataclass(frozen=True)
class Value:
    """A cell of the table, in its unit: mean over ``n`` seeds, with their standard deviation where n > 1."""

    mean: float
    std: float | None = None
    n: int = 1
    mark: str = ""
    decimals: int = 2

    def __str__(self) -> str:
        spread = f" ± {self.std:.{self.decimals}f}" if self.std is not None else ""
        return f"{self.mean:.{self.decimals}f}{spread}{self.mark}"


@dataclass(frozen=True)
class Row:
    """A model's values by task; ``seeds`` is a count, or a range where the tasks differ in it."""

    model: str
    seeds: str
    values: dict[str, Value]
    average: Value | None
    source: str = ""


@dataclass(frozen=True)
class Results:
    """The table of a benchmark at one scale: numbers of the test split, or of validation where sweeps are laid open.

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
        return f"{self.benchmark.title} v{self.benchmark.meta['version']}: {self.split} {metric.title}"


def make_results(benchmark: Benchmark, scale: str, records: Iterable[Record]) -> Results:
    """Aggregate records of one benchmark and scale over seeds; others are left out.

    Runs that were given different ``key=value`` words get rows of their own: a mean is over one recipe. Of a sweep
    there is one row, which has for each task the point that is best in validation.
    """
    own = [r for r in records if r.benchmark == benchmark.name and r.scale == scale and r.task in benchmark.tasks]
    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in own:
        if not record.sweep:
            groups[record.model, " ".join(record.overrides)][record.task].append(record)
    ours = [
        _row(benchmark, " ".join((model, words)).strip(), tasks) for (model, words), tasks in sorted(groups.items())
    ]
    notes = []
    for sweep in find_sweeps(own):
        ours.append(_row(benchmark, sweep.title, {task: sweep.points[task][sweep.best(task)] for task in sweep.points}))
        for task in (task for task in benchmark.tasks if task in sweep.points):
            notes.append(
                f"{sweep.model} on {benchmark.tasks[task]['title']}: {sweep.best(task)}, "
                f"the best of {len(sweep.points[task])} in validation"
            )
    published = [
        Row(
            row.model,
            "",
            values := {
                task: _value(benchmark, [value], "*" if task in row.chance else "")
                for task, value in row.values.items()
            },
            _average(benchmark, values),
            row.source,
        )
        for row in published_rows(benchmark)
    ]
    return Results(benchmark, scale, ours, published, notes)


def make_points(benchmark: Benchmark, scale: str, records: Iterable[Record]) -> Results:
    """Every point of every sweep, with the validation numbers that choose among them."""
    own = [r for r in records if r.benchmark == benchmark.name and r.scale == scale and r.task in benchmark.tasks]
    rows = []
    for sweep in find_sweeps(own):
        for point in sorted({point for points in sweep.points.values() for point in points}):
            tasks = {task: points[point] for task, points in sweep.points.items() if point in points}
            chosen = {task for task in tasks if sweep.best(task) == point}
            rows.append(_row(benchmark, f"{sweep.model} {point}", tasks, "val", chosen))
    return Results(benchmark, scale, rows, [], split="validation")


def _row(
    benchmark: Benchmark, title: str, tasks: dict[str, list[Record]], split: str = "test", chosen: Collection[str] = ()
) -> Row:
    factor = METRICS[benchmark.metric].factor
    values = {
        task: _value(
            benchmark,
            [factor * record.metrics[f"{split}/{benchmark.metric}"] for record in records],
            " (best)" if task in chosen else "",
        )
        for task, records in tasks.items()
    }
    counts = sorted({value.n for value in values.values()})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    return Row(title, seeds, values, _average(benchmark, values))


def _value(benchmark: Benchmark, values: Sequence[float], mark: str = "") -> Value:
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Value(statistics.fmean(values), spread, len(values), mark, METRICS[benchmark.metric].decimals)


def _average(benchmark: Benchmark, values: dict[str, Value]) -> Value | None:
    """Mean over all tasks, or None while one is missing or where the protocol has none."""
    if not benchmark.average or set(values) != set(benchmark.tasks):
        return None
    return Value(statistics.fmean(value.mean for value in values.values()), decimals=METRICS[benchmark.metric].decimals)


def columns(results: Results) -> list[str]:
    titles = [task["title"] for task in results.benchmark.tasks.values()]
    return ["Model", "Seeds", *titles, *(["Average"] if results.benchmark.average else [])]


def cells(results: Results, row: Row) -> list[str]:
    values = [str(row.values[task]) if task in row.values else "-" for task in results.benchmark.tasks]
    if results.benchmark.average:
        values.append(str(row.average) if row.average else "-")
    return [row.model, row.seeds, *values]


def as_rich(results: Results) -> Table:
    """The table for a terminal: own rows, then the published ones in a block of their own."""
    marked = any(value.mark for row in results.published for value in row.values.values())
    notes = [
        SCALE_NOTES[results.scale],
        *results.notes,
        *(["* failed in the paper: counted at chance"] if marked else []),
    ]
    table = Table(
        title=results.title,
        caption="\n".join(notes),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for index, column in enumerate(columns(results)):
        table.add_column(column, justify="left" if index == 0 else "right", min_width=12 if index == 0 else None)
    for row in results.ours:
        table.add_row(*cells(results, row))
    if results.published:
        table.add_section()
        table.add_row("[bold]Published[/]")
        for row in results.published:
            table.add_row(*cells(results, row), style="dim")
    return table


def as_markdown(results: Results) -> str:
    head = columns(results)
    lines = [f"**{results.title}**. {SCALE_NOTES[results.scale]}", ""]
    lines += [_line(head), _line([":--", *("--:" for _ in head[1:])])]
    lines += [_line(cells(results, row)) for row in results.ours]
    if results.published:
        lines += [_line(["*Published (paper scale)*", *("" for _ in head[1:])])]
        lines += [_line(cells(results, row)) for row in results.published]
    if results.notes:
        lines += ["", *(f"- {note}" for note in results.notes)]
    return "\n".join(lines) + "\n"


def _line(words: Iterable[str]) -> str:
    return "| " + " | ".join(words) + " |"


def as_csv(results: Results) -> str:
    """One row a model, values and deviations as numbers; ``kind`` tells own rows from published ones."""
    tasks = list(results.benchmark.tasks)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "scale", "model", "seeds", *(f"{t}{s}" for t in tasks for s in ("", "_std")), "average"])
    for kind, scale, rows in (
        ("own", results.scale, results.ours),
        ("published", "paper", results.published),
    ):
        for row in rows:
            numbers: list[Any] = []
            for task in tasks:
                value = row.values.get(task)
                numbers += [_round(value.mean if value else None), _round(value.std if value else None)]
            average = _round(row.average.mean if row.average else None)
            writer.writerow([kind, scale, row.model, row.seeds, *numbers, average])
    return text.getvalue()


def as_json(results: Results) -> str:
    def plain(row: Row) -> dict[str, Any]:
        return {
            "model": row.model,
            "seeds": row.seeds,
            "values": {task: {"mean": v.mean, "std": v.std, "n": v.n} for task, v in row.values.items()},
            "average": row.average.mean if row.average else None,
        }

    return json.dumps(
        {
            "benchmark": results.benchmark.name,
            "version": results.benchmark.meta["version"],
            "scale": results.scale,
            "split": results.split,
            "own": [plain(row) for row in results.ours],
            "published": [plain(row) | {"source": row.source} for row in results.published],
            "notes": results.notes,
        },
        indent=2,
    )


def _round(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


FORMATS = {"markdown": as_markdown, "csv": as_csv, "json": as_json}
