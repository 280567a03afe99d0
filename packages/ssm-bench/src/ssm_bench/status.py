"""The status file of a run folder: who runs the cell, how far it is, and what went wrong. Does not import torch.

The process that runs the cell writes it, or its supervisor if that process no longer can; ``bench jobs`` reads it.
``run_folder.is_done`` decides whether a run is done, not this file.
"""

from __future__ import annotations

import dataclasses
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssm_bench.errors import Preempted, RunError
from ssm_bench.files import as_json, read_json, write_atomically
from ssm_bench.process_identity import own_start
from ssm_bench.run_folder import STATUS, warn_and_set_aside


@dataclass(frozen=True, kw_only=True)
class Status:
    """The content of a status file.

    Attributes:
        state: ``running``; ``stopped``: the cell resumes when it is started again; ``failed``: because of its own
            error; ``done``.
        host, pid, start: the machine (in SLURM the node) and the process that runs or ran the cell. Systems reuse
            process ids, so ``start`` identifies the process, too (``process_identity``).
        job: its SLURM job (``12_3``: task 3 of array 12), empty outside SLURM.
        attempt: number of times that this cell was started, including this attempt.
        fruitless: number of consecutive attempts, including this one, that saved no progress.
        began, updated: time when this attempt began, and when this file was written, in seconds since 1970.
        step, total: training steps done, and training steps of the whole run; 0 until training begins.
        seconds_left: estimated training time that remains, at the speed of this attempt; None without an estimate.
        reason: why it stopped or failed, one sentence.
    """

    state: Literal["running", "stopped", "failed", "done"]
    host: str
    pid: int
    job: str
    attempt: int
    fruitless: int
    began: float
    updated: float
    step: int = 0
    total: int = 0
    seconds_left: float | None = None
    reason: str = ""
    start: str = ""

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        """Return the status of a run folder, or None if it has none; a damaged file is set aside."""
        file = folder / STATUS
        content = read_json(file)
        try:
            return cls(**content)
        except TypeError:
            if file.is_file():
                warn_and_set_aside(file, f"{file} is damaged, so the progress of its cell is unknown.")
            return None

    def __post_init__(self) -> None:
        """Refuse values of wrong types, which only a damaged file has.

        Raises:
            TypeError: a value has another type than its field.
        """
        numbers = (self.began, self.updated, 0.0 if self.seconds_left is None else self.seconds_left)
        counts = (self.pid, self.attempt, self.fruitless, self.step, self.total)
        texts = (self.state, self.host, self.job, self.reason, self.start)
        for values, kind in ((numbers, (int, float)), (counts, int), (texts, str)):
            if not all(isinstance(value, kind) for value in values):
                raise TypeError(f"not a status: {self}")
        if not all(abs(number) < math.inf for number in numbers):  # JSON cannot be written with it
            raise TypeError(f"not a status: {self}")

    def write(self, folder: Path) -> None:
        write_atomically(folder / STATUS, as_json(dataclasses.asdict(self)))

    def change(self, folder: Path, **values: object) -> Status:
        """Write the status with some values changed, and return it."""
        changed = dataclasses.replace(self, updated=time.time(), **values)  # type: ignore[arg-type]
        changed.write(folder)
        return changed


def begin(folder: Path) -> Status:
    """Write the status of a new attempt by this process. After a failure, ``fruitless`` starts again at 1."""
    before = Status.read(folder)
    now = time.time()
    status = Status(
        state="running",
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        pid=os.getpid(),
        start=own_start(),
        job=slurm_job(),
        attempt=before.attempt + 1 if before else 1,
        fruitless=before.fruitless + 1 if before and before.state != "failed" else 1,
        began=now,
        updated=now,
        step=before.step if before else 0,
        total=before.total if before else 0,
    )
    status.write(folder)
    return status


@contextmanager
def attempt(folder: Path) -> Iterator[None]:
    """Write the status when an attempt begins and when it ends: done, stopped or failed."""
    begin(folder)
    try:
        yield
    except (Preempted, KeyboardInterrupt) as end:
        why = "told to stop" if isinstance(end, Preempted) else "interrupted"
        _end(folder, "stopped", why)
        raise
    except BaseException as error:
        status = Status.read(folder)
        # If another rank crashed, its supervisor has written why; this rank only knows of a broken connection.
        if status is None or status.state != "failed":
            _end(folder, "failed", sentence(error))
        raise
    _end(folder, "done", "")


def fail(folder: Path, reason: str) -> None:
    """Write that the cell failed, for a process that could not do so itself."""
    if Status.read(folder) is None:
        begin(folder)
    _end(folder, "failed", reason)


def _end(folder: Path, state: str, reason: str) -> None:
    # The folder may have been deleted, or its status damaged, while the cell ran.
    folder.mkdir(parents=True, exist_ok=True)
    status = Status.read(folder) or begin(folder)
    status.change(folder, state=state, reason=reason, seconds_left=None)


def sentence(error: BaseException) -> str:
    """Return an error as one line. If memory ran out, the line says so, for every allocator."""
    from ssm_data.contract import DataError

    if isinstance(error, RunError | DataError):
        return str(error)
    line = next(filter(None, map(str.strip, str(error).splitlines())), "")
    text = f"{type(error).__name__}: {line}"
    lacking = isinstance(error, MemoryError) or "out of memory" in line.lower() or "can't allocate memory" in line
    return f"Out of memory. {text}" if lacking else text


def is_rank_zero() -> bool:
    """Return whether this process has rank 0 of those that srun started for the cell, even before they form a group.

    Only rank 0 writes and prints for the run.
    """
    return os.environ.get("SLURM_PROCID", "0") == "0"


def slurm_job() -> str:
    """Return the SLURM job of this process as squeue names it; an empty text outside SLURM."""
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID", "")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job
