"""Find the sweeps among records and choose their best points by validation alone. Does not import torch."""

from __future__ import annotations

import copy
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ssm_bench.metrics import METRICS
from ssm_bench.record import Record


@dataclass
class Sweep:
    """Runs of one model that differ in the swept keys (and tasks and seeds) alone.

    Attributes:
        fixed: ``key=value`` words that all points share.
        keys: what is swept over.
        points: by task the records of each point, ``key=value key=value``.
    """

    model: str
    fixed: tuple[str, ...]
    keys: tuple[str, ...]
    points: dict[str, dict[str, list[Record]]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        most = max(len(points) for points in self.points.values())
        return f"{' '.join((self.model, *self.fixed))}, best of {most} ({', '.join(self.keys)})"

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

    def add(self, record: Record) -> None:
        point = " ".join(f"{key}={json.dumps(record.setting(key))}" for key in self.keys)
        self.points.setdefault(record.task, {}).setdefault(point, []).append(record)


def find_sweeps(records: Sequence[Record]) -> list[Sweep]:
    """Return the sweeps among records of one benchmark and scale, sorted.

    A run that was done before a sweep and is one of its points belongs to it.
    """
    sweeps: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Sweep] = {}
    rests: dict[tuple[str, tuple[str, ...]], Sweep] = {}
    for record in records:
        if record.sweep:
            keys = tuple(record.sweep)
            fixed = tuple(word for word in record.overrides if word.split("=")[0] not in keys)
            sweep = sweeps.setdefault((record.model, fixed, keys), Sweep(record.model, fixed, keys))
            rests[_rest(record, keys), keys] = sweep
    for record in records:
        for keys in sorted({keys for _, keys in rests}):
            found = rests.get((_rest(record, keys), keys))
            if found is not None:
                found.add(record)
    return [sweeps[name] for name in sorted(sweeps) if sweeps[name].points]


def _rest(record: Record, keys: Sequence[str]) -> str:
    """Return a recipe without its seed, the place of a layer's file, and the given keys, as text."""
    recipe = copy.deepcopy(record.recipe)
    for key in ("seed", "model.path", *keys):
        *sections, last = key.split(".")
        node: Any = recipe
        for section in sections:
            node = node.get(section) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return json.dumps([recipe, record.data_fingerprint], sort_keys=True)
