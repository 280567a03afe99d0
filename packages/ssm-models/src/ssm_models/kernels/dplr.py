"""The S4 kernel: a diagonal plus low-rank state matrix under the bilinear transform."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from ssm_core.complex import abs2, cmul, conj
from ssm_core.initialize import Initial
from ssm_core.ops import cauchy
from ssm_core.ops.products import einsum
from torch import Tensor

from ssm_models.config import KernelConfig
from ssm_models.kernels.bank import Recurrence
from ssm_models.kernels.real_form import low_rank, rotations, row, unrow
from ssm_models.kernels.recurrence import dense_scan, power_gap
from ssm_models.kernels.ssm import SSMKernel
from ssm_models.layers.base import Stepper


class DPLRKernel(SSMKernel):
    """The kernel of ``A = diag(Lambda) - P P^*`` by its generating function at the roots of unity.

    The generating function of a kernel of length l needs ``C_tilde = C (I - A_bar^l)``. With ``l_kernel``
    the parameter is C_tilde for that length, so that training takes no power of A_bar; longer kernels
    follow exactly by doubling, ``C_tilde_2l = C_tilde_l (I + A_bar^l)``, and no forward pass changes the
    parameter. Without ``l_kernel`` the parameter is C, and each call computes the power of its length.

    Source: "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396),
    algorithm 1 and appendix C.3.
    """

    P: Tensor  # (R, S, M, 2)
    l_kernel: Tensor  # (): the length that C is tied to, 0 if to none
    has_low_rank = True

    def __init__(self, d_model: int, channels: int, config: KernelConfig) -> None:
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

    def _dplr(self, rate: float) -> "_DPLR":
        A, B, C, dt = self._system(rate)
        return _DPLR(A, B, C, dt.unsqueeze(-1), self._per_feature(self.P.to(self.dtype), 1))

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
        return _kernel(s, C.to(self.dtype), length)[..., :L]

    def tied_C(self, length: int, rate: float = 1.0) -> Tensor:
        """``C (I - A_bar^length)`` (C, H, M, 2), taking the parameter as C."""
        s = self._dplr(rate).double()
        return _times(s.C, power_gap(s.gap(), length)).to(self.dtype)

    def _untied_C(self, s: "_DPLR", rate: float) -> Tensor:
        """The C of the recurrence."""
        if self.config.l_kernel is None:
            return s.C
        s = s.double()
        gap = power_gap(s.gap(), round(self.config.l_kernel / rate))
        C = torch.linalg.solve(gap.mT, row(s.C).permute(1, 2, 0)).permute(2, 0, 1)
        return unrow(C).to(self.dtype)

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


@dataclass(frozen=True)
class _DPLR:
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

    def double(self) -> "_DPLR":
        """The same in float64."""
        return _DPLR(self.A.double(), self.B.double(), self.C.double(), self.dt.double(), self.P.double())

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
        # In float64, as the backward pass of an inverse makes products that reduced precision would round.
        S = torch.linalg.inv(torch.eye(len(DP), device=DP.device) + small.double())
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


def _times(C: Tensor, A: Tensor) -> Tensor:
    """The row vectors C (C, H, M, 2) times real matrices A (H, N, N)."""
    return unrow(einsum("chn,hnm->chm", row(C), A))


def _kernel(s: _DPLR, C: Tensor, length: int) -> Tensor:
    """The first ``length`` taps (C, H, length), for the C_tilde of that length."""
    mean = _mean_response(s, C).to(C.dtype).unsqueeze(-1)
    spectrum = torch.complex(mean, torch.zeros_like(mean))
    if length > 1:
        # On the unit circle the bilinear transform's nodes 2 (1 - omega) / (1 + omega) are imaginary.
        angle = math.pi / length * torch.arange(1, length // 2 + 1, dtype=torch.float64, device=C.device)
        y = 2 * torch.tan(angle)
        v, w = s.numerators(C), s.A * s.dt
        r = cauchy(v.flatten(0, 1), w, y.to(C.dtype)).unflatten(0, v.shape[:2])
        (nodes,) = _correct(torch.view_as_complex(r), len(s.P))
        if length > 2:
            nearest = torch.round(length / math.pi * torch.atan(w[..., 1].detach().double().abs() / 2))
            nearest = nearest.long().clamp(1, (length - 1) // 2) - 1  # (H, M)
            nodes = _replace(nodes, nearest, _near_poles(s, C, y[nearest]).to(nodes.dtype))
        # 2 / (1 + omega), the factor of the bilinear rule, is 1 + i y / 2.
        factor = torch.complex(torch.ones_like(y), y / 2).to(nodes.dtype)
        spectrum = torch.cat((spectrum, nodes * factor), -1)
    return torch.fft.irfft(spectrum, n=length)


def _mean_response(s: _DPLR, C: Tensor) -> Tensor:
    """The generating function at frequency 0, ``-C A^-1 B``, real (C, H), float64.

    The poles of all slow modes lie next to this node, where the low-rank correction would cancel the
    leading digits; the whole A is far from singular, so it is solved as one matrix.
    """
    s = s.double()
    x = torch.linalg.solve(low_rank(s.P, conj(s.P)) - rotations(s.A), s.B.flatten(-2))
    return einsum("chn,hn->ch", row(C.double()), x)


def _near_poles(s: _DPLR, C: Tensor, y: Tensor) -> Tensor:
    """The corrected resolvent, complex (C, H, J), at nodes y (H, J) that lie next to a pole, in float64.

    There the low-rank correction would cancel as many leading digits as the pole is closer than the next node.
    So the nearest mode x of each node is left out of the sums. Its own equation, ``delta x = dt (B - P q)`` with
    ``delta = i y - w`` and the correction's unknowns q, is eliminated last, and nothing is divided by delta.
    """
    s, C = s.double(), C.double()
    w = s.A * s.dt
    decay, frequency = -w[..., 0].unsqueeze(1), w[..., 1].abs().unsqueeze(1)  # (H, 1, M)
    y = y.unsqueeze(-1)
    near = ((y - frequency).square() + decay.square()).argmin(-1)  # (H, J)
    apart = torch.arange(w.shape[1], device=w.device) != near.unsqueeze(-1)
    # A conjugate pair of terms is (a + i y b) / (|w|^2 - y^2 - 2 i y Re w) with a = -2 Re v w^* and b = 2 Re v.
    v = s.numerators(C)
    ab = torch.stack((-2 * (v * w).sum(-1), 2 * v[..., 0])).permute(3, 0, 1, 2, 4)  # (H, 2, 1+R, C+R, M)
    real = torch.where(apart, decay.square() + (frequency - y) * (frequency + y), 1)
    imag = 2 * y * decay
    inverse = torch.stack((real, -imag)) * (apart / (real.square() + imag.square()))  # (2, H, J, M)
    product = einsum("hzom,rhjm->rzohj", ab.flatten(2, 3), inverse).unflatten(2, ab.shape[2:4])
    (a_real, b_real), (a_imag, b_imag) = product
    y, decay, frequency = y[..., 0], decay[:, 0].gather(1, near), frequency[:, 0].gather(1, near)
    r = torch.complex(a_real - y * b_imag, a_imag + y * b_real)  # (1+R, C+R, H, J)

    below = (w[..., 1] < 0).gather(1, near)

    def at_the_mode(x: Tensor) -> Tensor:
        """The entries of x (K, H, M, 2) for the member of the pair at ``+ i frequency``, complex (K, H, J)."""
        real, imag = (each.gather(2, near.expand(len(x), *near.shape)) for each in x.unbind(-1))
        return torch.complex(real, torch.where(below, -imag, imag))

    outputs = len(C)
    left, right = at_the_mode(torch.cat((s.B[None], s.P))), at_the_mode(torch.cat((C, conj(s.P))))
    left_dt = left * s.dt[..., 0].expand(w.shape[:2]).gather(1, near)
    r = r + left_dt.conj()[:, None] * right.conj() / torch.complex(decay, y + frequency)  # the other member
    r = torch.cat((r[:, :outputs], left_dt[:, None], r[:, outputs:]), 1)
    row = torch.cat((-right[:outputs], torch.complex(decay, y - frequency)[None], -right[outputs:]))
    r = _correct(torch.cat((r[:1], row[None], r[1:])), len(s.P))
    return r[0, :-1] - r[0, -1] * (r[1, :-1] / r[1, -1])


def _replace(nodes: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """``nodes`` (C, H, F) with ``values`` (C, H, J) at ``index`` (H, J); equal indices have equal values."""
    count = values.real.new_zeros(nodes.shape[1:]).scatter_add_(1, index, torch.ones_like(values.real[0]))
    kept = torch.where(count > 0, 0, nodes)
    return kept.scatter_add(2, index.expand(values.shape), values / count.gather(1, index))


def _correct(r: Tensor, R: int) -> Tensor:
    """The low-rank correction of resolvents r, complex (..+R, ..+R, H, F), whose last R inputs and outputs are P, P^*.

    ``r[B, C] - r[B, P^*] (1 + r[P, P^*])^-1 r[P, C]`` by elimination. It needs no pivoting: on the imaginary axis
    a stable Lambda gives ``r[P, P^*]`` a positive Hermitian part.

    Returns:
        Complex (.., .., H, F).
    """
    for _ in range(R):
        r = r[:-1, :-1] - r[:-1, -1:] * (r[-1:, :-1] / (1 + r[-1, -1]))
    return r
