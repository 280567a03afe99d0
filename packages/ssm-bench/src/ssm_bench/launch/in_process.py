"""Run the cells of a plan one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from ssm_data.contract import Place

from ssm_bench.errors import BusyError
from ssm_bench.launch.cell import Outcome, carry_out
from ssm_bench.plan import Cell


def run_in_process(
    plan: Sequence[Cell],
    place: Place,
    out: Path,
    console: Console,
    command: Sequence[str],
    on_outcome: Callable[[Outcome], None],
) -> list[Outcome]:
    """Run every cell and return the outcomes; a cell that fails does not stop the others.

    Args:
        console: where training shows its progress.
        command: the words after ``bench`` on the command line, for the records.
        on_outcome: called when a cell has ended, in the order of the plan.
    """
    outcomes = []
    for cell in plan:
        try:
            outcome = carry_out(cell, place, out, console, command)
        except BusyError as error:
            outcome = Outcome(cell, None, str(error))
        outcomes.append(outcome)
        on_outcome(outcome)
    return outcomes
