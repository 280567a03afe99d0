"""The diagonal kernel: S4D, S4D-Real, DSS."""

import torch
from ssm_core.complex import abs2, cexp, cexpm1, cmul, conj
from ssm_core.discretize import bilinear, zoh
from ssm_core.ops import diagonal_scan, ssm_step, vandermonde
from ssm_core.recurrence.bank import Recurrence
from torch import Tensor

from ssm_models.config import DiagonalConfig
from ssm_models.contract import Stepper
from ssm_models.kernels.ssm import SSMKernel


class DiagonalKernel(SSMKernel):
    """``K[c,h,l] = 2 Re sum_m C[c,h,m] B_bar[h,m] A_bar[h,m]^l`` for a diagonal A.

    Source: "On the Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893).
    """

    config: DiagonalConfig

    def _discrete(self, rate: float, L: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the exponent and B_bar, (H, M, 2), and C (C, H, M, 2) of ``K = 2 Re C B_bar exp(exponent l)``.

        For the softmax of DSS, L is its length, and B_bar of a growing mode multiplies ``exp(exponent (l - L + 1))``.
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
        """Return A_bar (H, M, 2), B_bar (H, M, 2) and C (C, H, M, 2)."""
        length = 1
        if self.config.disc == "dss":
            if self.config.l_kernel is None:
                raise ValueError(
                    "The softmax of disc=dss depends on the length of the sequence, which a recurrence does "
                    "not know beforehand; set l_kernel to that length."
                )
            length = round(self.config.l_kernel / rate)
        exponent, B, C = self._discrete(rate, length)
        if self.config.disc == "dss":
            grows = exponent[..., :1] > 0
            B = torch.where(grows, cmul(B, cexp(torch.where(grows, -exponent * (length - 1), 0))), B)
        return cexp(exponent), B, C

    def scan(self, u: Tensor, state: Tensor, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        return diagonal_scan(u, state, *self._recurrence(rate))

    def recurrence(self, rate: float = 1.0) -> Recurrence:
        A, B, C = self._recurrence(rate)
        none = A.new_zeros(0, *A.shape)
        return Recurrence(A, none, none, B, C)

    def stepper(self, rate: float = 1.0) -> Stepper:
        A, B, C = self._recurrence(rate)
        return lambda u, state: ssm_step(u, state, A, B, C)


def _softmax(A: Tensor, dt: Tensor, L: int) -> tuple[Tensor, Tensor]:
    """Return the exponent dt A and the factor of B that makes the kernel of each mode a softmax over L positions.

    Source: "Diagonal State Spaces are as Effective as Structured State Spaces" (arXiv:2203.14343), proposition 1 and
    appendix A.2: ``(exp(x) - 1) / (A (exp(x L) - 1))`` with ``x = dt A`` for a decaying and ``x = -dt A`` for a growing
    mode. In the paper the kernel is the real part of the sum, not twice the real part.
    """
    exponent = A * dt.unsqueeze(-1)
    decaying = torch.where(A[..., :1] > 0, -exponent, exponent)
    x = cmul(cexpm1(decaying * L), A)
    # The added constant keeps the denominator above zero for a mode with A = 0, for which the factor is undefined.
    reciprocal = conj(x) / (abs2(x) + 1e-7).unsqueeze(-1)
    return exponent, cmul(cexpm1(decaying), reciprocal) / 2


def _softmax_kernel(c: Tensor, exponent: Tensor, length: int, L: int) -> Tensor:
    """Return a softmax kernel (C, H, L) whose modes may grow.

    Growing modes run backward from the end of the softmax, so that they stay bounded.
    """
    grows = exponent[..., :1] > 0
    zero = torch.zeros_like(exponent)
    end = max(L, length)
    tail = cexp(torch.where(grows, exponent * (end - length), zero))
    growing = vandermonde(cmul(torch.where(grows, c, 0), tail), torch.where(grows, -exponent, zero), end)
    decaying = vandermonde(torch.where(grows, 0, c), torch.where(grows, zero, exponent), L)
    return decaying + growing.flip(-1)[..., :L]
