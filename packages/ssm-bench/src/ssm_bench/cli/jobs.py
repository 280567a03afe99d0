"""``bench jobs``: show the launched cells and their logs, end cells, and submit failed cells again."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ssm_bench.cli.console import make_console
from ssm_bench.cli.jobs_table import as_table
from ssm_bench.cli.options import add_out
from ssm_bench.errors import UserError
from ssm_bench.launch.jobs import Job, find_job, find_jobs

WATCH_SECONDS = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    add_out(parser)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--watch", action="store_true", help="keep the table up to date until all is done, or Ctrl-C")
    action.add_argument(
        "--resubmit", choices=["failed"], help="submit the failed cells again, with the present code of the checkout"
    )
    action.add_argument("--cancel", action="store_true", help="end all cells, queued and running; what is saved stays")
    action.add_argument("--logs", nargs="+", metavar="WORD", help="the log of the cell whose name holds these words")


def run(args: argparse.Namespace) -> int:
    """Carry out the verb and return the exit status."""
    console = make_console()
    jobs = find_jobs(args.out)
    if not jobs:
        raise UserError(f"Nothing was launched in {args.out}; launch with --workers or --slurm, or name it with --out.")
    if args.logs:
        return _print_log(jobs, args.logs)
    if args.cancel:
        return _cancel(jobs, console)
    if args.resubmit:
        return _resubmit(jobs, args.out, console)
    if args.watch:
        return _watch(args.out, console)
    console.print(as_table(jobs))
    return 0


def _print_log(jobs: Sequence[Job], words: Sequence[str]) -> int:
    named = find_job(jobs, words)
    if len(named) != 1:
        what = "No cell's name holds" if not named else f"{len(named)} cells' names hold"
        known = ", ".join(f"'{job.name}' ({job.folder.name})" for job in (named or jobs)[:5])
        raise UserError(f"{what} {' '.join(words)}; there are {known}.")
    [job] = named
    if not job.log.is_file():
        raise UserError(f"{job.name} has not begun, so it has no log.")
    sys.stdout.flush()
    with job.log.open("rb") as log:
        # Copy the log as bytes, because a program that the cell calls may print bytes that are not UTF-8.
        shutil.copyfileobj(log, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def _cancel(jobs: Sequence[Job], console: Console) -> int:
    from ssm_bench.launch.cancel import cancel

    told, left = cancel(jobs)
    for job, why in left:
        console.print(f"{job.name}: {why}.", markup=False, soft_wrap=True)
    console.print(f"{len(told)} cell{'' if len(told) == 1 else 's'} told to end.")
    return 1 if left else 0


def _resubmit(jobs: Sequence[Job], out: Path, console: Console) -> int:
    from ssm_bench.launch.resubmit import resubmit_failed

    count = 0
    for job, submitted in resubmit_failed(jobs, out):
        count += 1
        what = "submitted again" if submitted else "not submitted, because it is queued, running or done by now"
        console.print(f"{job.name}: {what}", markup=False, soft_wrap=True)
    if not count:
        console.print("No submitted cell has failed.")
    return 0


def _watch(out: Path, console: Console) -> int:
    from rich.live import Live

    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            jobs = find_jobs(out)
            live.update(as_table(jobs), refresh=True)
            if not any(job.active for job in jobs):
                break
            time.sleep(WATCH_SECONDS)
    return 0
