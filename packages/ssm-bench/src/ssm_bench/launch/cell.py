"""Run one cell and return its outcome. ``bench`` itself and the processes of a launched plan use this."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console
from ssm_data.contract import DataError, Place

from ssm_bench.errors import BusyError, RunError
from ssm_bench.files import write_atomically
from ssm_bench.metrics import METRICS
from ssm_bench.plan import Cell
from ssm_bench.provenance import code_version
from ssm_bench.record import Record, RecordError, finished_record
from ssm_bench.run_folder import ERROR, remove_training_states
from ssm_bench.status import sentence


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell: its record, or a sentence that says why there is none."""

    cell: Cell
    record: Record | None
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether the cell gave no number: it has no record, or its record says that training diverged."""
        return self.record is None or self.record.diverged

    @property
    def line(self) -> str:
        """The outcome in one line, for the terminal and the log."""
        if self.record is None:
            return f"{self.cell.name}: {self.note}"
        if self.record.diverged:
            return f"{self.cell.name}: diverged: {self.record.reason} ({self.note})"
        value = METRICS[self.record.metric].text(self.record.value)
        return f"{self.cell.name}: test {self.record.metric} {value} ({self.note})"


def read_outcome(cell: Cell, out: Path) -> Outcome | None:
    """Return the outcome of a cell that is done, from its record, or None if the cell must still run."""
    try:
        record = finished_record(cell.folder(out))
    except RecordError as error:
        return Outcome(cell, None, str(error))
    return None if record is None else Outcome(cell, record, _done_before(record, cell.folder(out)))


def carry_out(
    cell: Cell, place: Place, out: Path, console: Console, command: Sequence[str], wait: float = 0.0
) -> Outcome:
    """Run the cell, or read its record if it is done. If the cell fails, return an outcome that names the reason.

    Args:
        console: where training shows its progress.
        command: the words after ``bench`` on the command line, for the record.
        wait: seconds to wait for another process that runs the cell.

    Raises:
        BusyError: another process runs the cell.
        Preempted: this process was told to stop.
    """
    before = read_outcome(cell, out)
    if before is not None:
        return before
    # This imports torch and lightning, which a finished plan does not need.
    from ssm_bench.run import run_cell

    try:
        record = run_cell(cell, place, out, console, command, wait)
        return Outcome(cell, record, f"{record.wall_seconds:.0f} s")
    except BusyError:
        raise
    except (DataError, RunError) as error:
        return Outcome(cell, None, str(error))
    except Exception as error:
        folder = cell.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / ERROR
        write_atomically(log, traceback.format_exc())
        return Outcome(cell, None, f"{sentence(error)} (see {log})")


def _done_before(record: Record, folder: Path) -> str:
    """Say that the run was done before, whether other code did it, and which checkpoints are left and removed now."""
    note, today = "done before", _code_of_today()
    if record.code != today:
        note += f", with code {_short(record.code)}; the code here is {_short(today)}"
    left = remove_training_states(folder)
    return f"{note}; removed {' and '.join(left)}, which a finished run does not need" if left else note


@cache
def _code_of_today() -> str:
    return code_version()


def _short(code: str) -> str:
    """Shorten the hash of a commit."""
    commit, dirty, _ = code.partition("-dirty")
    return commit[:8] + dirty if len(commit) == 40 else code
