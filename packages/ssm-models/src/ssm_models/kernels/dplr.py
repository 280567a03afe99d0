"""The DPLR kernel: the diagonal plus low-rank state matrix of S4 under the bilinear rule."""

from typing import Any

import torch
from ssm_core.complex import cmul
from ssm_core.dplr.generating_function import dplr_kernel
from ssm_core.dplr.system import DPLR
from ssm_core.initialize import Initial
from ssm_core.products import einsum
from ssm_core.real_form import row, unrow
from ssm_core.recurrence.bank import Recurrence
from ssm_core.recurrence.dense import dense_scan, power_gap
from torch import Tensor

from ssm_models.config import DPLRConfig
from ssm_models.contract import Stepper
from ssm_models.kernels.ssm import SSMKernel


class DPLRKernel(SSMKernel):
    """The kernel of ``A = diag(Lambda) - P P^*`` by its generating function at the roots of unity.

    The generating function of a kernel of length l needs ``C_tilde = C (I - A_bar^l)``. With ``l_kernel`` the parameter
    is C_tilde for that length, so that training computes no power of A_bar. Longer kernels follow exactly by doubling,
    ``C_tilde_2l = C_tilde_l (I + A_bar^l)``; no forward pass changes the parameter. Without ``l_kernel`` the parameter
    is C, and each call computes the power for its length.

    Source: "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396), algorithm 1 and
    appendix C.3.
    """

    config: DPLRConfig
    P: Tensor  # (R, S, M, 2)
    l_kernel: Tensor  # (): the length that C is tied to; 0 if C is not tied to a length

    def __init__(self, d_model: int, channels: int, config: DPLRConfig) -> None:
        super().__init__(d_model, channels, config)
        self.register_buffer("l_kernel", torch.tensor(config.l_kernel or 0))
        if config.l_kernel is not None:
            with torch.no_grad():
                self.C.copy_(self.tied_C(config.l_kernel))

    def _register_system(self, initial: Initial, channels: int) -> None:
        super()._register_system(initial, channels)
        self._register("P", initial.P, "A")

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: list[str]
    ) -> None:
        given = state_dict.get(prefix + "l_kernel")
        if given is not None and int(given) != int(self.l_kernel):
            lists[-1].append(
                f"{prefix}C is tied to the kernel length {int(given)} (0: to none), this model's to "
                f"{int(self.l_kernel)}; build the model with l_kernel={int(given) or 'null'}."
            )
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)  # type: ignore[arg-type]

    def _dplr(self, rate: float) -> DPLR:
        """Return the system at a rate."""
        A, B, C, dt = self._system(rate)
        return DPLR(A, B, C, dt.unsqueeze(-1), self._per_feature(self.P.to(self.dtype), 1))

    def forward(self, L: int, rate: float = 1.0) -> Tensor:
        s = self._dplr(rate)
        if self.config.l_kernel is None:
            length, C = L, self.tied_C(L, rate)
        else:
            length, C = round(self.config.l_kernel / rate), s.C
            if length < L:
                C, gap = C.double(), power_gap(s.double().gap(), length)
                while length < L:
                    C = 2 * C - _times(C, gap)
                    length *= 2
                    gap = power_gap(gap, 2)
        return dplr_kernel(s, C.to(self.dtype), length)[..., :L]

    def tied_C(self, length: int, rate: float = 1.0) -> Tensor:
        """Return ``C (I - A_bar^length)``, complex (C, H, M, 2), with the parameter as C."""
        s = self._dplr(rate).double()
        return _times(s.C, power_gap(s.gap(), length)).to(self.dtype)

    def _untied_C(self, s: DPLR, rate: float) -> Tensor:
        """Return the C of the recurrence, complex (C, H, M, 2)."""
        if self.config.l_kernel is None:
            return s.C
        s = s.double()
        gap = power_gap(s.gap(), round(self.config.l_kernel / rate))
        C, _ = torch.linalg.solve_ex(gap.mT, row(s.C).permute(1, 2, 0))
        return unrow(C.permute(2, 0, 1)).to(self.dtype)

    def scan(self, u: Tensor, state: Tensor, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        s = self._dplr(rate)
        C = row(self._untied_C(s, rate))
        y, x = dense_scan(u, state.flatten(-2), s.dense(), s.B_bar().flatten(-2), C)
        return y, x.view(state.shape)

    def recurrence(self, rate: float = 1.0) -> Recurrence:
        s = self._dplr(rate)
        return Recurrence(s.diagonal(), *s.low_rank(), s.B_bar(), self._untied_C(s, rate))

    def stepper(self, rate: float = 1.0) -> Stepper:
        r = self.recurrence(rate)
        left, right, C = r.left.flatten(-2).transpose(0, 1), row(r.right).transpose(0, 1), row(r.C)  # (H, R, N)

        def step(u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            inner = (right * x.flatten(-2).unsqueeze(2)).sum(-1, keepdim=True)
            drop = (left * inner).sum(2).view(x.shape)
            x = cmul(r.diagonal, x) - drop + u.to(x.dtype)[..., None, None] * r.B
            return (C * x.flatten(-2).unsqueeze(1)).sum(-1).to(u.dtype), x

        return step


def _times(C: Tensor, A: Tensor) -> Tensor:
    """Multiply the row vectors C (C, H, M, 2) with real matrices A (H, N, N)."""
    return unrow(einsum("chn,hnm->chm", row(C), A))
