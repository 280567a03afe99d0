"""State space kernels: parameters that give a convolution kernel and the recurrence that equals it."""

from ssm_models.config import KernelConfig
from ssm_models.kernels.base import Kernel
from ssm_models.kernels.dense import DenseKernel
from ssm_models.kernels.diagonal import DiagonalKernel
from ssm_models.kernels.dplr import DPLRKernel
from ssm_models.kernels.ema import EMAKernel
from ssm_models.kernels.free import FreeKernel

KERNELS = {
    "diagonal": DiagonalKernel,
    "dplr": DPLRKernel,
    "dense": DenseKernel,
    "ema": EMAKernel,
    "free": FreeKernel,
}


def make_kernel(d_model: int, channels: int, config: KernelConfig) -> Kernel:
    """The kernel that a configuration names, for H features and C channels."""
    return KERNELS[config.kernel](d_model, channels, config)


__all__ = [
    "KERNELS",
    "DPLRKernel",
    "DenseKernel",
    "DiagonalKernel",
    "EMAKernel",
    "FreeKernel",
    "Kernel",
    "make_kernel",
]
