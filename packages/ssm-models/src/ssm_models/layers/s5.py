"""The S5 layer."""

import torch
from ssm_core.complex import cmul
from ssm_core.discretize import zoh
from ssm_core.hippo import nplr
from ssm_core.initialize import step_sizes
from torch import Tensor, nn

from ssm_models.config import S5LayerConfig
from ssm_models.layers.mimo import MIMOLayer
from ssm_models.parameters import register


class S5Layer(MIMOLayer):
    """One diagonal state for all features, under zero-order hold; a linear map of the output gates the output.

    A starts as the normal part of LegS, in ``blocks`` copies of a smaller matrix.

    Source: "Simplified State Space Layers for Sequence Modeling" (arXiv:2208.04933), sections 3 and 4.

    Args:
        d_model: H.
        config: the options of the layer.
    """

    A_real: Tensor  # (M,): Re A = -exp(A_real)
    A_imag: Tensor  # (M,)
    B: Tensor  # (M, H, 2)
    C: Tensor  # (H, M, 2), or (H, 2 M, 2)
    log_dt: Tensor  # (M,)

    def __init__(self, d_model: int, config: S5LayerConfig) -> None:
        super().__init__(d_model, config.d_state // 2, config.dropout, config.tie_dropout)
        self.config = config
        self.both_ways = config.bidirectional
        N = config.d_state
        legs = nplr("legs", N // config.blocks)
        A, V = legs.w.repeat(config.blocks), torch.block_diag(*[legs.V] * config.blocks)  # (M,), (N, M)
        B = V.mH @ torch.randn(N, d_model, dtype=torch.float64).to(V) * d_model**-0.5
        C = torch.randn(2 if config.bidirectional else 1, d_model, N, dtype=torch.float64)
        C = torch.cat(tuple(C.to(V) @ V), -1) * N**-0.5
        own = {"lr": config.lr, "wd": 0.0}
        register(self, "A_real", torch.log(-A.real), **own)
        register(self, "A_imag", -A.imag, **own)
        register(self, "B", torch.view_as_real(B), **own)
        register(self, "C", torch.view_as_real(C))
        dt = step_sizes((self.entries, 1), config.dt_min, config.dt_max)[:, 0]
        register(self, "log_dt", dt.log(), **own)
        self.output_linear = nn.Linear(d_model, d_model)

    def system(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(self.D.dtype, torch.float32)
        A = torch.stack((-self.A_real.to(dtype).exp(), -self.A_imag.to(dtype)), -1)
        exponent, factor = zoh(A, self.log_dt.to(dtype).exp() * rate)
        return exponent, cmul(factor[:, None], self.B.to(dtype)), 2 * self.C.to(dtype)

    def mix(self, y: Tensor) -> Tensor:
        return y * torch.sigmoid(self.output_linear(y))
