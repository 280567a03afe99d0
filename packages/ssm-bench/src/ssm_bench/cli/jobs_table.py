"""The table of launched cells, for ``bench jobs`` and for the view while ``--workers`` runs."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ssm_bench.errors import UserError
from ssm_bench.launch.jobs import Job, State, find_jobs

STYLES: dict[State, str] = {
    "queued": "dim",
    "running": "cyan",
    "done": "green",
    "diverged": "red",
    "failed": "red",
    "stopped": "yellow",
    "cancelled": "dim",
}
#: Seconds between two updates of the view.
VIEW_SECONDS = 1.0


def as_table(jobs: Sequence[Job]) -> Table:
    """Return a row for each cell: steps done, time left, how often it was started again, and what went wrong."""
    counts = Counter(job.state for job in jobs)
    table = Table(
        title=", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state]),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("Cell")
    table.add_column("State")
    for column in ("Steps", "Left", "Requeued"):
        table.add_column(column, justify="right")
    table.add_column("Note", overflow="fold")
    for job in jobs:
        status = job.status
        steps = f"{status.step:,}/{status.total:,}" if status and status.total else ""
        left = _span(status.seconds_left) if status and job.state == "running" and status.seconds_left else ""
        again = str(status.attempt - 1) if status and status.attempt > 1 else ""
        style = STYLES[job.state]
        table.add_row(escape(job.name), f"[{style}]{job.state}[/]", steps, left, again, escape(job.note))
    return table


@contextlib.contextmanager
def live_view(console: Console, out: Path) -> Iterator[Callable[[], None]]:
    """Show the active cells below ``out`` until the context ends; do nothing if the output is not a terminal.

    Yields:
        A function that updates the view, at most once in ``VIEW_SECONDS``.
    """
    if not console.is_terminal:
        yield lambda: None
        return
    shown = 0.0
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def update() -> None:
            nonlocal shown
            if time.monotonic() - shown > VIEW_SECONDS:
                # Earlier launches may be on SLURM. If SLURM does not answer, the local cells continue without a view.
                with contextlib.suppress(UserError):
                    live.update(as_table([job for job in find_jobs(out) if job.active]), refresh=True)
                shown = time.monotonic()

        yield update


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
