"""Runs a plan in several processes of this machine, which share its cores and GPUs."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from ssm_data.contract import Place

from ssm_bench.errors import UserError
from ssm_bench.jobs import as_table, find_jobs
from ssm_bench.launch.cell import Outcome, show
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.supervisor import Supervisor
from ssm_bench.launch.worker import AGAIN
from ssm_bench.plan import Cell
from ssm_bench.record import Record
from ssm_bench.status import Status

#: How long workers that are told to stop may take to save.
STOP_SECONDS = 60.0
POLL_SECONDS = 0.2
VIEW_SECONDS = 1.0


def run_with_workers(
    plan: Sequence[Cell], place: Place, out: Path, workers: int, command: Sequence[str], console: Console
) -> list[Outcome]:
    """Carry out every cell, ``workers`` at a time, each in a process of its own; finished ones are read.

    Ctrl-C, or a closed terminal, tells the workers to save and to stop.

    Args:
        command: the words behind ``bench``, for the records.

    Raises:
        UserError: a cell needs more GPUs than a worker has.
    """
    records = [Record.read(cell.folder(out)) for cell in plan]
    outcomes = {
        number: Outcome(cell, record, "done before")
        for number, (cell, record) in enumerate(zip(plan, records, strict=True))
        if record is not None
    }
    for outcome in outcomes.values():
        show(outcome, console)
    left = [number for number in range(len(plan)) if number not in outcomes]
    if left:
        cells = [plan[number] for number in left]
        shares = _shares(workers, cells)
        launched = Launched.create(cells, place, out, command)
        with _hangup_interrupts():
            for index in _run(launched, shares, console):
                outcome = _outcome(cells[index], launched.run_folder(index))
                show(outcome, console)
                outcomes[left[index]] = outcome
    return [outcomes[number] for number in range(len(plan))]


def _run(launched: Launched, shares: Sequence[dict[str, str]], console: Console) -> Iterator[int]:
    """Run every cell, one a share at a time; gives the number of each when it has ended."""
    waiting = deque(range(len(launched)))
    running: dict[int, Supervisor] = {}
    live = Live(console=console, auto_refresh=False, transient=True)
    viewed = 0.0
    try:
        with live:
            while waiting or running:
                for share, environment in enumerate(shares):
                    if share not in running and waiting:
                        running[share] = Supervisor(launched, waiting.popleft(), environment)
                for share, supervisor in list(running.items()):
                    code = supervisor.poll()
                    if code is None:
                        continue
                    del running[share]
                    if code == AGAIN:
                        waiting.appendleft(supervisor.index)
                    else:
                        yield supervisor.index
                if console.is_terminal and time.monotonic() - viewed > VIEW_SECONDS:
                    live.update(as_table([job for job in find_jobs(launched.out) if job.active]), refresh=True)
                    viewed = time.monotonic()
                time.sleep(POLL_SECONDS)
    finally:
        _stop(list(running.values()))


def _stop(supervisors: Sequence[Supervisor]) -> None:
    """Tell workers to save and to stop, and end those that take too long."""
    for supervisor in supervisors:
        supervisor.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    try:
        while time.monotonic() < deadline and any(supervisor.poll() is None for supervisor in supervisors):
            time.sleep(POLL_SECONDS)
    finally:
        for supervisor in supervisors:
            supervisor.signal(signal.SIGKILL)


def _outcome(cell: Cell, folder: Path) -> Outcome:
    record = Record.read(folder)
    if record is not None:
        return Outcome(cell, record, f"{record.wall_seconds:.0f} s")
    status = Status.read(folder)
    if status is not None and status.state == "failed":
        return Outcome(cell, None, status.reason)
    return Outcome(cell, None, f"Another process is at it in {folder}.")


def _shares(workers: int, cells: Sequence[Cell]) -> list[dict[str, str]]:
    """The environment of each worker: its threads and its GPUs.

    Without enough GPUs for all, several workers share one.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    gpus = _gpus()
    if not gpus:
        return [share] * workers
    each = [gpus[number::workers] or [gpus[number % len(gpus)]] for number in range(workers)]
    fewest = min(map(len, each))
    for cell in cells:
        if cell.runtime.accelerator != "cpu" and cell.runtime.devices > fewest:
            raise UserError(
                f"{cell.name} needs {cell.runtime.devices} GPUs, but {len(gpus)} GPUs over {workers} workers give "
                f"only {fewest} to each; lower --workers."
            )
    return [share | {"CUDA_VISIBLE_DEVICES": ",".join(some)} for some in each]


def _gpus() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()  # none where that variable names one that is not there, as -1 does
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(count)) if visible is None else visible.split(",")
    return list(names)[:count]


@contextmanager
def _hangup_interrupts() -> Iterator[None]:
    """A closed terminal and a polite kill do what Ctrl-C does, except under nohup."""
    numbers = [number for number in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
