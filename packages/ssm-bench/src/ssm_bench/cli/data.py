"""``bench data``: what data there are, preparing them without training, checking them, looking at them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.catalog import CUSTOM, SCALES, benchmark
from ssm_bench.cli.run import add_place
from ssm_bench.errors import UserError
from ssm_bench.plan import Cell, make_plan

if TYPE_CHECKING:
    from rich.console import Console
    from ssm_data.contract import Place

ACTIONS = ("status", "get", "verify", "show")
EXPLAINED = """\
actions:
  status   what is there, how big it is, and what getting the rest would do; cheap, touches no network
  get      find the original files (--data, the cache, the network), check and convert them, once
  verify   read prepared and original files again and compare their checksums with those of their preparation
  show     draw an example as a model sees it: a text, the tree of an expression, an image, a wave

examples:
  bench data status lra --data ~/data
  bench data get lra --task listops text --data ~/data
  bench data verify lra
  bench data show lra --task listops --split val --index 3 --png tree.png
  bench data status lra --scale mini --speed       does the loader keep ahead of training here?

Exit status: 0 done, 1 something is missing, broken or not what it was, 2 the command is wrong.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXPLAINED
    parser.add_argument("action", metavar="status|get|verify|show", help="what to do; see below")
    parser.add_argument("benchmark")
    parser.add_argument("--task", nargs="+", default=[], metavar="TASK", help="task(s); all without it")
    parser.add_argument("--scale", choices=SCALES, default="paper", help="whose data (default: paper)")
    add_place(parser)
    parser.add_argument(
        "--speed",
        action="store_true",
        help="status: also measure the batches a second of the loader with 2 workers, and of training; "
        "seconds a task, and data must be prepared",
    )
    parser.add_argument("--split", choices=("train", "val", "test"), default="train", help="show: default train")
    parser.add_argument("--index", type=int, default=0, metavar="N", help="show: number of the example (default: 0)")
    parser.add_argument("--png", type=Path, metavar="FILE", help="show: also draw it to a file")


def run(args: argparse.Namespace) -> int:
    from ssm_data.contract import Place, default_cache

    from ssm_bench.cli.console import make_console

    if args.action not in ACTIONS:
        raise UserError(f"bench data takes {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}, not '{args.action}'.")
    if args.data is not None and not args.data.is_dir():
        raise UserError(f"--data {args.data} is no folder.")
    chosen = benchmark(args.benchmark)
    # The data of a task is the same for every model of its recipe family, so any model's recipe names it.
    model = next(name for name in chosen.models if name != CUSTOM)
    cells = make_plan(chosen, [model], args.task, args.scale, [], [])
    place, console = Place(args.data, default_cache()), make_console()
    if args.action == "show":
        if len(cells) != 1:
            raise UserError(f"bench data show draws an example of one task; name one of {', '.join(chosen.tasks)}.")
        return _show(cells[0], place, args, console)
    if args.action == "verify":
        return _verify(cells, place, console)
    status = _get(cells, place, console) if args.action == "get" else 0
    title = f"{chosen.title}, {args.scale} scale, cache {place.cache}"
    _print_status(cells, place, console, title, args.speed)
    return status


def _get(cells: list[Cell], place: Place, console: Console) -> int:
    from ssm_data.contract import DataError

    status = 0
    for cell in cells:
        try:
            cell.recipe.data.prepare(place)
        except DataError as error:
            _say(console, cell, str(error))
            status = 1
    return status


def _verify(cells: list[Cell], place: Place, console: Console) -> int:
    from ssm_data.contract import DataError

    status = 0
    for cell in cells:
        try:
            sentences = cell.recipe.data.verify(place)
        except DataError as error:
            sentences = [str(error)]
        for sentence in sentences:
            _say(console, cell, sentence)
        if sentences:
            status = 1
        else:
            console.print(f"{cell.recipe.task}: all checksums are as they were.", highlight=False)
    return status


def _show(cell: Cell, place: Place, args: argparse.Namespace, console: Console) -> int:
    from ssm_data import show
    from ssm_data.contract import DataError

    try:
        prepared = cell.recipe.data.prepare(place)
    except DataError as error:
        _say(console, cell, str(error))
        return 1
    try:
        show.show(prepared, args.split, args.index, console)
    except IndexError as error:
        raise UserError(f"--index: {error}") from error
    if args.png:
        show.save(prepared, args.split, args.index, args.png)
    return 0


def _print_status(cells: list[Cell], place: Place, console: Console, title: str, speed: bool) -> None:
    from rich.table import Table

    table = Table("Task", "State", "Size", title=title)
    if speed:
        table.add_column("Batches a second, loaded / trained")
    table.add_column("What")
    for cell in cells:
        state = cell.recipe.data.status(place)
        size = f"{state.size / 1e6:,.1f} MB" if state.size is not None else "?"
        measured = [_speed(cell, place) if state.state == "ready" else "not prepared"] if speed else []
        table.add_row(cell.recipe.task, state.state, size, *measured, state.sentence)
    console.print(table)


def _speed(cell: Cell, place: Place) -> str:
    from ssm_bench import throughput

    found = throughput.measure(cell.recipe.data.prepare(place), cell.recipe)
    verdict = "" if found.ratio >= throughput.ENOUGH else ", too slow"
    return f"{found.loaded:,.0f} / {found.trained:,.3g}: {found.ratio:,.0f} times{verdict}"


def _say(console: Console, cell: Cell, sentence: str) -> None:
    console.print(f"{cell.recipe.task}: {sentence}", style="red", soft_wrap=True, highlight=False, markup=False)
