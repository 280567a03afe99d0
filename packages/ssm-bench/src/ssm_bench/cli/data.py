"""``bench data``: state of the data, and preparing it without training."""

from __future__ import annotations

import argparse

from ssm_bench.catalog import SCALES, benchmark
from ssm_bench.cli.run import add_place
from ssm_bench.errors import UserError
from ssm_bench.plan import make_plan

ACTIONS = ("status", "get")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", metavar="status|get", help="status: what is there, cheaply; get: prepare what is not")
    parser.add_argument("benchmark")
    parser.add_argument("--task", nargs="+", default=[], metavar="TASK", help="task(s); all without it")
    parser.add_argument("--scale", choices=SCALES, default="paper", help="whose data (default: paper)")
    add_place(parser)


def run(args: argparse.Namespace) -> int:
    from rich.table import Table
    from ssm_data.contract import DataError, Place, default_cache

    from ssm_bench.cli.console import make_console

    if args.action not in ACTIONS:
        raise UserError(f"bench data takes status or get, not '{args.action}'.")
    chosen = benchmark(args.benchmark)
    place = Place(args.data, default_cache())
    # The data of a task is the same for every model of its recipe family, so any model's recipe names it.
    model = next(iter(chosen.models))
    console = make_console()
    table = Table("Task", "State", "Size", "What", title=f"{chosen.title}, {args.scale} scale, cache {place.cache}")
    status = 0
    for cell in make_plan(chosen, [model], args.task, args.scale, [], []):
        if args.action == "get":
            try:
                cell.recipe.data.prepare(place)
            except DataError as error:
                console.print(f"[red]{cell.recipe.task}: {error}", soft_wrap=True)
                status = 1
        state = cell.recipe.data.status(place)
        size = f"{state.size / 1e6:,.1f} MB" if state.size is not None else "?"
        table.add_row(cell.recipe.task, state.state, size, state.sentence)
    console.print(table)
    return status
