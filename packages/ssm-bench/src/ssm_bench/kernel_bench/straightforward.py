"""The S4 layer as its papers' formulas read, without any fast form: the baseline of whole-layer comparisons.

The kernel is the direct sum over states and positions, the convolution an FFT that autograd differentiates,
and the sequence is transposed on its way into the convolution and out of it.
"""

import math
from typing import Any

import torch
from ssm_models.layers.s4 import S4Layer
from torch import Tensor
from torch.nn import functional as F


class StraightforwardLayer(S4Layer):
    """The function of an :class:`S4Layer` with the same parameters, for one channel, GELU and a GLU output map.

    The diagonal kernel is taken under zero-order hold ("On the Parameterization and Initialization of
    Diagonal State Space Models", arXiv:2206.11893, section 3), the DPLR kernel of rank 1 by its generating
    function ("Efficiently Modeling Long Sequences with Structured State Spaces", arXiv:2111.00396,
    algorithm 1).
    """

    def forward(self, u: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        assert self.output_linear is not None
        L = u.shape[1]
        u = u.transpose(1, 2)  # (B, H, L)
        k = self._dplr_kernel(L) if self.config.kernel == "dplr" else self._diagonal_kernel(L)
        y = torch.fft.irfft(torch.fft.rfft(u, 2 * L) * torch.fft.rfft(k, 2 * L), 2 * L)[..., :L]
        y = F.gelu(y + u * self.D[0].unsqueeze(-1)).transpose(1, 2)
        return F.glu(F.linear(y, self.output_linear.weight, self.output_linear.bias), -1), None

    def _system(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A, B, C (H, M), complex, and dt (H, 1)."""
        kernel: Any = self.kernel
        A = torch.complex(-kernel.A_real.exp(), -kernel.A_imag)
        return A, torch.view_as_complex(kernel.B[0]), torch.view_as_complex(kernel.C[0]), kernel.inv_dt.exp()

    def _diagonal_kernel(self, L: int) -> Tensor:
        """(H, L)."""
        A, B, C, dt = self._system()
        dtA = A * dt
        weights = C * B * (dtA.exp() - 1) / A
        powers = torch.exp(dtA.unsqueeze(-1) * torch.arange(L, dtype=dt.dtype, device=dt.device))
        return 2 * torch.einsum("hm,hml->hl", weights, powers).real

    def _dplr_kernel(self, L: int) -> Tensor:
        """(H, L), for a C that is tied to this length."""
        A, B, C, dt = self._system()
        kernel: Any = self.kernel
        P = torch.view_as_complex(kernel.P[0])
        omega = torch.exp(-2j * math.pi / L * torch.arange(L // 2 + 1, dtype=dt.dtype, device=dt.device))
        z = 2 * (1 - omega) / (1 + omega)
        numerators = torch.stack((B * C, B * P.conj(), P * C, P * P.conj())) * dt
        both = torch.cat((numerators, numerators.conj()), -1)  # both members of each conjugate pair
        poles = torch.cat((A, A.conj()), -1) * dt
        direct, from_B, to_C, inner = (both.unsqueeze(-1) / (z - poles.unsqueeze(-1))).sum(-2)
        return torch.fft.irfft((direct - from_B * to_C / (1 + inner)) * 2 / (1 + omega), L)
