"""``bench <benchmark>``: plan, run, print the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.catalog import SCALES, Benchmark, ModelName
from ssm_bench.cli.options import Once, add_data, add_out, check_data
from ssm_bench.errors import UserError
from ssm_bench.plan import Cell, make_plan

if TYPE_CHECKING:
    from rich.console import Console
    from ssm_data.contract import Place

    from ssm_bench.launch.cell import Outcome

OVERRIDES = "key=value words change the recipe and may stand anywhere, e.g. optimizer.lr=1e-3 logger=wandb"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run. A test freezes this list, so that nobody adds an option without a reason."""
    parser.epilog = OVERRIDES
    parser.add_argument(
        "--model",
        nargs="+",
        action=Once,
        required=True,
        metavar="NAME",
        help="model(s): a name, NAME@VARIANT for another version of its recipe, or path/to/file.py:Class",
    )
    parser.add_argument("--task", nargs="+", action=Once, default=[], metavar="TASK", help="task(s); all without it")
    parser.add_argument(
        "--seed", nargs="+", action=Once, type=int, default=[], metavar="N", help="seed(s); the recipe's own without it"
    )
    parser.add_argument(
        "--scale",
        action=Once,
        choices=SCALES,
        help="paper: the published recipe. mini: real data cut down to minutes on a CPU. "
        "smoke: generated miniature data, seconds. Default: paper with a GPU, else smoke",
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="key=value may give several values, key=a,b or key=range(1,5): every combination runs, and the table has "
        "the one that is best in validation",
    )
    add_data(parser)
    add_out(parser)
    parser.add_argument(
        "--workers",
        action=Once,
        type=int,
        metavar="N",
        help="run N cells at a time, each in a process of its own; cores and GPUs are shared out",
    )
    parser.add_argument(
        "--slurm",
        nargs="?",
        action=Once,
        const="default",
        metavar="PROFILE",
        help="submit the cells to SLURM as job arrays and return; the profile is slurm/PROFILE.yaml, or a path",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print recipe, state of the data and a time estimate; start nothing",
    )
    parser.set_defaults(takes_overrides=True)


def run(args: argparse.Namespace) -> int:
    benchmark: Benchmark = args.benchmark
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers {args.workers}: give at least 1.")
    if args.workers is not None and args.slurm is not None:
        raise UserError("--workers is for this machine and --slurm for a cluster; choose one.")
    check_data(args.data)
    # Names are checked before the default scale is chosen, because that imports torch.
    for task in args.task:
        benchmark.check_task(task)
    for model in args.model:
        ModelName.parse(model)
    scale, chosen_for = (args.scale, "") if args.scale else _default_scale(args.slurm)
    plan = make_plan(benchmark, args.model, args.task, scale, args.seed, args.overrides, sweep=args.sweep)

    from ssm_data.contract import Place, default_cache

    from ssm_bench.cli.console import make_console

    console = make_console()
    place = Place(args.data, default_cache())
    if chosen_for:
        paper = f"bench {benchmark.name} --model {' '.join(args.model)} --scale paper"
        console.print(
            f"Scale: {scale}, because {chosen_for}. The published recipes: {paper}", highlight=False, markup=False
        )
    if args.slurm is not None:
        return _submit(args, plan, place, console)
    if args.dry_run:
        return _dry_run(plan, place, args.out, console)
    _check_writable(args.out)
    return _carry_out(args, plan, place, scale, console)


def _carry_out(args: argparse.Namespace, plan: list[Cell], place: Place, scale: str, console: Console) -> int:
    from ssm_bench.results.formats import as_rich
    from ssm_bench.results.table import make_results

    def say(outcome: Outcome) -> None:
        style = "red" if outcome.failed else None
        console.print(outcome.line, style=style, highlight=False, markup=False, soft_wrap=True)

    if args.workers:
        from ssm_bench.cli.jobs_table import live_view
        from ssm_bench.launch.local_processes import run_in_processes

        with live_view(console, args.out) as update:
            outcomes = run_in_processes(plan, place, args.out, args.workers, args.command, say, update)
    else:
        from ssm_bench.launch.in_process import run_in_process

        outcomes = run_in_process(plan, place, args.out, console, args.command, say)
    console.print()
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    console.print(as_rich(make_results(args.benchmark, scale, records)))
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        console.print(f"\n{len(failed)} of {len(outcomes)} runs gave no result:", style="red")
        for outcome in failed:
            console.print(f"  {outcome.line}", highlight=False, markup=False, soft_wrap=True)
    return 1 if failed else 0


def _dry_run(plan: list[Cell], place: Place, out: Path, console: Console) -> int:
    from ssm_bench.speed.estimate import preview_cell

    for cell in plan:
        console.print(preview_cell(cell, place, out), highlight=False, markup=False, soft_wrap=True)
    return 0


def _submit(args: argparse.Namespace, plan: list[Cell], place: Place, console: Console) -> int:
    from ssm_bench.launch.cluster_profile import find_profile
    from ssm_bench.launch.slurm_submit import preview_submission, submit

    profile = find_profile(args.slurm)
    if args.dry_run:
        console.print(preview_submission(plan, place, args.out, profile), highlight=False, markup=False, soft_wrap=True)
        return 0
    launched = submit(plan, place, args.out, args.command, profile)
    count = len(launched) if launched else 0
    rest = f"; {len(plan) - count} of {len(plan)} are done or launched before" if count < len(plan) else ""
    where = f" in {launched.folder}" if launched else ""
    console.print(f"{count} cells submitted{where}{rest}.", markup=False, soft_wrap=True)
    console.print(f"What becomes of them: bench jobs --watch --out {args.out}", markup=False, soft_wrap=True)
    return 0


def _check_writable(out: Path) -> None:
    """Raise a UserError, before any run begins, if nothing can be written into the folder for runs."""
    places = (out.absolute(), *out.absolute().parents)
    try:
        nearest = next(folder for folder in places if folder.exists())
        if not nearest.is_dir():
            raise UserError(f"--out {out}: {nearest} is a file, not a folder.")
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another command may do the same at this moment
    except OSError as error:
        raise UserError(f"--out {out}: nothing can be written there ({error.strerror}).") from None


def _default_scale(profile: str | None) -> tuple[str, str]:
    """Return the default scale and the reason for it: whether this machine, or the profile's cluster, has GPUs."""
    if profile is not None:
        from ssm_bench.launch.cluster_profile import find_profile, read_profile

        if read_profile(find_profile(profile)).gpus:
            return "paper", "the profile asks for GPUs"
        return "smoke", "the profile asks for no GPU"
    import torch

    if torch.cuda.is_available():
        return "paper", "there is a GPU"
    return "smoke", "there is no GPU"
