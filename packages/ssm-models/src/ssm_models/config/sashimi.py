"""Options of SaShiMi."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, cast

from ssm_models.config.checks import Count, Natural, Range, field_types, require
from ssm_models.config.flat import layer_from_options, to_options
from ssm_models.config.kernels import KERNELS, KernelConfig
from ssm_models.config.layer import Activation
from ssm_models.config.s4 import S4LayerConfig
from ssm_models.config.stack import StackConfig


@dataclass(frozen=True, kw_only=True)
class SashimiConfig(StackConfig):
    """SaShiMi, a model with S4 layers at several time scales, and its U-Net variant.

    n_layers: number of S4 layers at each scale, and in each direction of the U-Net.
    pool: for each scale, the number of samples that become one sample of the next coarser scale.
    expand: factor of the width from scale to scale.
    ff: width factor of the position-wise network after each S4 layer; 0: there are no such networks.
    unet: add layers on the way to coarser scales, and skip connections from their inputs to the outputs of the layers
        on the way back.
    pool_weight_norm: use weight normalisation for the maps between scales.
    pool_act: activation after the maps between scales.
    center: options that override the options of the S4 layers at the coarsest scale.
    """

    backbone: ClassVar[str] = "ssm_models.backbones.sashimi:Sashimi"

    pool: tuple[Annotated[int, Range(2, 2**31 - 1)], ...] = (4, 4)
    expand: Count = 2
    ff: Natural = 2
    unet: bool = False
    pool_weight_norm: bool = True
    pool_act: Activation = "none"
    center: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(isinstance(self.layer, S4LayerConfig), "The layers of SaShiMi are S4 layers.")
        require(self.s4.kernel.l_max is None, "The scales of SaShiMi have no common kernel length; leave l_max out.")
        options = set().union(*(field_types(cls) for cls in (S4LayerConfig, *KERNELS.values()))) - {"l_kernel"}
        for name in self.center:
            require(name in options, f"center has options of an S4 layer, of which {name} is none.")
        self.at_center()

    @property
    def s4(self) -> S4LayerConfig:
        """The options of the layers at all scales but the coarsest."""
        return cast(S4LayerConfig, self.layer)

    def at_center(self) -> S4LayerConfig:
        """Return the options of the layers at the coarsest scale.

        If ``center`` chooses another kernel, options of the other scales that this kernel does not have are dropped.
        """
        if not self.center:
            return self.s4
        options = to_options(self.s4)
        length = options.pop("l_kernel", None)
        kernel = KERNELS.get(str(self.center.get("kernel", options["kernel"])), KernelConfig)
        known = {"kernel", *field_types(S4LayerConfig), *field_types(kernel)}
        kept = {name: value for name, value in options.items() if name in known}
        layer = cast(S4LayerConfig, layer_from_options(S4LayerConfig, {**kept, **self.center}))
        if length is None or not layer.kernel.has_length:
            return layer
        return replace(layer, kernel=layer.kernel.for_length(length))
