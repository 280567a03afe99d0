"""The record of a finished run: a JSON file that says what was run, where, and the result. Does not import torch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from ssm_bench.errors import UserError
from ssm_bench.files import as_json, write_atomically
from ssm_bench.metrics import METRICS
from ssm_bench.run_folder import RECORD, is_done

#: Version of the format of a record. The code reads records of this version and of all earlier ones.
SCHEMA = 2
#: Floating point represents every whole number up to this one exactly.
MOST = 2**53


class RecordError(UserError):
    """A file cannot be read as a record. The message names the file and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The result of a run, and everything that is needed to repeat it.

    Attributes:
        schema: version of the format; a record without it has version 1.
        model: the model's name in tables: a zoo name, with ``@variant`` if the recipe is not the default one, or
            ``file.py:Class``.
        outcome: ``diverged``: a loss or metric was not finite, so there are no metrics; ``reason`` says where.
        metrics: ``val/...`` at the best validation epoch, ``test/...`` of that checkpoint, ``best_epoch`` (from 0).
        metric: the benchmark's metric; ``metrics["test/<metric>"]`` is the number in tables.
        chance: the metric of the best constant guess on the test split.
        wall_seconds: time of training and evaluation, summed over all resumed parts.
        samples_per_second: training examples per second of training.
        peak_memory_bytes: peak memory of rank 0: of its accelerator if the run used one, else of its process.
        sweep: the keys of the recipe that were swept over if the run is one point of a sweep.
        processes: number of processes that shared each batch.
        recipe, overrides: the full recipe, and the ``key=value`` words that changed the published one.
        code: commit of the checkout and whether it had uncommitted changes; the package version outside a checkout.
    """

    __pydantic_config__: ClassVar[Any] = {"allow_inf_nan": False, "extra": "forbid", "strict": True}

    benchmark: str
    task: str
    model: str
    scale: Literal["paper", "mini", "smoke"]
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
    schema: int = 1
    outcome: Literal["done", "diverged"] = "done"
    reason: str = ""
    processes: int = 1
    sweep: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"there is no metric {self.metric}")
        for name in (f"test/{self.metric}", f"val/{self.metric}"):
            if self.outcome == "done" and name not in self.metrics:
                raise ValueError(f"it has no {name}")
            value = self.metrics.get(name, 0.0)
            # Reading and writing JSON refuse a number that is not finite.
            if math.isfinite(value) and not 0 <= value <= METRICS[self.metric].most:
                raise ValueError(f"{name} cannot be {value}")
        for key in self.sweep:
            try:
                self.setting(key)
            except (KeyError, TypeError):
                raise ValueError(f"its recipe has no {key}, which was swept over") from None

    @property
    def diverged(self) -> bool:
        return self.outcome == "diverged"

    @property
    def value(self) -> float:
        """The test metric of the run. If the run diverged, there is none, and this raises a KeyError."""
        return self.metrics[f"test/{self.metric}"]

    def setting(self, key: str) -> Any:
        """Return the value of a key of the recipe, such as ``section.option``."""
        node: Any = self.recipe
        for name in key.split("."):
            node = node[name]
        return node

    def write(self, folder: Path) -> None:
        """Write the record into its run folder. From then on the run is done."""
        write_atomically(folder / RECORD, as_json(dataclasses.asdict(self)))


def read_record(file: Path) -> Record:
    """Read a record.

    Raises:
        RecordError: the file is not a record, or a newer version wrote it.
    """
    from pydantic import ValidationError

    data = file.read_bytes()
    newer = _schema(data)
    if newer > SCHEMA:
        raise RecordError(
            f"{file} has record schema {newer}, and this version reads schemas up to {SCHEMA}; update the code to "
            "read it."
        )
    try:
        _check_json(data)
        return _adapter().validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise RecordError(
            f"{file} is not a record ({where}: {first['msg']}); restore it, or move it away to run its cell again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{file} is not a record ({error}); restore it, or move it away to run its cell again."
        ) from None


def finished_record(folder: Path) -> Record | None:
    """Return the record in a run folder, or None if the run is not done.

    Raises:
        RecordError: the run is done, but its record cannot be read.
    """
    return read_record(folder / RECORD) if is_done(folder) else None


def find_records(roots: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Return every record below the given folders, in a fixed order, and a sentence about each problem.

    Each run is returned once, even if a folder is named twice or lies in another one. If several records have the same
    hash, only the earliest one is returned; if their results differ, a sentence says so. A file that cannot be read
    gets a sentence, too.
    """
    files = {file.resolve(): file for root in roots for file in sorted(root.rglob(RECORD)) if file.is_file()}
    records: dict[tuple[str, str, str], tuple[Record, Path]] = {}
    problems = []
    for file in files.values():
        try:
            record = read_record(file)
        except (RecordError, OSError) as error:
            problems.append(str(error))
            continue
        key = record.benchmark, record.task, record.hash
        if key not in records:
            records[key] = record, file
            continue
        other, first = records[key]
        if _result(other) != _result(record):
            earlier, later = sorted([(other, first), (record, file)], key=lambda pair: pair[0].finished)
            records[key] = earlier
            problems.append(
                f"{later[1]} and {earlier[1]} claim to be the same run ({record.hash}) with different results; the "
                "earlier one counts."
            )
    return [record for record, _ in records.values()], problems


def _result(record: Record) -> tuple[Any, ...]:
    return record.seed, record.model, record.outcome, record.metrics, record.recipe, record.data_fingerprint


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def _check_json(data: bytes) -> None:
    """Refuse what pydantic accepts: a key that occurs twice, and numbers that are not finite or not exact.

    Raises:
        ValueError: the text has such a key or number, or is not JSON.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                raise ValueError(f"the key {key} stands twice")
            seen.add(key)
        return dict(items)

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"the number {text} is too large")
        return value

    def whole(text: str) -> int:
        if abs(value := int(text)) > MOST:
            raise ValueError(f"the number {text:.40} is too large")
        return value

    def constant(text: str) -> None:
        raise ValueError(f"{text} is no number of JSON")

    json.loads(data, object_pairs_hook=pairs, parse_float=number, parse_int=whole, parse_constant=constant)


def _schema(data: bytes) -> int:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return 0
    schema = content.get("schema") if isinstance(content, Mapping) else None
    return schema if isinstance(schema, int) else 0
