"""Which models of the zoo fit which task, and where the recipe of such a pair comes from. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssm_data.contract import Spec
from ssm_models.config import Interface

from ssm_bench.catalog import Benchmark, ModelName, models
from ssm_bench.recipe import compose_data


@dataclass(frozen=True)
class Fit:
    """Whether a model fits a task, and the source of their recipe.

    Attributes:
        recipe: ``paper``: a paper ran this pair with this recipe. ``family``: the settings of the model's family on
            this task. ``task``: the training settings of the task, with the model's own defaults. ``none``: the model
            does not fit the task.
        note: the source of the recipe, or why the model does not fit.
    """

    recipe: Literal["paper", "family", "task", "none"]
    note: str


def interface(spec: Spec) -> Interface:
    """Return the input and output that a model must have for data of a spec."""
    return Interface(
        tokens=spec.tokens,
        d_input=spec.d_input,
        d_output=spec.d_output,
        l_max=spec.axes or spec.l_max,
        pair=spec.pair,
        l_output=spec.l_output,
    )


def find_fit(benchmark: Benchmark, task: str, model: ModelName) -> Fit:
    """Return whether a model fits a task of a benchmark, and the source of their recipe."""
    from ssm_models.zoo import ZOO

    declared = benchmark.tasks[task]
    if not model.path:
        why_not = ZOO[model.name].why_not(interface(compose_data(benchmark, task, "paper").expected()))
        if why_not:
            return Fit("none", why_not)
    family = declared.part("families", model.family)
    if model.variant:
        source = declared.part("variants", declared.resolve(model).variant or model.variant).get("source", "")
        return Fit("paper" if model.name in family.get("papers", ()) else "family", source)
    training = declared.content["training"].get("source", "")
    if not family:
        return Fit("task", training)
    note = f"{family.get('source', '')} (the training of the task: {training})"
    return Fit("paper" if model.name in family.get("papers", ()) else "family", note)


def first_fitting(benchmark: Benchmark, task: str) -> str:
    """Return a model that fits the task, if possible with a paper's recipe, for measurements that need any model."""
    fits = {name: find_fit(benchmark, task, ModelName.parse(name)).recipe for name in models()}
    return next((name for kind in ("paper", "family", "task") for name, fit in fits.items() if fit == kind))
