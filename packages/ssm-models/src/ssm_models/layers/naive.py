"""The S4 layer without any fast form: the oracle of the tests and the baseline of the timings."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssm_models.contract import State
from ssm_models.kernels.naive import taps
from ssm_models.layers.s4 import S4Layer
from ssm_models.modules.padding import mask_padding


class NaiveS4Layer(S4Layer):
    """A layer that computes the same function as an :class:`S4Layer` with the same parameters.

    The kernel is computed by its formula (:mod:`ssm_models.kernels.naive`), the convolution is an FFT that autograd
    differentiates, and the sequence is transposed before and after the convolution. The layer has one channel, a GELU
    and a GLU output map, and may be bidirectional. It has no recurrent form.

    Raises:
        ValueError: the options ask for another layer.
    """

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        config = self.config
        plain = (config.channels, config.activation, config.final_act, config.gate, config.bottleneck, rate)
        if plain != (1, "gelu", "glu", None, None, 1.0) or state is not None:
            raise ValueError("The naive layer has one channel, GELU and GLU, and runs over whole sequences at rate 1.")
        assert self.output_linear is not None
        L = u.shape[1]
        u = mask_padding(u, lengths).transpose(1, 2)  # (B, H, L)
        k = taps(self.kernel, L)
        k = F.pad(k[0], (0, L)) + F.pad(k[1].flip(-1), (L, 0)) if config.bidirectional else k[0]
        y = torch.fft.irfft(torch.fft.rfft(u, 2 * L) * torch.fft.rfft(k, 2 * L), 2 * L)[..., :L]
        y = self.drop(F.gelu(y + u * self.D[0].unsqueeze(-1)).transpose(1, 2))
        return F.glu(F.linear(y, self.output_linear.weight, self.output_linear.bias), -1), None
