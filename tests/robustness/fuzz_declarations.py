"""Target of the fuzz harness: the declarations of benchmarks, in YAML."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from fuzz import SilentError
from mutation import mutated_text
from ssm_bench.catalog import SECTIONS, Benchmark, ModelName
from ssm_bench.errors import UserError
from ssm_bench.recipe import _compose, as_dict, compose_recipe

BENCHMARK = """\
title: Trial
source: "Ours"
version: 1
metric: accuracy
average: true
tasks: [one]
published: []
scales:
  mini:
    model: {n_layers: 2}
  smoke:
    data: {miniature: true}
    trainer: {batch_size: 8, epochs: 2}
    must_beat_chance: true
"""
TASK = """\
title: One
data: {name: listops, l_max: 512}
training:
  source: "Ours"
  seed: 3
  model: {n_layers: 6, d_model: 16, norm: layer, dropout: 0.1}
  optimizer: {name: adamw, lr: 0.01, weight_decay: 0.05}
  scheduler: {name: cosine_warmup, warmup_steps: 100, total_steps: 2000}
  trainer: {batch_size: 50, epochs: 20}
families:
  s4d: &s4
    source: "Ours"
    papers: [s4d]
    model: {d_state: 64, bidirectional: true, lr: {A: 0.001, B: 0.001}}
  s4: *s4
  s5:
    model: {d_state: 32, blocks: 2}
    optimizer: {lr: 0.004}
variants:
  v4:
    source: "Ours"
    optimizer: {lr: 0.002}
    families: {s4d: {model: {disc: zoh}}, s4: {}}
scales:
  mini:
    data: {limit: {train: 1000, val: 100, test: 100}}
  smoke:
    trainer: {epochs: 3}
"""
MODELS = ("s4d", "s4d@v4", "s4", "s5")
SCALES = ("paper", "mini", "smoke")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Declarations:
    """A benchmark of one task, one file of which is mutated.

    Accepted is a recipe that holds every value of its parts: the training, the family, the variant and both scales,
    each over the one before. All numbers are finite. A file that gives a key twice is not accepted.
    """

    name: ClassVar[str] = "recipes"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (UserError,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trial"
        self.folder.mkdir(parents=True)

    def case(self, draw: random.Random) -> tuple[str, str, str, str]:
        meta, task = BENCHMARK, TASK
        if draw.random() < 0.25:
            meta = mutated_text(meta, draw, task)
        else:
            task = mutated_text(task, draw, draw.choice((meta, task)))
        return meta, task, draw.choice(MODELS), draw.choice(SCALES)

    def run(self, case: tuple[str, str, str, str], draw: random.Random) -> bool:
        meta, task, model, scale = case
        for name, text in (("benchmark.yaml", meta), ("one.yaml", task)):
            (self.folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        _compose.cache_clear()
        benchmark = Benchmark(self.folder)
        recipe, _ = compose_recipe(benchmark, "one", model, scale, None, [])
        titles = (benchmark.title, benchmark.tasks["one"].title, benchmark.metric, benchmark.version)
        if any(not isinstance(title, str) for title in titles[:3]) or type(titles[3]) is not int:
            raise SilentError(f"a title, a metric or a version of another type: {titles}")
        for text in (meta, task):
            if double := next(_double_keys(yaml.compose(text, _LOADER)), None):
                raise SilentError(f"a key that is given twice: {double!r}")
        composed = as_dict(recipe)
        json.dumps(composed, allow_nan=False)
        wanted = _merged(_load(meta), _load(task), ModelName.parse(model), scale)
        for key, value in _leaves(wanted):
            node: Any = composed
            for part in key:
                node = node.get(part, {}) if isinstance(node, Mapping) else {}
            if not _same(node, value):
                raise SilentError(
                    f"another value of {'.'.join(map(str, key))[:60]}: {node!r:.60} instead of {value!r:.60}"
                )
        return True


def _load(text: str) -> Any:
    return yaml.load(text, _LOADER)


def _merged(meta: dict[str, Any], task: dict[str, Any], model: ModelName, scale: str) -> dict[str, Any]:
    """Return what the parts of a declaration say together; the later part counts."""
    variant = (task.get("variants") or {}).get(model.variant) or {}
    of_scale = (meta.get("scales") or {}).get(scale) or {}
    parts = [
        {"data": task["data"]},
        task["training"],
        (task.get("families") or {}).get(model.family),
        {key: value for key, value in variant.items() if key != "families"},
        (variant.get("families") or {}).get(model.family),
        {key: value for key, value in of_scale.items() if key != "families"},
        (of_scale.get("families") or {}).get(model.family),
        (task.get("scales") or {}).get(scale),
    ]
    merged: dict[str, Any] = {}
    for part in parts:
        _update(merged, {key: value for key, value in (part or {}).items() if key not in ("source", "papers")})
    return merged


def _update(tree: dict[str, Any], part: Mapping[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _update(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        elif path != () or key not in SECTIONS:
            yield (*path, key), value


def _same(found: Any, value: Any) -> bool:
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    if isinstance(found, float | int) and isinstance(value, float | int):
        # A whole number that is written for a real one may have more digits than it.
        return math.isfinite(found) and (found == value or (isinstance(found, float) and found == float(value)))
    if value == {} or value is None:
        return found in (None, {}, value)
    return found == value or str(found) == str(value)


def _double_keys(node: yaml.Node | None) -> Iterator[str]:
    """Yield the keys that a mapping of the file has twice."""
    seen: list[yaml.Node] = [node] if node else []
    done = set()
    while seen:
        each = seen.pop()
        if id(each) in done:
            continue
        done.add(id(each))
        if isinstance(each, yaml.MappingNode):
            keys = [key.value for key, _ in each.value if isinstance(key, yaml.ScalarNode)]
            yield from (key for key in keys if keys.count(key) > 1)
            seen += [part for pair in each.value for part in pair]
        elif isinstance(each, yaml.SequenceNode):
            seen += each.value


TARGETS: tuple[type[Any], ...] = (Declarations,)
