"""Runs a plan's cells one after another in this process; a cell that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from ssm_data.contract import Place

from ssm_bench.errors import BusyError
from ssm_bench.launch.cell import Outcome, carry_out, show
from ssm_bench.plan import Cell


def run_plan(plan: Sequence[Cell], place: Place, out: Path, console: Console) -> list[Outcome]:
    """Carry out every cell; finished ones are read from their run folders."""
    outcomes = []
    for cell in plan:
        try:
            outcome = carry_out(cell, place, out, console)
        except BusyError as error:
            outcome = Outcome(cell, None, str(error))
        outcomes.append(outcome)
        show(outcome, console)
    return outcomes
