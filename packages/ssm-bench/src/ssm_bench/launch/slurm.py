"""Submits a launched plan to SLURM through submitit, as few arrays as its cells' needs allow."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from ssm_data.contract import Place
from submitit import SlurmExecutor

from ssm_bench.errors import UserError
from ssm_bench.jobs import find_jobs
from ssm_bench.launch.launched import FOLDER, Launched
from ssm_bench.launch.profile import Profile, read_profile
from ssm_bench.launch.queue import check, largest_array
from ssm_bench.launch.supervisor import prepare_data, run_task
from ssm_bench.launch.worker import AGAIN
from ssm_bench.plan import Cell
from ssm_bench.preemption import SIGNALS
from ssm_bench.record import FILE, Record, find_records

#: A cell that took so long here before gets this much more, and so many minutes to start.
TIME_FACTOR, TIME_START = 1.5, 10
#: Time limits are rounded up to so many minutes, so that cells of like cost share an array.
TIME_STEP = 30

#: Behind srun: a cell that is to be started again puts its own job back into the queue, also when the notice came to a
#: process that did not listen yet, or no longer. SLURM's own ways to end a job (scancel, a requeue by hand, a failed
#: node) end this script, too, so that what they mean to happen happens.
REQUEUE = f"""\
status=$?
case $status in
{"|".join(map(str, (AGAIN, *(128 + number for number in SIGNALS))))})
    scontrol requeue "$SLURM_JOB_ID" && sleep 300
esac
exit $status"""
#: When one process of a cell has ended, the others have so many seconds to end in their own way.
LAST_SECONDS = 60


@dataclass(frozen=True)
class Array:
    """Cells that ask for the same.

    Attributes:
        nodes, devices: machines, and processes on each.
        gpu: whether the processes use GPUs.
        minutes: time limit; None leaves it to the cluster.
        cells: their numbers in the launch.
    """

    nodes: int
    devices: int
    gpu: bool
    minutes: int | None
    cells: tuple[int, ...]


def unlaunched(plan: Sequence[Cell], out: Path) -> list[Cell]:
    """The cells of a plan that are neither done nor queued or running by an earlier launch."""
    active = {job.folder for job in find_jobs(out) if job.active}
    folders = {cell.folder(out.resolve()): cell for cell in plan}
    return [cell for folder, cell in folders.items() if folder not in active and not (folder / FILE).is_file()]


def submit(
    plan: Sequence[Cell], place: Place, out: Path, command: Sequence[str], profile_file: Path
) -> Launched | None:
    """Launch the cells that are neither done nor launched, and return at once; None if there are none.

    Args:
        command: the words behind ``bench``, for the records.

    Raises:
        UserError: SLURM refuses, or the data of a cell cannot be had.
    """
    check()
    profile = read_profile(profile_file)
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    # Who submits the same at the same time finds it submitted.
    with FileLock(out / FOLDER / ".lock"):
        cells = unlaunched(plan, out)
        if not cells:
            return None
        unready = _unready(cells, place)
        launched = Launched.create(cells, place, out, command, str(profile_file))
        jobs: dict[int, str] = {}
        first = None
        try:
            if unready:
                executor = _executor(launched, profile, _data_parameters(profile))
                first = executor.submit(prepare_data, launched.file, unready).job_id
            arrays = plan_arrays(cells, out, profile)
            for array in arrays:
                executor = _executor(launched, profile, _parameters(profile, array, len(arrays), first))
                tasks = executor.map_array(run_task, [launched.file] * len(array.cells), array.cells)
                jobs |= {cell: task.job_id for cell, task in zip(array.cells, tasks, strict=True)}
        except Exception as error:
            raise UserError(f"SLURM refused the plan: {' '.join(str(error).split())}") from error
        finally:
            launched.note_jobs(jobs, first)
    return launched


def describe(plan: Sequence[Cell], place: Place, out: Path, profile_file: Path) -> str:
    """What :func:`submit` would submit: each job script and its cells. Nothing is written."""
    check()
    profile = read_profile(profile_file)
    cells = unlaunched(plan, out)
    if not cells:
        return "Every cell is done or launched; nothing would be submitted."
    launched = Launched(out.resolve() / FOLDER / "ID")
    unready = _unready(cells, place)
    arrays = plan_arrays(cells, out, profile)
    parts = []
    if unready:
        names = "\n".join(f"#   {cells[index].name}" for index in unready)
        script = _script(launched, profile, _data_parameters(profile), 1)
        parts.append(f"# A first job prepares the data of\n{names}\n{script}")
    for array in arrays:
        names = "\n".join(f"#   {number}: {cells[index].name}" for number, index in enumerate(array.cells))
        parameters = _parameters(profile, array, len(arrays), "FIRST" if unready else None)
        script = _script(launched, profile, parameters, len(array.cells))
        parts.append(f"# An array of {len(array.cells)}:\n{names}\n{script}")
    return "\n\n".join(parts)


def plan_arrays(cells: Sequence[Cell], out: Path, profile: Profile) -> list[Array]:
    """Cells grouped by what they ask for, in arrays no larger than the cluster takes."""
    times = _times(cells, out, profile)
    groups: dict[tuple[int, int, bool, int | None], list[int]] = defaultdict(list)
    for index, (cell, minutes) in enumerate(zip(cells, times, strict=True)):
        runtime = cell.runtime
        gpu = runtime.accelerator != "cpu" and profile.gpus > 0
        groups[runtime.nodes, runtime.devices, gpu, minutes].append(index)
    limit = profile.array_limit or largest_array()
    return [
        Array(*key, tuple(indices[start : start + limit]))
        for key, indices in groups.items()
        for start in range(0, len(indices), limit)
    ]


def _times(cells: Sequence[Cell], out: Path, profile: Profile) -> list[int | None]:
    """Minutes for each cell: by what the same benchmark, task, model and scale took here, else the profile's."""
    took: dict[tuple[str, ...], float] = defaultdict(float)
    for record in find_records(out):
        key = _kind(record)
        took[key] = max(took[key], record.wall_seconds)
    limits = []
    for cell in cells:
        recipe = cell.recipe
        seconds = took.get((recipe.benchmark, recipe.task, recipe.model_name, recipe.scale, *cell.overrides))
        limit = profile.time
        if seconds is not None:
            known = TIME_STEP * math.ceil((TIME_FACTOR * seconds / 60 + TIME_START) / TIME_STEP)
            limit = known if limit is None else min(known, limit)
        limits.append(limit)
    return limits


def _kind(record: Record) -> tuple[str, ...]:
    return record.benchmark, record.task, record.model, record.scale, *record.overrides


def _unready(cells: Sequence[Cell], place: Place) -> list[int]:
    """One cell for each data set that is not prepared yet.

    Raises:
        UserError: it cannot be.
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


def _parameters(profile: Profile, array: Array, arrays: int, first: str | None) -> dict[str, Any]:
    """Of submitit's executor, for an array."""
    more: dict[str, Any] = {"requeue": True}
    if first is not None:
        more |= {"dependency": f"afterok:{first}", "kill-on-invalid-dep": "yes"}
    if array.gpu:
        count = profile.gpus * array.devices
        more["gpus-per-node"] = f"{profile.gpu}:{count}" if profile.gpu else count
    return _common(profile) | {
        "time": array.minutes,
        "nodes": array.nodes,
        "ntasks_per_node": array.devices,
        "cpus_per_task": profile.cpus,
        "mem": f"{math.ceil(1024 * profile.memory)}M" if profile.memory else None,
        # The limit holds for the plan, so its arrays share it.
        "array_parallelism": max(1, profile.parallel // arrays),
        "signal_delay_s": profile.grace,
        # A step does not inherit its job's cores (since SLURM 22.05).
        "srun_args": ["--kill-on-bad-exit=0", f"--wait={LAST_SECONDS}", f"--cpus-per-task={profile.cpus}"],
        "teardown": REQUEUE.splitlines(),
        "additional_parameters": more | (profile.sbatch or {}),
    }


def _data_parameters(profile: Profile) -> dict[str, Any]:
    """Of submitit's executor, for the job that prepares data."""
    return _common(profile) | {
        "time": profile.time,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": profile.cpus,
        "mem": f"{math.ceil(1024 * profile.memory)}M" if profile.memory else None,
        "additional_parameters": {"requeue": True} | (profile.sbatch or {}),
    }


def _common(profile: Profile) -> dict[str, Any]:
    return {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "mail_user": profile.mail,
        "mail_type": "END,FAIL" if profile.mail else None,
        "stderr_to_stdout": True,
        "wckey": None,
    }


def _executor(launched: Launched, profile: Profile, parameters: Mapping[str, Any]) -> SlurmExecutor:
    executor = SlurmExecutor(launched.folder / "slurm", python=profile.python)
    paths = ":".join(map(shlex.quote, launched.code.paths))
    setup = [*profile.setup]
    if paths:
        setup.append(f"export PYTHONPATH={paths}${{PYTHONPATH:+:$PYTHONPATH}}")
    setup.append('export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}"')
    executor.update_parameters(job_name=f"bench-{launched.folder.name}", setup=setup, **parameters)
    return executor


def _script(launched: Launched, profile: Profile, parameters: Mapping[str, Any], count: int) -> str:
    executor = _executor(launched, profile, parameters)
    if count > 1:
        executor.parameters["map_count"] = count
    return executor._make_submission_file_text(executor._submitit_command_str, "")
