"""The process that runs one cell of a launched plan: ``python -m ssm_bench.launch.worker PLAN INDEX``.

Its exit status: 0 the cell is done or another process is at it, 1 the cell failed by its own fault, 75 it is to be
started again. The same command by hand does what a job does, without the job.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ssm_bench.cli.console import make_console
from ssm_bench.errors import BusyError, RunError, UserError
from ssm_bench.launch.cell import carry_out, show
from ssm_bench.launch.launched import Launched
from ssm_bench.preemption import Preempted, notice
from ssm_bench.status import Status, fail, slurm_job, speaks

DONE, FAILED, AGAIN = 0, 1, 75
#: How long a requeued job waits for what is left of its earlier attempt.
PATIENCE_SECONDS = 120.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cell; the exit status."""
    plan, index = sys.argv[1:] if argv is None else argv
    notice.install()
    console = make_console()
    console.quiet = not speaks()
    launched, number = Launched(Path(plan).parent), int(index)
    folder, name = launched.run_folder(number), launched.name(number)
    # The record tells the command that launched the plan.
    sys.argv = ["bench", *launched.content["command"]]
    try:
        before, job = Status.read(folder), slurm_job()
        ours = before is not None and job != "" and before.job == job
        launched.check_file(number)
        cell = launched.cell(number)
        outcome = carry_out(cell, launched.place, launched.out, console, PATIENCE_SECONDS if ours else 0.0)
    except BusyError as error:
        console.print(f"{name}: left to that one. {error}", soft_wrap=True)
        return DONE
    except (RunError, UserError) as error:
        fail(folder, str(error))
        console.print(f"{name}: {error}", markup=False, soft_wrap=True)
        return FAILED
    except Preempted:
        console.print(f"{name}: told to stop; goes on when it is started again", soft_wrap=True)
        return AGAIN
    show(outcome, console)
    return DONE if outcome.record is not None else FAILED


if __name__ == "__main__":
    sys.exit(main())
