"""The base of layers with one diagonal state for all features: S5 and LRU."""

import torch
from ssm_core.backends import full_precision
from ssm_core.complex import cexp, cmul
from ssm_core.products import bmm, einsum
from ssm_core.recurrence.diagonal import complex_scan
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.modules.dropout import dropout
from ssm_models.modules.padding import mask_padding


class MIMOLayer(SequenceLayer):
    """``x[l] = A_bar x[l-1] + B_bar u[l]``, ``y = Re C x + D u``, and a gated output.

    A subclass gives the system and the output map.

    Args:
        d_model: H.
        d_state: M, complex entries of the state.
        p_dropout: probability of the dropout before the output map.
        tied: whether all positions share one mask.
    """

    D: nn.Parameter
    both_ways = False

    def __init__(self, d_model: int, d_state: int, p_dropout: float, tied: bool) -> None:
        super().__init__()
        self.d_output = d_model
        self.entries = d_state
        self.D = nn.Parameter(torch.randn(d_model))
        self.drop = dropout(p_dropout, tied)

    def system(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the exponent (M, 2), B_bar (M, H, 2) and C (H, M, 2), or C (H, 2 M, 2) for both directions."""
        raise NotImplementedError

    def mix(self, y: Tensor) -> Tensor:
        """Map (..., H) to the output (..., H), with the nonlinearity."""
        raise NotImplementedError

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        u = mask_padding(u, lengths)
        if state is not None:
            self._refuse_recurrence()
            if lengths is not None:
                raise ValueError("A carried state goes with unpadded chunks: give lengths or a state.")
        with full_precision(u):
            exponent, B, C = self.system(rate)
            v = einsum("mhr,blh->blmr", B, u.to(B.dtype))
            start = v.new_zeros(len(v), self.entries, 2) if state is None else state
            x = complex_scan(v, exponent, start)
            last = x[:, -1]
            if self.both_ways:
                x = torch.cat((x, complex_scan(v.flip(1), exponent, start).flip(1)), 2)
            y = _observe(C, x).to(u.dtype)
        return self._leave(u, y), None if state is None else last

    def initial_state(self, batch_size: int) -> State:
        self._refuse_recurrence()
        dtype = torch.promote_types(self.D.dtype, torch.float32)
        return self.D.new_zeros(batch_size, self.entries, 2, dtype=dtype)

    def stepper(self, rate: float = 1.0) -> Stepper:
        self._refuse_recurrence()
        exponent, B, C = self.system(rate)
        A = cexp(exponent)

        def step(u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            with full_precision(u):
                x = cmul(A, x) + einsum("mhr,bh->bmr", B, u.to(B.dtype))
                y = _observe(C, x).to(u.dtype)
            return self._leave(u, y), x

        return step

    def why_not_causal(self) -> str:
        return "a bidirectional layer needs the future of its input; set bidirectional=false."

    def _refuse_recurrence(self) -> None:
        if self.both_ways:
            raise ValueError(f"{type(self).__name__} carries no state: {self.why_not_causal()}")

    def _leave(self, u: Tensor, y: Tensor) -> Tensor:
        return self.mix(self.drop(F.gelu(torch.addcmul(y, u, self.D.to(y.dtype)))))


def _observe(C: Tensor, x: Tensor) -> Tensor:
    """Return ``Re C x``, real (..., H), for C (H, M, 2) and x (..., M, 2)."""
    row = torch.stack((C[..., 0], -C[..., 1]), -1).flatten(-2)
    x = x.flatten(-2)
    return bmm(x.reshape(1, -1, x.shape[-1]), row.mT[None]).view(*x.shape[:-1], len(row))
