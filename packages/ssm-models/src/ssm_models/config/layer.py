"""What the configurations of all layers have in common."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal, Self

from ssm_models.config.checks import Config

#: The name of an activation, see :mod:`ssm_models.modules.activations`.
Activation = Literal["gelu", "relu", "silu", "tanh", "sigmoid", "glu", "none"]


def locate(path: str) -> Any:
    """Import what ``module:name`` names, so that a configuration can name its class without importing torch."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class LayerConfig(Config):
    """Base of the configurations of layers.

    A new layer is a subclass with the options of the layer, and the layer itself, a
    :class:`ssm_models.contract.SequenceLayer` that is constructed as ``Layer(d_model, config)``.
    """

    #: Where the layer is, as ``module:Class``.
    layer_class: ClassVar[str]

    @property
    def axes(self) -> int:
        """Number of axes over which the layer runs."""
        return 1

    def for_extent(self, extent: tuple[int, ...]) -> Self:
        """Return the same layer for data of an extent along each axis: where a parameter belongs to a length, to it."""
        return self

    def check_width(self, d_model: int) -> None:
        """Refuse a width that does not fit the options.

        Raises:
            ValueError: the width does not fit; the sentence gives the option.
        """
