"""``bench data``: show the state of the data; prepare, check and draw the data without training."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ssm_bench.catalog import SCALES, benchmark
from ssm_bench.cli.options import Once, add_data, check_data, path
from ssm_bench.errors import UserError
from ssm_bench.fit import first_fitting
from ssm_bench.recipe import compose_data, compose_recipe

if TYPE_CHECKING:
    from rich.console import Console
    from ssm_data.contract import Dataset, Place

    from ssm_bench.catalog import Benchmark

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
    parser.add_argument("--task", nargs="+", action=Once, default=[], metavar="TASK", help="task(s); all without it")
    parser.add_argument("--scale", action=Once, choices=SCALES, default="paper", help="whose data (default: paper)")
    add_data(parser)
    parser.add_argument(
        "--speed",
        action="store_true",
        help="status: also measure the batches a second of the loader with 2 workers, and of training; "
        "seconds a task, and data must be prepared",
    )
    parser.add_argument(
        "--split", action=Once, choices=("train", "val", "test"), default="train", help="show: default train"
    )
    parser.add_argument(
        "--index", action=Once, type=int, default=0, metavar="N", help="show: number of the example (default: 0)"
    )
    parser.add_argument("--png", action=Once, type=path, metavar="FILE", help="show: also draw it to a file")


def run(args: argparse.Namespace) -> int:
    from ssm_data.contract import Place, default_cache

    from ssm_bench.cli.console import make_console

    if args.action not in ACTIONS:
        raise UserError(f"bench data takes {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}, not '{args.action}'.")
    check_data(args.data)
    chosen = benchmark(args.benchmark)
    for task in args.task:
        chosen.check_task(task)
    data = {task: compose_data(chosen, task, args.scale) for task in chosen.tasks if not args.task or task in args.task}
    place, console = Place(args.data, default_cache()), make_console()
    if args.action == "show":
        if len(data) != 1:
            raise UserError(f"bench data show draws an example of one task; name one of {', '.join(chosen.tasks)}.")
        return _show(*next(iter(data.items())), place, args, console)
    if args.action == "verify":
        return _verify(data, place, console)
    status = _get(data, place, console) if args.action == "get" else 0
    speeds = _speeds(chosen, data, args.scale, place) if args.speed else None
    _print_status(data, place, console, f"{chosen.title}, {args.scale} scale, cache {place.cache}", speeds)
    return status


def _get(data: Mapping[str, Dataset], place: Place, console: Console) -> int:
    from ssm_data.contract import DataError

    status = 0
    for task, dataset in data.items():
        try:
            dataset.prepare(place)
        except DataError as error:
            _say(console, task, str(error))
            status = 1
    return status


def _verify(data: Mapping[str, Dataset], place: Place, console: Console) -> int:
    from ssm_data.contract import DataError

    status = 0
    for task, dataset in data.items():
        try:
            sentences = dataset.verify(place)
        except DataError as error:
            sentences = [str(error)]
        for sentence in sentences:
            _say(console, task, sentence)
        if sentences:
            status = 1
        else:
            console.print(f"{task}: all checksums are as they were.", highlight=False)
    return status


def _show(task: str, dataset: Dataset, place: Place, args: argparse.Namespace, console: Console) -> int:
    from ssm_data import show
    from ssm_data.contract import DataError

    try:
        prepared = dataset.prepare(place)
    except DataError as error:
        _say(console, task, str(error))
        return 1
    try:
        show.show(prepared, args.split, args.index, console)
    except IndexError as error:
        raise UserError(f"--index: {error}") from error
    if args.png:
        show.save(prepared, args.split, args.index, args.png)
    return 0


def _print_status(
    data: Mapping[str, Dataset], place: Place, console: Console, title: str, speeds: Mapping[str, str] | None
) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("Task", "State", "Size", title=escape(title))
    if speeds is not None:
        table.add_column("Batches a second, loaded / trained")
    table.add_column("What")
    for task, dataset in data.items():
        state = dataset.status(place)
        size = f"{state.size / 1e6:,.1f} MB" if state.size is not None else "?"
        measured = [] if speeds is None else [speeds[task]]
        table.add_row(task, state.state, size, *measured, escape(state.sentence))
    console.print(table)


def _speeds(chosen: Benchmark, data: Mapping[str, Dataset], scale: str, place: Place) -> dict[str, str]:
    """Measure, for each task whose data are prepared, whether the loader keeps ahead of training."""
    from ssm_bench.speed.loaders import ENOUGH, loader_speed

    found = {}
    for task, dataset in data.items():
        if dataset.status(place).state != "ready":
            found[task] = "not prepared"
            continue
        model = first_fitting(chosen, task)
        speed = loader_speed(dataset.prepare(place), compose_recipe(chosen, task, model, scale, None, [])[0])
        verdict = "" if speed.ratio >= ENOUGH else ", too slow"
        found[task] = f"{speed.loaded:,.0f} / {speed.trained:,.3g}: {speed.ratio:,.0f} times{verdict}"
    return found


def _say(console: Console, task: str, sentence: str) -> None:
    console.print(f"{task}: {sentence}", style="red", soft_wrap=True, highlight=False, markup=False)
