"""Flat options of the command line become a model's configuration, and the other way round. Does not import torch."""

import dataclasses
import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ssm_models.config import CustomConfig, StackConfig
from ssm_models.zoo import ZOO


def from_options(name: str, options: Mapping[str, Any]) -> StackConfig:
    """Return the configuration of a model of the zoo, or of ``custom``, with some options changed.

    Raises:
        ValueError: an option does not exist, or its value is wrong.
    """
    cls, preset = (CustomConfig, {}) if name == "custom" else (ZOO[name].preset.func, ZOO[name].preset.keywords)
    known = {field.name for field in dataclasses.fields(cls)}
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=3, cutoff=0.5)
            hint = f"the nearest known: {', '.join(near)}" if near else f"known: {', '.join(sorted(known))}"
            raise ValueError(f"There is no option '{option}' of {name}; {hint}.")
    try:
        return _adapter(cls).validate_python({**preset, **options})
    except ValidationError as error:
        first = error.errors()[0]
        if "error" in first.get("ctx", {}):
            raise ValueError(str(first["ctx"]["error"])) from error
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}={first['input']!r} is not valid: {first['msg'].rstrip('.')}.") from error


def to_options(config: StackConfig, *, changed_only: bool = False) -> dict[str, Any]:
    """Return the options of a configuration, or only those that differ from the defaults of its class."""
    found = {}
    for field in dataclasses.fields(config):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        value = getattr(config, field.name)
        if not changed_only or value != default:
            found[field.name] = value
    return found


@cache
def _adapter(cls: type) -> TypeAdapter:
    return TypeAdapter(cls)
