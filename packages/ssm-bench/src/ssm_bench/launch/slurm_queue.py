"""Read SLURM's queue, cancel jobs, and read the largest size of an array."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ssm_bench.errors import UserError


@dataclass(frozen=True)
class Entry:
    """A job in SLURM's queue.

    Attributes:
        state: ``PENDING``, ``RUNNING``, and so on.
        name: the name that it was submitted with.
        began: its start in seconds since 1970; None if it has not begun.
        reason: why it waits, or where it runs.
    """

    state: str
    name: str
    began: float | None
    reason: str

    @property
    def waits(self) -> bool:
        return self.state == "PENDING"


#: Jobs by id; a task of an array is ``12_3``.
Queue = Mapping[str, Entry]


def read_queue() -> Queue:
    """Return this user's jobs.

    Raises:
        UserError: SLURM is not installed or does not answer.
    """
    text = slurm("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T|%j|%S|%R")
    rows = [line.strip().split("|", 4) for line in text.splitlines()]
    # A site's squeue may print other lines, such as a greeting.
    return {
        job: Entry(state, name, _seconds(began), reason.strip("()"))
        for job, state, name, began, reason in (row for row in rows if len(row) == 5)
    }


def _seconds(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:  # N/A
        return None


def cancel(job_name: str) -> None:
    """End this user's queued and running jobs with that name. It is not an error if there are none."""
    slurm("scancel", "--quiet", f"--user={os.getuid()}", f"--name={job_name}")


def largest_array() -> int:
    """Return how many tasks the cluster allows in one array.

    Raises:
        UserError: SLURM does not tell the number.
    """
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", slurm("scontrol", "show", "config"), re.MULTILINE)
    if match is None:
        raise UserError("scontrol show config does not tell MaxArraySize; set array_limit in the profile.")
    # The indices of an array must be smaller than this number.
    return int(match[1])


def check_slurm() -> None:
    """Check that SLURM is installed here.

    Raises:
        UserError: sbatch or srun was not found.
    """
    for command in ("sbatch", "srun"):
        if shutil.which(command) is None:
            raise _absent(command)


def slurm(*command: str) -> str:
    """Return what a SLURM command prints.

    Raises:
        UserError: the command was not found, failed, or took too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=120)
    except FileNotFoundError:
        raise _absent(command[0]) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM does not answer: {command[0]} took over two minutes; try again later.") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"SLURM refuses {command[0]}: {' '.join(error.stderr.split())}") from None
    return done.stdout


def _absent(command: str) -> UserError:
    return UserError(f"There is no SLURM here: {command} was not found; log in to the cluster.")
