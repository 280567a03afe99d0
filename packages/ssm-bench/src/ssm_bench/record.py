"""The record of a finished run: one JSON file on what was run, where, and what came out. Does not import torch."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssm_bench.errors import UserError
from ssm_bench.files import write_atomically

FILE = "record.json"
#: In a copy of the checkout: the version of the code that was copied.
CODE_FILE = "code-version"
PACKAGES = ("torch", "lightning", "numpy", "hydra-core", "ssm-core", "ssm-models", "ssm-data", "ssm-bench")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run leaves.

    Attributes:
        metrics: ``val/...`` at the best validation epoch, ``test/...`` of that checkpoint, ``best_epoch`` (from 0).
        metric: the benchmark's metric; ``metrics["test/<metric>"]`` is the number of the tables.
        chance: what the best constant guess reaches on the test split.
        wall_seconds: training and evaluation, all resumed parts together.
        samples_per_second: training examples a second of training.
        peak_memory_bytes: of the accelerator where there is one, else of the process; of the first of several.
        sweep: the keys of the recipe of which this run is one point among several; empty where it is none.
        processes: how many shared each batch.
        recipe, overrides: the full recipe, and the ``key=value`` words that changed the published one.
        code: commit of the checkout and whether it had uncommitted changes; the package version outside a checkout.
    """

    benchmark: str
    task: str
    model: str
    scale: str
    seed: int
    metric: str
    metrics: dict[str, float]
    chance: float
    parameters: int
    steps: int
    epochs: int
    wall_seconds: float
    samples_per_second: float
    peak_memory_bytes: int
    device: str
    hash: str
    recipe: dict[str, Any]
    overrides: list[str]
    data_fingerprint: str
    data_sizes: dict[str, int]
    code: str
    packages: dict[str, str]
    command: str
    finished: str
    processes: int = 1
    sweep: list[str] = dataclasses.field(default_factory=list)

    @property
    def value(self) -> float:
        """What the run is judged by: the test metric."""
        return self.metrics[f"test/{self.metric}"]

    def setting(self, key: str) -> Any:
        """The value of a key of the recipe, ``section.option``."""
        node: Any = self.recipe
        for name in key.split("."):
            node = node[name]
        return node

    def write(self, folder: Path) -> None:
        write_atomically(folder / FILE, json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """The record in a run folder, or None if the run is not finished.

        Raises:
            UserError: the file is there but is no record.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            return cls(**json.loads(file.read_text()))
        except (json.JSONDecodeError, TypeError) as error:
            raise UserError(f"{file} is not a record ({error}); delete the file to run its cell again.") from error


def find_records(*roots: Path) -> Iterator[Record]:
    """Every record below the given folders, in a fixed order."""
    for root in roots:
        for file in sorted(root.rglob(FILE)):
            record = Record.read(file.parent)
            if record is not None:
                yield record


def code_version() -> str:
    """``commit`` or ``commit-dirty`` of the checkout or of what it is a copy of, else the installed version."""
    here = Path(__file__).resolve().parent
    copied = here.parents[3] / CODE_FILE
    if copied.is_file():
        return copied.read_text().strip()

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}-dirty" if git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return f"ssm-bench {importlib.metadata.version('ssm-bench')}"


def package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = importlib.metadata.version(name)
    return versions
