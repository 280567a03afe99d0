"""Starts the worker of a cell, passes signals on to it, and judges its end where it can no longer speak for itself."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ssm_bench.launch.launched import Launched
from ssm_bench.launch.worker import AGAIN, DONE, FAILED
from ssm_bench.status import Status, begin, fail, slurm_job, speaks

#: The worker's output, all attempts in a row.
LOG = "log.txt"
#: Attempts in a row that may save no progress before a cell counts as failed.
FRUITLESS = 3
#: Signals that come from outside and say nothing about the cell.
FOREIGN = {signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP}


class Supervisor:
    """One attempt at one cell, in a process of its own.

    Args:
        environment: variables of the worker besides those of this process.
    """

    def __init__(self, launched: Launched, index: int, environment: Mapping[str, str] | None = None) -> None:
        self.launched = launched
        self.index = index
        self.folder = launched.run_folder(index)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._oom_kills = _oom_kills()
        self._started = time.time()
        command = [sys.executable, "-u", "-m", "ssm_bench.launch.worker", str(launched.file), str(index)]
        with (self.folder / LOG).open("ab") as log:
            if speaks():
                job = slurm_job()
                where = f"job {job} on {os.uname().nodename}" if job else os.uname().nodename
                log.write(f"== {time.strftime('%Y-%m-%d %H:%M:%S')} {where}: {shlex.join(command)}\n".encode())
                log.flush()
            # A session of its own: Ctrl-C reaches the launcher alone, which tells the workers to stop.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | _python_path(launched) | dict(environment or {}),
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def poll(self) -> int | None:
        """What :meth:`wait` would give, or None while the worker runs."""
        return None if self.process.poll() is None else self.wait()

    def wait(self) -> int:
        """The worker's exit status, when it has ended: DONE, FAILED or AGAIN."""
        code = self.process.wait()
        if code >= 0 and code != AGAIN:
            return code
        if code < 0 and (reason := self._fault(-code)):
            fail(self.folder, reason)
            return FAILED
        if not speaks():
            return AGAIN
        status = Status.read(self.folder)
        if status is None or status.began < self._started:
            # It ended before it began: that is an attempt, too.
            status = begin(self.folder)
        if status.fruitless >= FRUITLESS:
            fail(self.folder, f"Stopped {status.fruitless} times in a row before it could save any progress.")
            return FAILED
        if code != AGAIN:
            status.change(
                self.folder, state="stopped", reason=f"ended by {signal.Signals(-code).name}", seconds_left=None
            )
        return AGAIN

    def _fault(self, number: int) -> str:
        """Why a worker that a signal ended is to blame for it, empty if it is not."""
        if number == signal.SIGKILL and _oom_kills() > self._oom_kills:
            return "Out of memory: the system ended the process. Ask for more memory, or lower trainer.batch_size."
        return "" if number in FOREIGN else f"The process crashed with {signal.Signals(number).name}."


def run_task(plan: Path, index: int) -> None:
    """One attempt at a cell as a task of a SLURM job; ends this process with the worker's exit status.

    Of several tasks the first alone says whether the cell is to be started again.
    """
    supervisor = Supervisor(Launched(plan.parent), index)
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, lambda number, frame: supervisor.signal(number))
    code = supervisor.wait()
    sys.exit(code if speaks() or code == FAILED else DONE)


def prepare_data(plan: Path, indices: list[int]) -> None:
    """Prepare the data of some cells, as a SLURM job of its own."""
    launched = Launched(plan.parent)
    for index in indices:
        launched.cell(index).recipe.data.prepare(launched.place, progress=False)


def _python_path(launched: Launched) -> dict[str, str]:
    paths = [*launched.code.paths, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}


def _oom_kills() -> int:
    """How many processes this machine has ended for lack of memory, its control groups' limits included (proc(5))."""
    file = Path("/proc/vmstat")
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
