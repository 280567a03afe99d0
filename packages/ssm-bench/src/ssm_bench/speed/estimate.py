"""Preview a cell without running it: recipe, state of the data, parameters, and an estimate of the time."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from ssm_data.contract import Place, Spec
from ssm_models.config.custom_layer_files import LayerFileError
from ssm_models.model import build_model
from torch import nn

from ssm_bench.config import Recipe
from ssm_bench.errors import UserError
from ssm_bench.fit import interface
from ssm_bench.plan import Cell
from ssm_bench.recipe import as_yaml
from ssm_bench.run_folder import is_done, is_unfinished
from ssm_bench.speed.failures import write_traces
from ssm_bench.speed.timer import best_device
from ssm_bench.speed.training_step import random_batch, step_seconds

#: A forward pass takes about a third of a training step.
EVALUATION_SHARE = 1 / 3
#: Sequence elements of a measured batch on a CPU: enough to keep the cores busy, few enough to take only seconds.
MEASURED_ELEMENTS = 8192


def preview_cell(cell: Cell, place: Place, out: Path) -> str:
    """Return everything about a cell as text: YAML with comments. No run file is written and no training starts.

    Raises:
        UserError: the layer of the user's own cannot be imported or built.
    """
    return "\n".join(_preview(cell, place, out)) + "\n"


def _preview(cell: Cell, place: Place, out: Path) -> Iterator[str]:
    recipe = cell.recipe
    yield f"# {cell.name}, {recipe.scale} scale, hash {cell.hash}"
    yield as_yaml(recipe).rstrip("\n")
    status = recipe.data.status(place)
    yield f"# data: {status.state}; {status.sentence}"
    folder = cell.folder(out)
    state = "done" if is_done(folder) else "unfinished, would resume" if is_unfinished(folder) else "not started"
    yield f"# run folder: {folder} ({state})"
    if status.state == "ready":
        spec, measured = recipe.data.prepare(place, progress=False).spec, "on the prepared data's shape"
    else:
        spec, measured = recipe.data.expected(), "on the expected data's shape"
    try:
        model = build_model(recipe.model, interface(spec))
    except LayerFileError as error:
        raise UserError(str(error)) from error
    yield f"# model: {sum(p.numel() for p in model.parameters()):,} parameters"
    if recipe.data.miniature:
        yield "# time: generated miniature data, seconds to a minute or two"
    else:
        yield f"# time: {_time(model, spec, cell, measured)}"


def _time(model: nn.Module, spec: Spec, cell: Cell, measured: str) -> str:
    """Return a text that says how long the run would take on this machine, or why that cannot be measured."""
    recipe = cell.recipe
    try:
        seconds_a_step, device = _step(model, spec, recipe, cell.runtime.processes)
    except torch.OutOfMemoryError:
        share, name = recipe.trainer.batch_size // cell.runtime.processes, torch.cuda.get_device_name()
        return f"a batch of {share} takes more memory than {name} has"
    except Exception as error:  # a layer of the user's own may raise anything
        reason = (str(error).splitlines() or [""])[0]
        return (
            f"not known, because a training step fails: {type(error).__name__}: {reason} "
            f"(traceback in {write_traces([traceback.format_exc()])})"
        )
    steps = recipe.trainer.epochs * _steps_per_epoch(spec, recipe)
    evaluated = (spec.sizes["val"] + spec.sizes["test"]) / (spec.l_max if spec.stream else 1)
    evaluation = EVALUATION_SHARE * seconds_a_step / recipe.trainer.batch_size * evaluated
    seconds = steps * seconds_a_step + recipe.trainer.epochs * evaluation
    return (
        f"about {_human(seconds)} on this machine ({steps:,} steps of {seconds_a_step:.3g} s and "
        f"{recipe.trainer.epochs} evaluations; {device}, measured {measured})"
    )


def _steps_per_epoch(spec: Spec, recipe: Recipe) -> int:
    examples = spec.sizes["train"] // (spec.l_max if spec.stream else 1)
    per_epoch = examples / recipe.trainer.batch_size
    return int(per_epoch) if recipe.trainer.drop_last else math.ceil(per_epoch)


def _step(model: nn.Module, spec: Spec, recipe: Recipe, processes: int) -> tuple[float, str]:
    """Return the seconds of a training step, and the device on which they were measured.

    On a CPU only a part of the batch is measured, and its time is scaled up in proportion.
    """
    device = best_device()
    batch = recipe.trainer.batch_size // processes
    elements = (math.prod(spec.axes) if spec.axes else spec.l_max) * (2 if spec.pair else 1)
    part = batch if device.type == "cuda" else max(1, min(batch, MEASURED_ELEMENTS // elements))
    seconds = step_seconds(model, spec, random_batch(spec, part, device), device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return seconds * batch / part, name


def _human(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
