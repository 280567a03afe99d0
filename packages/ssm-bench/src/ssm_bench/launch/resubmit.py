"""Submit failed cells again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssm_bench.errors import RunError, UserError
from ssm_bench.launch.jobs import Job
from ssm_bench.launch.launched import Launched
from ssm_bench.launch.slurm_submit import submit


def resubmit_failed(jobs: Sequence[Job], out: Path) -> Iterator[tuple[Job, bool]]:
    """Submit the cells that failed on SLURM again, with the current code of the checkout.

    Yields:
        Each failed cell, and whether it was submitted. False means that another command has submitted it, or that it
        is done.

    Raises:
        UserError: a recipe or a layer has changed since the launch, the profile is gone, or SLURM refuses.
    """
    groups: dict[Launched, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.state == "failed" and job.launched.profile is not None:
            groups[job.launched].append(job)
    for launched, group in groups.items():
        assert launched.profile is not None
        try:
            cells = [launched.cell(job.index) for job in group]
        except RunError as error:
            raise UserError(str(error)) from None
        again = submit(cells, launched.place, out, launched.content["command"], launched.profile)
        folders = {again.run_folder(index) for index in range(len(again))} if again else set()
        for job in group:
            yield job, job.folder in folders
