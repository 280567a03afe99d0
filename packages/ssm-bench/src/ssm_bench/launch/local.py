"""Runs a plan's cells one after another in this process; a cell that fails does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from ssm_data.contract import DataError, Place

from ssm_bench.errors import RunError
from ssm_bench.plan import Cell
from ssm_bench.record import Record, write_atomically


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its record, or the sentence that says why there is none."""

    cell: Cell
    record: Record | None
    reason: str = ""


def run_plan(plan: Sequence[Cell], place: Place, out: Path, console: Console) -> list[Outcome]:
    """Carry out every cell; finished ones are read from their run folders."""
    outcomes = []
    for cell in plan:
        record = Record.read(cell.folder(out))
        if record is not None:
            outcome, note = Outcome(cell, record), "done before"
        else:
            outcome = _run(cell, place, out, console)
            note = f"{outcome.record.wall_seconds:.0f} s" if outcome.record else ""
        outcomes.append(outcome)
        if outcome.record is None:
            console.print(f"{cell.name}: {outcome.reason}", style="red", markup=False, soft_wrap=True)
        else:
            value = 100 * outcome.record.value
            console.print(f"{cell.name}: test {outcome.record.metric} {value:.2f} % ({note})")
    return outcomes


def _run(cell: Cell, place: Place, out: Path, console: Console) -> Outcome:
    # Imports torch and lightning, which a plan that is done does not need.
    from ssm_bench.run import run_cell

    try:
        return Outcome(cell, run_cell(cell, place, out, console))
    except (DataError, RunError) as error:
        return Outcome(cell, None, str(error))
    except Exception as error:
        folder = cell.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "error.txt"
        write_atomically(log, traceback.format_exc())
        lines = str(error).splitlines() or [""]
        return Outcome(cell, None, f"{type(error).__name__}: {lines[0]} (see {log})")
