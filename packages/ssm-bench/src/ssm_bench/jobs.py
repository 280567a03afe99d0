"""The state of every launched cell, from the files in the run folders and squeue alone. Does not import torch."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.markup import escape
from rich.table import Table

from ssm_bench import record
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.queue import Entry, queue
from ssm_bench.launch.supervisor import LOG
from ssm_bench.status import Status

State = Literal["queued", "running", "done", "failed", "stopped", "cancelled"]
STYLES: dict[State, str] = {
    "queued": "dim",
    "running": "cyan",
    "done": "green",
    "failed": "red",
    "stopped": "yellow",
    "cancelled": "dim",
}
#: A process on another machine that has said nothing for so long counts as gone.
SILENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Job:
    """A launched cell as it stands.

    Attributes:
        state: ``queued``, ``running``, ``done``, ``failed``; ``stopped``: a local launch that was interrupted;
            ``cancelled``.
        slurm: its SLURM job, empty for a local launch.
        note: why it waits, where it runs, or why it failed.
    """

    launched: Launched
    index: int
    state: State
    status: Status | None
    slurm: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        return self.launched.name(self.index)

    @property
    def folder(self) -> Path:
        return self.launched.run_folder(self.index)

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def log(self) -> Path:
        """The output of all its attempts."""
        return self.folder / LOG


def find_jobs(out: Path) -> list[Job]:
    """Every cell launched below ``out``, in the order of launching; of a cell that was launched again, the last."""
    launches = Launched.all(out)
    last = {launched.run_folder(index): (launched, index) for launched in launches for index in range(len(launched))}
    slurm = queue() if any(launched.jobs for launched, _ in last.values()) else {}
    return [_job(launched, index, slurm) for launched, index in last.values()]


def _job(launched: Launched, index: int, slurm: Mapping[str, Entry]) -> Job:
    folder = launched.run_folder(index)
    status, job = Status.read(folder), launched.jobs.get(index, "")
    state, note = _state(launched, folder, status, job, slurm)
    return Job(launched, index, state, status, job, note)


def _state(
    launched: Launched, folder: Path, status: Status | None, job: str, slurm: Mapping[str, Entry]
) -> tuple[State, str]:
    if (folder / record.FILE).is_file():
        return "done", ""
    if status is not None and status.state == "running" and _runs(status, slurm):
        return "running", f"{status.job} {status.host}".strip()
    if job in slurm:
        entry = slurm[job]
        again = f", {status.reason}" if status is not None and status.state == "stopped" else ""
        return ("queued" if entry.waits else "running"), f"{job} {entry.reason}{again}"
    since = status is not None and status.updated >= launched.content["created"]
    if status is not None and since and status.state == "failed":
        return "failed", status.reason
    if not job and _process_runs(launched.content["host"], launched.content["pid"]):
        return "queued", ""
    if launched.cancelled:
        return "cancelled", ""
    if not job:
        return "stopped", "the same command goes on"
    if status is not None and since:
        return "failed", f"job {job} ended without a word; last seen at step {status.step:,}, see {folder / LOG}"
    return "failed", f"job {job} ended before the cell began; see {launched.folder / 'slurm'}"


def _runs(status: Status, slurm: Mapping[str, Entry]) -> bool:
    if status.job:
        return status.job in slurm and not slurm[status.job].waits
    if status.host == socket.gethostname():
        return _process_runs(status.host, status.pid)
    return time.time() - status.updated < SILENCE_SECONDS


def _process_runs(host: str, pid: int) -> bool:
    """Whether a process of this machine runs; one of another machine counts as gone."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def as_table(jobs: Sequence[Job]) -> Table:
    """A row a cell: how far it is, when it will be done, how often it was started again, and what went wrong."""
    counts = Counter(job.state for job in jobs)
    table = Table(
        title=", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state]),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("Cell")
    table.add_column("State")
    for column in ("Steps", "Left", "Requeued"):
        table.add_column(column, justify="right")
    table.add_column("Note", overflow="fold")
    for job in jobs:
        status = job.status
        steps = f"{status.step:,}/{status.total:,}" if status and status.total else ""
        left = _span(status.seconds_left) if status and job.state == "running" and status.seconds_left else ""
        again = str(status.attempt - 1) if status and status.attempt > 1 else ""
        style = STYLES[job.state]
        table.add_row(escape(job.name), f"[{style}]{job.state}[/]", steps, left, again, escape(job.note))
    return table


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
