"""Run the cells of a plan in several processes of this machine, which share its cores and GPUs."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ssm_data.contract import Place
from ssm_data.parallel import cores

from ssm_bench.errors import UserError
from ssm_bench.launch.cell import Outcome, read_outcome
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.supervisor import AGAIN, Supervisor
from ssm_bench.plan import Cell
from ssm_bench.record import finished_record
from ssm_bench.status import Status

#: Seconds that cell processes get to save after they are told to stop.
STOP_SECONDS = 60.0
POLL_SECONDS = 0.2


def run_in_processes(
    plan: Sequence[Cell],
    place: Place,
    out: Path,
    count: int,
    command: Sequence[str],
    on_outcome: Callable[[Outcome], None],
    on_poll: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Run every cell, ``count`` at a time, each in a process of its own, and return the outcomes in the plan's order.

    Finished cells are read from their run folders. Ctrl-C, or a closed terminal, tells the cell processes to save and
    to stop.

    Args:
        command: the words after ``bench``, for the records.
        on_outcome: called when a cell has ended; so the outcomes come in the order in which the cells end.
        on_poll: called several times a second while cells run.

    Raises:
        UserError: a cell needs more GPUs than a cell process gets.
    """
    outcomes = {}
    for number, cell in enumerate(plan):
        before = read_outcome(cell, out)
        if before is not None:
            outcomes[number] = before
            on_outcome(before)
    left = [number for number in range(len(plan)) if number not in outcomes]
    if left:
        cells = [plan[number] for number in left]
        shares = _shares(count, cells)
        launched = Launched.create(cells, place, out, command)
        with _hangup_interrupts():
            for index in _run(launched, shares, on_poll):
                outcome = _outcome(cells[index], launched.run_folder(index))
                on_outcome(outcome)
                outcomes[left[index]] = outcome
    return [outcomes[number] for number in range(len(plan))]


def _run(launched: Launched, shares: Sequence[dict[str, str]], on_poll: Callable[[], None]) -> Iterator[int]:
    """Run every cell, at most one at a time for each share. Yield the index of each cell when it has ended."""
    waiting = deque(range(len(launched)))
    running: dict[int, Supervisor] = {}
    try:
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
            on_poll()
            time.sleep(POLL_SECONDS)
    finally:
        _stop(list(running.values()))


def _stop(supervisors: Sequence[Supervisor]) -> None:
    """Tell cell processes to save and to stop, and kill those that take longer than ``STOP_SECONDS``."""
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
    """Return the outcome that a cell process left in its run folder."""
    record = finished_record(folder)
    if record is not None:
        return Outcome(cell, record, f"{record.wall_seconds:.0f} s")
    status = Status.read(folder)
    if status is not None and status.state == "failed":
        return Outcome(cell, None, status.reason)
    return Outcome(cell, None, f"Another process is running this cell in {folder}.")


def _shares(count: int, cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Return the environment variables of each cell process: its threads and its GPUs.

    If there are fewer GPUs than cell processes, several of them share one.

    Raises:
        UserError: a cell needs more GPUs than a cell process gets.
    """
    threads = max(1, cores() // count)
    share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    gpus = _gpus()
    if not gpus:
        return [share] * count
    each = [gpus[number::count] or [gpus[number % len(gpus)]] for number in range(count)]
    fewest = min(map(len, each))
    for cell in cells:
        if cell.runtime.accelerator != "cpu" and cell.runtime.devices > fewest:
            raise UserError(
                f"{cell.name} needs {cell.runtime.devices} GPUs, but --workers {count} gives each cell only {fewest} "
                f"of the {len(gpus)} GPUs; lower --workers."
            )
    return [share | {"CUDA_VISIBLE_DEVICES": ",".join(some)} for some in each]


def _gpus() -> list[str]:
    """Return the GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()  # 0 if CUDA_VISIBLE_DEVICES names a GPU that does not exist
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(count)) if visible is None else visible.split(",")
    return list(names)[:count]


@contextmanager
def _hangup_interrupts() -> Iterator[None]:
    """Let a closed terminal and SIGTERM do what Ctrl-C does, unless they are ignored (as under nohup)."""
    numbers = [number for number in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
