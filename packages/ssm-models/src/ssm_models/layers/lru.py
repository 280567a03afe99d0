"""The linear recurrent unit."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.config import LRULayerConfig
from ssm_models.layers.mimo import MIMOLayer
from ssm_models.parameters import register


class LRULayer(MIMOLayer):
    """A linear recurrent unit: the eigenvalues start in a ring, and the inputs are normalised to keep the state's
    variance.

    Source: "Resurrecting Recurrent Neural Networks for Long Sequences" (arXiv:2303.06349), section 3 and appendix A.

    Args:
        d_model: H.
        config: the options of the layer.
    """

    nu_log: Tensor  # (M,): |A_bar| = exp(-exp(nu_log))
    theta_log: Tensor  # (M,): arg A_bar = exp(theta_log)
    gamma_log: Tensor  # (M,)
    B: nn.Parameter  # (M, H, 2)
    C: nn.Parameter  # (H, M, 2)

    def __init__(self, d_model: int, config: LRULayerConfig) -> None:
        super().__init__(d_model, config.d_state, config.dropout, config.tie_dropout)
        self.config = config
        self.both_ways = config.bidirectional
        M = config.d_state
        radius = torch.rand(M, dtype=torch.float64) * (config.r_max**2 - config.r_min**2) + config.r_min**2
        own = {"lr": config.lr, "wd": 0.0}
        register(self, "nu_log", torch.log(-0.5 * radius.log()), **own)
        register(self, "theta_log", torch.log(config.max_phase * torch.rand(M, dtype=torch.float64)), **own)
        register(self, "gamma_log", 0.5 * torch.log1p(-radius), **own)
        self.B = nn.Parameter(torch.randn(M, d_model, 2) * (2 * d_model) ** -0.5)
        self.C = nn.Parameter(torch.randn(d_model, (2 if config.bidirectional else 1) * M, 2) * M**-0.5)
        self.output_linear = nn.Linear(d_model, 2 * d_model)

    def system(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        if rate != 1.0:
            raise ValueError(f"A linear recurrent unit has no step size; it cannot run at rate {rate}.")
        dtype = torch.promote_types(self.D.dtype, torch.float32)
        nu, theta, gamma = (each.to(dtype).exp() for each in (self.nu_log, self.theta_log, self.gamma_log))
        return torch.stack((-nu, theta), -1), gamma[:, None, None] * self.B.to(dtype), self.C.to(dtype)

    def mix(self, y: Tensor) -> Tensor:
        return F.glu(self.output_linear(y), -1)
