"""What a cell would do, without doing it: recipe, state of the data, parameters, and a time measured here."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from ssm_data.contract import Place
from ssm_models.config import Interface
from ssm_models.model import build_model
from torch.nn.functional import cross_entropy

from ssm_bench.callbacks import LAST
from ssm_bench.catalog import benchmark
from ssm_bench.config import Recipe
from ssm_bench.plan import Cell
from ssm_bench.recipe import as_yaml
from ssm_bench.record import Record
from ssm_bench.task import interface

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
        io, sizes, measured = interface(spec), spec.sizes, "on the prepared data's shape"
    elif recipe.data.miniature:
        console.print("# time: generated miniature data, seconds to a minute or two\n", highlight=False)
        return
    else:
        io, sizes = _published_shape(recipe)
        measured = "on the published data's shape"
    model = build_model(recipe.model, io)
    parameters = sum(p.numel() for p in model.parameters())
    steps, step_seconds, device = _time(model, io, recipe, sizes)
    evaluation = EVALUATION_SHARE * step_seconds / recipe.trainer.batch_size * (sizes["val"] + sizes["test"])
    seconds = steps * step_seconds + recipe.trainer.epochs * evaluation
    console.print(
        f"# model: {parameters:,} parameters\n"
        f"# time: about {_human(seconds)} on this machine ({steps:,} steps of {step_seconds:.3g} s and "
        f"{recipe.trainer.epochs} evaluations; {device}, measured {measured})\n",
        highlight=False,
        soft_wrap=True,
    )


def _published_shape(recipe: Recipe) -> tuple[Interface, dict[str, int]]:
    """Shape and sizes of the data by benchmark.yaml, for data that is not prepared here."""
    shape = benchmark(recipe.benchmark).tasks[recipe.task]["shape"]
    limit = recipe.data.limit or {}
    sizes = {split: min(size, limit.get(split, size)) for split, size in shape["sizes"].items()}
    io = Interface(**{key: value for key, value in shape.items() if key != "sizes"})
    # A recipe may cut sequences shorter than the published ones.
    return replace(io, l_max=min(io.l_max, getattr(recipe.data, "l_max", io.l_max))), sizes


def _time(model: torch.nn.Module, io: Interface, recipe: Recipe, sizes: dict[str, int]) -> tuple[int, float, str]:
    """Steps of the run, seconds a step, and where that was measured."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = recipe.trainer.batch_size
    sequence = io.l_max * (2 if io.pair else 1)
    measured = batch if device.type == "cuda" else max(1, min(batch, MEASURED_ELEMENTS // sequence))
    rows = measured * (2 if io.pair else 1)
    x = (
        torch.randint(io.d_input, (rows, io.l_max), device=device)
        if io.tokens
        else torch.randn(rows, io.l_max, io.d_input, device=device)
    )
    lengths = torch.full((rows,), io.l_max, device=device) if io.tokens else None
    y = torch.randint(io.d_output, (measured,), device=device)
    model = model.to(device).train()
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        cross_entropy(model(x, lengths), y).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    per_epoch = sizes["train"] // batch if recipe.trainer.drop_last else -(-sizes["train"] // batch)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return recipe.trainer.epochs * per_epoch, statistics.median(seconds[1:]) * batch / measured, name


def _human(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
