"""Targets of the fuzz harness: records of runs, and the published numbers."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from fuzz import SilentError
from mutation import mutated_bytes, mutated_text
from ssm_bench.catalog import benchmark
from ssm_bench.errors import UserError
from ssm_bench.record import SCHEMA, Record, find_records, read_record
from ssm_bench.results import published
from ssm_bench.results.formats import FORMATS, as_rich
from ssm_bench.results.table import make_points, make_results

CHECKOUT = Path(__file__).resolve().parents[2]


def _strict(text: bytes) -> Any:
    """Read JSON that has no key twice, no NaN and no infinity.

    Raises:
        ValueError: the text is other JSON, or none.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(items)) < len(items):
            raise ValueError("a key that is given twice")
        return dict(items)

    def constant(name: str) -> None:
        raise ValueError(f"the constant {name}")

    return json.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers(each)
    elif isinstance(value, int | float):
        yield value


class Records:
    """Records. An accepted one is strict JSON, holds just what is written, and every number in it is finite.

    A table of it can be made in every format.
    """

    name: ClassVar[str] = "records"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (UserError,)

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.file = folder / "record.json"
        record = Record(
            schema=SCHEMA,
            benchmark="lra",
            task="listops",
            model="s4d",
            scale="smoke",
            seed=0,
            metric="accuracy",
            metrics={"val/accuracy": 0.5, "test/accuracy": 0.25, "val/loss": 1.5, "best_epoch": 2.0},
            chance=0.1,
            parameters=1000,
            steps=60,
            epochs=3,
            wall_seconds=1.25,
            samples_per_second=1000.5,
            peak_memory_bytes=10**9,
            device="CPU",
            hash="0123abcd",
            recipe={"seed": 0, "optimizer": {"lr": 0.01}, "model": {"name": "s4d", "d_model": 8}},
            overrides=["optimizer.lr=0.01"],
            data_fingerprint="0123456789abcdef",
            data_sizes={"train": 320, "val": 64, "test": 64},
            code="0123456",
            packages={"torch": "2.14.1"},
            command="bench lra --model s4d",
            finished="2026-11-28T12:00:00+00:00",
        )
        point = dataclasses.replace(record, sweep=["optimizer.lr"])
        diverged = dataclasses.replace(record, outcome="diverged", reason="loss is nan", metrics={})
        self.texts = [json.dumps(dataclasses.asdict(each), indent=2) for each in (record, point, diverged)]
        self.lra = benchmark("lra")

    def case(self, draw: random.Random) -> bytes:
        text, other = draw.choice(self.texts), draw.choice(self.texts)
        if draw.random() < 0.2:
            return mutated_bytes(text.encode(), draw, other.encode())
        return mutated_text(text, draw, other).encode("utf-8", "surrogatepass")

    def run(self, case: bytes, draw: random.Random) -> bool:
        self.file.write_bytes(case)
        record = read_record(self.file)
        try:
            content = _strict(case)
        except ValueError as error:
            raise SilentError(f"no strict JSON: {error}") from error
        held = dataclasses.asdict(record)
        for key, value in content.items():
            if held.get(key) != value or (type(held[key]) is not type(value) and not isinstance(value, int)):
                raise SilentError(f"another value of {key}")
        if not all(map(math.isfinite, _numbers(held))):
            raise SilentError("a number that is not finite")
        value = held["metrics"].get("test/accuracy")
        if held["metric"] == "accuracy" and value is not None and not 0 <= value <= 1:
            raise SilentError("an accuracy beyond 0 to 1")
        self._show(draw)
        return True

    def _show(self, draw: random.Random) -> None:
        records, problems = find_records([self.folder])
        if len(records) != 1 or problems:
            raise SilentError("a record that is read alone is not found")
        make = draw.choice((make_results, make_points))
        results = make(self.lra, records[0].scale, records)
        for form in FORMATS.values():
            form(results)
        as_rich(results)


class PublishedNumbers:
    """The CSV file of published numbers. An accepted row is read as it stands, and its value is finite."""

    name: ClassVar[str] = "published CSV"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (UserError,)

    def __init__(self, folder: Path) -> None:
        (folder / "results" / "published").mkdir(parents=True)
        self.root = folder / "benchmarks"
        self.file = folder / "results" / "published" / "lra.csv"
        lines = (CHECKOUT / "results/published/lra.csv").read_text().splitlines()
        self.lra = benchmark("lra")
        wanted = self.lra.meta["published"]
        kept = [line for line in lines[1:] if next(csv.reader([line]))[2] in wanted]
        self.text = "\n".join([lines[0], *kept, ""])
        self.folder = folder

    def case(self, draw: random.Random) -> bytes:
        if draw.random() < 0.2:
            return mutated_bytes(self.text.encode(), draw, self.text.encode())
        return mutated_text(self.text, draw, self.text).encode("utf-8", "surrogatepass")

    def run(self, case: bytes, draw: random.Random) -> bool:
        self.file.write_bytes(case)
        root = published.published_root
        published.published_root = lambda: self.file.parent
        try:
            rows = published.published_rows(self.lra)
        finally:
            published.published_root = root
        table = list(csv.reader(io.StringIO(case.decode(), newline="")))
        head, lines = table[0], [line for line in table[1:] if line]
        if len(set(head)) < len(head):
            raise SilentError("a column that is given twice")
        wanted: dict[tuple[str, str], str] = {}
        for line in lines:
            if len(line) != len(head):
                raise SilentError("a row that is too short or too long")
            cells = dict(zip(head, line, strict=True))
            if (
                cells["benchmark"] != "lra"
                or cells["metric"] != "accuracy"
                or cells["task"] not in (*self.lra.tasks, "avg")
            ):
                raise SilentError("a row of another benchmark, task or metric")
            key = cells["model"], cells["task"]
            if key in wanted:
                raise SilentError("two rows of one model and task")
            wanted[key] = cells["value"]
        for row in rows:
            for task, value in row.values.items():
                text = wanted.pop((row.model, task))
                if not math.isfinite(value) or not 0 <= value <= 100 or (task in row.chance) != (text == "chance"):
                    raise SilentError("a value that is no accuracy")
                if text != "chance" and float(text) != value:
                    raise SilentError("another value than the file has")
        if lost := [key for key in wanted if key[0] in self.lra.meta["published"] and key[1] != "avg"]:
            raise SilentError(f"rows are lost: {lost[0]}")
        return True


TARGETS: tuple[type[Any], ...] = (Records, PublishedNumbers)
