"""Small runs through the command, and what they leave."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ssm_bench.cli import main
from ssm_bench.config import OptimizerConfig, Recipe, TrainerConfig
from ssm_bench.record import Record
from ssm_data.contract import Batch, Dataset, Spec
from ssm_models.zoo import ZOO

#: A cell of ListOps that trains 6 steps an epoch, in a second or two.
SIZES = "data.limit={train:96,val:32,test:32}"
TINY = (
    *("--task", "listops", "--scale", "smoke"),
    *("model.d_model=8", "model.d_state=4", "model.n_layers=1"),
    *("trainer.epochs=2", "trainer.batch_size=16", SIZES, "must_beat_chance=false"),
)
#: The same for a layer of the user's own, which has no state.
TINY_LAYER = tuple(word for word in TINY if not word.startswith("model.d_state"))

#: Sequences of twelve tokens in five classes.
SPEC = Spec(
    tokens=True,
    d_input=5,
    d_output=5,
    target="class",
    l_max=12,
    l_output=0,
    lengths=False,
    pair=False,
    stream=False,
    metric="accuracy",
    chance=0.2,
    sizes={"train": 40, "val": 8, "test": 8},
    fingerprint="",
)

#: A layer of the user's own that learns a little.
LAYER = """
import torch


class Mean(torch.nn.Module):
    def __init__(self, d_model, scale=1.0):
        super().__init__()
        self.scale = scale
        self.mix = torch.nn.Linear(d_model, d_model)

    def forward(self, u):
        return self.mix(u.cumsum(1) * self.scale)
"""


def bench(*words: str) -> int:
    """Run a command line in this process and return its exit status."""
    try:
        return main(list(words))
    except SystemExit as end:
        return int(end.code or 0)


def files_below(folder: Path) -> list[str]:
    """Return the names of all files below a folder, relative to it, sorted."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Return the content of every record below a folder, in the order of the paths."""
    return [json.loads(file.read_text()) for file in sorted(folder.rglob("record.json"))]


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of the only record below a folder."""
    [record] = read_records(folder)
    return record


#: What a run gives, whatever disturbed it: all of its record but times, memory and the command.
RESULT = ("hash", "recipe", "metrics", "outcome", "steps", "epochs", "parameters", "data_fingerprint", "data_sizes")


def result(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that must not depend on interruptions or damage."""
    return {key: record[key] for key in RESULT}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the best epoch of the only run below a folder."""
    [file] = folder.rglob("best.ckpt")
    return torch.load(file, map_location="cpu", weights_only=True)["state_dict"]


def recipe(data: Dataset, model: Mapping[str, Any] | None = None, **options: Any) -> Recipe:
    """Return the recipe of a small S4D on a data set."""
    settings = {"optimizer": OptimizerConfig(lr=0.01), "trainer": TrainerConfig(batch_size=16, epochs=2)}
    return Recipe(
        benchmark="any",
        version=1,
        task=data.name,
        model_name="s4d",
        scale="smoke",
        seed=0,
        data=data,
        model=ZOO["s4d"](**{"n_layers": 2, "d_model": 32, "d_state": 16} | dict(model or {})),
        **settings | options,
    )


def record(task: str = "listops", value: float | None = 0.5, **options: Any) -> Record:
    """Return a record of LRA at mini scale; ``value`` is its test accuracy, None if the run diverged."""
    usual: dict[str, Any] = {f.name: "" for f in dataclasses.fields(Record) if f.default is dataclasses.MISSING}
    usual |= dict.fromkeys(("parameters", "steps", "epochs", "peak_memory_bytes"), 1)
    usual |= dict.fromkeys(("wall_seconds", "samples_per_second"), 1.0)
    usual |= {"benchmark": "lra", "task": task, "model": "s4d", "scale": "mini", "seed": 0, "metric": "accuracy"}
    usual |= {"metrics": {"test/accuracy": value, "val/accuracy": value}, "chance": 0.1, "hash": "00000000"}
    usual |= {"recipe": {}, "overrides": [], "data_sizes": {}, "packages": {}, "schema": 2, "sweep": []}
    if value is None:
        usual |= {"metrics": {}, "outcome": "diverged", "reason": "The loss of step 3 is not finite."}
    return Record(**usual | options)


def random_batch(spec: Spec, size: int) -> Batch:
    """Return a batch of noise of the spec's shape, with full sequences."""
    rows = size * (2 if spec.pair else 1)
    extent = spec.axes or (spec.l_max,)
    x = torch.randint(spec.d_input, (rows, *extent)) if spec.tokens else torch.randn(rows, *extent, spec.d_input)
    targets = (size, spec.l_output) if spec.l_output else (size,)
    y = torch.randn(*targets, spec.d_output)
    if spec.target == "class":
        y = torch.randint(spec.d_output, targets)
    elif spec.target == "labels":
        y = (y > 0).float()
    return Batch(x, y, torch.full((rows,), spec.l_max) if spec.lengths else None)
