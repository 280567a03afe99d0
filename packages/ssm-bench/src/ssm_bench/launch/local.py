"""Runs a plan's cells one after another in this process; a cell that fails does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from ssm_data.contract import DataError, Place

from ssm_bench.plan import Cell
from ssm_bench.record import Record, write_atomically
from ssm_bench.run import RunError, run_cell


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
        had = Record.read(cell.folder(out)) is not None
        try:
            record = run_cell(cell, place, out, console)
        except (DataError, RunError) as error:
            outcomes.append(Outcome(cell, None, str(error)))
            console.print(f"[red]{cell.name}: {error}", highlight=False, soft_wrap=True)
            continue
        except Exception as error:
            folder = cell.folder(out)
            folder.mkdir(parents=True, exist_ok=True)
            log = folder / "error.txt"
            write_atomically(log, traceback.format_exc())
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} (see {log})"
            outcomes.append(Outcome(cell, None, reason))
            console.print(f"[red]{cell.name}: {reason}", highlight=False, markup=True, soft_wrap=True)
            continue
        outcomes.append(Outcome(cell, record))
        note = "done before" if had else f"{record.wall_seconds:.0f} s"
        console.print(f"{cell.name}: test {record.metric} {100 * record.value:.2f} % ({note})", highlight=False)
    return outcomes
