"""Carries out one cell and says what became of it, for a plan in this process and for the worker of a launched one."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from ssm_data.contract import DataError, Place

from ssm_bench.errors import BusyError, RunError
from ssm_bench.metrics import METRICS
from ssm_bench.plan import Cell
from ssm_bench.record import Record, write_atomically
from ssm_bench.status import sentence


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its record, or the sentence that says why there is none."""

    cell: Cell
    record: Record | None
    note: str = ""


def carry_out(cell: Cell, place: Place, out: Path, console: Console, wait: float = 0.0) -> Outcome:
    """Run the cell, or read its record if it is done; a cell that fails has a reason and raises nothing.

    Args:
        wait: seconds to wait for a process that is at the cell.

    Raises:
        BusyError: another process is at the cell.
        Preempted: this process was told to stop.
    """
    record = Record.read(cell.folder(out))
    if record is not None:
        return Outcome(cell, record, "done before")
    # Imports torch and lightning, which a plan that is done does not need.
    from ssm_bench.run import run_cell

    try:
        record = run_cell(cell, place, out, console, wait)
        return Outcome(cell, record, f"{record.wall_seconds:.0f} s")
    except BusyError:
        raise
    except (DataError, RunError) as error:
        return Outcome(cell, None, str(error))
    except Exception as error:
        folder = cell.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "error.txt"
        write_atomically(log, traceback.format_exc())
        return Outcome(cell, None, f"{sentence(error)} (see {log})")


def show(outcome: Outcome, console: Console) -> None:
    """One line on what became of a cell."""
    name, record = outcome.cell.name, outcome.record
    if record is None:
        console.print(f"{name}: {outcome.note}", style="red", markup=False, soft_wrap=True)
    else:
        value = METRICS[record.metric].text(record.value)
        console.print(f"{name}: test {record.metric} {value} ({outcome.note})")
