"""Conversion between flat options, as on the command line, and the tree of configurations.

An option sets the field of the same name in every part of the model that has this field: the model itself, its layer
and the kernel of the layer. The option ``kernel`` chooses the class of the kernel, and so the set of valid options.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from ssm_models.config.checks import Config, require
from ssm_models.config.kernels import KERNELS, KernelConfig
from ssm_models.config.layer import LayerConfig

Model = TypeVar("Model", bound=Config)

#: Fields that hold another part, from the outermost one inwards.
_PARTS = ("layer", "kernel")


def layer_from_options(cls: type[LayerConfig], options: Mapping[str, Any], label: str = "the layer") -> LayerConfig:
    """Return the configuration of a layer, which includes its kernel if it has one.

    Args:
        cls: class of the layer's configuration.
        options: values by option name; ``kernel`` chooses the class of the kernel.
        label: name of the layer in error messages.

    Raises:
        ValueError: there is no such option, or its value is wrong.
    """
    return _build(_chain([("layer", cls)], options), options, label)


def model_from_options(
    cls: type[Model], layer: type[LayerConfig], options: Mapping[str, Any], label: str = "the model"
) -> Model:
    """Return the configuration of a model, which includes its layer and kernel; see :func:`layer_from_options`."""
    return _build(_chain([("", cls), ("layer", layer)], options), options, label)


def to_options(config: Config, *, changed_only: bool = False) -> dict[str, Any]:
    """Return the flat options of a configuration: options of the model first, then of the layer, then of the kernel.

    Args:
        config: configuration of a model, a layer or a kernel.
        changed_only: leave out options that have the default value of their class.

    Raises:
        ValueError: two parts have different values for the same option, so one flat option cannot give both.
    """
    found: dict[str, Any] = {}
    for part in _parts(config):
        inherited = found.keys() & {each.name for each in dataclasses.fields(part)}
        for name in inherited:
            require(
                found[name] == getattr(part, name),
                f"{name} is {found[name]} in one part of the model and {getattr(part, name)} in another; the flat "
                "option cannot say both.",
            )
        if isinstance(part, KernelConfig):
            found["kernel"] = part.name
        found |= {each.name: getattr(part, each.name) for each in dataclasses.fields(part) if each.name not in _PARTS}
    if changed_only:
        for name, default in _defaults(config).items():
            if name in found and found[name] == default:
                del found[name]
    return found


def _parts(config: Config) -> list[Any]:
    """Return a configuration and the configurations inside it."""
    inner = next((getattr(config, name) for name in _PARTS if hasattr(config, name)), None)
    return [config, *(() if inner is None else _parts(inner))]


def _defaults(config: Config) -> dict[str, Any]:
    """Return the defaults of the options of a configuration's classes."""
    found: dict[str, Any] = {}
    for part in _parts(config):
        for each in dataclasses.fields(part):
            default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
            if each.name == "kernel":
                found["kernel"] = default.name
            elif each.name not in _PARTS and default is not dataclasses.MISSING:
                found[each.name] = default
    return found


def _kernel_class(options: Mapping[str, Any], default: str) -> type[KernelConfig]:
    name = options.get("kernel", default)
    known = isinstance(name, str) and name in KERNELS
    require(known, f"kernel is one of {', '.join(KERNELS)}, not {name!r}.")
    return KERNELS[name]


def _chain(outer: list[tuple[str, type[Any]]], options: Mapping[str, Any]) -> list[tuple[str, type[Any]]]:
    """Return the field and the class of each part, including the kernel."""
    for each in dataclasses.fields(outer[-1][1]):
        if each.name == "kernel" and each.default_factory is not dataclasses.MISSING:
            return [*outer, ("kernel", _kernel_class(options, each.default_factory().name))]
    return outer


def _build(chain: list[tuple[str, type[Any]]], options: Mapping[str, Any], label: str) -> Any:
    """Make the parts from the innermost one outwards, and return the outermost one."""
    names = [{each.name for each in dataclasses.fields(cls)} - set(_PARTS) for _, cls in chain]
    known = set().union(*names) | ({"kernel"} if chain[-1][0] == "kernel" else set())
    for option in options:
        if option not in known:
            raise ValueError(_unknown(option, known, label, chain[-1][1]))
    inner: dict[str, Any] = {}
    for (field, cls), own in zip(reversed(chain), reversed(names), strict=True):
        lacking = [
            each.name
            for each in dataclasses.fields(cls)
            if each.name not in options
            and each.name not in inner
            and each.default is dataclasses.MISSING
            and each.default_factory is dataclasses.MISSING
        ]
        require(not lacking, f"{label} needs the option {', '.join(lacking)}.")
        inner = {field: cls(**{name: options[name] for name in own if name in options}, **inner)}
    return next(iter(inner.values()))


def _unknown(option: Any, known: set[str], label: str, innermost: type[Any]) -> str:
    """Return the message that there is no such option, with options that the user may have meant."""
    others = [name for name, cls in KERNELS.items() if any(each.name == option for each in dataclasses.fields(cls))]
    if issubclass(innermost, KernelConfig) and others:
        where = " and ".join(f"kernel={name}" for name in others)
        return f"There is no option '{option}' of {label} with kernel={innermost.name}; {where} would have it."
    near = difflib.get_close_matches(str(option), known, n=3, cutoff=0.5)
    hint = f"the nearest known: {', '.join(near)}" if near else f"known: {', '.join(sorted(known))}"
    return f"There is no option '{option}' of {label}; {hint}."
