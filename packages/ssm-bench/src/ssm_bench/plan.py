"""A command line becomes a plan: the cells (benchmark, task, model, scale, seed) to run. Does not import torch."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ssm_bench.catalog import Benchmark, ModelName
from ssm_bench.config import Recipe, Runtime
from ssm_bench.errors import UserError
from ssm_bench.fit import find_fit
from ssm_bench.recipe import MAX_POINTS, RUNTIME_KEYS, compose_recipe, effective, recipe_hash, values

#: The most bytes that the model's name takes in the name of a run folder; a file name may have 255 in all.
NAME_LENGTH = 120


@dataclass(frozen=True)
class Cell:
    """One run: a recipe with its seed, and how to carry it out.

    Attributes:
        overrides: the ``key=value`` words that changed the recipe, sorted, except those that set the runtime.
        sweep: the keys of these words that are swept over, if the cell is a point of a sweep.
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
        """Return the run folder: readable first, and unique by the recipe's hash."""
        recipe = self.recipe
        model = re.sub(r"[^A-Za-z0-9_@-]+", "_", recipe.model_name)[:NAME_LENGTH]
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
    """Return all cells of a command, with the tasks in table order.

    Without ``tasks`` these are all tasks of the benchmark; without ``seeds``, each recipe has its own seed.

    Args:
        sweep: overrides may give several values; each combination is a point of its own.

    Raises:
        UserError: a name, a key or a value is wrong; nothing has been written.
    """
    for task in tasks:
        benchmark.check_task(task)
    names = [ModelName.parse(model) for model in models]
    for kind, given in (("task", tasks), ("model", [str(n) + n.path for n in names]), ("seed", seeds)):
        if len(set(given)) < len(given):
            raise UserError(f"A {kind} is named twice: {' '.join(map(str, given))}.")
    chosen = [task for task in benchmark.tasks if not tasks or task in tasks]
    for name in names:
        _check_fit(benchmark, name, chosen)
    each: Sequence[int | None] = seeds or [None]
    words = effective(overrides)
    if seeds and any(word.split("=")[0] == "seed" for word in words):
        raise UserError("--seed and seed= both give seeds; leave one out.")
    points, swept = _points(words) if sweep else ([words], ())
    cells = [
        Cell(*compose_recipe(benchmark, task, model, scale, seed, point), _lasting(point), swept)
        for model in models
        for point in points
        for task in chosen
        for seed in each
    ]
    if len({(cell.recipe.task, cell.hash) for cell in cells}) < len(cells):
        raise UserError("Two cells of the plan have the same recipe: a value or a seed is given twice.")
    return cells


def _check_fit(benchmark: Benchmark, model: ModelName, tasks: Sequence[str]) -> None:
    fits = {task: find_fit(benchmark, task, model) for task in tasks}
    for task, fit in fits.items():
        if fit.recipe == "none":
            others = [other for other in benchmark.tasks if find_fit(benchmark, other, model).recipe != "none"]
            hint = f" It fits {', '.join(others)}: name them with --task." if others else ""
            raise UserError(f"{model} does not fit {benchmark.name}/{task}: {fit.note}{hint}")


def _lasting(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(word for word in words if word.split("=")[0] not in (*RUNTIME_KEYS, "seed")))


def _points(words: Sequence[str]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return every combination of the words' values, each a tuple of words, and the keys that have several."""
    choices = [values(word) for word in words]
    swept = tuple(sorted(choice[0].split("=")[0] for choice in choices if len(choice) > 1))
    if not swept:
        raise UserError("--sweep needs a key with several values, e.g. optimizer.lr=1e-3,4e-3.")
    for key in swept:
        if key in (*RUNTIME_KEYS, "seed"):
            reason = "--seed takes several" if key == "seed" else "it does not change the result"
            raise UserError(f"{key} cannot be swept over: {reason}.")
    if (count := math.prod(map(len, choices))) > MAX_POINTS:
        raise UserError(f"The sweep has {count:,} points, more than {MAX_POINTS:,}; give fewer values.")
    return list(itertools.product(*choices)), swept
