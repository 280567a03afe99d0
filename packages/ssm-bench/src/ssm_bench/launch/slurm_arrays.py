"""Group the cells of a plan into as few job arrays as their needs allow."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.launch.cluster_profile import ClusterProfile
from ssm_bench.launch.slurm_queue import largest_array
from ssm_bench.plan import Cell
from ssm_bench.record import Record, find_records

#: Time limit of a cell that is like a finished one: the time of the finished cell times a factor, plus start minutes.
TIME_FACTOR, TIME_START = 1.5, 10
#: Time limits are rounded up to multiples of this many minutes, so that cells of similar cost share an array.
TIME_STEP = 30


@dataclass(frozen=True)
class JobArray:
    """Cells that need the same resources.

    Attributes:
        nodes, devices: the number of nodes, and of processes on each node.
        gpu: whether the processes use GPUs.
        minutes: time limit; None: the default of the cluster.
        cells: the indices of the cells in the launch.
    """

    nodes: int
    devices: int
    gpu: bool
    minutes: int | None
    cells: tuple[int, ...]


def plan_arrays(cells: Sequence[Cell], out: Path, profile: ClusterProfile) -> list[JobArray]:
    """Group cells by the resources that they need, in arrays no larger than the cluster allows."""
    limits = _time_limits(cells, out, profile)
    groups: dict[tuple[int, int, bool, int | None], list[int]] = defaultdict(list)
    for index, (cell, minutes) in enumerate(zip(cells, limits, strict=True)):
        runtime = cell.runtime
        gpu = runtime.accelerator != "cpu" and profile.gpus > 0
        groups[runtime.nodes, runtime.devices, gpu, minutes].append(index)
    largest = profile.array_limit or largest_array()
    return [
        JobArray(*key, tuple(indices[start : start + largest]))
        for key, indices in groups.items()
        for start in range(0, len(indices), largest)
    ]


def _time_limits(cells: Sequence[Cell], out: Path, profile: ClusterProfile) -> list[int | None]:
    """Return the time limit of each cell in minutes.

    It follows from finished runs of the same task, model, scale and overrides; without such runs it is the profile's.
    """
    took: dict[tuple[str, ...], float] = defaultdict(float)
    for record in find_records([out])[0]:
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
