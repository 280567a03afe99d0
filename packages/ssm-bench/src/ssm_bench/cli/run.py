"""``bench <benchmark>``: plan, run, print the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.catalog import SCALES, Benchmark
from ssm_bench.errors import UserError
from ssm_bench.plan import Cell, make_plan

if TYPE_CHECKING:
    from rich.console import Console
    from ssm_data.contract import Place


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of a run. A test freezes this list: an option must be argued for."""
    parser.add_argument(
        "--model", nargs="+", required=True, metavar="NAME", help="model(s) by name, or path/to/file.py:Class"
    )
    parser.add_argument("--task", nargs="+", default=[], metavar="TASK", help="task(s); all without it")
    parser.add_argument(
        "--seed", nargs="+", type=int, default=[], metavar="N", help="seed(s); the recipe's own without it"
    )
    parser.add_argument(
        "--scale",
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
    add_place(parser)
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="run folders (default: runs)")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="run N cells at a time, each in a process of its own; cores and GPUs are shared out",
    )
    parser.add_argument(
        "--slurm",
        nargs="?",
        const="default",
        metavar="PROFILE",
        help="submit the cells to SLURM as job arrays and return; the profile is slurm/PROFILE.yaml, or a path",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print recipe, state of the data and a time estimate; start nothing",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="change the recipe, e.g. optimizer.lr=1e-3 logger=wandb",
    )


def add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with original data files; without it: cache, then download",
    )


def run(args: argparse.Namespace) -> int:
    benchmark: Benchmark = args.benchmark
    for task in args.task:
        benchmark.check_task(task)
    for model in args.model:
        benchmark.check_model(model)
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers {args.workers}: at least one must do the work.")
    if args.workers is not None and args.slurm is not None:
        raise UserError("--workers is for this machine and --slurm for a cluster; choose one.")
    if args.data is not None and not args.data.is_dir():
        raise UserError(f"--data {args.data} is no folder.")
    scale, chosen_for = (args.scale, "") if args.scale else _default_scale(args.slurm)
    plan = make_plan(benchmark, args.model, args.task, scale, args.seed, args.overrides, sweep=args.sweep)

    from ssm_data.contract import Place, default_cache

    from ssm_bench.cli.console import make_console

    console = make_console()
    place = Place(args.data, default_cache())
    if chosen_for:
        paper = f"bench {benchmark.name} --model {' '.join(args.model)} --scale paper"
        console.print(f"Scale: {scale}, because {chosen_for}. The published recipes: {paper}", highlight=False)
    if args.slurm is not None:
        return _submit(args, plan, place, console)
    if args.dry_run:
        from ssm_bench.estimate import describe

        for cell in plan:
            describe(cell, place, args.out, console)
        return 0

    from ssm_bench.table import as_rich, make_results

    if args.workers:
        from ssm_bench.launch.workers import run_with_workers

        outcomes = run_with_workers(plan, place, args.out, args.workers, args.command, console)
    else:
        from ssm_bench.launch.local import run_plan

        outcomes = run_plan(plan, place, args.out, console)
    console.print()
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    console.print(as_rich(make_results(benchmark, scale, records)))
    failed = [outcome for outcome in outcomes if outcome.record is None]
    if failed:
        console.print(f"\n[red]{len(failed)} of {len(outcomes)} runs gave no result:")
        for outcome in failed:
            console.print(f"  {outcome.cell.name}: {outcome.note}", highlight=False, markup=False, soft_wrap=True)
    return 1 if failed else 0


def _submit(args: argparse.Namespace, plan: list[Cell], place: Place, console: Console) -> int:
    from ssm_bench.launch.profile import find_profile
    from ssm_bench.launch.slurm import describe, submit

    profile = find_profile(args.slurm)
    if args.dry_run:
        console.print(describe(plan, place, args.out, profile), highlight=False, markup=False, soft_wrap=True)
        return 0
    launched = submit(plan, place, args.out, args.command, profile)
    count = len(launched) if launched else 0
    rest = f"; {len(plan) - count} of {len(plan)} are done or launched before" if count < len(plan) else ""
    where = f" in {launched.folder}" if launched else ""
    console.print(f"{count} cells submitted{where}{rest}.", soft_wrap=True)
    console.print(f"What becomes of them: bench jobs --watch --out {args.out}", soft_wrap=True)
    return 0


def _default_scale(profile: str | None) -> tuple[str, str]:
    """The scale for what will run the plan, and why: this machine, or the cluster of a profile."""
    if profile is not None:
        from ssm_bench.launch.profile import find_profile, read_profile

        if read_profile(find_profile(profile)).gpus:
            return "paper", "the profile asks for GPUs"
        return "smoke", "the profile asks for no GPU"
    import torch

    if torch.cuda.is_available():
        return "paper", "there is a GPU"
    return "smoke", "there is no GPU"
