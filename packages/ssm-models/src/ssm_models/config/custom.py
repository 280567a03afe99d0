"""Options of a custom layer, a class that the user wrote."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ssm_models.config.layer import LayerConfig


@dataclass(frozen=True, kw_only=True)
class CustomLayerConfig(LayerConfig):
    """A custom layer, a class that the user wrote.

    path: ``file.py:Class``. The class is constructed as ``Class(d_model, **args)``; its ``forward`` maps
        (B, L, d_model) to the same shape, or returns a tuple that has this tensor as its first entry.
    args: keyword arguments of its constructor.
    """

    layer_class: ClassVar[str] = "ssm_models.layers.custom:CustomLayer"

    path: str
    args: dict[str, Any] = field(default_factory=dict)
