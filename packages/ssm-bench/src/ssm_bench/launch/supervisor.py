"""Start the process that runs a cell, forward signals to it, and report how it ended if it could not do so itself."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from ssm_bench.launch.launched import Launched
from ssm_bench.run_folder import LOG
from ssm_bench.status import Status, begin, fail, is_rank_zero, slurm_job
from ssm_bench.training.preemption import SIGNALS

#: Exit statuses of a cell process. DONE: the cell is done, or another process runs it. FAILED: the cell failed by its
#: own fault. AGAIN: the cell is to be started again.
DONE, FAILED, AGAIN = 0, 1, 75
#: The program that runs one cell: ``python -m ssm_bench.cli.cell_process PLAN INDEX``.
PROGRAM = "ssm_bench.cli.cell_process"
#: A cell that saves no progress in this many attempts in a row counts as failed.
FRUITLESS = 3
#: Signals that come from outside and say nothing about the cell.
FOREIGN = {signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP}


class Supervisor:
    """One attempt at one cell, in a process of its own.

    Args:
        environment: environment variables that the cell process gets in addition to those of this process.
    """

    def __init__(self, launched: Launched, index: int, environment: Mapping[str, str] | None = None) -> None:
        self.launched = launched
        self.index = index
        self.folder = launched.run_folder(index)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._oom_kills = _oom_kills()
        self._started = time.time()
        command = [sys.executable, "-u", "-m", PROGRAM, str(launched.file), str(index)]
        with (self.folder / LOG).open("ab") as log:
            if is_rank_zero():
                job = slurm_job()
                where = f"job {job} on {os.uname().nodename}" if job else os.uname().nodename
                log.write(f"== {time.strftime('%Y-%m-%d %H:%M:%S')} {where}: {shlex.join(command)}\n".encode())
                log.flush()
            # In a session of its own, the process gets no Ctrl-C: only the launcher does, and tells it to stop.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | _python_path(launched) | dict(environment or {}),
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        """Send a signal to the cell process if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def poll(self) -> int | None:
        """Return what :meth:`wait` would return, or None while the cell process runs."""
        return None if self.process.poll() is None else self.wait()

    def wait(self) -> int:
        """Wait for the end of the cell process and return DONE, FAILED or AGAIN."""
        code = self.process.wait()
        if code == DONE:
            return DONE
        if code > 0 and code != AGAIN:
            self._explain(code)
            return FAILED
        if code < 0 and (reason := self._fault(-code)):
            fail(self.folder, reason)
            return FAILED
        if not is_rank_zero():
            return AGAIN
        status = Status.read(self.folder)
        if status is None or status.began < self._started:
            # The process ended before it wrote its status; this counts as an attempt, too.
            status = begin(self.folder)
        if status.fruitless >= FRUITLESS:
            fail(self.folder, f"Stopped {status.fruitless} times in a row before it could save any progress.")
            return FAILED
        if code != AGAIN:
            status.change(
                self.folder, state="stopped", reason=f"ended by {signal.Signals(-code).name}", seconds_left=None
            )
        return AGAIN

    def _explain(self, code: int) -> None:
        """Write why the cell failed, unless its process did so; it cannot if, for example, an import failed."""
        status = Status.read(self.folder)
        began = status is not None and status.began >= self._started
        if is_rank_zero() and not (began and status is not None and status.state in ("failed", "done")):
            if not began:
                begin(self.folder)
            fail(self.folder, f"The process ended with exit status {code}; see {self.folder / LOG}.")

    def _fault(self, number: int) -> str:
        """Return what the cell did wrong if a signal ended its process; empty if the signal came from outside."""
        if number == signal.SIGKILL and _oom_kills() > self._oom_kills:
            return "Out of memory: the system ended the process. Ask for more memory, or lower trainer.batch_size."
        return "" if number in FOREIGN else f"The process crashed with {signal.Signals(number).name}."


def run_task(plan: Path, index: int) -> None:
    """Run one attempt at a cell as a task of a SLURM job, and end this process with the attempt's exit status.

    If several tasks run the cell, only the first one tells whether the cell is to be started again.
    """
    received: list[int] = []
    running: list[Supervisor] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for supervisor in running:
            supervisor.signal(number)

    # This comes first, because the handlers of submitit, installed before this call, would end the job for good.
    for number in SIGNALS:
        signal.signal(number, forward)
    supervisor = Supervisor(Launched(plan.parent), index)
    running.append(supervisor)
    for early in received:
        supervisor.signal(early)
    code = supervisor.wait()
    sys.exit(code if is_rank_zero() or code == FAILED else DONE)


def prepare_data(plan: Path, indices: list[int]) -> None:
    """Prepare the data of some cells, as a SLURM job of its own."""
    launched = Launched(plan.parent)
    for index in indices:
        launched.cell(index).recipe.data.prepare(launched.place, progress=False)


def _python_path(launched: Launched) -> dict[str, str]:
    paths = [*launched.code.paths, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}


def _oom_kills() -> int:
    """Return how many processes this machine has ended for lack of memory, also because of a control group's limit."""
    file = Path("/proc/vmstat")  # proc(5); missing on macOS
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
