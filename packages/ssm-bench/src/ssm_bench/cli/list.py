"""``bench list``: show what can be run, and the source of each recipe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ssm_bench.catalog import SCALES, Benchmark, ModelName, benchmark, benchmarks, models
from ssm_bench.fit import find_fit

if TYPE_CHECKING:
    from rich.console import Console

#: How the table shows where the recipe of a pair comes from.
SIGNS = {"paper": "paper", "family": "family", "task": "task", "none": "-"}
LEGEND = """\
paper   a paper ran this model on this task, and its recipe is used
family  the settings of the model's family on this task
task    what any model trains with on this task, with the model's own defaults
-       the model does not fit the task; bench list BENCHMARK says why"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", nargs="?", help="one benchmark, with the reasons and the variants of its recipes")


def run(args: argparse.Namespace) -> int:
    from ssm_bench.cli.console import make_console

    console = make_console()
    chosen = [benchmark(args.benchmark)] if args.benchmark else list(benchmarks().values())
    for one in chosen:
        reasons = _print_matrix(one, console)
        if args.benchmark:
            for reason in reasons:
                console.print(reason, highlight=False, markup=False, soft_wrap=True)
    console.print(LEGEND, highlight=False)
    console.print(f"Scales: {', '.join(SCALES)}. A layer of your own: --model path/to/file.py:Class", highlight=False)
    return 0


def _print_matrix(one: Benchmark, console: Console) -> list[str]:
    """Print one row per model and one column per task. Return a sentence for each misfit and for each variant."""
    from rich.table import Table

    table = Table("Model", *one.tasks, title=f"{one.name}: {one.title}", title_justify="left")
    sentences: dict[str, list[str]] = {}
    for name in models():
        model = ModelName.parse(name)
        signs = []
        for task in one.tasks:
            fit = find_fit(one, task, model)
            signs.append(SIGNS[fit.recipe])
            if fit.recipe == "none":
                sentences.setdefault(f"{name}: {fit.note}", []).append(task)
        table.add_row(name, *signs)
    console.print(table)
    lines = [f"{sentence} ({', '.join(tasks)})" for sentence, tasks in sentences.items()]
    for declared in one.tasks.values():
        for variant, part in (declared.content.get("variants") or {}).items():
            families = ", ".join(part.get("families", ()))
            lines.append(f"{declared.name} has the variant @{variant} of {families} recipes: {part.get('source', '')}")
    return lines
