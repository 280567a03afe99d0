"""Records and published numbers become one table a benchmark and scale. Does not import torch."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from ssm_bench.catalog import Benchmark
from ssm_bench.published import published_rows
from ssm_bench.record import Record

#: What stands in the table's title, so that no scale can be taken for another.
SCALE_NOTES = {
    "paper": "Paper scale: the published recipes.",
    "mini": "Mini scale: real data cut down; not comparable with published numbers.",
    "smoke": "Smoke scale: generated miniature data, to show that all works; not comparable with published numbers.",
}


@dataclass(frozen=True)
class Value:
    """A cell of the table, in per cent: mean over ``n`` seeds, with their standard deviation where n > 1."""

    mean: float
    std: float | None = None
    n: int = 1
    mark: str = ""

    def __str__(self) -> str:
        spread = f" ± {self.std:.2f}" if self.std is not None else ""
        return f"{self.mean:.2f}{spread}{self.mark}"


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
    """The table of a benchmark at one scale."""

    benchmark: Benchmark
    scale: str
    ours: list[Row]
    published: list[Row]


def make_results(benchmark: Benchmark, scale: str, records: Iterable[Record]) -> Results:
    """Aggregate records of one benchmark and scale over seeds; others are left out.

    Runs that were given different ``key=value`` words get rows of their own: a mean is over one recipe.
    """
    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.benchmark == benchmark.name and record.scale == scale and record.task in benchmark.tasks:
            groups[record.model, " ".join(record.overrides)][record.task].append(record)
    ours = [_own_row(benchmark, model, tasks) for (model, _), tasks in sorted(groups.items())]
    published = [
        Row(
            row.model,
            "",
            values := {
                task: Value(value, mark="*" if task in row.chance else "") for task, value in row.values.items()
            },
            _average(benchmark, values),
            row.source,
        )
        for row in published_rows(benchmark)
    ]
    return Results(benchmark, scale, ours, published)


def _own_row(benchmark: Benchmark, model: str, tasks: dict[str, list[Record]]) -> Row:
    values = {task: _over_seeds([100 * record.value for record in records]) for task, records in tasks.items()}
    counts = sorted({value.n for value in values.values()})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    overrides = next(iter(tasks.values()))[0].overrides
    return Row(" ".join([model, *overrides]), seeds, values, _average(benchmark, values))


def _over_seeds(values: Sequence[float]) -> Value:
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Value(statistics.fmean(values), spread, len(values))


def _average(benchmark: Benchmark, values: dict[str, Value]) -> Value | None:
    """Mean over all tasks of the benchmark, or None while one is missing."""
    if set(values) != set(benchmark.tasks):
        return None
    return Value(statistics.fmean(value.mean for value in values.values()))


def columns(results: Results) -> list[str]:
    return ["Model", "Seeds", *(task["title"] for task in results.benchmark.tasks.values()), "Average"]


def cells(results: Results, row: Row) -> list[str]:
    values = [str(row.values[task]) if task in row.values else "-" for task in results.benchmark.tasks]
    return [row.model, row.seeds, *values, str(row.average) if row.average else "-"]


def as_rich(results: Results) -> Table:
    """The table for a terminal: own rows, then the published ones in a block of their own."""
    benchmark = results.benchmark
    marked = any(value.mark for row in results.published for value in row.values.values())
    table = Table(
        title=f"{benchmark.title} v{benchmark.meta['version']}: test {benchmark.meta['metric']}, per cent",
        caption=f"{SCALE_NOTES[results.scale]}" + ("\n* failed in the paper: counted at chance" if marked else ""),
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
    lines = [f"**{results.benchmark.title}**. {SCALE_NOTES[results.scale]}", ""]
    lines += [_line(head), _line([":--", *("--:" for _ in head[1:])])]
    lines += [_line(cells(results, row)) for row in results.ours]
    if results.published:
        lines += [_line(["*Published (paper scale)*", *("" for _ in head[1:])])]
        lines += [_line(cells(results, row)) for row in results.published]
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
            "own": [plain(row) for row in results.ours],
            "published": [plain(row) | {"source": row.source} for row in results.published],
        },
        indent=2,
    )


def _round(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


FORMATS = {"markdown": as_markdown, "csv": as_csv, "json": as_json}
