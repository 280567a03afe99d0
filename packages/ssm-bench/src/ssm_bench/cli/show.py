"""``bench show``: a recipe, composed and resolved, as YAML."""

from __future__ import annotations

import argparse

from ssm_bench.catalog import SCALES, benchmark
from ssm_bench.plan import make_plan
from ssm_bench.recipe import as_yaml


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark")
    parser.add_argument("--model", required=True, metavar="NAME")
    parser.add_argument("--task", nargs="+", default=[], metavar="TASK", help="task(s); all without it")
    parser.add_argument("--scale", choices=SCALES, default="paper", help="default: paper")
    parser.add_argument("overrides", nargs="*", metavar="key=value")


def run(args: argparse.Namespace) -> int:
    for cell in make_plan(benchmark(args.benchmark), [args.model], args.task, args.scale, [], args.overrides):
        print(f"# {cell.name}, {cell.recipe.scale} scale, hash {cell.hash}")
        print(as_yaml(cell.recipe))
    return 0
