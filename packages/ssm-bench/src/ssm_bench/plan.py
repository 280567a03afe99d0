"""A command line becomes a plan: the cells (benchmark, task, model, scale, seed) to run. Does not import torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ssm_bench.catalog import Benchmark
from ssm_bench.config import Recipe, Runtime
from ssm_bench.errors import UserError
from ssm_bench.recipe import RUNTIME_KEYS, compose_recipe, recipe_hash, values


@dataclass(frozen=True)
class Cell:
    """One run: a recipe with its seed, and how to carry it out.

    ``overrides`` are the ``key=value`` words behind the recipe, sorted, without those of the runtime; ``sweep`` the
    keys of those that are a point of a sweep.
    """

    recipe: Recipe
    runtime: Runtime
    overrides: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        return recipe_hash(self.recipe)

    @property
    def name(self) -> str:
        recipe = self.recipe
        return f"{recipe.benchmark}/{recipe.task} {recipe.model_name} seed {recipe.seed}"

    def folder(self, out: Path) -> Path:
        """The run folder: readable first, and unique by the recipe's hash."""
        recipe = self.recipe
        model = re.sub(r"[^A-Za-z0-9_-]+", "_", recipe.model_name)
        return out / recipe.benchmark / recipe.task / f"{model}-{recipe.scale}-seed{recipe.seed}-{self.hash}"


def make_plan(
    benchmark: Benchmark,
    models: Sequence[str],
    tasks: Sequence[str],
    scale: str,
    seeds: Sequence[int],
    overrides: Sequence[str],
    *,
    sweep: bool = False,
) -> list[Cell]:
    """All cells of a command, tasks in table order. No tasks: all. No seeds: each recipe's own.

    Args:
        sweep: overrides may give several values; each combination is a point of its own.

    Raises:
        UserError: any name, key or value is wrong; nothing has been written.
    """
    for task in tasks:
        benchmark.check_task(task)
    for model in models:
        benchmark.check_model(model)
    for kind, names in (("task", tasks), ("model", models), ("seed", seeds)):
        if len(set(names)) < len(names):
            raise UserError(f"A {kind} is named twice: {' '.join(map(str, names))}.")
    chosen = [task for task in benchmark.tasks if not tasks or task in tasks]
    each: Sequence[int | None] = seeds or [None]
    points, swept = _points(overrides) if sweep else ([tuple(overrides)], ())
    cells = [
        Cell(*compose_recipe(benchmark, task, model, scale, seed, words), _lasting(words), swept)
        for model in models
        for words in points
        for task in chosen
        for seed in each
    ]
    if len({cell.hash for cell in cells}) < len(cells):
        raise UserError("Two points of the sweep are the same recipe: a value is given twice.")
    return cells


def _lasting(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(word for word in words if word.split("=")[0] not in (*RUNTIME_KEYS, "seed")))


def _points(words: Sequence[str]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Every combination of the words' values, each a list of words; and the keys that have several."""
    choices = [values(word) for word in words]
    swept = tuple(sorted(choice[0].split("=")[0] for choice in choices if len(choice) > 1))
    if not swept:
        raise UserError("--sweep needs a key with several values, e.g. optimizer.lr=1e-3,4e-3.")
    for key in swept:
        if key in (*RUNTIME_KEYS, "seed"):
            raise UserError(f"{key} is nothing to sweep over: {_WHY_NOT['seed' if key == 'seed' else 'runtime']}.")
    return list(itertools.product(*choices)), swept


_WHY_NOT = {"seed": "--seed takes several", "runtime": "it does not change the result"}
