"""The state of every launched cell, read from the run folders and squeue only. Does not import torch."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssm_bench.launch.launched import Launched
from ssm_bench.launch.slurm_queue import Queue, read_queue
from ssm_bench.process_identity import is_running
from ssm_bench.run_folder import LOG, is_done, reason_of_divergence
from ssm_bench.status import Status

State = Literal["queued", "running", "done", "diverged", "failed", "stopped", "cancelled"]
#: A process on another machine that has written no status for this long counts as gone.
SILENCE_SECONDS = 600.0
#: Clocks of two machines may differ by this much.
CLOCK_SECONDS = 120.0


@dataclass(frozen=True)
class Job:
    """The present state of a launched cell.

    Attributes:
        state: ``queued``, ``running``, ``done``, ``failed``; ``diverged``: training diverged, and the record says so;
            ``stopped``: a local launch that was interrupted; ``cancelled``.
        slurm: its SLURM job; empty for a local launch, or if the job is unknown.
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
        """Whether the cell is queued or running."""
        return self.state in ("queued", "running")

    @property
    def log(self) -> Path:
        """The output of all attempts."""
        return self.folder / LOG


def find_jobs(out: Path) -> list[Job]:
    """Return every cell that was launched below ``out``, in the order of launching.

    If a cell was launched several times, only its last launch is returned. A damaged plan is set aside.
    """
    last = {
        launched.run_folder(index): (launched, index)
        for launched in Launched.all(out)
        for index in range(len(launched))
    }
    submitted = any(launched.profile is not None for launched, _ in last.values())
    queue = read_queue() if submitted else {}
    return [_job(launched, index, queue) for launched, index in last.values()]


def _job(launched: Launched, index: int, queue: Queue) -> Job:
    folder = launched.run_folder(index)
    status, job = Status.read(folder), launched.jobs.get(index, "")
    state, note = _state(launched, folder, status, job, queue)
    return Job(launched, index, state, status, job, note)


def _state(launched: Launched, folder: Path, status: Status | None, job: str, queue: Queue) -> tuple[State, str]:
    if is_done(folder):
        reason = reason_of_divergence(folder)
        return ("diverged", reason) if reason else ("done", "")
    if status is not None and status.state == "running" and _runs(status, queue):
        return "running", f"{status.job} {status.host}".strip()
    entry = queue.get(job)
    # SLURM reuses job numbers; the name belongs to one launch only.
    if entry is not None and entry.name == launched.job_name:
        again = f", {status.reason}" if status is not None and status.state == "stopped" else ""
        return ("queued" if entry.waits else "running"), f"{job} {entry.reason}{again}"
    since = status is not None and status.updated >= launched.content["created"]
    if status is not None and since and status.state == "failed":
        return "failed", status.reason
    if launched.profile is None and launched.launcher_runs():
        return "queued", ""
    if launched.cancelled:
        return "cancelled", ""
    if launched.profile is None:
        return "stopped", "the same command goes on"
    if not job:
        if any(other.name == launched.job_name for other in queue.values()):
            return "queued", "it is unknown which SLURM job of the launch runs this cell"
        return "failed", "SLURM did not take its job, or the number of the job was lost; submit it again"
    if status is not None and since:
        return "failed", f"job {job} ended without a word; last seen at step {status.step:,}, see {folder / LOG}"
    return "failed", f"job {job} ended before the cell began; see {launched.folder / 'slurm'}"


def _runs(status: Status, queue: Queue) -> bool:
    """Return whether the process that wrote the status still runs."""
    if status.job:
        entry = queue.get(status.job)
        if entry is None or entry.waits:
            return False
        # A job that began after the status was written has the same number, but is another one.
        return entry.began is None or entry.began <= status.updated + CLOCK_SECONDS
    if status.host == socket.gethostname():
        return is_running(status.host, status.pid, status.start)
    return time.time() - status.updated < SILENCE_SECONDS


def find_job(jobs: Sequence[Job], words: Sequence[str]) -> list[Job]:
    """Return the jobs for which every word occurs in the name of the cell or of its run folder.

    Whole words have precedence: ``seed 1`` means seed 10 only if there is no seed 1.
    """
    texts = [(job, f"{job.name} {job.folder.name}") for job in jobs]
    whole = [job for job, text in texts if all(_holds_word(text, word) for word in words)]
    return whole or [job for job, text in texts if all(word in text for word in words)]


def _holds_word(text: str, word: str) -> bool:
    start = text.find(word)
    while start >= 0:
        before, after = text[start - 1 : start], text[start + len(word) : start + len(word) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        start = text.find(word, start + 1)
    return False
