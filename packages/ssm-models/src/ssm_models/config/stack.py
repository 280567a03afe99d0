"""Options of the residual stack around any layer, with its encoder and decoder."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from ssm_models.config.checks import Config, Count, Share, require
from ssm_models.config.layer import LayerConfig
from ssm_models.config.s4 import S4LayerConfig


@dataclass(frozen=True, kw_only=True)
class StackConfig(Config):
    """A whole model: layers of one kind in a residual stack, between an encoder and a decoder.

    layer: the options of each layer.
    n_layers: number of layers.
    d_model: H, the width.
    norm: ``batch`` normalises over batch and length, ``layer`` over features; ``scalar`` is ``layer`` with one
        scale and one shift for all features.
    prenorm: normalise before each layer and once after the last layer, instead of after each residual sum.
    dropout, tie_dropout: dropout probability on the residual branch, and whether all positions share one mask. The
        flat options with these names also apply to the layer.
    decoder: the input of the decoder: the mean over the sequence (``pool``), or its last element (``last``).
    """

    #: The function or class that makes the backbone from a configuration, as ``module:name``.
    backbone: ClassVar[str] = "ssm_models.backbones.stack:build_stack"

    layer: LayerConfig = field(default_factory=S4LayerConfig)
    n_layers: Count = 4
    d_model: Count = 128
    norm: Literal["layer", "batch", "scalar", "none"] = "layer"
    prenorm: bool = False
    dropout: Share = 0.0
    tie_dropout: bool = True
    decoder: Literal["pool", "last"] = "pool"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.layer.check_width(self.d_model)
        require(self.layer.axes == 1 or self.decoder == "pool", "Several axes have no last element; set decoder=pool.")

    @property
    def bidirectional(self) -> bool:
        """Whether outputs depend on later inputs, because of a second kernel or scan from the end."""
        return getattr(self.layer, "bidirectional", False)

    def for_length(self, l_max: int | tuple[int, ...]) -> Self:
        """Return the same model for inputs up to a length; lengths in the layer that are not set become this length.

        Args:
            l_max: length of the longest sequence, or the extent along each of several axes.

        Raises:
            ValueError: the model runs over a different number of axes.
        """
        extent = l_max if isinstance(l_max, tuple) else (l_max,)
        axes = self.layer.axes
        if axes == 1:
            require(len(extent) == 1, f"The model runs over one axis, not over {l_max}; s4nd runs over several.")
        else:
            require(len(extent) == axes, f"The model has dim={axes} axes and takes the extent along each, not {l_max}.")
        return replace(self, layer=self.layer.for_extent(extent))
