"""Flat options of a named model become its configuration, and the other way round. Does not import torch.

The harness needs no more of a model than these two functions: a command line and a recipe say ``model.d_state=16``,
whichever part of the model has the option.
"""

from collections.abc import Mapping
from typing import Any

from ssm_models.config import CustomLayerConfig, StackConfig, flat
from ssm_models.zoo import ZOO


def from_options(name: str, options: Mapping[str, Any]) -> StackConfig:
    """Return the configuration of a model.

    Args:
        name: of a model of the zoo, also an alias; or ``custom``, for a layer of the user's own.
        options: values over the preset of the model, by their names.

    Raises:
        ValueError: there is no such model or option, or a value is wrong; the sentence gives the name, the value and
            the reason.
    """
    if name == "custom":
        return flat.model_from_options(StackConfig, CustomLayerConfig, options, name)
    if name not in ZOO:
        raise ValueError(f"There is no model '{name}' in the zoo; there are {', '.join(ZOO)}.")
    return ZOO[name](**options)


def to_options(config: StackConfig, *, changed_only: bool = False) -> dict[str, Any]:
    """Return the flat options of a model, in a fixed order: of the stack, of the layer, of the kernel.

    ``from_options(name, to_options(config))`` is ``config`` again, for the name that it was made from.

    Args:
        config: a model.
        changed_only: leave out those that have the default of their class.

    Raises:
        ValueError: one word stands for several values, because stack and layer differ in an option that both have.
    """
    return flat.to_options(config, changed_only=changed_only)
