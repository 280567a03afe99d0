"""Composes a cell's recipe with Hydra and validates it once against the typed dataclasses. Does not import torch."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from ssm_bench.catalog import CUSTOM, Benchmark, is_custom
from ssm_bench.config import OptimizerConfig, Recipe, Runtime, SchedulerConfig, TrainerConfig
from ssm_bench.errors import UserError, unknown

#: Sections a user may override: their typed dataclass is looked up by ``name`` for data and model.
SECTIONS = {"optimizer": OptimizerConfig, "scheduler": SchedulerConfig, "trainer": TrainerConfig}
RUNTIME_KEYS = tuple(f.name for f in dataclasses.fields(Runtime))
FREE_KEYS = ("seed", "must_beat_chance")


@lru_cache(maxsize=256)
def _compose(folder: Path, task: str, model: str, recipe: str, scale: str) -> str:
    """Hydra's composition of the benchmark folder, as JSON (a cached value must not be mutable)."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose(
            "recipe",
            overrides=[f"task={task}", f"model={model}", f"recipe={recipe}/{task}", f"scale={scale}"],
        )
    return json.dumps(OmegaConf.to_container(config, resolve=True))


def compose_recipe(
    benchmark: Benchmark, task: str, model: str, scale: str, seed: int | None, overrides: Sequence[str]
) -> tuple[Recipe, Runtime]:
    """The frozen recipe of one cell.

    Args:
        seed: replaces the recipe's own seed unless None.
        overrides: ``key=value`` words of the command line, Hydra's grammar.

    Raises:
        UserError: an unknown key or an invalid value, named with the nearest known key or the reason.
    """
    benchmark.check_task(task)
    benchmark.check_model(model)
    file = CUSTOM if is_custom(model) else model
    family = benchmark.models[file]["recipe"]
    if not (benchmark.folder / "recipe" / family / f"{task}.yaml").is_file():
        raise UserError(f"The model {model} has no recipe for {benchmark.name}/{task}.")
    specialised = benchmark.folder / "scale" / scale / f"{task}.yaml"
    tree = json.loads(
        _compose(benchmark.folder, task, file, family, f"{scale}/{task}" if specialised.is_file() else scale)
    )
    if is_custom(model):
        path, _, attribute = model.rpartition(":")
        tree["model"]["path"] = f"{Path(path).resolve()}:{attribute}"
    for word in overrides:
        _override(tree, word)
    if seed is not None:
        tree["seed"] = seed
    return _validate(tree, benchmark, model)


def values(word: str) -> list[str]:
    """A ``key=value`` word for each of the values that a word gives in Hydra's grammar: ``a,b`` or ``range(1,5)``."""
    parsed = _parse(word)
    if not parsed.is_sweep_override():
        return [word]
    if not parsed.is_discrete_sweep():
        raise UserError(f"'{word}' names no points: a sweep takes key=a,b,c or key=range(start,stop,step).")
    return [f"{parsed.key_or_group}={value}" for value in parsed.sweep_string_iterator()]


@lru_cache(maxsize=4096)
def _parse(word: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise UserError(f"'{word}' is not of the form key=value: {str(error).splitlines()[0]}") from error
    if parsed.is_delete() or parsed.is_add() or parsed.is_force_add():
        raise UserError(f"'{word}': write key=value, without + or ~.")
    return parsed


def _override(tree: dict[str, Any], word: str) -> None:
    """Set one ``key=value`` in the tree; whether the key exists is checked with the rest of the recipe."""
    parsed = _parse(word)
    if parsed.is_sweep_override():
        raise UserError(
            f"'{word}' gives several values; give one value, or quote a list as 'key=[a,b]'. To run each: --sweep."
        )
    *parents, last = parsed.key_or_group.split(".")
    node = tree
    for depth, key in enumerate(parents):
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise UserError(f"'{'.'.join(parents[: depth + 1])}' in '{word}' is a value, not a section.")
    node[last] = copy.deepcopy(parsed.value())


def _validate(tree: dict[str, Any], benchmark: Benchmark, model: str) -> tuple[Recipe, Runtime]:
    from ssm_data import DATASETS
    from ssm_models.config import CustomConfig
    from ssm_models.zoo import ZOO

    known = {"data", "model", *SECTIONS, *FREE_KEYS, *RUNTIME_KEYS}
    fixed = {"task", "recipe", "scale"}
    for key in tree:
        if key not in known | fixed:
            raise unknown("recipe key", key, known)
    data = dict(tree["data"])
    dataset = data.pop("name")
    if dataset not in DATASETS:
        raise unknown("data set", dataset, DATASETS)
    options = dict(tree["model"])
    name = options.pop("name")
    if name not in ZOO and name != CUSTOM:
        raise unknown("model", name, ZOO)
    preset = partial(CustomConfig) if name == CUSTOM else cast(partial, ZOO[name])
    recipe = {
        "benchmark": benchmark.name,
        "version": benchmark.meta["version"],
        "model_name": model if not is_custom(model) else Path(model.rpartition(":")[0]).stem,
        **{key: tree[key] for key in ("task", "recipe", "scale", *FREE_KEYS) if key in tree},
        "data": build(DATASETS[dataset], data, "data."),
        "model": build(preset.func, {**preset.keywords, **options}, "model."),
        **{key: build(cls, tree.get(key, {}), f"{key}.") for key, cls in SECTIONS.items()},
    }
    runtime: Runtime = build(Runtime, {key: tree[key] for key in RUNTIME_KEYS if key in tree}, "")
    batch = recipe["trainer"].batch_size
    if batch % runtime.processes:
        raise UserError(
            f"trainer.batch_size={batch} cannot be shared equally by {runtime.processes} processes "
            f"(devices={runtime.devices}, nodes={runtime.nodes}); choose numbers that divide it."
        )
    return build(Recipe, recipe, ""), runtime


def build(cls: Any, values: Mapping[str, Any], prefix: str, kind: str = "recipe key") -> Any:
    """A frozen dataclass of class ``cls`` from plain values, or a sentence that says which key or value is wrong."""
    from pydantic import ValidationError

    names = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in names:
            raise unknown(kind, prefix + key, (prefix + name for name in names))
    try:
        return _adapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        if "error" in first.get("ctx", {}):
            # A check of the dataclass itself, which is a whole sentence.
            raise UserError(str(first["ctx"]["error"])) from error
        key = prefix + str(first["loc"][0]) if first["loc"] else prefix.rstrip(".")
        raise UserError(f"{key}={first['input']!r} is not valid: {first['msg'].rstrip('.')}.") from error


@lru_cache(maxsize=64)
def _adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, with the names of its data set and model."""
    tree = dataclasses.asdict(recipe)
    tree["data"] = {"name": recipe.data.name, **tree["data"]}
    tree["model"] = {"name": tree.pop("model_name"), **tree["model"]}
    return tree


def as_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, in the order of its dataclasses."""
    import yaml

    return yaml.safe_dump(json.loads(json.dumps(as_dict(recipe), default=str)), sort_keys=False)


def recipe_hash(recipe: Recipe) -> str:
    """Eight hex digits that change with anything that determines the result."""
    text = json.dumps(as_dict(recipe), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
