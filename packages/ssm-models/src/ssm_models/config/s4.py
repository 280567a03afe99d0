"""Options of the layers that convolve with SSM kernels: S4 over one axis, S4ND over several."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from ssm_models.config.checks import Count, Share, require, require_divisible
from ssm_models.config.kernels import DPLRConfig, EMAConfig, KernelConfig
from ssm_models.config.layer import Activation, LayerConfig


@dataclass(frozen=True, kw_only=True)
class ConvolutionConfig(LayerConfig):
    """The options that S4 and S4ND share: convolution with a kernel, skip D, nonlinearity, mixing of features.

    bidirectional: a second kernel runs backward; such a layer cannot step.
    channels: number of kernels (heads) for each feature.
    activation: activation after the convolution; ``glu`` doubles the channels and gates one half by the other.
    final_act: activation after the linear map that mixes features; ``none``: the map without activation; null: no map.
    drop_kernel: dropout probability of the taps of the kernel.
    dropout, tie_dropout: dropout probability of features, and whether all positions share one mask.
    """

    kernel: KernelConfig = field(default_factory=DPLRConfig)
    bidirectional: bool = False
    channels: Count = 1
    activation: Activation = "gelu"
    final_act: Activation | None = "glu"
    drop_kernel: Share = 0.0
    dropout: Share = 0.0
    tie_dropout: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        several = self.channels > 1 or self.activation == "glu" or self.bidirectional
        require(
            several or not (isinstance(self.kernel, EMAConfig) and self.kernel.share_channels),
            "share_channels is for several kernels of a feature, and there is one; set channels or bidirectional.",
        )

    def check_width(self, d_model: int) -> None:
        self.kernel.check_width(d_model)


@dataclass(frozen=True, kw_only=True)
class S4LayerConfig(ConvolutionConfig):
    """The S4 layer, with any kernel.

    swap_channels: order the output by feature and then by channel, instead of by channel and then by feature.
    gate: width factor of a multiplicative gate branch, as in Gated State Spaces; null: no gate.
    gate_act, mult_act: activation of the gate branch, and of its product with the main branch.
    bottleneck: the convolution runs over d_model / bottleneck features.
    """

    layer_class: ClassVar[str] = "ssm_models.layers.s4:S4Layer"

    swap_channels: bool = False
    gate: Count | None = None
    gate_act: Activation = "none"
    mult_act: Activation = "none"
    bottleneck: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.channels > 1 or self.activation == "glu" or not self.swap_channels,
            "swap_channels orders the channels of a feature, and there is one; set channels.",
        )
        if self.gate is not None:
            require(
                self.gate_act != "glu" and self.mult_act != "glu",
                "A gate branch keeps its width: gate_act and mult_act cannot be glu.",
            )
        else:
            require(
                self.gate_act == "none" and self.mult_act == "none",
                "gate_act and mult_act act on a gate branch; set gate to have one.",
            )
        if self.gate is not None or self.bottleneck is not None:
            require(
                self.final_act is not None,
                "A gated or bottlenecked layer needs its output map to return to d_model; set final_act.",
            )

    def for_extent(self, extent: tuple[int, ...]) -> Self:
        return replace(self, kernel=self.kernel.for_length(extent[0]))

    def check_width(self, d_model: int) -> None:
        require_divisible("d_model", d_model, "bottleneck", self.bottleneck)
        super().check_width(d_model // (self.bottleneck or 1))


@dataclass(frozen=True, kw_only=True)
class S4NDLayerConfig(ConvolutionConfig):
    """The S4ND layer: one kernel for each axis.

    dim: number of axes.
    trank: tensor rank: the number of outer products whose mean is the kernel.
    size: length of the kernel along each axis, which is the extent of the data; null: the extent of each input.
    """

    layer_class: ClassVar[str] = "ssm_models.layers.s4nd:S4NDLayer"

    dim: Count = 2
    trank: Count = 1
    size: tuple[Count, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.size is None or len(self.size) == self.dim,
            f"size has one extent for each of the {self.dim} axes, not {self.size}.",
        )
        require(self.kernel.l_max is None, "The kernels of S4ND end at size, by axis; l_max is for one axis.")
        l_kernel: Any = getattr(self.kernel, "l_kernel", None)
        require(l_kernel is None, "C is tied to size, by axis; l_kernel is for one axis.")

    @property
    def axes(self) -> int:
        return self.dim

    def axis(self, i: int) -> KernelConfig:
        """Return the options of the kernel along axis i."""
        return self.kernel if self.size is None else self.kernel.for_length(self.size[i])

    def for_extent(self, extent: tuple[int, ...]) -> Self:
        return self if self.size is not None else replace(self, size=extent)
