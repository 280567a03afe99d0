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
    """How a model and a task go together.

    Attributes:
        recipe: ``paper``: a paper ran this pair with this recipe. ``family``: the settings of the model's family on
            this task. ``task``: what any model trains with here, with the model's own defaults. ``none``: the pair does
            not fit.
        note: the source of the recipe, or why the model does not fit.
    """

    recipe: Literal["paper", "family", "task", "none"]
    note: str


def interface(spec: Spec) -> Interface:
    """Return what a model must take and give for data of a spec."""
    return Interface(
        tokens=spec.tokens,
        d_input=spec.d_input,
        d_output=spec.d_output,
        l_max=spec.axes or spec.l_max,
        pair=spec.pair,
        l_output=spec.l_output,
    )


def find_fit(benchmark: Benchmark, task: str, model: ModelName) -> Fit:
    """Return how a model and a task of a benchmark go together."""
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
    """Return a model whose own recipe serves the task, for measurements that need any model."""
    fits = {name: find_fit(benchmark, task, ModelName.parse(name)).recipe for name in models()}
    return next((name for kind in ("paper", "family", "task") for name, fit in fits.items() if fit == kind))
