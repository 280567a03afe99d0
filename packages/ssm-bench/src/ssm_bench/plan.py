"""A command line becomes a plan: the cells (benchmark, task, model, scale, seed) to run. Does not import torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ssm_bench.catalog import Benchmark
from ssm_bench.config import Recipe, Runtime
from ssm_bench.errors import UserError
from ssm_bench.recipe import RUNTIME_KEYS, compose_recipe, recipe_hash


@dataclass(frozen=True)
class Cell:
    """One run: a recipe with its seed, and how to carry it out.

    ``overrides`` are the ``key=value`` words behind the recipe, sorted, without those of the runtime.
    """

    recipe: Recipe
    runtime: Runtime
    overrides: tuple[str, ...] = ()

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
) -> list[Cell]:
    """All cells of a command, tasks in table order. No tasks: all. No seeds: each recipe's own.

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
    lasting = tuple(sorted(word for word in overrides if word.split("=")[0] not in (*RUNTIME_KEYS, "seed")))
    return [
        Cell(*compose_recipe(benchmark, task, model, scale, seed, overrides), lasting)
        for model in models
        for task in chosen
        for seed in each
    ]
