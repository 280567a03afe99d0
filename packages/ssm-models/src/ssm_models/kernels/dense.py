"""The kernel of a dense state matrix, as in LSSL."""

import torch
from ssm_core.complex import conj
from ssm_core.discretize import bilinear_dense, zoh_dense
from ssm_core.hippo import ALIASES, MEASURES, transition
from ssm_core.initialize import step_sizes
from ssm_core.real_form import low_rank, rotations, row
from ssm_core.recurrence.dense import dense_kernel, dense_scan, dense_step
from torch import Tensor

from ssm_models.config import DenseConfig
from ssm_models.contract import Stepper
from ssm_models.kernels.base import Kernel
from ssm_models.kernels.ssm import initial_system
from ssm_models.parameters import TRANSFORMS, inverse


class DenseKernel(Kernel):
    """``K[c,h,l] = C[c,h] A_bar[h]^l B_bar[h]`` with real matrices: exact, and cubic in N.

    It supports every measure, including measures without a structure that the other kernels could use. It is also an
    oracle of the other kernels: with a name of :mod:`ssm_core.initialize`, A starts as the matrix of that DPLR system.

    Source: "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State Space Layers"
    (arXiv:2110.13985), section 3. As in the paper, features can share A, and each has its own step size.

    Args:
        d_model: H.
        channels: C.
        config: the options.
    """

    config: DenseConfig
    A: Tensor  # (S, N, N)
    B: Tensor  # (S, N)
    C: Tensor  # (C, H, N)
    inv_dt: Tensor  # (H, 1)

    def __init__(self, d_model: int, channels: int, config: DenseConfig) -> None:
        super().__init__(d_model, config)
        self.copies = config.n_ssm or d_model
        if config.init in MEASURES or config.init in ALIASES:
            A, B = (each.expand(self.copies, *each.shape) for each in transition(config.init, config.d_state))
            first = torch.eye(config.d_state, dtype=torch.float64)[0].expand_as(B)
        else:
            system = initial_system(config, config.d_state, config.rank, self.copies)
            A = rotations(system.A) - low_rank(system.P, conj(system.P))
            B, first = system.B.flatten(-2), row(system.V[:, 0])
        C = torch.randn(channels, d_model, config.d_state, dtype=torch.float64)
        if config.deterministic:
            C = first.repeat(d_model // self.copies, 1).expand_as(C)
        dt = step_sizes((d_model, 1), config.dt_min, config.dt_max, deterministic=config.deterministic)
        self._register("inv_dt", inverse(dt, config.dt_transform), "dt")
        self._register("C", C, "C")
        self._register("A", A, "A")
        self._register("B", B, "B")

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        return dense_kernel(*self._recurrence(rate), L)

    def initial_state(self, batch_size: int) -> Tensor:
        """Return zeros (B, H, N)."""
        dtype = torch.promote_types(self.C.dtype, torch.float32)
        return self.C.new_zeros(batch_size, self.d_model, self.config.d_state, dtype=dtype)

    def scan(self, u: Tensor, state: Tensor, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        return dense_scan(u, state, *self._recurrence(rate))

    def stepper(self, rate: float = 1.0) -> Stepper:
        A, B, C = self._recurrence(rate)
        return lambda u, state: dense_step(u, state, A, B, C)

    def _recurrence(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return A_bar (H, N, N), B_bar (H, N) and C (C, H, N)."""
        dtype = torch.promote_types(self.C.dtype, torch.float32)
        repeats = self.d_model // self.copies
        # Use float64, because the exponential and the linear solve contain products that lower precision would round.
        A, B, inv_dt = self.A.double().repeat(repeats, 1, 1), self.B.double().repeat(repeats, 1), self.inv_dt.double()
        dt = TRANSFORMS[self.config.dt_transform](inv_dt)[:, 0] * rate
        A_bar, B_bar = (zoh_dense if self.config.disc == "zoh" else bilinear_dense)(A, B, dt)
        return A_bar.to(dtype), B_bar.to(dtype), self.C.to(dtype)
