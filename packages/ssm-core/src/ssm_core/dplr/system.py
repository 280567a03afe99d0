"""A diagonal plus low-rank system and its bilinear discretisation, in the factors that keep it exact."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssm_core.complex import abs2, cmul, conj
from ssm_core.products import einsum
from ssm_core.real_form import low_rank, rotations, row


@dataclass(frozen=True)
class DPLR:
    """A system ``A = diag(A) - P P^*`` for each feature and its discretisation.

    A real state is the conjugate-symmetric vector of stored entries (M, 2); as a real vector of N = 2 M
    numbers it is their flattening. With ``D = (2/dt - Lambda)^-1`` and ``S = (I + P^* D P)^-1`` the
    bilinear rule gives ``A_bar = 1 + 2 D Lambda - (D P S) (P^* D 4/dt)``.

    Attributes:
        A: (H, M, 2).
        B: (H, M, 2).
        C: (C, H, M, 2).
        dt: (H, 1 or M, 1).
        P: (R, H, M, 2).
    """

    A: Tensor
    B: Tensor
    C: Tensor
    dt: Tensor
    P: Tensor

    def double(self) -> "DPLR":
        """The same in float64."""
        return DPLR(self.A.double(), self.B.double(), self.C.double(), self.dt.double(), self.P.double())

    def numerators(self, C: Tensor) -> Tensor:
        """Products (1+R, C+R, H, M, 2) of the inputs (B, P) and the outputs (C, P^*), times dt."""
        inputs, outputs = torch.cat((self.B[None], self.P)), torch.cat((C, conj(self.P)))
        return cmul(inputs[:, None], outputs[None]) * self.dt

    def resolvent(self) -> Tensor:
        """D (H, M, 2)."""
        gap = -self.A
        gap = torch.stack((gap[..., 0] + 2 / self.dt[..., 0], gap[..., 1]), -1)
        return conj(gap) / abs2(gap).unsqueeze(-1)

    def correction(self, D: Tensor) -> Tensor:
        """D P S (R, H, M, 2)."""
        DP = cmul(D, self.P)
        small = einsum("rhn,shn->hrs", row(conj(self.P)), DP.flatten(-2))
        # In float64, as the backward pass of an inverse makes products that reduced precision would round; without a
        # look at errors, for which a GPU would have to be waited for.
        S, _ = torch.linalg.inv_ex(torch.eye(len(DP), device=DP.device) + small.double())
        return einsum("rhmi,hrs->shmi", DP, S.to(DP.dtype))

    def diagonal(self) -> Tensor:
        """The diagonal part of A_bar (H, M, 2)."""
        change = 2 * cmul(self.resolvent(), self.A)
        return torch.stack((1 + change[..., 0], change[..., 1]), -1)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """Factors (R, H, M, 2) of A_bar's low-rank part: ``left * 2 Re sum_m right x``."""
        D = self.resolvent()
        return self.correction(D), cmul(conj(self.P), D) * (4 / self.dt)

    def B_bar(self) -> Tensor:
        """(H, M, 2)."""
        D = self.resolvent()
        DB = cmul(D, self.B)
        inner = einsum("rhn,hn->rh", row(conj(self.P)), DB.flatten(-2))
        return 2 * (DB - einsum("rhmi,rh->hmi", self.correction(D), inner))

    def dense(self) -> Tensor:
        """A_bar as a real matrix (H, N, N)."""
        gap = self.gap()
        return torch.eye(gap.shape[-1], dtype=gap.dtype, device=gap.device) - gap

    def gap(self) -> Tensor:
        """``I - A_bar`` (H, N, N), with all its digits where A_bar is close to I."""
        left, right = self.low_rank()
        change = rotations(2 * cmul(self.resolvent(), self.A))
        return low_rank(left, right) - change
