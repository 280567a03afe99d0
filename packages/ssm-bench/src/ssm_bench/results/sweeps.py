"""Find the sweeps among records and choose their best points by validation only. Does not import torch."""

from __future__ import annotations

import copy
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ssm_bench.metrics import METRICS
from ssm_bench.record import Record

Keys = tuple[str, ...]


@dataclass
class Sweep:
    """Runs of one model that differ only in the swept keys, the task and the seed.

    Attributes:
        fixed: ``key=value`` words that all points share.
        keys: the keys that are swept over.
        points: task -> point -> records, one per seed. A point is a text ``key=value key=value``.
        age: 0 for the newest recipe of a model and its words, 1 for the recipe before it (for example because the
            model's file was edited between the runs), and so on.
    """

    model: str
    fixed: tuple[str, ...]
    keys: tuple[str, ...]
    points: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    age: int = 0

    @property
    def name(self) -> str:
        """The model, with one prime for each newer recipe that has the same words."""
        return self.model + "'" * self.age

    @property
    def title(self) -> str:
        most = max(len(points) for points in self.points.values())
        return f"{' '.join((self.name, *self.fixed))}, best of {most} ({', '.join(self.keys)})"

    def best(self, task: str) -> str:
        """Return the point with the best mean validation metric among those with the most seeds."""
        points = self.points[task]
        seeds = max(map(len, points.values()))
        means = {
            point: statistics.fmean(record.metrics[f"val/{record.metric}"] for record in records)
            for point, records in points.items()
            if len(records) == seeds
        }
        metric = METRICS[next(iter(points.values()))[0].metric]
        return metric.best(means, key=means.__getitem__)

    def excludes(self, records: Sequence[Record]) -> bool:
        """Return whether runs of another recipe, of one task, cannot be more points of this sweep.

        A swept key may also change other parts of the recipe or the data, so the points of a sweep may have different
        recipes. But each point has one recipe, and all points of a task have the same version of the code.
        """
        points = self.points.get(records[0].task, {})
        code = {_code(record) for there in points.values() for record in there}
        return any(self._point(record) in points or (code and _code(record) not in code) for record in records)

    def _point(self, record: Record) -> str:
        return " ".join(f"{key}={json.dumps(record.setting(key))}" for key in self.keys)

    def add(self, record: Record) -> None:
        records = self.points.setdefault(record.task, {}).setdefault(self._point(record), [])
        if record.seed not in [other.seed for other in records]:
            records.append(record)


def find_sweeps(records: Sequence[Record]) -> list[Sweep]:
    """Return the sweeps among records of one benchmark and scale, sorted.

    A run from before a sweep belongs to the sweep, too, if it is one of its points. If a point has several runs with
    the same seed, only the earliest is kept.
    """
    # The model and the fixed words of each sweep. If one recipe was written in several ways, the last way is kept.
    named: dict[tuple[str, Keys], tuple[str, Keys]] = {}
    for record in (record for record in records if record.sweep):
        keys = tuple(record.sweep)
        fixed = tuple(word for word in record.overrides if word.split("=")[0] not in keys)
        named[_rest(record, keys), keys] = record.model, fixed
    members: dict[tuple[str, Keys], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.finished):
        for keys in {keys for _, keys in named}:
            rest = _rest(record, keys), keys
            if rest in named and _has(record, keys):
                members[rest].append(record)
    sweeps: dict[tuple[str, Keys, Keys, int], Sweep] = {}
    # The newest recipe comes first, so it gets age 0.
    for rest in sorted(members, key=lambda rest: members[rest][-1].finished, reverse=True):
        (model, fixed), keys, age = named[rest], rest[1], 0
        while (name := (model, fixed, keys, age)) in sweeps and sweeps[name].excludes(members[rest]):
            age += 1
        sweep = sweeps.setdefault(name, Sweep(model, fixed, keys, age=age))
        for record in members[rest]:
            sweep.add(record)
    return [sweeps[name] for name in sorted(sweeps)]


def _code(record: Record) -> tuple[Any, Any]:
    """Return the version of the benchmark and the digest of a layer of the user's own."""
    return record.recipe.get("version"), record.recipe.get("source_digest")


def _has(record: Record, keys: Sequence[str]) -> bool:
    """Return whether the recipe has the keys; an old recipe does not have an option that was added later."""
    try:
        for key in keys:
            record.setting(key)
    except (KeyError, TypeError):
        return False
    return True


def _rest(record: Record, keys: Sequence[str]) -> str:
    """Return a recipe as text, without its seed, the path of a layer's file, and the given keys."""
    recipe = copy.deepcopy(record.recipe)
    for key in ("seed", "model.path", *keys):
        *sections, last = key.split(".")
        node: Any = recipe
        for section in sections:
            node = node.get(section) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return json.dumps([recipe, record.data_fingerprint], sort_keys=True)
