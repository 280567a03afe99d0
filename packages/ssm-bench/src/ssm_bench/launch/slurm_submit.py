"""Submit a plan to SLURM as job arrays, or show the job scripts that would be submitted."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from ssm_data.contract import Place

from ssm_bench.errors import UserError
from ssm_bench.launch.cluster_profile import ClusterProfile, read_profile
from ssm_bench.launch.jobs import find_jobs
from ssm_bench.launch.launched import FOLDER, Launched
from ssm_bench.launch.slurm_arrays import JobArray, plan_arrays
from ssm_bench.launch.slurm_queue import check_slurm
from ssm_bench.launch.slurm_refusals import explain_refusal
from ssm_bench.launch.slurm_requeue import REQUEUE
from ssm_bench.launch.slurm_submitit import RefusedError, job_script
from ssm_bench.launch.slurm_submitit import submit as submit_jobs
from ssm_bench.launch.supervisor import prepare_data, run_task
from ssm_bench.plan import Cell
from ssm_bench.run_folder import is_done

#: When one process of a cell has ended, the others have this many seconds to end by themselves.
LAST_SECONDS = 60


def unlaunched(plan: Sequence[Cell], out: Path) -> list[Cell]:
    """Return the cells of a plan that are neither done nor queued or running because of an earlier launch."""
    active = {job.folder for job in find_jobs(out) if job.active}
    folders = {cell.folder(out.resolve()): cell for cell in plan}
    return [cell for folder, cell in folders.items() if folder not in active and not is_done(folder)]


def submit(
    plan: Sequence[Cell], place: Place, out: Path, command: Sequence[str], profile_file: Path
) -> Launched | None:
    """Submit the cells that are neither done nor launched, and return at once. Return None if there are no such cells.

    Args:
        command: the words after ``bench`` on the command line, for the records.

    Raises:
        UserError: SLURM refuses a job, or the data of a cell cannot be prepared.
    """
    check_slurm()
    profile = read_profile(profile_file)
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    # Another command that submits the same cells at the same time waits here, and then finds them submitted.
    with FileLock(out / FOLDER / ".lock"):
        cells = unlaunched(plan, out)
        if not cells:
            return None
        arrays = plan_arrays(cells, out, profile)
        unready = _unready(cells, place)
        launched = Launched.create(cells, place, out, command, profile_file)
        folder = launched.folder / "slurm"
        jobs: dict[int, str] = {}
        data_job = None
        try:
            if unready:
                parameters = _data_parameters(launched, profile)
                [data_job] = submit_jobs(folder, profile.python, parameters, prepare_data, [(launched.file, unready)])
            for array in arrays:
                parameters = _parameters(launched, profile, array, len(arrays), data_job)
                arguments = [(launched.file, index) for index in array.cells]
                ids = submit_jobs(folder, profile.python, parameters, run_task, arguments)
                jobs |= dict(zip(array.cells, ids, strict=True))
        except RefusedError as error:
            sentence = explain_refusal(str(error), str(profile_file))
            if jobs:
                sentence += f" {len(jobs)} of {len(cells)} cells were submitted before that."
            raise UserError(sentence) from error
        finally:
            if jobs or data_job:
                launched.note_jobs(jobs, data_job)
            else:
                launched.discard()
    return launched


def preview_submission(plan: Sequence[Cell], place: Place, out: Path, profile_file: Path) -> str:
    """Return what :func:`submit` would submit: each job script with the names of its cells. Nothing is written."""
    check_slurm()
    profile = read_profile(profile_file)
    cells = unlaunched(plan, out)
    if not cells:
        return "Every cell is done or launched; nothing would be submitted."
    launched = Launched(out.resolve() / FOLDER / "ID")
    unready = _unready(cells, place)
    arrays = plan_arrays(cells, out, profile)
    folder = launched.folder / "slurm"
    parts = []
    if unready:
        names = "\n".join(f"#   {cells[index].name}" for index in unready)
        script = job_script(folder, profile.python, _data_parameters(launched, profile), 1)
        parts.append(f"# A first job prepares the data of\n{names}\n{script}")
    for array in arrays:
        names = "\n".join(f"#   {number}: {cells[index].name}" for number, index in enumerate(array.cells))
        parameters = _parameters(launched, profile, array, len(arrays), "FIRST" if unready else None)
        script = job_script(folder, profile.python, parameters, len(array.cells))
        parts.append(f"# An array of {len(array.cells)}:\n{names}\n{script}")
    return "\n\n".join(parts)


def _unready(cells: Sequence[Cell], place: Place) -> list[int]:
    """Return the index of one cell for each data set that is not prepared yet.

    Raises:
        UserError: a data set cannot be prepared.
    """
    seen: list[Any] = []
    unready = []
    for index, cell in enumerate(cells):
        data = cell.recipe.data
        if data in seen:
            continue
        seen.append(data)
        status = data.status(place)
        if status.state == "missing":
            raise UserError(f"{cell.name}: {status.sentence}")
        if status.state != "ready":
            unready.append(index)
    return unready


def _parameters(
    launched: Launched, profile: ClusterProfile, array: JobArray, arrays: int, data_job: str | None
) -> dict[str, Any]:
    """Return the parameters of submitit's executor for an array."""
    more: dict[str, Any] = {"requeue": True}
    if data_job is not None:
        more |= {"dependency": f"afterok:{data_job}", "kill-on-invalid-dep": "yes"}
    if array.gpu:
        count = profile.gpus * array.devices
        more["gpus-per-node"] = f"{profile.gpu}:{count}" if profile.gpu else count
    return _common(launched, profile) | {
        "time": array.minutes,
        "nodes": array.nodes,
        "ntasks_per_node": array.devices,
        # The limit holds for the plan, so its arrays share it.
        "array_parallelism": max(1, profile.parallel // arrays),
        "signal_delay_s": profile.grace,
        # A step does not inherit its job's cores (since SLURM 22.05).
        "srun_args": ["--kill-on-bad-exit=0", f"--wait={LAST_SECONDS}", f"--cpus-per-task={profile.cpus}"],
        "teardown": REQUEUE.splitlines(),
        "additional_parameters": {**more, **(profile.sbatch or {})},
    }


def _data_parameters(launched: Launched, profile: ClusterProfile) -> dict[str, Any]:
    """Return the parameters of submitit's executor for the job that prepares data."""
    return _common(launched, profile) | {
        "time": profile.time,
        "nodes": 1,
        "ntasks_per_node": 1,
        "additional_parameters": {"requeue": True, **(profile.sbatch or {})},
    }


def _common(launched: Launched, profile: ClusterProfile) -> dict[str, Any]:
    setup = [*profile.setup]
    if paths := ":".join(map(shlex.quote, launched.code.paths)):
        setup.append(f"export PYTHONPATH={paths}${{PYTHONPATH:+:$PYTHONPATH}}")
    setup.append('export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}"')
    return {
        "job_name": launched.job_name,
        "setup": setup,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "cpus_per_task": profile.cpus,
        "mem": f"{math.ceil(1024 * profile.memory)}M" if profile.memory else None,
        "mail_user": profile.mail,
        "mail_type": "END,FAIL" if profile.mail else None,
        "stderr_to_stdout": True,
        "wckey": None,
    }
