"""Diagonal state space kernels: S4D and S4D-Real, DSS."""

import math
from typing import Literal

import torch
from ssm_core.complex import abs2, cexp, cmul, conj
from ssm_core.discretize import bilinear, zoh
from ssm_core.initialize import ssm, step_sizes
from ssm_core.ops import diagonal_scan, ssm_step, vandermonde
from torch import Tensor

from ssm_models.config import KernelConfig
from ssm_models.kernels.base import Kernel
from ssm_models.kernels.parameters import TRANSFORMS, inverse, register
from ssm_models.layers.base import Stepper


class DiagonalKernel(Kernel):
    """``K[c,h,l] = 2 Re sum_m C[c,h,m] B_bar[h,m] A_bar[h,m]^l`` for a diagonal A.

    Source: "On the Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893).

    Args:
        d_model: H.
        channels: C.
        config: the options; ``kernel`` is not looked at.
    """

    A_real: Tensor  # (S, M): Re A = -transform(A_real)
    A_imag: Tensor  # (S, M): Im A = -transform(A_imag)
    B: Tensor  # (1, S, M, 2)
    C: Tensor  # (C, H, M, 2)
    inv_dt: Tensor  # (H, 1) or (H, M)

    def __init__(self, d_model: int, channels: int, config: KernelConfig) -> None:
        super().__init__()
        self.config = config
        self.copies = config.n_ssm or d_model
        if d_model % self.copies:
            raise ValueError(f"n_ssm must divide d_model: {d_model} is no multiple of {self.copies}.")
        self.d_model = d_model
        N = 2 * config.d_state if config.is_real else config.d_state
        initial = ssm(
            config.init,
            N,
            config.rank,
            self.copies,
            real_random=config.real_random,
            real_scale=config.real_scale,
            imag_random=config.imag_random,
            imag_scale=config.imag_scale,
            B_init=config.B_init,
            B_scale=config.B_scale,
            B_clip=config.B_clip,
            P_scale=config.P_scale,
            normalize=config.normalize,
        )
        M = N // 2
        dt = step_sizes(
            (d_model, 1 if config.dt_tie else M),
            config.dt_min,
            config.dt_max,
            deterministic=config.deterministic,
        )
        inv_dt = inverse(dt, config.dt_transform)
        if config.dt_fast:
            inv_dt = inv_dt.asinh()
        C = torch.randn(channels, d_model, M, 2, dtype=torch.float64) * 2**-0.5
        if config.deterministic:
            # The first basis vector, in the coordinates of the diagonal form.
            C = initial.V[:, 0].repeat(d_model // self.copies, 1, 1).expand(channels, -1, -1, -1)
        real, imag = initial.A.unbind(-1)
        B = initial.B[None]
        if config.is_real:
            B, C = B[..., 0], C[..., 0]
        self._register("inv_dt", inv_dt, "dt")
        self._register("C", C, "C")
        self._register("B", B, "B")
        self._register("A_real", inverse(-real, config.real_transform), "A")
        if not config.is_real:
            self._register("A_imag", inverse(-imag, config.imag_transform), "A")

    def _register(self, name: str, value: Tensor, group: Literal["A", "B", "C", "dt"]) -> None:
        register(self, name, value, lr=self.config.lr.get(group), wd=self.config.wd.get(group))

    def _per_feature(self, x: Tensor, dim: int) -> Tensor:
        """The copies of ``x`` along ``dim``, in turn, for H features."""
        if self.copies == self.d_model:
            return x
        sizes = [1] * x.ndim
        sizes[dim] = self.d_model // self.copies
        return x.repeat(sizes)

    def _system(self, rate: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A (H, M, 2), B (H, M, 2), C (C, H, M, 2) and dt (H, 1 or M), in float32 or better."""
        config = self.config
        dtype = torch.promote_types(self.inv_dt.dtype, torch.float32)
        inv_dt = self.inv_dt.to(dtype)
        dt = TRANSFORMS[config.dt_transform](inv_dt.sinh() if config.dt_fast else inv_dt)
        real = -TRANSFORMS[config.real_transform](self.A_real.to(dtype))
        B, C = self.B.to(dtype)[0], self.C.to(dtype)
        if config.is_real:
            # A real mode counts twice, as a conjugate pair of equal members (the published code does so).
            A = torch.stack((real, torch.zeros_like(real)), -1)
            B = torch.stack((B, torch.zeros_like(B)), -1)
            C = torch.stack((C, torch.zeros_like(C)), -1)
        else:
            A = torch.stack((real, -TRANSFORMS[config.imag_transform](self.A_imag.to(dtype))), -1)
        A, B = self._per_feature(A, 0), self._per_feature(B, 0)
        if config.bandlimit is not None:
            # Frequencies in cycles a sample at the sampling rate of this call.
            frequency = rate * dt * A[..., 1].abs() / (2 * math.pi)
            C = C * (frequency < config.bandlimit / 2).unsqueeze(-1)
        return A, B, C, dt * rate

    def _discrete(self, rate: float, L: int) -> tuple[Tensor, Tensor, Tensor]:
        """Exponent and B_bar (H, M, 2) and C (C, H, M, 2): ``K = 2 Re C B_bar exp(exponent l)``.

        For the softmax, L is its length and B_bar of a growing mode is that of ``exp(exponent (l - L + 1))``.
        """
        A, B, C, dt = self._system(rate)
        if self.config.disc == "dss":
            exponent, factor = _softmax(A, dt, L)
        else:
            exponent, factor = (zoh if self.config.disc == "zoh" else bilinear)(A, dt)
        return exponent, cmul(B, factor), C

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        length = L if self.config.l_kernel is None else round(self.config.l_kernel / rate)
        exponent, B, C = self._discrete(rate, length)
        if self.config.disc == "dss" and self.config.real_transform == "none":
            return _softmax_kernel(cmul(C, B), exponent, length, L)
        return vandermonde(cmul(C, B), exponent, L)

    def _recurrence(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """A_bar (H, M, 2), B_bar (H, M, 2) and C (C, H, M, 2)."""
        length = 1
        if self.config.disc == "dss":
            if self.config.l_kernel is None:
                raise ValueError(
                    "The softmax of disc=dss depends on the length of the sequence, which a recurrence does "
                    "not know beforehand: set l_kernel to the length that it shall take."
                )
            length = round(self.config.l_kernel / rate)
        exponent, B, C = self._discrete(rate, length)
        if self.config.disc == "dss":
            grows = exponent[..., :1] > 0
            B = torch.where(grows, cmul(B, cexp(torch.where(grows, -exponent * (length - 1), 0))), B)
        return cexp(exponent), B, C

    def initial_state(self, batch_size: int) -> Tensor:
        M = self.config.d_state if self.config.is_real else self.config.d_state // 2
        dtype = torch.promote_types(self.inv_dt.dtype, torch.float32)
        return self.inv_dt.new_zeros(batch_size, self.d_model, M, 2, dtype=dtype)

    def scan(self, u: Tensor, state: Tensor, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        return diagonal_scan(u, state, *self._recurrence(rate))

    def stepper(self, rate: float = 1.0) -> Stepper:
        A, B, C = self._recurrence(rate)
        return lambda u, state: ssm_step(u, state, A, B, C)


def _softmax(A: Tensor, dt: Tensor, L: int) -> tuple[Tensor, Tensor]:
    """Exponent dt A and the factor that makes the modes' kernels a softmax over L positions.

    "Diagonal State Spaces are as Effective as Structured State Spaces" (arXiv:2203.14343), proposition 1 and
    appendix A.2: ``(exp(x) - 1) / (A (exp(x L) - 1))`` with ``x = dt A`` for a decaying and ``-dt A`` for a
    growing mode. The real part of the sum is taken, not twice it.
    """
    exponent = A * dt.unsqueeze(-1)
    decaying = torch.where(A[..., :1] > 0, -exponent, exponent)
    one = torch.zeros_like(A)
    one[..., 0] = 1
    x = cmul(cexp(decaying * L) - one, A)
    # The small number stands in for a vanishing denominator: a mode of A = 0 has no softmax.
    reciprocal = conj(x) / (abs2(x) + 1e-7).unsqueeze(-1)
    return exponent, cmul(cexp(decaying) - one, reciprocal) / 2


def _softmax_kernel(c: Tensor, exponent: Tensor, length: int, L: int) -> Tensor:
    """The kernel where modes may grow: those run backward from the softmax's end, and stay bounded."""
    grows = exponent[..., :1] > 0
    zero = torch.zeros_like(exponent)
    end = max(L, length)
    tail = cexp(torch.where(grows, exponent * (end - length), zero))
    growing = vandermonde(cmul(torch.where(grows, c, 0), tail), torch.where(grows, -exponent, zero), end)
    decaying = vandermonde(torch.where(grows, 0, c), torch.where(grows, zero, exponent), L)
    return decaying + growing.flip(-1)[..., :L]
