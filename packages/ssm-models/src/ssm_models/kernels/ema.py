"""The exponential moving averages of Mega."""

import torch
from ssm_core.ops import diagonal_scan, ssm_step, vandermonde
from torch import Tensor

from ssm_models.config import EMAConfig
from ssm_models.contract import Stepper
from ssm_models.kernels.base import Kernel


class EMAKernel(Kernel):
    """A sum of N damped exponential moving averages: ``K[l] = sum_n gamma p beta (1 - p alpha)^l / sqrt(N)``.

    ``p`` and ``alpha`` are sigmoids of the parameters delta and alpha. The channels of a feature may share their
    averages; they then differ only in gamma.

    Source: "Mega: Moving Average Equipped Gated Attention" (arXiv:2209.10655), section 3.1.

    Args:
        d_model: H.
        channels: C.
        config: the options.
    """

    delta: Tensor  # (C H, N); (C H, 1) if p is tied; (H, ...) if the channels share it
    alpha: Tensor  # (C H, N) or (H, N)
    beta: Tensor  # (C H, N) or (H, N)
    gamma: Tensor  # (C H, N)

    def __init__(self, d_model: int, channels: int, config: EMAConfig) -> None:
        super().__init__(d_model, config)
        self.channels = channels
        shape = (d_model if config.share_channels else channels * d_model, config.d_state)
        sign = (-1.0) ** torch.arange(config.d_state)
        self._register("delta", 0.2 * torch.randn(shape[0], 1 if config.dt_tie else config.d_state), "dt")
        self._register("alpha", 0.2 * torch.randn(shape), "A")
        self._register("beta", sign + 0.02 * torch.randn(shape), "B")
        self._register("gamma", torch.randn(channels * d_model, config.d_state), "C")

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        exponent, B, C = self._system(rate)
        return vandermonde((C * B[..., :1])[None], exponent, L).view(self.channels, self.d_model, L)

    def initial_state(self, batch_size: int) -> Tensor:
        """Return zeros (B, C H, N, 2): each channel has averages of its own."""
        dtype = torch.promote_types(self.delta.dtype, torch.float32)
        return self.gamma.new_zeros(batch_size, *self.gamma.shape, 2, dtype=dtype)

    def scan(self, u: Tensor, state: Tensor, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        exponent, B, C = self._system(rate)
        each = u.repeat(1, 1, self.channels)
        y, state = diagonal_scan(each, state, _exp(exponent), B, C[None])
        return y.view(*u.shape[:2], self.channels, self.d_model), state

    def stepper(self, rate: float = 1.0) -> Stepper:
        exponent, B, C = self._system(rate)
        A = _exp(exponent)

        def step(u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            y, state = ssm_step(u.repeat(1, self.channels), state, A, B, C[None])
            return y.view(len(u), self.channels, self.d_model), state

        return step

    def _system(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the exponent, B_bar and C, each (C H, N, 2) with zero imaginary parts.

        C is halved, because the operators take twice the real part.
        """
        if rate != 1.0:
            raise ValueError(f"A moving average has no time scale; it cannot run at rate {rate}.")
        dtype = torch.promote_types(self.delta.dtype, torch.float32)
        p = torch.sigmoid(self.delta.to(dtype))
        exponent = torch.log1p(-p * torch.sigmoid(self.alpha.to(dtype)))
        B = p * self.beta.to(dtype)
        C = self.gamma.to(dtype) * (0.5 * B.shape[-1] ** -0.5)
        copies = len(C) // len(B)
        parts = exponent.repeat(copies, 1), B.repeat(copies, 1), C
        exponent, B, C = (torch.stack((each, torch.zeros_like(each)), -1) for each in parts)
        return exponent, B, C


def _exp(exponent: Tensor) -> Tensor:
    return torch.stack((exponent[..., 0].exp(), exponent[..., 1]), -1)
