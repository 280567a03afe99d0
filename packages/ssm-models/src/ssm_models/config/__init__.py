"""Typed, frozen configurations of the models: the one source of every default. Does not import torch.

The classes are flat by inheritance, so that a command line says ``model.d_state=16``: a kernel's
options are in :class:`KernelConfig`, a layer's in :class:`LayerConfig`, those of the residual stack
around any layer in :class:`StackConfig`, and a model's class joins what it needs.
Bad values and combinations that are not supported raise a ValueError at construction.
:func:`ssm_models.model.build_model` makes the module.
"""

from ssm_models.config.kernel import KernelConfig, Transform
from ssm_models.config.layers import (
    Activation,
    HiPPORNNLayerConfig,
    LayerConfig,
    LRULayerConfig,
    S4NDLayerConfig,
    S5LayerConfig,
)
from ssm_models.config.models import (
    CustomConfig,
    HiPPORNNConfig,
    Interface,
    LRUConfig,
    S4Config,
    S4NDConfig,
    S5Config,
    SashimiConfig,
    StackConfig,
)

__all__ = [
    "Activation",
    "CustomConfig",
    "HiPPORNNConfig",
    "HiPPORNNLayerConfig",
    "Interface",
    "KernelConfig",
    "LRUConfig",
    "LRULayerConfig",
    "LayerConfig",
    "S4Config",
    "S4NDConfig",
    "S4NDLayerConfig",
    "S5Config",
    "S5LayerConfig",
    "SashimiConfig",
    "StackConfig",
    "Transform",
]
