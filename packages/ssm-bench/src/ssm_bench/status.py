"""The status file of a run folder: who is at the cell, how far, and what went wrong. Does not import torch.

Written by the process that runs the cell, and by its supervisor where that one no longer can; read by ``bench jobs``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssm_bench.errors import RunError
from ssm_bench.files import write_atomically
from ssm_bench.preemption import Preempted

FILE = "status.json"


@dataclass(frozen=True, kw_only=True)
class Status:
    """One state of a run folder.

    Attributes:
        state: ``running``; ``stopped``: goes on when it is started again; ``failed``: by its own fault; ``done``.
        host, pid: the machine (in SLURM its node) and the process that runs it, or did.
        job: its SLURM job (``12_3``: task 3 of array 12), empty outside SLURM.
        attempt: starts of this cell, this one included.
        fruitless: attempts in a row, this one included, that have saved no progress.
        began, updated: of this attempt and of this file, seconds since 1970.
        step, total: training steps done, and of the whole run; 0 until training begins.
        seconds_left: training that remains, at the speed of this attempt; None until there is one.
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

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        try:
            return cls(**json.loads((folder / FILE).read_text()))
        except FileNotFoundError:
            return None

    def write(self, folder: Path) -> None:
        write_atomically(folder / FILE, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def change(self, folder: Path, **values: object) -> Status:
        """Write the status with some values changed, and return it."""
        changed = dataclasses.replace(self, updated=time.time(), **values)  # type: ignore[arg-type]
        changed.write(folder)
        return changed


def begin(folder: Path) -> Status:
    """A new attempt of this process; one that follows a failure was asked for, and starts to count anew."""
    before = Status.read(folder)
    now = time.time()
    status = Status(
        state="running",
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        pid=os.getpid(),
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
    """An attempt from its begin to its end, whatever that is."""
    begin(folder)
    try:
        yield
    except (Preempted, KeyboardInterrupt) as end:
        why = "told to stop" if isinstance(end, Preempted) else "interrupted"
        _end(folder, "stopped", why)
        raise
    except BaseException as error:
        _end(folder, "failed", sentence(error))
        raise
    _end(folder, "done", "")


def fail(folder: Path, reason: str) -> None:
    """Say that the cell failed where its own process could not."""
    if Status.read(folder) is None:
        begin(folder)
    _end(folder, "failed", reason)


def _end(folder: Path, state: str, reason: str) -> None:
    status = Status.read(folder)
    assert status is not None, f"{folder / FILE} vanished"
    status.change(folder, state=state, reason=reason, seconds_left=None)


def sentence(error: BaseException) -> str:
    """An error in one line; lack of memory is named as such, whichever allocator says so."""
    from ssm_data.contract import DataError

    if isinstance(error, RunError | DataError):
        return str(error)
    line = (str(error).splitlines() or [""])[0]
    text = f"{type(error).__name__}: {line}"
    lacking = isinstance(error, MemoryError) or "out of memory" in line.lower() or "can't allocate memory" in line
    return f"Out of memory. {text}" if lacking else text


def speaks() -> bool:
    """Whether this is the process that writes and prints for its run: of several that srun started, the first."""
    return os.environ.get("SLURM_PROCID", "0") == "0"


def slurm_job() -> str:
    """The SLURM job of this process as squeue names it, empty outside SLURM."""
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID", "")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job
