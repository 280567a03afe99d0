"""Cells that ask for the same share an array, and a cell like one that ran before asks for less time."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ssm_bench.launch.cluster_profile import ClusterProfile
from ssm_bench.launch.slurm_arrays import plan_arrays
from ssm_bench.plan import Cell
from ssm_bench.record import Record

Plan = Callable[..., list[Cell]]


def test_arrays_group_what_asks_for_the_same(plan: Plan, work: Path) -> None:
    cells = plan(seeds=range(5)) + plan("devices=2", seeds=range(5, 7)) + plan("accelerator=cpu", seeds=range(7, 9))
    arrays = plan_arrays(cells, work, ClusterProfile(array_limit=4))
    assert sorted(index for array in arrays for index in array.cells) == list(range(len(cells)))
    assert [(array.devices, array.gpu, len(array.cells)) for array in arrays] == [
        (1, True, 4),
        (1, True, 4),
        (1, True, 2),
        (2, True, 4),
        (1, False, 4),
    ]
    assert {array.minutes for array in arrays} == {None}


def test_on_a_cluster_without_gpus_no_array_asks_for_any(plan: Plan, work: Path) -> None:
    arrays = plan_arrays(plan(), work, ClusterProfile(array_limit=4, gpus=0))
    assert {array.gpu for array in arrays} == {False}


@pytest.mark.parametrize(("seconds", "limit", "minutes"), [(3600.0, 600, 120), (3600.0, 60, 60), (60.0, None, 30)])
def test_time_limits_are_measured_or_the_profiles(
    seconds: float, limit: int | None, minutes: int, plan: Plan, work: Path
) -> None:
    cells = plan(seeds=[0, 1])
    profile = ClusterProfile(array_limit=9, time=limit)
    assert {array.minutes for array in plan_arrays(cells, work, profile)} == {limit}
    folder = cells[0].folder(work)
    folder.mkdir(parents=True)
    _record(cells[0], wall_seconds=seconds).write(folder)
    arrays = {array.minutes: array.cells for array in plan_arrays(cells, work, profile)}
    if minutes == limit:
        assert arrays == {limit: (0, 1, 2, 3)}
    else:
        assert arrays == {minutes: (0, 1), limit: (2, 3)}


def test_a_damaged_record_does_not_stop_the_plan(plan: Plan, work: Path) -> None:
    folder = plan()[0].folder(work)
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{")
    assert len(plan_arrays(plan(), work, ClusterProfile(array_limit=9))) == 1


def _record(cell: Cell, wall_seconds: float) -> Record:
    recipe = cell.recipe
    return Record(
        benchmark=recipe.benchmark,
        task=recipe.task,
        model=recipe.model_name,
        scale=recipe.scale,
        seed=recipe.seed,
        metric="accuracy",
        metrics={"val/accuracy": 0.5, "test/accuracy": 0.5},
        chance=0.1,
        parameters=1,
        steps=1,
        epochs=1,
        wall_seconds=wall_seconds,
        samples_per_second=1.0,
        peak_memory_bytes=1,
        device="",
        hash=cell.hash,
        recipe={},
        overrides=list(cell.overrides),
        data_fingerprint="",
        data_sizes={},
        code="",
        packages={},
        command="",
        finished="",
    )
