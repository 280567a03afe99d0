"""What SLURM says of its jobs, and telling it to end some."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from ssm_bench.errors import UserError


@dataclass(frozen=True)
class Entry:
    """A job in SLURM's queue: its state (``PENDING``, ``RUNNING``, ...) and why it waits, or where it runs."""

    state: str
    reason: str

    @property
    def waits(self) -> bool:
        return self.state == "PENDING"


def queue() -> dict[str, Entry]:
    """This user's jobs by id; a task of an array is ``12_3``."""
    text = slurm("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T|%R")
    rows = (line.strip().split("|", 2) for line in text.splitlines())
    return {job: Entry(state, reason.strip("()")) for job, state, reason in rows}


def cancel(jobs: Iterable[str]) -> None:
    """End jobs, waiting or running; those that have ended meanwhile are no error."""
    jobs = sorted(jobs)
    for start in range(0, len(jobs), 500):
        slurm("scancel", "--quiet", *jobs[start : start + 500])


def largest_array() -> int:
    """How many tasks one array may have here."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", slurm("scontrol", "show", "config"), re.MULTILINE)
    if match is None:
        raise UserError("scontrol show config does not tell MaxArraySize; set array_limit in the profile.")
    return int(match[1])


def check() -> None:
    """Whether there is a SLURM to submit to.

    Raises:
        UserError: there is none.
    """
    for command in ("sbatch", "srun"):
        if shutil.which(command) is None:
            raise _absent(command)


def slurm(*command: str) -> str:
    """What a SLURM command prints.

    Raises:
        UserError: it is not there, or it failed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    except FileNotFoundError:
        raise _absent(command[0]) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM does not answer: {command[0]} took over two minutes; try again later.") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"{command[0]} failed: {' '.join(error.stderr.split())}") from None
    return done.stdout


def _absent(command: str) -> UserError:
    return UserError(f"There is no SLURM here: {command} was not found; log in to the cluster.")
