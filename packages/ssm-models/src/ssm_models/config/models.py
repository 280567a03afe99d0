"""Options of the whole models: a backbone, the layer inside it, encoder and decoder."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from ssm_models.config.checks import require, require_choices, require_divisible, require_share
from ssm_models.config.layers import (
    Activation,
    HiPPORNNLayerConfig,
    LayerConfig,
    LRULayerConfig,
    S4NDLayerConfig,
    S5LayerConfig,
)


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a task feeds to a model and wants back from it.

    tokens: the input is integers (B, L) below ``d_input``; otherwise it is real, (B, L, d_input), or
        (B, L1, ..., Ld, d_input) over several axes.
    d_input: vocabulary size, or channels of a real signal.
    d_output: numbers the model gives for each example (classes).
    l_max: longest sequence; for data over several axes, the extent along each.
    pair: two sequences an example (retrieval): the input is (2B, L), all first members before all second.
    l_output: 0 where an example wants one output; else each of its last ``l_output`` positions wants one.
    """

    tokens: bool
    d_input: int
    d_output: int
    l_max: int | tuple[int, ...]
    pair: bool = False
    l_output: int = 0


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The residual stack around any layer, with its encoder and decoder.

    norm: ``batch`` normalises over batch and length, ``layer`` over features; ``scalar`` is ``layer`` with one
        scale and one shift for all features.
    prenorm: normalise before each layer (and once more at the end) instead of after its residual sum.
    dropout, tie_dropout: in the layer and in the residual branch; tied: one mask for the whole length.
    decoder: mean over the sequence, or its last element.
    """

    n_layers: int = 4
    d_model: int = 128
    norm: Literal["layer", "batch", "scalar", "none"] = "layer"
    prenorm: bool = False
    dropout: float = 0.0
    tie_dropout: bool = True
    decoder: Literal["pool", "last"] = "pool"

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.n_layers >= 1, f"n_layers is at least 1, not {self.n_layers}.")
        require(self.d_model >= 1, f"d_model is at least 1, not {self.d_model}.")
        require_share("dropout", self.dropout)

    def for_length(self, l_max: int | tuple[int, ...]) -> Self:
        """The same model for sequences up to ``l_max``: where a parameter belongs to a length, it is this one."""
        require(isinstance(l_max, int), f"The model runs over one axis, not over {l_max}; s4nd runs over several.")
        return self


@dataclass(frozen=True, kw_only=True)
class S4Config(StackConfig, LayerConfig):
    """A stack of S4 layers: S4, S4D, DSS and their variants."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        LayerConfig.__post_init__(self)
        require_divisible("d_model", self.d_model, "bottleneck", self.bottleneck)
        require_divisible("d_model", self.d_model // (self.bottleneck or 1), "n_ssm", self.n_ssm)

    def for_length(self, l_max: int | tuple[int, ...]) -> Self:
        super().for_length(l_max)
        assert isinstance(l_max, int)
        return replace(self, l_kernel=l_max) if self.has_length and self.l_kernel is None else self


@dataclass(frozen=True, kw_only=True)
class S4NDConfig(StackConfig, S4NDLayerConfig):
    """A stack of S4ND layers, for images and video."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        S4NDLayerConfig.__post_init__(self)
        require_divisible("d_model", self.d_model, "n_ssm", self.n_ssm)
        require(self.decoder == "pool", "Several axes have no last element; set decoder=pool.")

    def for_length(self, l_max: int | tuple[int, ...]) -> Self:
        if not isinstance(l_max, tuple) or len(l_max) != self.dim:
            raise ValueError(f"The model has dim={self.dim} axes and takes the extent along each, not {l_max}.")
        return self if self.size is not None else replace(self, size=l_max)


@dataclass(frozen=True, kw_only=True)
class SashimiConfig(S4Config):
    """SaShiMi, S4 layers at several time scales, and its variant as a U-Net.

    n_layers: S4 layers at each scale (and in each direction of the U-Net).
    pool: how many samples become one, from scale to scale.
    expand: factor of the width from scale to scale.
    ff: width factor of the position-wise network after each S4 layer; 0: no such networks.
    unet: layers on the way to coarser scales too, and a skip around each layer.
    pool_weight_norm: the maps between scales are trained as direction and size.
    pool_act: activation after these maps.
    center: options of the S4 layers at the coarsest scale where they differ from those of the others.
    """

    pool: tuple[int, ...] = (4, 4)
    expand: int = 2
    ff: int = 2
    unet: bool = False
    pool_weight_norm: bool = True
    pool_act: Activation = "none"
    center: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(all(p >= 2 for p in self.pool), f"pool has factors of at least 2, not {self.pool}.")
        require(self.expand >= 1, f"expand is at least 1, not {self.expand}.")
        require(self.ff >= 0, f"ff is a width factor or 0, not {self.ff}.")
        require(self.l_max is None, "The scales of SaShiMi have no common kernel length; leave l_max out.")
        options = {each.name for each in fields(LayerConfig)} - {"l_kernel"}
        for name in self.center:
            require(name in options, f"center has options of an S4 layer, of which {name} is none.")
        if self.center:
            self.at_center()

    def at_center(self) -> Self:
        """The same, with the options of the coarsest scale."""
        return replace(self, center={}, l_kernel=None, **self.center)


@dataclass(frozen=True, kw_only=True)
class HiPPORNNConfig(StackConfig, HiPPORNNLayerConfig):
    """A stack of HiPPO-RNNs."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        HiPPORNNLayerConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class S5Config(StackConfig, S5LayerConfig):
    """A stack of S5 layers."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        S5LayerConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class LRUConfig(StackConfig, LRULayerConfig):
    """A stack of linear recurrent units."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        LRULayerConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class CustomConfig(StackConfig):
    """A stack of a layer of the user's own.

    path: ``file.py:Class``. The class is constructed as ``Class(d_model, **args)``; its ``forward`` maps
        (B, L, d_model) to the same shape, or returns a pair of which that is the first member.
    args: keyword arguments of its constructor.
    """

    path: str
    args: dict[str, Any] = field(default_factory=dict)
