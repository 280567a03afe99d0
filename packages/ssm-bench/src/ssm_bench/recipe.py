"""Compose a cell's recipe and validate it once against the typed dataclasses. Does not import torch.

Hydra's OmegaConf merges the declarations, and Hydra's grammar reads the ``key=value`` words of the command line.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssm_data.contract import Dataset

from ssm_bench.catalog import SCALES, SECTIONS, Benchmark, ModelName
from ssm_bench.config import OptimizerConfig, Recipe, Runtime, SchedulerConfig, TrainerConfig
from ssm_bench.errors import UserError, unknown

#: Version of the hash. Increase it only if the same recipe computes another result than before.
HASH_SCHEMA = 2
#: Sections whose dataclass is the same for every recipe; the classes of data and model depend on their names.
CLASSES = {"optimizer": OptimizerConfig, "scheduler": SchedulerConfig, "trainer": TrainerConfig}
RUNTIME_KEYS = tuple(f.name for f in dataclasses.fields(Runtime))
#: Keys of the recipe that belong to no section.
FREE_KEYS = ("seed", "must_beat_chance")
#: Keys that a ``key=value`` word cannot set, and what decides each of them instead.
DECIDED_ELSEWHERE = {
    "scale": "--scale",
    "task": "--task",
    "benchmark": "the first word, bench BENCHMARK",
    "version": "benchmark.yaml",
    "variant": "--model NAME@VARIANT",
    "model_name": "--model",
    "source_digest": "--model",
    "model.name": "--model",
    "model.path": "--model",
    "data.name": "--task",
}


def compose_recipe(
    benchmark: Benchmark, task: str, model: str, scale: str, seed: int | None, overrides: Sequence[str]
) -> tuple[Recipe, Runtime]:
    """Return the frozen recipe of one cell, and its runtime options.

    Args:
        model: a name of the zoo, ``name@variant``, or ``path/to/file.py:Class``.
        seed: replaces the recipe's own seed unless None.
        overrides: ``key=value`` words of the command line, in Hydra's grammar.

    Raises:
        UserError: a name or a key is unknown, or a value is invalid; the sentence gives the nearest known name or the
            reason.
    """
    benchmark.check_task(task)
    name = benchmark.tasks[task].resolve(ModelName.parse(model))
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    tree = json.loads(_compose(benchmark.folder, task, name.family, name.variant, scale))
    for word in effective(overrides):
        _override(tree, word, name)
    if seed is not None:
        tree["seed"] = seed
    return _validate(tree, benchmark, task, name, scale)


def compose_data(benchmark: Benchmark, task: str, scale: str) -> Dataset:
    """Return the data set of a task at a scale, which is the same for every model.

    Raises:
        UserError: there is no such task, or its declaration is wrong.
    """
    benchmark.check_task(task)
    return _dataset(json.loads(_compose(benchmark.folder, task, "", "", scale))["data"])


@lru_cache(maxsize=4096)
def _compose(folder: Path, task: str, family: str, variant: str, scale: str) -> str:
    """Return the merged declarations of a cell as JSON, because a cached value must not be mutable."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    benchmark = Benchmark(folder)
    declared = benchmark.tasks[task]
    of_all, of_family = declared.variant(variant, family)
    scale_of_all, scale_of_family = benchmark.scale(scale, family)
    parts = (
        {"data": declared.content["data"]},
        declared.content["training"],
        declared.part("families", family),
        of_all,
        of_family,
        scale_of_all,
        scale_of_family,
        declared.part("scales", scale),
    )
    # OmegaConf is the part of Hydra that merges. Hydra's own compose() would add 60 ms for a defaults list and job
    # settings, which a recipe does not have.
    try:
        config = OmegaConf.merge(
            *({key: part[key] for key in part if key not in ("source", "papers")} for part in parts)
        )
        return json.dumps(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{declared.file} cannot be merged: {str(error).splitlines()[0]}.") from error


def values(word: str) -> list[str]:
    """Return one ``key=value`` word for each value of a sweep word, such as ``key=a,b`` or ``key=range(1,5)``."""
    parsed = _parse(word)
    if not parsed.is_sweep_override():
        return [word]
    if not parsed.is_discrete_sweep():
        raise UserError(f"'{word}' names no points: a sweep takes key=a,b,c or key=range(start,stop,step).")
    choices = []
    try:
        for value in parsed.sweep_string_iterator():
            choices.append(f"{parsed.key_or_group}={value}")
            if len(choices) > MAX_POINTS:
                raise UserError(f"'{word}' has more than {MAX_POINTS:,} values; a sweep runs each of them.")
    except _hydra_errors() as error:
        raise UserError(f"'{word}' names no points: {str(error).splitlines()[0]}.") from error
    if not choices:
        raise UserError(f"'{word}' names no points: the range is empty.")
    return choices


#: More cells than this in one command are a typing mistake.
MAX_POINTS = 10_000


def _hydra_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of Hydra's parser, including those for a word without a meaning, such as range(1,5,0)."""
    from hydra.errors import HydraException

    return HydraException, ValueError, ArithmeticError


@lru_cache(maxsize=4096)
def _parse(word: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        parsed = OverridesParser.create().parse_override(word)
    except _hydra_errors() as error:
        raise UserError(f"'{word}' is not of the form key=value: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise UserError(f"'{word[:40]}...' nests too deeply.") from None
    if parsed.is_delete() or parsed.is_add() or parsed.is_force_add():
        raise UserError(f"'{word}': write key=value, without + or ~.")
    return parsed


def effective(words: Sequence[str]) -> tuple[str, ...]:
    """Return the ``key=value`` words that have an effect. If several words set one key, keep the last, as in Hydra.

    Raises:
        UserError: a word sets a part of an option that a later word sets as a whole.
    """
    last: dict[str, str] = {}
    for word in words:
        key = str(_parse(word).key_or_group)
        last.pop(key, None)  # the word stands where it has its effect
        last[key] = word
    keys = list(last)
    for number, key in enumerate(keys):
        for later in keys[number + 1 :]:
            if key.startswith(f"{later}."):
                raise UserError(f"'{last[key]}' has no effect, because {last[later]} sets all of it; leave one out.")
    return tuple(last.values())


def _override(tree: dict[str, Any], word: str, model: ModelName) -> None:
    """Set one ``key=value`` in the tree; :func:`_validate` checks whether the key exists."""
    parsed = _parse(word)
    if parsed.is_sweep_override():
        raise UserError(
            f"'{word}' gives several values; give one value, or quote a list as 'key=[a,b]'. To run each: --sweep."
        )
    key = parsed.key_or_group
    value = copy.deepcopy(parsed.value())
    if key in DECIDED_ELSEWHERE:
        raise UserError(f"'{word}': {key} is not an option of the recipe; {DECIDED_ELSEWHERE[key]} decides it.")
    section, *path = key.split(".")
    if not path:
        if section in SECTIONS:
            instead = {"model": "choose a model with --model", "data": "choose a task with --task"}.get(
                section, f"choose one with {section}.name=..."
            )
            raise UserError(f"'{word}': {section} is a section of options; set {section}.OPTION=..., or {instead}.")
        tree[section] = value
        return
    if section not in SECTIONS:
        raise unknown("recipe key", key, [*SECTIONS, *FREE_KEYS, *RUNTIME_KEYS])
    *parents, last = path
    node = tree.setdefault(section, {})
    if parents and parents[0] not in node:
        # The other entries of an option that is itself a dict keep the values that they have without this word.
        node[parents[0]] = _preset(tree, section, parents[0], model)
    for depth, parent in enumerate(parents):
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise UserError(f"'{'.'.join([section, *parents[: depth + 1]])}' in '{word}' is a value, not a section.")
    node[last] = value


def _preset(tree: Mapping[str, Any], section: str, option: str, model: ModelName) -> Any:
    """Return the default value of a dict option of the model, given the other options; {} for other sections."""
    if section != "model":
        return {}
    from ssm_models.options import from_options, to_options

    options = {key: value for key, value in tree["model"].items() if not isinstance(value, dict)}
    try:
        return dict(to_options(from_options(model.name, _with_path(options, model))).get(option) or {})
    except ValueError:
        return {}


def _with_path(options: Mapping[str, Any], model: ModelName) -> dict[str, Any]:
    return {**options, "path": model.path} if model.path else dict(options)


def _validate(
    tree: dict[str, Any], benchmark: Benchmark, task: str, model: ModelName, scale: str
) -> tuple[Recipe, Runtime]:
    from ssm_models.options import from_options

    for key in tree:
        if key not in (*SECTIONS, *FREE_KEYS, *RUNTIME_KEYS):
            raise unknown("recipe key", key, [*SECTIONS, *FREE_KEYS, *RUNTIME_KEYS])
    try:
        config = from_options(model.name, _with_path(tree.get("model", {}), model))
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    recipe = {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "task": task,
        "model_name": str(model),
        "scale": scale,
        **{key: tree[key] for key in FREE_KEYS if key in tree},
        "data": _dataset(tree["data"]),
        "model": config,
        "source_digest": _source_digest(model),
        **{key: build(cls, tree.get(key, {}), f"{key}.") for key, cls in CLASSES.items()},
    }
    runtime: Runtime = build(Runtime, {key: tree[key] for key in RUNTIME_KEYS if key in tree}, "")
    batch = recipe["trainer"].batch_size
    if batch % runtime.processes:
        raise UserError(
            f"trainer.batch_size={batch} cannot be shared equally by {runtime.processes} processes "
            f"(devices={runtime.devices}, nodes={runtime.nodes}); choose numbers that divide it."
        )
    return build(Recipe, recipe, ""), runtime


def _dataset(options: Mapping[str, Any]) -> Dataset:
    from ssm_data import DATASETS

    name = options["name"]
    if name not in DATASETS:
        raise unknown("data set", str(name), DATASETS)
    given = {key: value for key, value in options.items() if key != "name"}
    dataset = build(DATASETS[name], given, "data.")
    for key, value in given.items():
        if not _is_kept(value, getattr(dataset, key)):
            raise UserError(
                f"data.{key}={value!r} is not valid: its type is wrong; options that count take whole numbers."
            )
    return dataset


def _is_kept(given: Any, got: Any) -> bool:
    """Return whether a value was taken as it is: no text or flag for a number, and no fraction for a whole number."""
    if isinstance(given, Mapping):
        return isinstance(got, Mapping) and all(_is_kept(given[key], got[key]) for key in given)
    if isinstance(given, list | tuple):
        return isinstance(got, list | tuple) and all(map(_is_kept, given, got))
    return type(given) is type(got) or (type(given) is int and type(got) is float)


def _source_digest(model: ModelName) -> str:
    if not model.path:
        return ""
    from ssm_models.config.custom_layer_files import source_digest

    try:
        return source_digest(model.path)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error


def build(cls: Any, values: Any, prefix: str, kind: str = "recipe key") -> Any:
    """Return a frozen dataclass from plain values.

    Args:
        prefix: the text before each key in sentences, such as ``optimizer.``.

    Raises:
        UserError: a key or a value is wrong; the sentence says which.
    """
    from pydantic import ValidationError

    if not isinstance(values, Mapping):
        raise UserError(f"{prefix.rstrip('.')} must hold keys and values, not {values!r}.")
    names = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in names:
            raise unknown(kind, prefix + str(key), (prefix + name for name in names))
    try:
        return _adapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        if "error" in first.get("ctx", {}):
            # The dataclass itself raised this error; its message is a whole sentence.
            raise UserError(str(first["ctx"]["error"])) from error
        key = prefix + ".".join(map(str, first["loc"][:1])) if first["loc"] else prefix.rstrip(".")
        if first["type"] == "missing" and len(first["loc"]) == 1:
            raise UserError(f"{key} is missing; it has no default.") from error
        raise UserError(f"{key}={first['input']!r} is not valid: {first['msg'].rstrip('.')}.") from error


@lru_cache(maxsize=64)
def _adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain values, with the names of its data set and model."""
    from ssm_models.options import to_options

    tree = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    tree |= {key: dataclasses.asdict(getattr(recipe, key)) for key in CLASSES}
    tree["data"] = {"name": recipe.data.name, **dataclasses.asdict(recipe.data)}
    tree["model"] = {"name": tree.pop("model_name"), **to_options(recipe.model)}
    return json.loads(json.dumps(tree, default=str))


def as_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML, in the order of its dataclasses."""
    import yaml

    return yaml.safe_dump(as_dict(recipe), sort_keys=False)


def recipe_hash(recipe: Recipe) -> str:
    """Return eight hex digits that change with anything that determines the result.

    They cover the values that differ from the defaults of the typed dataclasses. Therefore an option that is added
    later does not change the hashes of finished runs, if its default computes what was computed before.
    """
    from ssm_models.options import to_options

    changed: dict[str, Any] = {
        "schema": HASH_SCHEMA,
        **{key: getattr(recipe, key) for key in ("benchmark", "version", "task", "model_name", "scale", "seed")},
        **{key: _changed(getattr(recipe, key)) for key in CLASSES},
        "data": {"name": recipe.data.name, **_changed(recipe.data)},
        "model": to_options(recipe.model, changed_only=True),
    }
    # The hash covers the code of a layer, but not the path of its file; the class is in model_name.
    changed["model"].pop("path", None)
    changed |= {key: value for key in ("must_beat_chance", "source_digest") if (value := getattr(recipe, key))}
    text = json.dumps(changed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _changed(config: Any) -> dict[str, Any]:
    """Return the fields of a dataclass whose values differ from their defaults."""
    found = {}
    for each in dataclasses.fields(config):
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        value = getattr(config, each.name)
        if value != default:
            found[each.name] = value
    return found
