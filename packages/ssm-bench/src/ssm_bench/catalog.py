"""What can be run: the benchmark folders, their tasks, models and scales. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ssm_bench.errors import UserError, unknown

SCALES = ("paper", "mini", "smoke")
#: The recipe file that a layer of the user's own takes.
CUSTOM = "custom"


def benchmarks_root() -> Path:
    """The folder that holds one folder a benchmark: of the checkout, else the copy inside the wheel."""
    package = Path(__file__).resolve().parent
    for root in (package.parents[3] / "benchmarks", package / "benchmarks"):
        if root.is_dir():
            return root
    raise UserError(f"No benchmarks/ folder was found beside {package}; reinstall ssm-bench or run from the checkout.")


@dataclass(frozen=True)
class Benchmark:
    """One folder of benchmarks/: its ``benchmark.yaml`` and the names of its recipe files."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def meta(self) -> dict[str, Any]:
        """``benchmark.yaml``: title, version, metric, average, protocol, tasks in table order, published rows."""
        return yaml.safe_load((self.folder / "benchmark.yaml").read_text())

    @property
    def title(self) -> str:
        return self.meta["title"]

    @property
    def metric(self) -> str:
        """What its tables show, a key of :data:`ssm_bench.metrics.METRICS`."""
        return self.meta["metric"]

    @property
    def average(self) -> bool:
        """Whether its protocol has a mean over all tasks."""
        return self.meta.get("average", False)

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Tasks in table order, each with ``title``, ``chance`` and ``shape``."""
        return self.meta["tasks"]

    @cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        """Models with a recipe here: name -> the contents of ``model/<name>.yaml``."""
        files = sorted((self.folder / "model").glob("*.yaml"))
        return {file.stem: yaml.safe_load(file.read_text()) for file in files}

    def check_task(self, task: str) -> str:
        if task not in self.tasks:
            raise unknown(f"task of {self.name}", task, self.tasks)
        return task

    def check_model(self, model: str) -> str:
        """A model's name, or ``path/to/file.py:Class`` for a layer of the user's own."""
        if is_custom(model):
            file, _, attribute = model.rpartition(":")
            if not Path(file).is_file():
                raise UserError(f"There is no file {file}; --model takes path/to/file.py:Class.")
            if not attribute.isidentifier():
                raise UserError(f"'{attribute}' is not a class name; --model takes path/to/file.py:Class.")
        elif model not in self.models or model == CUSTOM:
            raise unknown(f"model of {self.name}", model, set(self.models) - {CUSTOM})
        return model


def is_custom(model: str) -> bool:
    """Whether a model name points to a class in a user's file."""
    return ".py:" in model


def benchmarks() -> dict[str, Benchmark]:
    """Every benchmark folder by name."""
    files = sorted(benchmarks_root().glob("*/benchmark.yaml"))
    return {file.parent.name: Benchmark(file.parent) for file in files}


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        UserError: there is none; the sentence names the nearest known ones.
    """
    known = benchmarks()
    if name not in known:
        raise unknown("benchmark", name, known)
    return known[name]
