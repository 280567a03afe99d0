"""A launched plan: the folder ``<out>/.launches/<id>``, which cell processes and ``bench jobs`` read.

``plan.json``  what was launched, from where, and the cells, each as the words from which it is composed again
``code/``      the code that it runs; ``code.diff`` has the uncommitted changes of this code
``jobs.json``  the SLURM job of each submitted cell
``cancelled``  exists if the user ended the unfinished cells
"""

from __future__ import annotations

import json
import logging
import os
import shutil
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
from ssm_bench.files import as_json, read_json, write_atomically
from ssm_bench.launch import code_snapshot
from ssm_bench.plan import Cell
from ssm_bench.process_identity import is_running, own_start
from ssm_bench.recipe import RUNTIME_KEYS, compose_recipe
from ssm_bench.run_folder import warn_and_set_aside

FOLDER = ".launches"
PLAN = "plan.json"
JOBS = "jobs.json"
CANCELLED = "cancelled"
#: Keys that ``bench jobs`` needs in a plan and in each cell, with their types. Plans of other versions have them, too.
_PLAN_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "created": (int, float),
    "profile": (str, type(None)),
    "out": str,
    "host": str,
    "pid": int,
    "cells": list,
}
_CELL_TYPES: Mapping[str, type] = {"name": str, "folder": str, "overrides": list}


class DamagedLaunchError(RunError):
    """The plan of a launch cannot be read; the message says which file, and why.

    Attributes:
        is_cut: whether the file is empty or not JSON, so that no version of the code can read it.
    """

    def __init__(self, message: str, is_cut: bool) -> None:
        super().__init__(message)
        self.is_cut = is_cut


@dataclass(frozen=True)
class Launched:
    """A launched plan on disk."""

    folder: Path

    @classmethod
    def create(
        cls, plan: Sequence[Cell], place: Place, out: Path, command: Sequence[str], profile: Path | None = None
    ) -> Launched:
        """Write the plan and a copy of the code; nothing runs yet.

        Args:
            command: the words after ``bench`` on the command line, for the records.
            profile: the file of the cluster profile if the plan is for SLURM.
        """
        out = out.resolve()
        folder = out / FOLDER / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        folder.mkdir(parents=True)
        code = code_snapshot.take(folder / "code")
        content = {
            "created": time.time(),
            "command": list(command),
            "profile": str(profile) if profile else None,
            "code": code,
            "out": str(out),
            "data": str(place.data.resolve()) if place.data else None,
            "cache": str(place.cache.resolve()),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "start": own_start(),
            "cells": [_words(cell, out) for cell in plan],
        }
        write_atomically(folder / PLAN, as_json(content, indent=1))
        return cls(folder)

    @classmethod
    def all(cls, out: Path) -> list[Launched]:
        """Return every launch below ``out``, the oldest first.

        A warning names each plan that cannot be read. If the file is cut, it is set aside; otherwise it stays, because
        a job of another version of the code may still need it.
        """
        found = []
        for file in sorted((out / FOLDER).glob(f"*/{PLAN}")):
            launched = cls(file.parent.resolve())
            try:
                _ = launched.content
            except DamagedLaunchError as error:
                if error.is_cut:
                    warn_and_set_aside(file, str(error))
                else:
                    logging.getLogger(__name__).warning("%s", error)
            else:
                found.append(launched)
        return found

    @property
    def file(self) -> Path:
        """The plan, which a cell process gets as its argument."""
        return self.folder / PLAN

    @cached_property
    def content(self) -> dict[str, Any]:
        """The plan.

        Raises:
            DamagedLaunchError: the file is not a plan.
        """
        content = read_json(self.file)
        if content is None:
            raise DamagedLaunchError(f"{self.file} is damaged, so its cells cannot be listed.", is_cut=True)
        if fault := _fault(content):
            raise DamagedLaunchError(
                f"{self.file} is not a plan that this version reads: {fault}. Its cells are not listed.", is_cut=False
            )
        return content

    @property
    def out(self) -> Path:
        return Path(self.content["out"])

    @property
    def place(self) -> Place:
        data = self.content["data"]
        return Place(Path(data) if data else None, Path(self.content["cache"]))

    @property
    def code(self) -> code_snapshot.CodeSnapshot:
        return code_snapshot.CodeSnapshot(self.folder / "code")

    @property
    def job_name(self) -> str:
        """The name of all its SLURM jobs. SLURM may reuse a job number after years or a reset, but never this name."""
        return f"bench-{self.folder.name}"

    @property
    def profile(self) -> Path | None:
        """The file of the cluster profile; None if the plan runs in processes of one machine."""
        profile = self.content["profile"]
        return Path(profile) if profile else None

    @property
    def start(self) -> str:
        """The start of the process that launched the plan (``process_identity``); empty in a plan of an old version."""
        return self.content.get("start", "")

    def __len__(self) -> int:
        return len(self.content["cells"])

    def name(self, index: int) -> str:
        """Return the name of a cell, with the overrides that only some cells of the launch have."""
        cell = self.content["cells"][index]
        return " ".join([cell["name"], *(word for word in cell["overrides"] if word not in self._shared)])

    @cached_property
    def _shared(self) -> set[str]:
        return set.intersection(*(set(cell["overrides"]) for cell in self.content["cells"]))

    def run_folder(self, index: int) -> Path:
        return self.out / self.content["cells"][index]["folder"]

    def cell(self, index: int) -> Cell:
        """Compose a cell again.

        Raises:
            RunError: a recipe or the file of a layer was edited after the launch, so the result is another cell.
        """
        words = self.content["cells"][index]
        try:
            self._check_source(words)
            recipe, runtime = compose_recipe(
                benchmark(words["benchmark"]),
                words["task"],
                words["model"],
                words["scale"],
                words["seed"],
                [*words["overrides"], *words["runtime"]],
            )
            cell = Cell(recipe, runtime, tuple(words["overrides"]), tuple(words["sweep"]))
        except KeyError as error:
            raise RunError(f"{self.file} is of another version: a cell has no {error}; launch it again.") from error
        if cell.folder(self.out) != self.run_folder(index):
            raise RunError(f"The recipe of {cell.name} has changed since it was launched; launch it again.")
        return cell

    def _check_source(self, words: Mapping[str, Any]) -> None:
        """Check that the file of the user's own layer, which is not copied, is still the one that was launched."""
        if words["source_digest"] and words["source_digest"] != _digest(words["model"]):
            raise RunError(f"{words['model']} was edited after it was launched; launch it again.")

    def launcher_runs(self) -> bool:
        """Return whether the process that launched the plan still runs on this machine."""
        return is_running(self.content["host"], self.content["pid"], self.start)

    def note_cancelled(self) -> None:
        """Note that the user ended the cells that are unfinished."""
        (self.folder / CANCELLED).touch()

    @property
    def cancelled(self) -> bool:
        return (self.folder / CANCELLED).exists()

    def discard(self) -> None:
        """Delete a launch from which nothing was started."""
        shutil.rmtree(self.folder)

    def note_jobs(self, jobs: Mapping[int, str], data: str | None = None) -> None:
        """Write the SLURM job of each submitted cell, and the job that prepares the data for them."""
        content = {"data": data, "cells": {str(index): job for index, job in jobs.items()}}
        write_atomically(self.folder / JOBS, as_json(content, indent=None))
        self.__dict__.pop("jobs", None)

    @cached_property
    def jobs(self) -> dict[int, str]:
        """The SLURM job of each submitted cell; empty for a local launch. A damaged file is set aside."""
        file = self.folder / JOBS
        content = read_json(file)
        try:
            return {int(index): str(job) for index, job in content["cells"].items()}
        except (TypeError, KeyError, AttributeError, ValueError):
            if file.is_file():
                warn_and_set_aside(file, f"{file} is damaged, so it is unknown which SLURM job runs which cell.")
            return {}


def _fault(content: Any) -> str:
    """Return what is wrong with the content of a plan; empty if nothing is."""
    if not isinstance(content, dict):
        return "it holds no keys"
    for key, kind in _PLAN_TYPES.items():
        if not isinstance(content.get(key), kind):
            return f"'{key}' is missing or wrong"
    for cell in content["cells"]:
        for key, kind in _CELL_TYPES.items():
            if not isinstance(cell, dict) or not isinstance(cell.get(key), kind):
                return f"'{key}' of a cell is missing or wrong"
    return "" if content["cells"] else "it has no cells"


def _words(cell: Cell, out: Path) -> dict[str, Any]:
    """Return the words from which :meth:`Launched.cell` composes the cell again."""
    recipe = cell.recipe
    return {
        "name": cell.name,
        "folder": str(cell.folder(out).relative_to(out)),
        "benchmark": recipe.benchmark,
        "task": recipe.task,
        "model": getattr(recipe.model.layer, "path", None) or recipe.model_name,
        "source_digest": recipe.source_digest,
        "scale": recipe.scale,
        "seed": recipe.seed,
        "overrides": list(cell.overrides),
        "sweep": list(cell.sweep),
        "runtime": [f"{key}={json.dumps(getattr(cell.runtime, key))}" for key in RUNTIME_KEYS],
    }


def _digest(path: str) -> str:
    from ssm_models.config.custom_layer_files import LayerFileError, source_digest

    try:
        return source_digest(path)
    except LayerFileError as error:
        raise RunError(str(error)) from error
