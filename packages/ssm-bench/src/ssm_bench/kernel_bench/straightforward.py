"""Layers and models as the papers' formulas read, without any fast form: the baselines of whole-layer comparisons.

The kernel is the direct sum over states and positions, the convolution an FFT that autograd differentiates, and the
sequence is transposed on its way into the convolution and out of it. SaShiMi steps block by block.
"""

import math
from typing import Any, cast

import torch
from ssm_models.backbones.sashimi import Sashimi, Scale
from ssm_models.contract import State, Stepper
from ssm_models.modules.padding import mask_padding
from ssm_models.layers.s4 import S4Layer
from torch import Tensor
from torch.nn import functional as F


class StraightforwardLayer(S4Layer):
    """The function of an :class:`S4Layer` with the same parameters: of one channel or bidirectional, with GELU and a
    GLU output map.

    The diagonal kernel is that of section 3 of "On the Parameterization and Initialization of Diagonal State Space
    Models" (arXiv:2206.11893), the DPLR kernel of rank 1 its generating function ("Efficiently Modeling Long
    Sequences with Structured State Spaces", arXiv:2111.00396, algorithm 1), for a C that is tied to the length.
    """

    def forward(  # type: ignore[override]
        self, u: Tensor, state: None = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, None]:
        assert self.output_linear is not None
        L = u.shape[1]
        u = mask_padding(u, lengths).transpose(1, 2)  # (B, H, L)
        k = self._dplr_kernel(L) if self.config.kernel == "dplr" else self._diagonal_kernel(L)
        k = F.pad(k[0], (0, L)) + F.pad(k[1].flip(-1), (L, 0)) if self.config.bidirectional else k[0]
        y = torch.fft.irfft(torch.fft.rfft(u, 2 * L) * torch.fft.rfft(k, 2 * L), 2 * L)[..., :L]
        y = self.drop(F.gelu(y + u * self.D[0].unsqueeze(-1)).transpose(1, 2))
        return F.glu(F.linear(y, self.output_linear.weight, self.output_linear.bias), -1), None

    def _system(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A and B (H, M) and C (C, H, M), complex, and dt (H, 1)."""
        kernel: Any = self.kernel
        A = torch.complex(-kernel.A_real.exp(), -kernel.A_imag)
        B = torch.view_as_complex(kernel.B[0])
        return self._repeat(A), self._repeat(B), torch.view_as_complex(kernel.C), kernel.inv_dt.exp()

    def _repeat(self, x: Tensor) -> Tensor:
        """The copies of a system's (S, M) for all features (H, M)."""
        kernel: Any = self.kernel
        return x.repeat(kernel.d_model // len(x), 1)

    def _diagonal_kernel(self, L: int) -> Tensor:
        """(C, H, L)."""
        A, B, C, dt = self._system()
        if self.config.disc == "zoh":
            dtA = A * dt
            weights = C * B * (dtA.exp() - 1) / A
        else:
            dtA = torch.log((1 + A * dt / 2) / (1 - A * dt / 2))
            weights = C * B * dt / (1 - A * dt / 2)
        powers = torch.exp(dtA.unsqueeze(-1) * torch.arange(L, dtype=dt.dtype, device=dt.device))
        return 2 * torch.einsum("chm,hml->chl", weights, powers).real

    def _dplr_kernel(self, L: int) -> Tensor:
        """(C, H, L)."""
        A, B, C, dt = self._system()
        kernel: Any = self.kernel
        P = self._repeat(torch.view_as_complex(kernel.P[0]))
        omega = torch.exp(-2j * math.pi / L * torch.arange(L // 2 + 1, dtype=dt.dtype, device=dt.device))
        z = 2 * (1 - omega) / (1 + omega)
        numerators = torch.stack((*(B * C), *(P * C), B * P.conj(), P * P.conj())) * dt
        both = torch.cat((numerators, numerators.conj()), -1)  # both members of each conjugate pair
        poles = torch.cat((A, A.conj()), -1) * dt
        sums = (both.unsqueeze(-1) / (z - poles.unsqueeze(-1))).sum(-2)
        (direct, to_C), from_B, inner = sums[:-2].unflatten(0, (2, -1)), sums[-2], sums[-1]
        return torch.fft.irfft((direct - from_B * to_C / (1 + inner)) * 2 / (1 + omega), L)


def sashimi_stepper(model: Sashimi) -> Stepper:
    """Samples (B, H) through a SaShiMi that is no U-Net, each block by the step of its own layer.

    The state is None at rest; then, from the finest scale to the coarsest, one of (fine samples since the last coarse
    one, what that says to the fine ones after it, states of the blocks).
    """
    scales = [cast(Scale, scale) for scale in model.scales]
    lists = [list(cast(Any, blocks)) for blocks in (*(scale.after for scale in scales), model.center)]
    chains = [[block.stepper() for block in blocks] for blocks in lists]

    def at_rest(B: int) -> State:
        state: State = []
        for i, blocks in enumerate(lists):
            factor = scales[i].factor if i < len(scales) else 0
            silence = model.norm.weight.new_zeros(B, model.config.d_model * model.config.expand**i)
            state.append(([], [silence] * factor, [block.initial_state(B) for block in blocks]))
        return state

    def descend(i: int, x: Tensor, state: State) -> Tensor:
        seen, said, states = state[i]
        if i < len(scales):
            z = said[len(seen)]
            seen.append(x)
            if len(seen) == scales[i].factor:
                coarse = descend(i + 1, scales[i].coarsen(torch.stack(seen, 1))[:, 0], state)
                said[:] = scales[i].refine(coarse[:, None]).unbind(1)
                seen.clear()
            x = x + z
        y = x
        for j, step in enumerate(chains[i]):
            y, states[j] = step(y, states[j])
        return x + y

    def step(u: Tensor, state: State) -> tuple[Tensor, State]:
        state = at_rest(len(u)) if state is None else state
        return model.norm.step(descend(0, u, state)), state

    return step
