"""The only module that calls submitit: job scripts, and their submission.

It uses two private members of submitit's ``SlurmExecutor``, ``_make_submission_file_text`` and
``_submitit_command_str``, because submitit cannot show a job script without submitting it. They were checked with
submitit 1.5; a test names that version.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

#: Variables that give sbatch an account, a time limit and so on, and the parameter that they stand for.
_DEFAULTS = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_TIMELIMIT": "time",
}


class RefusedError(Exception):
    """SLURM did not take a job; the message is what sbatch said."""


def submit(
    folder: Path,
    python: str | None,
    parameters: Mapping[str, Any],
    function: Callable[..., Any],
    arguments: Sequence[Sequence[Any]],
) -> list[str]:
    """Submit one call of ``function`` for each of the ``arguments``, several as an array, and return the job ids.

    Args:
        folder: the folder for submitit's files and the output of the jobs.
        python: the command that starts Python on a node; None: this interpreter.
        parameters: the parameters of submitit's executor.

    Raises:
        RefusedError: SLURM did not take the jobs.
    """
    executor = _executor(folder, python, parameters)
    try:
        # submitit prints what sbatch says; the exception holds it, too.
        with _sbatch_environment(parameters), contextlib.redirect_stderr(io.StringIO()):
            jobs = executor.map_array(function, *zip(*arguments, strict=True))
    except (FailedJobError, FailedSubmissionError) as error:
        raise RefusedError(str(error)) from error
    return [job.job_id for job in jobs]


def job_script(folder: Path, python: str | None, parameters: Mapping[str, Any], count: int) -> str:
    """Return the script of a job, or of an array of ``count`` jobs, as :func:`submit` would submit it."""
    executor = _executor(folder, python, parameters)
    if count > 1:
        executor.parameters["map_count"] = count
    return executor._make_submission_file_text(executor._submitit_command_str, "")


def _executor(folder: Path, python: str | None, parameters: Mapping[str, Any]) -> SlurmExecutor:
    executor = SlurmExecutor(folder, python=python)
    executor.update_parameters(**parameters)
    return executor


@contextlib.contextmanager
def _sbatch_environment(parameters: Mapping[str, Any]) -> Iterator[None]:
    """Remove the variables that would change the job scripts, until the context ends.

    A process inside of a job inherits that job's SLURM_* variables, which srun in the new job would take as its
    options. SBATCH_* variables override the options in a job script, so they are kept only for options that the profile
    does not set.
    """
    more = parameters.get("additional_parameters") or {}
    inside = "SLURM_JOB_ID" in os.environ

    def is_kept(name: str) -> bool:
        if name.startswith("SBATCH_"):
            option = _DEFAULTS.get(name)
            return option is not None and parameters.get(option) is None and option not in more
        if name.startswith(("SLURM_", "SLURMD_", "SRUN_", "PMI_", "PMIX_")):
            return not inside or name == "SLURM_CONF"
        return True

    removed = {name: value for name, value in os.environ.items() if not is_kept(name)}
    for name in removed:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(removed)
