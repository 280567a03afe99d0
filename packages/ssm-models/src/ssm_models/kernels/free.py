"""A kernel without a state space: every tap is a parameter."""

import torch
from torch import Tensor

from ssm_models.config import FreeConfig
from ssm_models.kernels.base import Kernel


class FreeKernel(Kernel):
    """Every tap is a parameter, real (C, H, l_max). The recurrent form is the window of inputs that the layer keeps.

    Args:
        d_model: H.
        channels: C.
        config: the options.
    """

    kernel: Tensor

    def __init__(self, d_model: int, channels: int, config: FreeConfig) -> None:
        super().__init__(d_model, config)
        assert config.l_max is not None
        taps = torch.randn(channels, d_model, config.l_max) * config.l_max**-0.5
        self._register("kernel", taps, "C")

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        if rate != 1.0:
            raise ValueError(f"Free taps belong to one sampling rate; they cannot run at rate {rate}.")
        return self.kernel.to(torch.promote_types(self.kernel.dtype, torch.float32))[..., :L]
