"""``bench jobs``: the launched cells; their logs, ending them, and submitting failed ones again."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ssm_bench.errors import RunError, UserError
from ssm_bench.jobs import Job, as_table, find_jobs

WATCH_SECONDS = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="run folders (default: runs)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--watch", action="store_true", help="keep the table up to date until all is done, or Ctrl-C")
    action.add_argument("--resubmit", choices=["failed"], help="submit the failed cells again, with the code of today")
    action.add_argument("--cancel", action="store_true", help="end all cells, queued and running; what is saved stays")
    action.add_argument("--logs", nargs="+", metavar="WORD", help="the log of the cell whose name holds these words")


def run(args: argparse.Namespace) -> int:
    from ssm_bench.cli.console import make_console

    console = make_console()
    jobs = find_jobs(args.out)
    if not jobs:
        raise UserError(f"Nothing was launched in {args.out}; launch with --workers or --slurm, or name it with --out.")
    if args.logs:
        print(_one(jobs, args.logs).log.read_text(), end="")
    elif args.cancel:
        _cancel(jobs, console)
    elif args.resubmit:
        _resubmit(jobs, args.out, console)
    elif args.watch:
        _watch(args.out, console)
    else:
        console.print(as_table(jobs))
    return 0


def _watch(out: Path, console: Console) -> None:
    from rich.live import Live

    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            jobs = find_jobs(out)
            live.update(as_table(jobs), refresh=True)
            if not any(job.active for job in jobs):
                return
            time.sleep(WATCH_SECONDS)


def _one(jobs: Sequence[Job], words: Sequence[str]) -> Job:
    named = [job for job in jobs if all(word in f"{job.name} {job.folder.name}" for word in words)]
    if len(named) != 1:
        what = "No cell's name holds" if not named else f"{len(named)} cells' names hold"
        known = ", ".join(f"'{job.name}'" for job in (named or jobs)[:5])
        raise UserError(f"{what} {' '.join(words)}; there are {known}.")
    if not named[0].log.is_file():
        raise UserError(f"{named[0].name} has not begun, so it has no log.")
    return named[0]


def _cancel(jobs: Sequence[Job], console: Console) -> None:
    from ssm_bench.launch import queue

    active = [job for job in jobs if job.active]
    launches = {job.launched for job in active}
    for launched in launches:
        launched.cancel()
    data = {launched.data_job for launched in launches if launched.data_job}
    queue.cancel(data | {job.slurm for job in active if job.slurm})
    launchers = {(job.launched.content["host"], job.launched.content["pid"]) for job in active if not job.slurm}
    for host, pid in launchers:
        if host != socket.gethostname():
            console.print(f"Process {pid} of {host} runs some of them; end it there.")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    console.print(f"{len(active)} cells told to end.")


def _resubmit(jobs: Sequence[Job], out: Path, console: Console) -> None:
    from ssm_bench.launch.slurm import submit

    failed = [job for job in jobs if job.state == "failed" and job.slurm]
    if not failed:
        console.print("No submitted cell has failed.")
        return
    launches: dict[Path, list[Job]] = defaultdict(list)
    for job in failed:
        launches[job.launched.folder].append(job)
    for group in launches.values():
        launched = group[0].launched
        try:
            cells = [launched.cell(job.index) for job in group]
        except RunError as error:
            raise UserError(str(error)) from None
        profile, command = Path(launched.content["profile"]), launched.content["command"]
        again = submit(cells, launched.place, out, command, profile)
        for job in group:
            console.print(f"{job.name}: submitted again" if again else f"{job.name}: queued meanwhile")
