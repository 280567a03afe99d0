"""The program that runs one cell of a launched plan: ``python -m ssm_bench.cli.cell_process PLAN INDEX``.

It is not a verb of ``bench``: launchers and SLURM jobs start it, in the copy of the code that belongs to the plan. The
exit status is 0 if the cell is done or another process runs it, 1 if the cell failed because of its own error, and 75
if it must be started again. If you start it by hand, it does the same as in a job.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ssm_bench.cli.console import make_console
from ssm_bench.errors import BusyError, Preempted, RunError, UserError
from ssm_bench.launch.cell import carry_out
from ssm_bench.launch.launched import DamagedLaunchError, Launched
from ssm_bench.launch.supervisor import AGAIN, DONE, FAILED
from ssm_bench.status import Status, fail, is_rank_zero, slurm_job
from ssm_bench.training.preemption import notice

#: Seconds that a requeued job waits for the process of its earlier attempt.
WAIT_SECONDS = 120.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cell and return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 2 or not words[1].isdecimal():
        print("usage: python -m ssm_bench.cli.cell_process PLAN INDEX", file=sys.stderr)
        return 2
    notice.install()
    console = make_console()
    console.quiet = not is_rank_zero()
    launched, index = Launched(Path(words[0]).parent), int(words[1])
    try:
        folder, name = launched.run_folder(index), launched.name(index)
    except DamagedLaunchError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return FAILED

    def say(text: str) -> None:
        console.print(f"{name}: {text}", markup=False, soft_wrap=True)

    try:
        before, job = Status.read(folder), slurm_job()
        requeued = before is not None and job != "" and before.job == job
        cell = launched.cell(index)
        outcome = carry_out(
            cell, launched.place, launched.out, console, launched.content["command"], WAIT_SECONDS if requeued else 0.0
        )
    except BusyError as error:
        say(f"{error} This process leaves the cell to it.")
        return DONE
    except (RunError, UserError) as error:
        fail(folder, str(error))
        say(str(error))
        return FAILED
    except Preempted:
        say("told to stop; the cell goes on when it is started again.")
        return AGAIN
    console.print(outcome.line, markup=False, soft_wrap=True)
    return FAILED if outcome.failed else DONE


if __name__ == "__main__":
    sys.exit(main())
