"""What the configurations of all layers have in common."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal, Self

from ssm_models.config.checks import Config

#: The name of an activation, see :mod:`ssm_models.modules.activations`.
Activation = Literal["gelu", "relu", "silu", "tanh", "sigmoid", "glu", "none"]


def locate(path: str) -> Any:
    """Import the object that ``module:name`` names. With such a name, a configuration does not import torch."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class LayerConfig(Config):
    """Base of the configurations of layers.

    To add a layer, write a subclass with its options, and the layer itself: a
    :class:`ssm_models.contract.SequenceLayer` that is constructed as ``Layer(d_model, config)``.
    """

    #: The class of the layer, as ``module:Class``.
    layer_class: ClassVar[str]

    @property
    def axes(self) -> int:
        """Number of axes over which the layer runs."""
        return 1

    def for_extent(self, extent: tuple[int, ...]) -> Self:
        """Return the same layer for data of this extent along each axis; lengths that are not set become the extent."""
        return self

    def check_width(self, d_model: int) -> None:
        """Raise an error if the width does not fit the options.

        Raises:
            ValueError: the width does not fit; the sentence gives the option.
        """
