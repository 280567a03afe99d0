"""What a cell would do, without doing it: recipe, state of the data, parameters, and a time measured here."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from ssm_data.contract import Batch, Place, Spec
from ssm_models.model import build_model

from ssm_bench.callbacks import LAST
from ssm_bench.catalog import Benchmark, benchmark
from ssm_bench.config import Recipe
from ssm_bench.plan import Cell
from ssm_bench.recipe import as_yaml
from ssm_bench.record import Record
from ssm_bench.task import interface, target_sums

#: A forward pass takes about a third of a training step.
EVALUATION_SHARE = 1 / 3
#: Numbers in one measured batch on a CPU: enough to keep both cores busy, few enough for seconds.
MEASURED_ELEMENTS = 8192


def describe(cell: Cell, place: Place, out: Path, console: Console) -> None:
    """Print everything about a cell; nothing is written and no training starts."""
    recipe = cell.recipe
    console.print(f"[bold]{cell.name}[/], {recipe.scale} scale, hash {cell.hash}", highlight=False)
    console.print(as_yaml(recipe), highlight=False, markup=False, end="")
    status = recipe.data.status(place)
    console.print(f"# data: {status.state}; {status.sentence}", highlight=False, markup=False, soft_wrap=True)
    folder = cell.folder(out)
    if Record.read(folder) is not None:
        state = "done"
    else:
        state = "unfinished, would resume" if (folder / LAST).is_file() else "not started"
    console.print(f"# run folder: {folder} ({state})", highlight=False, markup=False, soft_wrap=True)
    if status.state == "ready":
        spec = recipe.data.prepare(place, progress=False).spec
        measured = "on the prepared data's shape"
    elif recipe.data.miniature:
        console.print("# time: generated miniature data, seconds to a minute or two\n", highlight=False)
        return
    else:
        spec = _expected_spec(recipe)
        measured = "on the published data's shape"
    model = build_model(recipe.model, interface(spec))
    parameters = sum(p.numel() for p in model.parameters())
    console.print(f"# model: {parameters:,} parameters", highlight=False)
    try:
        steps, step_seconds, device = _time(model, spec, recipe, cell.runtime.processes)
    except torch.OutOfMemoryError:
        share = recipe.trainer.batch_size // cell.runtime.processes
        name = torch.cuda.get_device_name()
        console.print(
            f"# time: a batch of {share} takes more memory than {name} has\n", highlight=False, soft_wrap=True
        )
        return
    evaluated = (spec.sizes["val"] + spec.sizes["test"]) / (spec.l_max if spec.stream else 1)
    evaluation = EVALUATION_SHARE * step_seconds / recipe.trainer.batch_size * evaluated
    seconds = steps * step_seconds + recipe.trainer.epochs * evaluation
    console.print(
        f"# time: about {_human(seconds)} on this machine ({steps:,} steps of {step_seconds:.3g} s and "
        f"{recipe.trainer.epochs} evaluations; {device}, measured {measured})\n",
        highlight=False,
        soft_wrap=True,
    )


def published_spec(benchmark: Benchmark, task: str) -> Spec:
    """The published data as ``benchmark.yaml`` describes them."""
    entry = benchmark.tasks[task]
    usual = {"target": "class", "l_output": 0, "lengths": entry["shape"]["tokens"], "pair": False, "stream": False}
    named = {"metric": benchmark.metric, "chance": entry["chance"], "fingerprint": ""}
    return Spec(**usual | named | entry["shape"])


def _expected_spec(recipe: Recipe) -> Spec:
    """The spec of data that are not prepared here: the published one, cut as the recipe says."""
    spec = published_spec(benchmark(recipe.benchmark), recipe.task)
    limit = recipe.data.limit or {}
    sizes = {split: min(size, limit.get(split, size)) for split, size in spec.sizes.items()}
    return replace(spec, l_max=min(spec.l_max, getattr(recipe.data, "l_max", spec.l_max)), sizes=sizes)


def random_batch(spec: Spec, size: int) -> Batch:
    """A batch of noise of the spec's shape, full sequences."""
    rows = size * (2 if spec.pair else 1)
    extent = spec.axes or (spec.l_max,)
    x = torch.randint(spec.d_input, (rows, *extent)) if spec.tokens else torch.randn(rows, *extent, spec.d_input)
    targets = (size, spec.l_output) if spec.l_output else (size,)
    if spec.target == "class":
        y = torch.randint(spec.d_output, targets)
    else:
        y = (
            torch.rand(*targets, spec.d_output).round()
            if spec.target == "labels"
            else torch.randn(*targets, spec.d_output)
        )
    return Batch(x, y, torch.full((rows,), spec.l_max) if spec.lengths else None)


def _time(model: torch.nn.Module, spec: Spec, recipe: Recipe, processes: int) -> tuple[int, float, str]:
    """Steps of the run, seconds a step, and where that was measured."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = recipe.trainer.batch_size // processes
    elements = spec.l_max * (2 if spec.pair else 1)
    measured = batch if device.type == "cuda" else max(1, min(batch, MEASURED_ELEMENTS // elements))
    x, y, lengths = random_batch(spec, measured)
    x, y, lengths = x.to(device), y.to(device), None if lengths is None else lengths.to(device)
    model = model.to(device).train()
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        count, loss, _ = target_sums(spec, model(x, lengths), y)
        (loss / count).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    examples = spec.sizes["train"] // (spec.l_max if spec.stream else 1)
    per_epoch = examples / recipe.trainer.batch_size
    steps = int(per_epoch) if recipe.trainer.drop_last else math.ceil(per_epoch)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return recipe.trainer.epochs * steps, statistics.median(seconds[1:]) * batch / measured, name


def _human(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
