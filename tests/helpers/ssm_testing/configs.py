"""Configurations from flat options, as tests name them."""

from typing import Any, cast

from ssm_models.config import KernelConfig, S4LayerConfig, S4NDLayerConfig, SashimiConfig, StackConfig
from ssm_models.config.flat import layer_from_options, model_from_options


def kernel_config(**options: Any) -> KernelConfig:
    """Return the options of a kernel."""
    # Two channels, so that they can share something.
    return s4_layer_config(channels=2, **options).kernel


def s4_layer_config(**options: Any) -> S4LayerConfig:
    """Return the options of an S4 layer and its kernel."""
    return cast(S4LayerConfig, layer_from_options(S4LayerConfig, options))


def s4nd_layer_config(**options: Any) -> S4NDLayerConfig:
    """Return the options of an S4ND layer and its kernels."""
    return cast(S4NDLayerConfig, layer_from_options(S4NDLayerConfig, options))


def s4_config(**options: Any) -> StackConfig:
    """Return the options of a stack of S4 layers."""
    return model_from_options(StackConfig, S4LayerConfig, options)


def sashimi_config(**options: Any) -> SashimiConfig:
    """Return the options of a SaShiMi."""
    return model_from_options(SashimiConfig, S4LayerConfig, options)
