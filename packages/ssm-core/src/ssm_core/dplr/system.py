"""A diagonal plus low-rank system and its bilinear discretisation, in factors that avoid cancellation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssm_core.complex import abs2, cmul, conj
from ssm_core.products import einsum
from ssm_core.real_form import low_rank, rotations, row


@dataclass(frozen=True)
class DPLR:
    """A system ``A = diag(A) - P P^*`` for each feature, and its discretisation.

    A real state is the stored half (M, 2) of a conjugate-symmetric vector; flattened, that is a real vector of N = 2 M
    numbers. With ``D = (2/dt - Lambda)^-1`` and ``S = (I + P^* D P)^-1`` the bilinear rule gives
    ``A_bar = 1 + 2 D Lambda - (D P S) (P^* D 4/dt)``.

    Attributes:
        A: Lambda, complex (H, M, 2).
        B: complex (H, M, 2).
        C: complex (C, H, M, 2).
        dt: real (H, 1 or M, 1).
        P: complex (R, H, M, 2).
    """

    A: Tensor
    B: Tensor
    C: Tensor
    dt: Tensor
    P: Tensor

    def double(self) -> "DPLR":
        """Return the same system in float64."""
        return DPLR(self.A.double(), self.B.double(), self.C.double(), self.dt.double(), self.P.double())

    def numerators(self, C: Tensor) -> Tensor:
        """Return the products of the inputs (B, P) and the outputs (C, P^*), times dt, complex (1+R, C+R, H, M, 2)."""
        inputs, outputs = torch.cat((self.B[None], self.P)), torch.cat((C, conj(self.P)))
        return cmul(inputs[:, None], outputs[None]) * self.dt

    def resolvent(self) -> Tensor:
        """Return D, complex (H, M, 2)."""
        gap = -self.A
        gap = torch.stack((gap[..., 0] + 2 / self.dt[..., 0], gap[..., 1]), -1)
        return conj(gap) / abs2(gap).unsqueeze(-1)

    def correction(self, D: Tensor) -> Tensor:
        """Return D P S, complex (R, H, M, 2)."""
        DP = cmul(D, self.P)
        small = einsum("rhn,shn->hrs", row(conj(self.P)), DP.flatten(-2))
        # Use float64, because the backward pass of an inverse contains products that reduced precision would round.
        # inv_ex does not check for errors, so the CPU does not wait for the GPU.
        S, _ = torch.linalg.inv_ex(torch.eye(len(DP), device=DP.device) + small.double())
        return einsum("rhmi,hrs->shmi", DP, S.to(DP.dtype))

    def diagonal(self) -> Tensor:
        """Return the diagonal part of A_bar, complex (H, M, 2)."""
        change = 2 * cmul(self.resolvent(), self.A)
        return torch.stack((1 + change[..., 0], change[..., 1]), -1)

    def low_rank(self) -> tuple[Tensor, Tensor]:
        """Return the factors of the low-rank part ``left * 2 Re sum_m right x`` of A_bar, complex (R, H, M, 2) each."""
        D = self.resolvent()
        return self.correction(D), cmul(conj(self.P), D) * (4 / self.dt)

    def B_bar(self) -> Tensor:
        """Return B_bar, complex (H, M, 2)."""
        D = self.resolvent()
        DB = cmul(D, self.B)
        inner = einsum("rhn,hn->rh", row(conj(self.P)), DB.flatten(-2))
        return 2 * (DB - einsum("rhmi,rh->hmi", self.correction(D), inner))

    def dense(self) -> Tensor:
        """Return A_bar as a real matrix (H, N, N)."""
        gap = self.gap()
        return torch.eye(gap.shape[-1], dtype=gap.dtype, device=gap.device) - gap

    def gap(self) -> Tensor:
        """Return ``I - A_bar``, real (H, N, N), accurate even if A_bar is close to I."""
        left, right = self.low_rank()
        change = rotations(2 * cmul(self.resolvent(), self.A))
        return low_rank(left, right) - change
