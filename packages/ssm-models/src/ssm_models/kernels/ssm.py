"""The parameters of a state space model, which the diagonal and the DPLR kernel share."""

import math

import torch
from ssm_core.initialize import Initial, ssm, step_sizes
from torch import Tensor

from ssm_models.config import DiagonalConfig, DPLRConfig, SystemConfig
from ssm_models.config.kernels import ModalConfig
from ssm_models.kernels.base import Kernel
from ssm_models.parameters import TRANSFORMS, inverse


def initial_system(config: SystemConfig, N: int, rank: int | None, copies: int) -> Initial:
    """Return the initial systems that the options describe, see :func:`ssm_core.initialize.ssm`.

    Args:
        config: the options.
        N: state size.
        rank: R, rank of the low-rank part; None: as low as the initialisation allows.
        copies: S, number of systems.

    Raises:
        ValueError: the initialisation refuses the options.
    """
    return ssm(
        config.init,
        N,
        rank,
        copies,
        real_random=config.real_random,
        real_scale=config.real_scale,
        imag_random=config.imag_random,
        imag_scale=config.imag_scale,
        B_init=config.B_init,
        B_scale=config.B_scale,
        B_clip=config.B_clip,
        P_scale=getattr(config, "P_scale", 1.0),
        normalize=config.normalize,
    )


class SSMKernel(Kernel):
    """The parameters A, B, C and dt, with their transforms and copies.

    Args:
        d_model: H.
        channels: C.
        config: the options.

    Raises:
        ValueError: n_ssm does not divide d_model, or an initialisation is refused.
    """

    config: ModalConfig

    A_real: Tensor  # (S, M): Re A = -transform(A_real)
    A_imag: Tensor  # (S, M): Im A = -transform(A_imag)
    B: Tensor  # (1, S, M, 2)
    C: Tensor  # (C, H, M, 2)
    inv_dt: Tensor  # (H, 1) or (H, M)

    def __init__(self, d_model: int, channels: int, config: ModalConfig) -> None:
        super().__init__(d_model, config)
        self.copies = config.n_ssm or d_model
        #: Whether the modes are real.
        self.is_real = isinstance(config, DiagonalConfig) and config.is_real
        # A real state of size N has as many entries as a complex state of size 2 N.
        N = 2 * config.d_state if self.is_real else config.d_state
        self.entries = N // 2
        rank = config.rank if isinstance(config, DPLRConfig) else None
        self._register_system(initial_system(config, N, rank, self.copies), channels)

    def _register_system(self, initial: Initial, channels: int) -> None:
        config = self.config
        dt = step_sizes(
            (self.d_model, 1 if config.dt_tie else self.entries),
            config.dt_min,
            config.dt_max,
            deterministic=config.deterministic,
        )
        inv_dt = inverse(dt, config.dt_transform)
        if config.deterministic:
            # C is the first basis vector, in the coordinates of the diagonal form.
            C = initial.V[:, 0].repeat(self.d_model // self.copies, 1, 1).expand(channels, -1, -1, -1)
        else:
            C = torch.randn(channels, self.d_model, self.entries, 2, dtype=torch.float64) * 2**-0.5
        B, A = initial.B[None], -initial.A
        if self.is_real:
            B, C = B[..., 0], C[..., 0]
        self._register("inv_dt", inv_dt.asinh() if config.dt_fast else inv_dt, "dt")
        self._register("C", C, "C")
        self._register("B", B, "B")
        self._register("A_real", inverse(A[..., 0], config.real_transform), "A")
        if not self.is_real:
            self._register("A_imag", inverse(A[..., 1], config.imag_transform), "A")

    def _per_feature(self, x: Tensor, dim: int) -> Tensor:
        """Repeat the S copies along ``dim`` of ``x`` for H features."""
        if self.copies == self.d_model:
            return x
        sizes = [1] * x.ndim
        sizes[dim] = self.d_model // self.copies
        return x.repeat(sizes)

    def _system(self, rate: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return A (H, M, 2), B (H, M, 2), C (C, H, M, 2) and dt (H, 1 or M), in float32 or better."""
        config = self.config
        dtype = self.dtype
        inv_dt = self.inv_dt.to(dtype)
        dt = TRANSFORMS[config.dt_transform](inv_dt.sinh() if config.dt_fast else inv_dt)
        real = -TRANSFORMS[config.real_transform](self.A_real.to(dtype))
        B, C = self.B.to(dtype)[0], self.C.to(dtype)
        if self.is_real:
            # A real mode counts twice, as a conjugate pair of equal members; the published code does so.
            A = torch.stack((real, torch.zeros_like(real)), -1)
            B = torch.stack((B, torch.zeros_like(B)), -1)
            C = torch.stack((C, torch.zeros_like(C)), -1)
        else:
            A = torch.stack((real, -TRANSFORMS[config.imag_transform](self.A_imag.to(dtype))), -1)
        A, B = self._per_feature(A, 0), self._per_feature(B, 0)
        if config.bandlimit is not None:
            # The unit is cycles per sample at rate 1, so that the same modes are set to zero at every rate.
            frequency = dt * A[..., 1].abs() / (2 * math.pi)
            C = C * (frequency < config.bandlimit / 2).unsqueeze(-1)
        return A, B, C, dt * rate

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the computation: the dtype of the parameters, but at least float32."""
        return torch.promote_types(self.inv_dt.dtype, torch.float32)

    def initial_state(self, batch_size: int) -> Tensor:
        """Return zeros (B, H, M, 2)."""
        return self.inv_dt.new_zeros(batch_size, self.d_model, self.entries, 2, dtype=self.dtype)
