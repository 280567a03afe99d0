"""``bench show``: a recipe, composed and resolved, as YAML."""

from __future__ import annotations

import argparse

from ssm_bench.catalog import SCALES, ModelName, benchmark
from ssm_bench.cli.options import Once
from ssm_bench.fit import find_fit
from ssm_bench.plan import make_plan
from ssm_bench.recipe import as_yaml

#: Where the recipe of a pair comes from, as a sentence.
ORIGINS = {
    "paper": "A paper ran this pair with this recipe",
    "family": "No paper ran this pair; these are the settings of the model's family on this task",
    "task": "No paper ran this pair; the task's training with the model's own defaults",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark")
    parser.add_argument(
        "--model", action=Once, required=True, metavar="NAME", help="NAME, NAME@VARIANT, or path/to/file.py:Class"
    )
    parser.add_argument("--task", nargs="+", action=Once, default=[], metavar="TASK", help="task(s); all without it")
    parser.add_argument("--scale", action=Once, choices=SCALES, default="paper", help="default: paper")
    parser.set_defaults(takes_overrides=True)


def run(args: argparse.Namespace) -> int:
    chosen, name = benchmark(args.benchmark), ModelName.parse(args.model)
    for cell in make_plan(chosen, [args.model], args.task, args.scale, [], args.overrides):
        fit = find_fit(chosen, cell.recipe.task, name)
        print(f"# {cell.name}, {cell.recipe.scale} scale, hash {cell.hash}")
        print(f"# {ORIGINS[fit.recipe]}: {fit.note}")
        print(as_yaml(cell.recipe))
    return 0
