"""Launched plans for the tests of this folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ssm_bench.catalog import benchmarks
from ssm_bench.launch.launched import Launched
from ssm_bench.plan import Cell, make_plan
from ssm_data.contract import Place


@pytest.fixture
def plan() -> Callable[..., list[Cell]]:
    """Return a function that plans cells of two tasks with the given overrides."""

    def plan(
        *words: str,
        models: Sequence[str] = ("s4d",),
        tasks: Sequence[str] = ("listops", "image"),
        seeds: Sequence[int] = (0, 1),
        sweep: bool = False,
    ) -> list[Cell]:
        return make_plan(benchmarks()["lra"], models, tasks, "smoke", seeds, words, sweep=sweep)

    return plan


@pytest.fixture
def launch(work: Path) -> Callable[..., Launched]:
    """Return a function that launches cells in ``runs``, without starting any."""

    def launch(cells: Sequence[Cell], profile: Path | None = None) -> Launched:
        place = Place(None, work / "cache")
        return Launched.create(cells, place, work / "runs", ["lra", "--model", "s4d"], profile)

    return launch
