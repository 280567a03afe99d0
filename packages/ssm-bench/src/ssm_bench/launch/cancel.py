"""End the cells that are queued or running."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from ssm_bench.launch import slurm_queue
from ssm_bench.launch.jobs import Job
from ssm_bench.launch.launched import Launched
from ssm_bench.process_identity import is_running


def cancel(jobs: Sequence[Job]) -> tuple[list[Job], list[tuple[Job, str]]]:
    """Tell the active cells to end; saved progress is kept.

    A process gets a signal only if its start time shows that it launched or runs the cell, because the system reuses
    process ids. SLURM ends jobs by their name, which belongs to one launch only.

    Returns:
        The cells that were told to end, and those that were not, each with a sentence that says why.
    """
    active = [job for job in jobs if job.active]
    told, left = [], []
    for launched in {job.launched for job in active}:
        launched.note_cancelled()
        mine = [job for job in active if job.launched == launched]
        if launched.profile is not None:
            slurm_queue.cancel(launched.job_name)
        ended = launched.profile is not None or _end_launcher(launched)
        for job in mine:
            if (ended and not _runs_elsewhere(job)) or _end_cell_process(job):
                told.append(job)
            else:
                left.append((job, _why_left(job)))
    return told, left


def _end_launcher(launched: Launched) -> bool:
    """Tell the launcher on this machine to end, which ends its cell processes. Return whether it was told."""
    return _terminate(launched.content["host"], launched.content["pid"], launched.start)


def _runs_elsewhere(job: Job) -> bool:
    """Return whether another process than its SLURM job runs the cell, for instance a later ``bench`` command."""
    status = job.status
    return (
        job.launched.profile is not None
        and job.state == "running"
        and status is not None
        and status.state == "running"
        and status.job != job.slurm
    )


def _end_cell_process(job: Job) -> bool:
    """Tell the process that runs the cell to end, if it is a local process here. Return whether it was told."""
    status = job.status
    return (
        status is not None
        and status.state == "running"
        and not status.job
        and _terminate(status.host, status.pid, status.start)
    )


def _terminate(host: str, pid: int, start: str) -> bool:
    if not is_running(host, pid, start):
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:  # it has just ended
        return False
    return True


def _why_left(job: Job) -> str:
    status = job.status
    if status is not None and status.job:
        return f"job {status.job} runs it, which no launch submitted; end it with scancel"
    if status is not None and status.state == "running":
        return f"process {status.pid} of {status.host} runs it; end it there"
    return f"process {job.launched.content['pid']} of {job.launched.content['host']} runs it; end it there"
