"""Layers around one diagonal state for all features: S5 and LRU."""

import torch
from ssm_core.backends import full_precision
from ssm_core.complex import cexp, cmul
from ssm_core.discretize import zoh
from ssm_core.hippo import nplr
from ssm_core.initialize import step_sizes
from ssm_core.products import bmm, einsum
from ssm_core.recurrence.diagonal import complex_scan
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.config import LRULayerConfig, S5LayerConfig
from ssm_models.kernels.parameters import register
from ssm_models.layers.base import SequenceLayer, State, Stepper, dropout, mask_padding


class MIMOLayer(SequenceLayer):
    """``x[l] = A_bar x[l-1] + B_bar u[l]``, ``y = 2 Re C x + D u`` (or without the 2), and a gated output."""

    D: nn.Parameter
    both_ways = False

    def __init__(self, d_model: int, d_state: int, p_dropout: float, tied: bool) -> None:
        super().__init__()
        self.d_output = d_model
        self.entries = d_state
        self.D = nn.Parameter(torch.randn(d_model))
        self.drop = dropout(p_dropout, tied)

    def system(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """Exponent (M, 2), B_bar (M, H, 2) and C (H, M, 2), or (H, 2 M, 2) for both directions."""
        raise NotImplementedError

    def mix(self, y: Tensor) -> Tensor:
        """The nonlinear output map of (..., H)."""
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
    """``Re C x`` (..., H) for C (H, M, 2) and x (..., M, 2)."""
    row = torch.stack((C[..., 0], -C[..., 1]), -1).flatten(-2)
    x = x.flatten(-2)
    return bmm(x.reshape(1, -1, x.shape[-1]), row.mT[None]).view(*x.shape[:-1], len(row))


class S5Layer(MIMOLayer):
    """One diagonal state for all features, under zero-order hold; the output is gated by itself.

    A starts as the normal part of LegS, in ``blocks`` copies of a smaller one.

    Source: "Simplified State Space Layers for Sequence Modeling" (arXiv:2208.04933), sections 3 and 4.
    """

    A_real: Tensor  # (M,): Re A = -exp(A_real)
    A_imag: Tensor  # (M,)
    B: Tensor  # (M, H, 2)
    C: Tensor  # (H, M, 2), or (H, 2 M, 2)
    log_dt: Tensor  # (M,)

    def __init__(self, d_model: int, config: S5LayerConfig) -> None:
        super().__init__(d_model, config.d_state // 2, config.dropout, config.tie_dropout)
        self.config = config
        self.both_ways = config.bidirectional
        N = config.d_state
        legs = nplr("legs", N // config.blocks)
        A, V = legs.w.repeat(config.blocks), torch.block_diag(*[legs.V] * config.blocks)  # (M,), (N, M)
        B = V.mH @ torch.randn(N, d_model, dtype=torch.float64).to(V) * d_model**-0.5
        C = torch.randn(2 if config.bidirectional else 1, d_model, N, dtype=torch.float64)
        C = torch.cat(tuple(C.to(V) @ V), -1) * N**-0.5
        own = {"lr": config.lr, "wd": 0.0}
        register(self, "A_real", torch.log(-A.real), **own)
        register(self, "A_imag", -A.imag, **own)
        register(self, "B", torch.view_as_real(B), **own)
        register(self, "C", torch.view_as_real(C))
        dt = step_sizes((self.entries, 1), config.dt_min, config.dt_max)[:, 0]
        register(self, "log_dt", dt.log(), **own)
        self.output_linear = nn.Linear(d_model, d_model)

    def system(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(self.D.dtype, torch.float32)
        A = torch.stack((-self.A_real.to(dtype).exp(), -self.A_imag.to(dtype)), -1)
        exponent, factor = zoh(A, self.log_dt.to(dtype).exp() * rate)
        return exponent, cmul(factor[:, None], self.B.to(dtype)), 2 * self.C.to(dtype)

    def mix(self, y: Tensor) -> Tensor:
        return y * torch.sigmoid(self.output_linear(y))


class LRULayer(MIMOLayer):
    """A linear recurrent unit: eigenvalues in a ring, inputs normalised to keep the state's variance.

    Source: "Resurrecting Recurrent Neural Networks for Long Sequences" (arXiv:2303.06349), section 3 and
    appendix A.
    """

    nu_log: Tensor  # (M,): |A_bar| = exp(-exp(nu_log))
    theta_log: Tensor  # (M,): arg A_bar = exp(theta_log)
    gamma_log: Tensor  # (M,)
    B: nn.Parameter  # (M, H, 2)
    C: nn.Parameter  # (H, M, 2)

    def __init__(self, d_model: int, config: LRULayerConfig) -> None:
        super().__init__(d_model, config.d_state, config.dropout, config.tie_dropout)
        self.config = config
        self.both_ways = config.bidirectional
        M = config.d_state
        radius = torch.rand(M, dtype=torch.float64) * (config.r_max**2 - config.r_min**2) + config.r_min**2
        own = {"lr": config.lr, "wd": 0.0}
        register(self, "nu_log", torch.log(-0.5 * radius.log()), **own)
        register(self, "theta_log", torch.log(config.max_phase * torch.rand(M, dtype=torch.float64)), **own)
        register(self, "gamma_log", 0.5 * torch.log1p(-radius), **own)
        self.B = nn.Parameter(torch.randn(M, d_model, 2) * (2 * d_model) ** -0.5)
        self.C = nn.Parameter(torch.randn(d_model, (2 if config.bidirectional else 1) * M, 2) * M**-0.5)
        self.output_linear = nn.Linear(d_model, 2 * d_model)

    def system(self, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        if rate != 1.0:
            raise ValueError(f"A linear recurrent unit has no step size; it cannot run at rate {rate}.")
        dtype = torch.promote_types(self.D.dtype, torch.float32)
        nu, theta, gamma = (each.to(dtype).exp() for each in (self.nu_log, self.theta_log, self.gamma_log))
        return torch.stack((-nu, theta), -1), gamma[:, None, None] * self.B.to(dtype), self.C.to(dtype)

    def mix(self, y: Tensor) -> Tensor:
        return F.glu(self.output_linear(y), -1)
