"""Typed, frozen configurations of the models: the one source of every default. Does not import torch.

A configuration is a tree: a :class:`StackConfig` has the ``layer`` that it repeats, and a layer such as
:class:`S4LayerConfig` has its ``kernel``. Every kernel and every layer has a class of its own, which holds only the
options that have a meaning for it. Bad values, and combinations that are not supported, raise a ValueError with a
sentence at construction. The command line has one flat list of options instead: :mod:`ssm_models.options`.
"""

from ssm_models.config.custom import CustomLayerConfig
from ssm_models.config.hippo_rnn import HiPPORNNLayerConfig
from ssm_models.config.interface import Interface
from ssm_models.config.kernels import (
    DenseConfig,
    DiagonalConfig,
    DPLRConfig,
    EMAConfig,
    FreeConfig,
    KernelConfig,
    SystemConfig,
    Transform,
)
from ssm_models.config.layer import Activation, LayerConfig
from ssm_models.config.lru import LRULayerConfig
from ssm_models.config.s4 import S4LayerConfig, S4NDLayerConfig
from ssm_models.config.s5 import S5LayerConfig
from ssm_models.config.sashimi import SashimiConfig
from ssm_models.config.stack import StackConfig

__all__ = [
    "Activation",
    "CustomLayerConfig",
    "DPLRConfig",
    "DenseConfig",
    "DiagonalConfig",
    "EMAConfig",
    "FreeConfig",
    "HiPPORNNLayerConfig",
    "Interface",
    "KernelConfig",
    "LRULayerConfig",
    "LayerConfig",
    "S4LayerConfig",
    "S4NDLayerConfig",
    "S5LayerConfig",
    "SashimiConfig",
    "StackConfig",
    "SystemConfig",
    "Transform",
]
