"""Conversion of the flat options of a named model to its configuration, and back. Does not import torch.

The harness needs only these two functions: a command line or a recipe sets ``model.d_state=16``, no matter which part
of the model has the option.
"""

from collections.abc import Mapping
from typing import Any

from ssm_models.config import CustomLayerConfig, StackConfig, flat
from ssm_models.zoo import ZOO


def from_options(name: str, options: Mapping[str, Any]) -> StackConfig:
    """Return the configuration of a model.

    Args:
        name: name or alias of a model of the zoo; or ``custom``, for a layer that the user wrote.
        options: values that override the preset of the model, by option name.

    Raises:
        ValueError: there is no such model or option, or a value is wrong; the message gives the name, the value and
            the reason.
    """
    if name == "custom":
        return flat.model_from_options(StackConfig, CustomLayerConfig, options, name)
    if name not in ZOO:
        raise ValueError(f"There is no model '{name}' in the zoo; there are {', '.join(ZOO)}.")
    return ZOO[name](**options)


def to_options(config: StackConfig, *, changed_only: bool = False) -> dict[str, Any]:
    """Return the flat options of a model, in a fixed order: options of the stack, of the layer, of the kernel.

    ``from_options(name, to_options(config))`` equals ``config`` if ``config`` was made with the same ``name``.

    Args:
        config: the configuration of the model.
        changed_only: leave out options that have the default value of their class.

    Raises:
        ValueError: the stack and the layer have different values for the same option, so one flat option cannot give
            both.
    """
    return flat.to_options(config, changed_only=changed_only)
