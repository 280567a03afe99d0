"""State space kernels: parameters that give a convolution kernel and the recurrence that equals it."""

from ssm_models.config import KernelConfig
from ssm_models.config.layer import locate
from ssm_models.kernels.base import Kernel


def make_kernel(d_model: int, channels: int, config: KernelConfig) -> Kernel:
    """Return the kernel of a configuration.

    Args:
        d_model: H, number of features.
        channels: C, kernels for each feature.
        config: the configuration, whose class determines the kernel.

    Raises:
        ValueError: the sizes do not fit, or an initialisation is refused.
    """
    return locate(config.kernel_class)(d_model, channels, config)


__all__ = ["Kernel", "make_kernel"]
