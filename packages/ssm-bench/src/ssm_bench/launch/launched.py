"""A launched plan: the folder ``<out>/.launches/<id>``, written once, read by workers and by ``bench jobs``.

``plan.json``  what was launched, from where, and the cells, each as the words that compose it again
``code/``      the code that it runs; ``code.diff`` its uncommitted changes
``jobs.json``  the SLURM job of each cell, where it was submitted
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ssm_data.contract import Place

from ssm_bench.catalog import benchmark
from ssm_bench.errors import RunError
from ssm_bench.files import write_atomically
from ssm_bench.launch import snapshot
from ssm_bench.plan import Cell
from ssm_bench.recipe import RUNTIME_KEYS, compose_recipe

FOLDER = ".launches"
PLAN = "plan.json"
JOBS = "jobs.json"
CANCELLED = "cancelled"


@dataclass(frozen=True)
class Launched:
    """A launched plan on disk."""

    folder: Path

    @classmethod
    def create(
        cls, plan: Sequence[Cell], place: Place, out: Path, command: Sequence[str], profile: str | None = None
    ) -> Launched:
        """Write the plan and a copy of the code; nothing runs yet.

        Args:
            command: the words behind ``bench``, for the records.
            profile: the cluster profile, where the plan is for SLURM.
        """
        out = out.resolve()
        folder = out / FOLDER / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        folder.mkdir(parents=True)
        code = snapshot.take(folder / "code")
        content = {
            "created": time.time(),
            "command": list(command),
            "profile": profile,
            "code": code,
            "out": str(out),
            "data": str(place.data.resolve()) if place.data else None,
            "cache": str(place.cache.resolve()),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cells": [_words(cell, out) for cell in plan],
        }
        write_atomically(folder / PLAN, json.dumps(content, indent=1) + "\n")
        return cls(folder)

    @classmethod
    def all(cls, out: Path) -> list[Launched]:
        """Every launch below ``out``, the oldest first."""
        return [cls(file.parent.resolve()) for file in sorted((out / FOLDER).glob(f"*/{PLAN}"))]

    @property
    def file(self) -> Path:
        """What a worker is told."""
        return self.folder / PLAN

    @cached_property
    def content(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())

    @property
    def out(self) -> Path:
        return Path(self.content["out"])

    @property
    def place(self) -> Place:
        data = self.content["data"]
        return Place(Path(data) if data else None, Path(self.content["cache"]))

    @property
    def code(self) -> snapshot.Snapshot:
        return snapshot.Snapshot(self.folder / "code")

    def __len__(self) -> int:
        return len(self.content["cells"])

    def name(self, index: int) -> str:
        """Of a cell, with those of its overrides that not all cells of the launch share."""
        cell = self.content["cells"][index]
        return " ".join([cell["name"], *(word for word in cell["overrides"] if word not in self._shared)])

    @cached_property
    def _shared(self) -> set[str]:
        return set.intersection(*(set(cell["overrides"]) for cell in self.content["cells"]))

    def run_folder(self, index: int) -> Path:
        return self.out / self.content["cells"][index]["folder"]

    def cell(self, index: int) -> Cell:
        """A cell, composed again.

        Raises:
            RunError: a recipe was edited meanwhile, so that it is another cell.
        """
        words = self.content["cells"][index]
        recipe, runtime = compose_recipe(
            benchmark(words["benchmark"]),
            words["task"],
            words["model"],
            words["scale"],
            words["seed"],
            [*words["overrides"], *words["runtime"]],
        )
        cell = Cell(recipe, runtime, tuple(words["overrides"]), tuple(words["sweep"]))
        if cell.folder(self.out) != self.run_folder(index):
            raise RunError(f"The recipe of {cell.name} has changed since it was launched; launch it again.")
        return cell

    def check_file(self, index: int) -> None:
        """Whether the user's own layer of a cell, of which there is no copy, is still the one that was launched.

        Raises:
            RunError: it is not.
        """
        words = self.content["cells"][index]
        if words["file"] is not None and words["file"] != _digest(words["model"]):
            raise RunError(f"{words['model']} was edited after it was launched; launch it again.")

    def cancel(self) -> None:
        """Note that what is unfinished is so because its user wished it."""
        (self.folder / CANCELLED).touch()

    @property
    def cancelled(self) -> bool:
        return (self.folder / CANCELLED).exists()

    def note_jobs(self, jobs: Mapping[int, str], data: str | None = None) -> None:
        """Keep the SLURM job of each submitted cell, and of the data that they wait for."""
        content = {"data": data, "cells": {str(index): job for index, job in jobs.items()}}
        write_atomically(self.folder / JOBS, json.dumps(content) + "\n")
        self.__dict__.pop("_jobs", None)

    @property
    def jobs(self) -> dict[int, str]:
        """The SLURM job of each submitted cell; empty for a local launch."""
        return self._jobs[0]

    @property
    def data_job(self) -> str | None:
        """The SLURM job that prepares the data which the cells wait for."""
        return self._jobs[1]

    @cached_property
    def _jobs(self) -> tuple[dict[int, str], str | None]:
        file = self.folder / JOBS
        if not file.is_file():
            return {}, None
        content = json.loads(file.read_text())
        return {int(index): job for index, job in content["cells"].items()}, content["data"]


def _words(cell: Cell, out: Path) -> dict[str, Any]:
    recipe = cell.recipe
    path = getattr(recipe.model, "path", None)
    return {
        "name": cell.name,
        "folder": str(cell.folder(out).relative_to(out)),
        "benchmark": recipe.benchmark,
        "task": recipe.task,
        "model": path or recipe.model_name,
        "file": _digest(path) if path else None,
        "scale": recipe.scale,
        "seed": recipe.seed,
        "overrides": list(cell.overrides),
        "sweep": list(cell.sweep),
        "runtime": [f"{key}={json.dumps(getattr(cell.runtime, key))}" for key in RUNTIME_KEYS],
    }


def _digest(model: str) -> str:
    """Of the file of ``file.py:Class``."""
    return hashlib.sha256(Path(model.rpartition(":")[0]).read_bytes()).hexdigest()
