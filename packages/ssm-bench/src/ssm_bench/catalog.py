"""What can be run: the benchmark folders, their tasks, models, variants and scales. Does not import torch.

A benchmark is a folder of benchmarks/ with a README, ``benchmark.yaml`` and one file per task. A task file declares,
each in one place: the data, the training settings of any model, the changes for a family of models, named variants of
the recipe, and the changes for a scale. :mod:`ssm_bench.recipe` composes these parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ssm_bench.errors import UserError, unknown
from ssm_bench.metrics import METRICS

SCALES = ("paper", "mini", "smoke")
#: The family of a layer of the user's own.
CUSTOM = "custom"
#: Sections that every part of a declaration may have.
SECTIONS = ("data", "model", "optimizer", "scheduler", "trainer")
_VALUES = (*SECTIONS, "seed", "must_beat_chance")
_BENCHMARK_TYPES: Mapping[str, type] = {
    "title": str,
    "source": str,
    "version": int,
    "protocol": str,
    "metric": str,
    "average": bool,
    "tasks": list,
    "published": list,
    "scales": dict,
}
_TASK_TYPES: Mapping[str, type] = {
    "title": str,
    "data": dict,
    "training": dict,
    "families": dict,
    "variants": dict,
    "scales": dict,
}
#: Types of the entries of a part that are not values of the recipe.
_NOTE_TYPES: Mapping[str, type] = {"source": str, "papers": list}
_TYPE_NAMES = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list of names",
    dict: "keys and values",
}
_PART_KEYS = {
    "training": ("source", *_VALUES),
    "families": ("source", "papers", *_VALUES),
    "variants": ("source", "families", *_VALUES),
    "scales": ("source", *_VALUES),
}


def benchmarks_root() -> Path:
    """Return the folder with one folder per benchmark: that of the checkout, else the copy inside the wheel."""
    package = Path(__file__).resolve().parent
    for root in (package.parents[3] / "benchmarks", package / "benchmarks"):
        if root.is_dir():
            return root
    raise UserError(f"No benchmarks/ folder was found beside {package}; reinstall ssm-bench or run from the checkout.")


@dataclass(frozen=True)
class ModelName:
    """A model as the command line names it: ``name``, ``name@variant``, or ``path/to/file.py:Class``.

    Attributes:
        name: the canonical name in ssm-models' zoo, or ``custom``.
        variant: a named variant of the recipe; empty for the default one.
        path: ``file.py:Class`` with an absolute path for a layer of the user's own, else empty.
    """

    name: str
    variant: str = ""
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a word of the command line.

        Raises:
            UserError: there is no such model, file or class name.
        """
        from ssm_models.zoo import ZOO, canonical

        if ".py:" in text:
            file, _, attribute = text.rpartition(":")
            try:
                path = Path(file).expanduser()
                found = path.is_file()
            except (OSError, RuntimeError) as error:  # a name that is too long; ~ of an unknown user
                reason = error.strerror if isinstance(error, OSError) else error
                raise UserError(f"There is no file {file}: {str(reason).rstrip('.')}.") from None
            if not found:
                raise UserError(f"There is no file {path}; --model takes path/to/file.py:Class.")
            if not attribute.isidentifier():
                raise UserError(f"'{attribute}' is not a class name; --model takes path/to/file.py:Class.")
            return cls(CUSTOM, path=f"{path.resolve()}:{attribute}")
        name, at, variant = text.partition("@")
        if name not in ZOO:
            raise unknown("model", name, ZOO)
        if at and not variant:
            raise UserError(f"'{text}' names no variant; write {name}, or {name}@VARIANT.")
        return cls(canonical(name), variant)

    @property
    def family(self) -> str:
        from ssm_models.zoo import ZOO

        return CUSTOM if self.path else ZOO[self.name].family

    def __str__(self) -> str:
        """The name in tables and records."""
        if self.path:
            file, _, attribute = self.path.rpartition(":")
            return f"{Path(file).name}:{attribute}"
        return f"{self.name}@{self.variant}" if self.variant else self.name


@dataclass(frozen=True)
class Task:
    """One task file.

    Attributes:
        content: the declaration: ``title``, ``data``, ``training``, ``families``, ``variants`` and ``scales``.
    """

    file: Path
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def title(self) -> str:
        return self.content["title"]

    def part(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return the declaration of a family, a variant or a scale; empty if the task has none of that name."""
        return (self.content.get(kind) or {}).get(name) or {}

    def variants(self, family: str) -> list[str]:
        """Return the names of the variants that are defined for a family."""
        declared = self.content.get("variants") or {}
        return [name for name, part in declared.items() if family in part["families"]]

    def variant(self, name: str, family: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return what a variant changes for every model, and what it changes for one family in addition."""
        part = self.part("variants", name)
        values = {key: value for key, value in part.items() if key not in ("source", "families")}
        return values, (part.get("families") or {}).get(family) or {}

    def resolve(self, model: ModelName) -> ModelName:
        """Check the variant of a model. If the variant changes nothing, return the model without it.

        Raises:
            UserError: this task has no such variant for the model's family.
        """
        if not model.variant:
            return model
        known = self.variants(model.family)
        if model.variant not in known:
            raise unknown(f"variant of {model.name} on {self.name}", model.variant, known)
        of_all, of_family = self.variant(model.variant, model.family)
        return model if of_all or of_family else replace(model, variant="")


@dataclass(frozen=True)
class Benchmark:
    """One folder of benchmarks/: its ``benchmark.yaml`` and its tasks."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def meta(self) -> Mapping[str, Any]:
        """The content of ``benchmark.yaml``."""
        file = self.folder / "benchmark.yaml"
        meta = _read(file, _BENCHMARK_TYPES, required=("title", "version", "metric", "tasks"))
        if meta["metric"] not in METRICS:
            raise unknown(f"metric in {file}", meta["metric"], METRICS)
        _check_parts(file, "scales", meta.get("scales"), (*_PART_KEYS["scales"], "families"))
        return meta

    @property
    def title(self) -> str:
        return self.meta["title"]

    @property
    def version(self) -> int:
        return self.meta["version"]

    @property
    def metric(self) -> str:
        """The metric in its tables, a key of :data:`ssm_bench.metrics.METRICS`."""
        return self.meta["metric"]

    @property
    def average(self) -> bool:
        """Whether its protocol has a mean over all tasks."""
        return self.meta.get("average", False)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Tasks by name, in the order of the tables."""
        return {name: self._task(name) for name in self.meta["tasks"]}

    def scale(self, name: str, family: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return what a scale changes in every task, and what it changes for one family of models in addition."""
        part = (self.meta.get("scales") or {}).get(name) or {}
        values = {key: value for key, value in part.items() if key != "families"}
        return values, (part.get("families") or {}).get(family) or {}

    def check_task(self, task: str) -> str:
        if task not in self.meta["tasks"]:
            raise unknown(f"task of {self.name}", task, self.meta["tasks"])
        return task

    def _task(self, name: str) -> Task:
        file = self.folder / f"{name}.yaml"
        content = _read(file, _TASK_TYPES, required=("title", "data", "training"))
        if not isinstance(content["data"].get("name"), str):
            raise UserError(f"{file}: data has no 'name', that of the data set.")
        _check_part(file, "training", content["training"], _PART_KEYS["training"])
        for kind in ("families", "variants", "scales"):
            _check_parts(file, kind, content.get(kind), _PART_KEYS[kind])
        for name, variant in (content.get("variants") or {}).items():
            if not (variant or {}).get("families"):
                raise UserError(f"{file}: variants.{name} has no 'families', for which it is meant.")
        return Task(file, content)


def benchmarks() -> dict[str, Benchmark]:
    """Return every benchmark folder by name."""
    files = sorted(benchmarks_root().glob("*/benchmark.yaml"))
    return {file.parent.name: Benchmark(file.parent) for file in files}


def benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name; a hyphen and an underscore mean the same.

    Raises:
        UserError: there is none; the sentence names the nearest known ones.
    """
    known = benchmarks()
    folder = name.replace("-", "_")
    if folder not in known:
        raise unknown("benchmark", name, known)
    return known[folder]


def models() -> Iterator[str]:
    """Yield the canonical name of every model of the zoo."""
    from ssm_models.zoo import ZOO, canonical

    return (name for name in ZOO if canonical(name) == name)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads plain YAML. Refuses a key that occurs twice; YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(file: Path, types: Mapping[str, type], required: Collection[str]) -> Mapping[str, Any]:
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"There is no {file}, which benchmark.yaml names as a task.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}.") from None
    content = _mapping(file, "the file", content)
    _check_keys(file, "", content, types)
    for key in required:
        if not content.get(key):
            raise UserError(f"{file} has no '{key}'.")
    for key, kind in types.items():
        _check_type(file, key, content.get(key), kind)
    return content


def _check_type(file: Path, where: str, value: Any, kind: type) -> None:
    right = value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool)))
    if not right or (kind is list and not all(isinstance(each, str) for each in value or ())):
        raise UserError(f"{file}: {where} must be {_TYPE_NAMES[kind]}, not {value!r:.80}.")


def _check_parts(file: Path, kind: str, parts: Any, keys: Collection[str]) -> None:
    """Check that each of the families, variants or scales of a file has only keys that it may have."""
    for name, part in _mapping(file, kind, parts).items():
        if kind == "scales" and name not in SCALES:
            raise unknown(f"scale in {file}", str(name), SCALES)
        _check_part(file, f"{kind}.{name}", part, keys)


def _check_part(file: Path, where: str, part: Any, keys: Collection[str]) -> None:
    _check_keys(file, where, part, keys)
    entries = _mapping(file, where, part)
    for key, kind in _NOTE_TYPES.items():
        _check_type(file, f"{where}.{key}", entries.get(key), kind)
    for section in SECTIONS:
        # An empty section would delete what the earlier parts set.
        if section in entries and not isinstance(entries[section], dict):
            raise UserError(f"{file}: {where}.{section} must hold keys and values, not {entries[section]!r:.80}.")
    for family, values in _mapping(file, f"{where}.families", entries.get("families")).items():
        _check_part(file, f"{where}.families.{family}", values, _VALUES)


def _mapping(file: Path, where: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{file}: {where} must hold keys and values, not {value!r}.")
    return value


def _check_keys(file: Path, where: str, part: Any, known: Collection[str]) -> None:
    for key in _mapping(file, where, part):
        if key not in known:
            raise unknown(f"key in {file}", f"{where}.{key}".lstrip("."), [f"{where}.{k}".lstrip(".") for k in known])
